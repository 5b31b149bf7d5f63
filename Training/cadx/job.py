"""The panel's side of :mod:`cadx.worker`: start it, ask, listen without waiting, end it with all its children."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from cadx import errors
from cadx.errors import CadxError, CancelledError, InputError, MissingDependencyError, RefusedError

MAX_EVENT_BYTES = 50_000_000
END_WITHIN_S = 2.0
T = TypeVar("T")
U = TypeVar("U")
BY_EXIT_CODE = {e.exit_code: e for e in (InputError, MissingDependencyError, RefusedError, CancelledError)}


class WorkerError(CadxError):
    """The worker died, or said what is no event; the message says what to do (exit 1)."""

    exit_code = 1


class WorkerProcess:
    """A worker as a process group of its own; no thread, so that it works in an event loop that holds the interpreter.

    Parameters
    ----------
    arguments
        Of ``python -m cadx.worker``.
    python
        Interpreter to run it with (in Slicer, PythonSlicer).
    environment
        Of the worker; None: this process's own, with this package on its path.
    """

    def __init__(
        self, arguments: Sequence[str], python: str = sys.executable, environment: dict[str, str] | None = None
    ) -> None:
        self._log: BinaryIO = tempfile.TemporaryFile(prefix="cadx-worker-")  # noqa: SIM115 (lives as long as the process)
        self._pending = b""
        self.jobs: list[Job] = []
        self.process = subprocess.Popen(
            [python, "-m", "cadx.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=package_environment() if environment is None else environment,
            start_new_session=os.name == "posix",
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def send(self, request: dict[str, Any]) -> None:
        """Hand over one request.

        Raises
        ------
        WorkerError
            If the worker is gone.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except (OSError, ValueError) as error:
            raise WorkerError(self._obituary()) from error

    def listen(self) -> None:
        """Hand what it has said since the last call to its jobs; returns at once. If it died, they fail."""
        try:
            events = self.events()
        except WorkerError as error:
            for job in self.jobs:
                job.fail(error)
            events = []
        for event in events:
            for job in self.jobs:
                job.take(event)
        self.jobs = [job for job in self.jobs if not job.done]

    def events(self) -> list[dict[str, Any]]:
        """What it has said since the last call; returns at once.

        Raises
        ------
        WorkerError
            If it died, or said what is no event. It is ended then.
        """
        gone = not self.alive
        lines = self._lines()
        try:
            found = [json.loads(line) for line in lines]
            if not all(isinstance(event, dict) and isinstance(event.get("event"), str) for event in found):
                raise ValueError("no event")
        except ValueError as error:
            self._end_process()
            raise WorkerError("The worker said something that is no event; it was ended, try again.") from error
        if gone and not found:
            self._end_process()
            raise WorkerError(self._obituary())
        return found

    def end(self) -> None:
        """End it and all its children within two seconds; nothing of it is left, and its jobs end as cancelled."""
        self._end_process()
        for job in self.jobs:
            job.fail(CancelledError("Cancelled."))
        self.jobs = []

    def _end_process(self) -> None:
        if os.name == "posix":
            self._end_group()
        elif self.alive:
            subprocess.run(["taskkill", "/T", "/F", "/PID", str(self.process.pid)], check=False, capture_output=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_WITHIN_S)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def log(self) -> str:
        """What it wrote to standard error, the last 20,000 characters."""
        if self._log.closed:
            return ""
        self._log.seek(0)
        return self._log.read().decode("utf-8", errors="replace")[-20_000:]

    def _end_group(self) -> None:
        """Ask, then insist: the leader's number is also the group's, whether it lives or not."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGTERM)
            end = time.monotonic() + END_WITHIN_S / 4
            while time.monotonic() < end and self.process.poll() is None:
                time.sleep(0.01)
            os.killpg(self.process.pid, signal.SIGKILL)

    def _lines(self) -> list[bytes]:
        assert self.process.stdout is not None
        if self.process.stdout.closed:
            return []
        while chunk := self.process.stdout.read(1 << 20):
            self._pending += chunk
            if len(self._pending) > MAX_EVENT_BYTES:
                self._end_process()
                raise WorkerError("The worker said more than any answer holds; it was ended, try again.")
        *lines, self._pending = self._pending.split(b"\n")
        return [line for line in lines if line.strip()]

    def _obituary(self) -> str:
        code = self.process.poll()
        if code is not None and code < 0:
            reason = f"was ended by signal {-code}" + (", perhaps for want of memory" if code == -9 else "")
        else:
            reason = f"ended by itself with code {code}"
        return f"The worker {reason}; try again, and look at the log if it happens twice."


class Job:
    """One request, from asking to its answer; call :meth:`poll` from a timer, or :meth:`wait`.

    Parameters
    ----------
    worker
        Alive; it answers its jobs in the order in which they were made.
    request
        As :mod:`cadx.requests` describes; gets its ``id`` here.
    progress
        Called with stage and fraction, in the thread that polls.
    """

    _last_id = 0

    def __init__(
        self, worker: WorkerProcess, request: dict[str, Any], progress: Callable[[str, float], None] | None = None
    ) -> None:
        Job._last_id += 1
        self.id = Job._last_id
        self.answer: dict[str, Any] | None = None
        self.error: CadxError | None = None
        self._worker = worker
        self._progress = progress or (lambda stage, fraction: None)
        worker.send({**request, "id": self.id})
        worker.jobs.append(self)

    @property
    def done(self) -> bool:
        """Whether there is an answer or an error."""
        return self.answer is not None or self.error is not None

    def take(self, event: dict[str, Any]) -> None:
        """One event of the worker; those of other requests are left alone."""
        if event.get("id") not in (self.id, None) or self.done:
            return
        if event["event"] == "progress":
            self._progress(str(event.get("stage", "")), float(event.get("fraction", 0.0)))
        elif event["event"] == "error":
            kind = BY_EXIT_CODE.get(int(event.get("exit_code", 1)), WorkerError)
            self.error = kind(str(event.get("text", "The work failed; look at the log.")))
        elif event["event"] in ("done", "result"):
            self.answer = event

    def fail(self, error: CadxError) -> None:
        """End without an answer, unless there is one."""
        if not self.done:
            self.error = error

    def poll(self) -> bool:
        """Take what the worker has said, for all its jobs; returns at once, True when this one is done."""
        if not self.done:
            self._worker.listen()
        return self.done

    def wait(self, every_s: float = 0.01) -> dict[str, Any]:
        """Wait for the answer.

        Raises
        ------
        CadxError
            What the worker raised, or :class:`WorkerError` where it died.
        """
        while not self.poll():
            time.sleep(every_s)
        if self.error is not None:
            raise self.error
        assert self.answer is not None
        return self.answer

    def cancel(self) -> None:
        """End the worker with all its children; all its jobs end as cancelled."""
        self._worker.end()


class Pending(Generic[T]):
    """What a Job's answer will be made into, in the thread that takes it."""

    def __init__(self, job: Job, make: Callable[[dict[str, Any]], T]) -> None:
        self._job = job
        self._make = make
        self._made: list[T] = []

    @property
    def done(self) -> bool:
        """Whether there is an answer or an error to take."""
        return self._job.done

    def poll(self) -> bool:
        """Take what the worker has said; returns at once, True when :attr:`result` is there."""
        return self._job.poll()

    def cancel(self) -> None:
        """End the worker with all its children; the job ends as cancelled."""
        self._job.cancel()

    @property
    def result(self) -> T:
        """The result; waits for it.

        Raises
        ------
        CadxError
            What the worker raised, :class:`WorkerError` where it died, :class:`cadx.errors.CancelledError` after
            :meth:`cancel`.
        """
        if not self._made:
            self._made.append(self._make(self._job.wait()))
        return self._made[0]

    def then(self, make: Callable[[T], U]) -> Pending[U]:
        """The same work with its result made into something else."""
        return Pending(self._job, lambda answer: make(self.result))


def package_environment() -> dict[str, str]:
    """This process's environment with this package on the path, for a process that runs it."""
    package = str(Path(errors.__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH", "")
    path = package if not known else os.pathsep.join((package, known))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
