"""Listening to work in other processes from the event loop, without waiting for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import qt

from cadx.child import ChildError
from cadx.errors import CadxError

log = logging.getLogger(__name__)
EVERY_MS = 30


class Poller:
    """Polls work (:class:`cadx.job.Pending` or :class:`cadx.job.Job`) and hands over what comes of it.

    It holds one timer, which runs only while there is work.
    """

    def __init__(self) -> None:
        self._work: list[tuple[Any, Callable[[Any], None], Callable[[CadxError], None]]] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(EVERY_MS)
        self._timer.connect("timeout()", self._tick)

    def add(self, work: Any, done: Callable[[Any], None], failed: Callable[[CadxError], None]) -> None:
        """Call ``done`` with the result when it is there, or ``failed`` with the error."""
        self._work.append((work, done, failed))
        self._timer.start()

    def forget(self) -> None:
        """Hand over nothing more."""
        self._work = []
        self._timer.stop()

    @property
    def busy(self) -> bool:
        """Whether there is work."""
        return bool(self._work)

    def _tick(self) -> None:
        for entry in list(self._work):
            if entry in self._work and _polled(entry[0]):
                self._work.remove(entry)
                self._hand_over(*entry)
        if not self._work:
            self._timer.stop()

    def _hand_over(self, work: Any, done: Callable[[Any], None], failed: Callable[[CadxError], None]) -> None:
        try:
            result = work.result if hasattr(work, "then") else work.wait()
        except CadxError as error:
            failed(error)
        except Exception as error:
            log.exception("The answer could not be taken")
            failed(ChildError(f"An unexpected {type(error).__name__} stopped the work; the log holds the details."))
        else:
            done(result)


def _polled(work: Any) -> bool:
    """One that cannot even be listened to is taken for done: what is wrong comes up when its result is taken."""
    try:
        return bool(work.poll())
    except Exception:
        log.exception("The work could not be listened to")
        work.cancel()
        return True
