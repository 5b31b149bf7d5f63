"""A side of a comparison in a process of its own, so that what the package sets for its process does not help it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

from cadx.errors import CadxError


class Apart:
    """Something to measure, made and called in another process; the way there and back takes well under a millisecond.

    Parameters
    ----------
    make
        A module's function or class; called once with ``given``, it gives what each call runs.
    given
        Plain data, copied there.

    Raises
    ------
    CadxError
        If it cannot be made; a call raises it likewise.
    """

    def __init__(self, make: Callable[..., Callable[[], object]], *given: Any) -> None:
        # spawn: the copy begins as any program does
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, make, given))
        self._process.start()
        there.close()
        self._heard()

    def __call__(self) -> None:
        self._here.send(True)
        self._heard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._here.close()
        self._process.join(10)
        self._process.kill()

    def _heard(self) -> None:
        try:
            complaint = self._here.recv()
        except EOFError:
            complaint = "its process ended"
        if complaint:
            self._process.kill()
            raise CadxError(f"The straightforward side could not be measured: {complaint}.")


def _serve(connection: Connection, make: Callable[..., Callable[[], object]], given: tuple[Any, ...]) -> None:
    try:
        run = make(*given)
        connection.send("")
        while connection.recv():
            run()
            connection.send("")
    except EOFError:
        return
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
