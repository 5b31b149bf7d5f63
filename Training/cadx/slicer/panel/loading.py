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
        self._failed: Any = None

    def load(self, options: dict[str, Any], *, again: bool = False) -> None:
        """Load the model, unless that was done; ``options`` are ``bundle`` and ``device``, as the logic takes them.

        What could not be loaded is tried ``again`` only when that is wanted: a panel asks whenever a view moves.
        """
        wanted = tuple(options.values())
        if wanted == self._loaded or (wanted == self._failed and not again):
            return
        self._loaded, self._failed = wanted, None
        work = self._logic.describeInBackground(**options)
        self._poller.add(work, self._described, lambda error: self._could_not(wanted, error))

    def worker_ended(self) -> None:
        """The next worker has no model loaded, and may load what the last one could not."""
        self._loaded = self._failed = None

    def _could_not(self, wanted: Any, error: CadxError) -> None:
        if self._loaded == wanted:
            self._loaded = None
        if not isinstance(error, CancelledError):
            self._failed = wanted
            self._note(str(error))
