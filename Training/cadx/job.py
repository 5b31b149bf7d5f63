"""Work that a process of its own does for a panel: ask, poll from a timer, take the result, or cancel.

No thread: Python threads stand still in an event loop that holds the interpreter.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from cadx.child import Child, ChildError
from cadx.errors import CadxError, CancelledError, InputError, MissingDependencyError, RefusedError

T = TypeVar("T")
U = TypeVar("U")
S = TypeVar("S", covariant=True)
BY_EXIT_CODE = {e.exit_code: e for e in (InputError, MissingDependencyError, RefusedError, CancelledError)}
CANCELLED = "Cancelled."
READY_WITHIN_S = 120.0


class Work(Protocol[S]):
    """What :class:`Pending` waits for."""

    @property
    def done(self) -> bool:
        """Whether there is an answer or an error to take."""

    def poll(self) -> bool:
        """Take what the process has said; returns at once, True when done."""

    def wait(self) -> S:
        """Wait for the answer; raises the error."""

    def cancel(self) -> None:
        """End the process with all its children."""


class WorkerProcess:
    """A :mod:`cadx.worker` and the jobs it has been given.

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
        self.child = Child(["-m", "cadx.worker", *arguments], python, environment)
        self.jobs: list[Job] = []
        self._silent_since: float | None = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.child.alive

    def send(self, request: dict[str, Any]) -> None:
        """Hand over one request.

        Raises
        ------
        ChildError
            If the worker is gone.
        """
        try:
            self.child.send(json.dumps(request))
        except (OSError, ValueError) as error:
            raise ChildError(self.child.obituary()) from error

    def listen(self) -> None:
        """Hand what it has said since the last call to its jobs; returns at once. If it died, they fail."""
        try:
            events = self.events()
        except ChildError as error:
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
        ChildError
            If it died, or said what is no event. It is ended then.
        """
        gone = not self.alive
        lines = self.child.lines()
        try:
            found = [json.loads(line) for line in lines]
            if not all(isinstance(event, dict) and isinstance(event.get("event"), str) for event in found):
                raise ValueError("no event")
        except ValueError as error:
            self.child.end()
            raise ChildError(
                "The background process said something that is no event; it was ended, try again."
            ) from error
        if gone and not found:
            self.child.end()
            raise ChildError(self.child.obituary())
        self._require_sign_of_life(bool(found))
        return found

    def _require_sign_of_life(self, said: bool) -> None:
        """A worker says that it is ready within seconds; one whose start hangs would be waited for without end."""
        if said:
            self._silent_since = None
        if self._silent_since is not None and time.monotonic() - self._silent_since > READY_WITHIN_S:
            self.child.end()
            raise ChildError("The background process does not start; try again, and look at the report under Device.")

    def end(self) -> None:
        """End it and all its children; nothing of it is left, and its jobs end as cancelled."""
        self.child.end()
        for job in self.jobs:
            job.fail(CancelledError(CANCELLED))
        self.jobs = []

    def log(self) -> str:
        """The end of what it wrote to standard error."""
        return self.child.log()


class Job:
    """One request to a worker, from asking to its answer.

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
            kind = BY_EXIT_CODE.get(int(event.get("exit_code", 1)), ChildError)
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

    def wait(self) -> dict[str, Any]:
        """Wait for the answer.

        Raises
        ------
        CadxError
            What the worker raised, or :class:`cadx.child.ChildError` where it died.
        """
        wait_for(self)
        if self.error is not None:
            raise self.error
        assert self.answer is not None
        return self.answer

    def cancel(self) -> None:
        """End the worker with all its children; all its jobs end as cancelled."""
        self._worker.end()


class CommandJob:
    """A module of this package run as a command in a process of its own.

    Parameters
    ----------
    arguments
        Of the interpreter, such as ``("-m", "cadx", "batch", ...)``.
    python
        Interpreter to run it with.
    accepted
        Exit codes that are no failure.
    said
        Called with each line of its standard output, in the thread that polls.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        python: str = sys.executable,
        accepted: Sequence[int] = (0,),
        said: Callable[[str], None] | None = None,
    ) -> None:
        self._child = Child(arguments, python)
        self._accepted = accepted
        self._said = said or (lambda line: None)
        self._output: list[str] = []
        self._error: CadxError | None = None
        self.done = False

    def poll(self) -> bool:
        """Take what the command has said; returns at once, True when it has ended."""
        if self.done:
            return True
        gone = not self._child.alive
        for line in self._child.lines():
            self._output.append(line.decode("utf-8", errors="replace"))
            self._said(self._output[-1])
        if gone:
            self._end()
        return self.done

    def wait(self) -> list[str]:
        """Wait for the end; the lines of its standard output.

        Raises
        ------
        CadxError
            What the command complained of.
        """
        wait_for(self)
        if self._error is not None:
            raise self._error
        return self._output

    def cancel(self) -> None:
        """End the command with all its children."""
        if not self.done:
            self._child.end()
            self._error, self.done = CancelledError(CANCELLED), True

    def _end(self) -> None:
        code = self._child.process.returncode
        if code not in self._accepted:
            lines = [line for line in self._child.log().splitlines() if line.startswith("cadx: ")]
            text = lines[-1].removeprefix("cadx: ") if lines else self._child.obituary()
            self._error = BY_EXIT_CODE.get(code, ChildError)(text)
        self._child.end()
        self.done = True


class Pending(Generic[T]):
    """Work, and what its answer will be made into, in the thread that takes it."""

    def __init__(self, work: Work[Any], make: Callable[[Any], T]) -> None:
        self._work = work
        self._make = make
        self._made: list[T] = []

    @property
    def done(self) -> bool:
        """Whether there is an answer or an error to take."""
        return self._work.done

    def poll(self) -> bool:
        """Take what the process has said; returns at once, True when :attr:`result` is there."""
        return self._work.poll()

    def cancel(self) -> None:
        """End the process with all its children; the work ends as cancelled."""
        self._work.cancel()

    @property
    def result(self) -> T:
        """The result; waits for it.

        Raises
        ------
        CadxError
            What the process complained of, :class:`cadx.child.ChildError` where it died,
            :class:`cadx.errors.CancelledError` after :meth:`cancel`.
        """
        if not self._made:
            self._made.append(self._make(self._work.wait()))
        return self._made[0]

    def then(self, make: Callable[[T], U]) -> Pending[U]:
        """The same work with its result made into something else."""
        return Pending(self._work, lambda answer: make(self.result))


def wait_for(work: Work[Any], every_s: float = 0.01) -> None:
    """Poll until done."""
    while not work.poll():
        time.sleep(every_s)
