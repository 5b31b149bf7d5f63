"""Getting ready before the user asks: images prepared in the background, and then the model loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cadx.errors import CadxError, CancelledError
from cadx.slicer.panel.loading import ModelLoading
from cadx.slicer.panel.poller import Poller
from cadx.slicer.rois import node_to_roi


class Ahead:
    """Keeps the cells of the case that is chosen, and starts what they need.

    Parameters
    ----------
    logic
        An :class:`cadx.slicer.ipmn.IPMNClassifierLogic`.
    poller
        Listens to the work.
    loading
        Loads the model when images were prepared.
    progress
        Called with stage and fraction while images are prepared.
    changed
        Called when preparing has ended.
    note
        Called with what went wrong, in one sentence.
    """

    def __init__(
        self,
        logic: Any,
        poller: Poller,
        loading: ModelLoading,
        *,
        progress: Callable[[str, float], None],
        changed: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        self._logic, self._poller, self._loading = logic, poller, loading
        self._progress, self._changed, self._note = progress, changed, note
        self.forget()

    def forget(self) -> None:
        """Another scene comes."""
        self.cells: Any = None
        self._cells_for: Any = None
        self._preparing: Any = None
        self._failed: Any = None
        self._wanted: Any = None

    @property
    def preparing(self) -> bool:
        """Whether images are being prepared."""
        return self._preparing is not None

    @property
    def problem(self) -> str:
        """Why the images that are chosen cannot be prepared, in one sentence."""
        return self._failed[1] if self._failed is not None and self._failed[0] == self._wanted else ""

    def update(self, nodes: tuple[Any, Any, Any], options: dict[str, Any], pad: bool) -> None:
        """Take the cells of a ROI as it stands, or start preparing the images.

        Parameters
        ----------
        nodes
            T1, T2 and ROI.
        options
            ``bundle`` and ``device``, as the logic takes them.
        pad
            Whether the last slice is repeated where there are too few.
        """
        self._wanted = self._logic.imagesHash(*nodes, **options), str(options["bundle"])
        cells_for = (self._wanted, options["device"], node_to_roi(nodes[2]).corners_ras().tobytes(), pad)
        if self.cells is not None and cells_for == self._cells_for:
            return
        self.cells, self._cells_for = None, cells_for
        try:
            self.cells = self._logic.prepared(*nodes, **options, pad=pad)
            if self.cells is None and not self.preparing and not self.problem:
                self._start(nodes, options)
        except CadxError as error:
            self._failed = (self._wanted, str(error))

    def none(self) -> None:
        """There is nothing to prepare."""
        self.cells = self._wanted = None

    def _start(self, nodes: tuple[Any, Any, Any], options: dict[str, Any]) -> None:
        wanted = self._preparing = self._wanted
        job = self._logic.prepareInBackground(*nodes, **options, progress=self._progress)

        def done(answer: Any) -> None:
            self._preparing = None
            self._loading.load(options)
            self._changed()

        def failed(error: CadxError) -> None:
            self._preparing = None
            if not isinstance(error, CancelledError):
                self._failed = (wanted, str(error))
                self._note(str(error))
            self._changed()

        self._poller.add(job, done, failed)
