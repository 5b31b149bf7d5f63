"""A Python process with children of its own that is listened to without waiting, and ended whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

from cadx import errors
from cadx.errors import CadxError

MAX_LINE_BYTES = 50_000_000
END_WITHIN_S = 2.0
# on Windows a console program started by one with windows would open a console
NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)
LOG_CHARACTERS = 20_000


class ChildError(CadxError):
    """The process died, or said what it should not; the message says what to do (exit 1)."""

    exit_code = 1


class Child:
    """A process group of its own; no thread, so that it works in an event loop that holds the interpreter.

    Parameters
    ----------
    arguments
        Of the interpreter, such as ``("-m", "cadx.worker")``.
    python
        Interpreter to run it with (in Slicer, PythonSlicer).
    environment
        Of the process; None: this process's own, with this package on its path.
    """

    def __init__(
        self, arguments: Sequence[str], python: str = sys.executable, environment: dict[str, str] | None = None
    ) -> None:
        # a file: a pipe that nobody reads would fill up and stop the process
        self._log: BinaryIO = tempfile.TemporaryFile(prefix="cadx-log-")  # noqa: SIM115 (lives as long as the process)
        self._pending = b""
        self.process = subprocess.Popen(
            [python, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=package_environment() if environment is None else environment,
            start_new_session=os.name == "posix",
            creationflags=NO_WINDOW,
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        # also when the program ends without having ended it
        self._finalizer = weakref.finalize(self, _end_group, self.process)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def send(self, line: str) -> None:
        """Hand over one line.

        Raises
        ------
        OSError
            If the process is gone.
        """
        assert self.process.stdin is not None
        if self.process.stdin.closed:
            raise BrokenPipeError
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def lines(self) -> list[bytes]:
        """The whole lines that it has said since the last call; returns at once.

        Raises
        ------
        ChildError
            If it says more than any answer holds. It is ended then.
        """
        assert self.process.stdout is not None
        if self.process.stdout.closed:
            return []
        while chunk := self.process.stdout.read(1 << 20):
            self._pending += chunk
            if len(self._pending) > MAX_LINE_BYTES:
                self.end()
                raise ChildError("The background process said more than any answer holds; it was ended, try again.")
        *lines, self._pending = self._pending.split(b"\n")
        return [line for line in lines if line.strip()]

    def end(self) -> None:
        """End it and all its children; nothing of it is left. It holds nothing that would be lost."""
        self._finalizer()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_WITHIN_S)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def log(self) -> str:
        """The end of what it wrote to standard error."""
        if self._log.closed:
            return ""
        self._log.seek(0)
        return self._log.read().decode("utf-8", errors="replace")[-LOG_CHARACTERS:]

    def obituary(self) -> str:
        """How it ended, in one sentence."""
        code = self.process.poll()
        if code is not None and code < 0:
            reason = f"was ended by signal {-code}" + (", perhaps for want of memory" if code == -9 else "")
        else:
            reason = f"ended by itself with code {code}"
        return f"The background process {reason}; try again, and look at the log if it happens twice."


def _end_group(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        # the leader's number is also the group's, whether it lives or not
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        command = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.run(command, check=False, capture_output=True, creationflags=NO_WINDOW)


def package_environment() -> dict[str, str]:
    """This process's environment with this package on the path, for a process that runs it."""
    package = str(Path(errors.__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH", "")
    path = package if not known else os.pathsep.join((package, known))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def keep_standard_output() -> TextIO:
    """For the program of such a process: where to say its lines; what libraries print goes to standard error."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return lines
