"""Loading the model before the user asks, which names the device too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cadx.errors import CadxError, CancelledError
from cadx.slicer.panel.poller import Poller


class ModelLoading:
    """Remembers which model the worker has loaded.

    Parameters
    ----------
    logic
        A :class:`cadx.slicer.logic.GradingLogic`.
    poller
        Listens to the work.
    described
        Called with the device when the model is loaded.
    note
        Called with what went wrong, in one sentence.
    """

    def __init__(
        self,
        logic: Any,
        poller: Poller,
        described: Callable[[dict[str, str]], None],
        note: Callable[[str], None],
    ) -> None:
        self._logic, self._poller, self._described, self._note = logic, poller, described, note
        self._loaded: Any = None

    def load(self, options: dict[str, Any]) -> None:
        """Load the model, unless that was done; ``options`` are ``bundle`` and ``device``, as the logic takes them."""
        wanted = tuple(options.values())
        if self._loaded != wanted:
            self._loaded = wanted
            self._poller.add(self._logic.describeInBackground(**options), self._described, self._failed)

    def worker_ended(self) -> None:
        """The next worker has no model loaded."""
        self._loaded = None

    def _failed(self, error: CadxError) -> None:
        self._loaded = None
        if not isinstance(error, CancelledError):
            self._note(str(error))
