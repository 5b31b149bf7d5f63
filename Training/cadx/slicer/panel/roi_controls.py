"""Controls of a ROI node: placing it with the mouse, showing it, fitting it to a segment, its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import slicer.util
from slicer.i18n import tr as _

from cadx.errors import InputError
from cadx.roi import Roi
from cadx.slicer import placing
from cadx.slicer.fitting import fit_roi, fit_sources
from cadx.slicer.panel.setting import set_quietly
from cadx.slicer.rois import node_to_roi, set_roi
from cadx.slicer.segments import MaskSource
from cadx.slicer.slice_choice import is_same_size, size_text


class RoiControls:
    """Works on the ROI that is chosen.

    Parameters
    ----------
    ui
        Namespace of widgets: ``placeButton``, ``showRoiButton``, ``fitSelector``, ``fitButton``, ``sizeLabel``.
    current
        Returns the ROI node that is chosen, or None.
    reference
        Returns the volume node along whose axes a ROI is fitted, or None.
    choose
        Called with a ROI node that was made here.
    """

    def __init__(
        self, ui: Any, current: Callable[[], Any], reference: Callable[[], Any], choose: Callable[[Any], None]
    ) -> None:
        self._ui, self._current, self._reference, self._choose = ui, current, reference, choose
        self._sources: list[MaskSource] = []
        self._before: Any = None
        ui.placeButton.connect("clicked()", self._place)
        ui.showRoiButton.connect("clicked()", self._show)
        ui.fitButton.connect("clicked()", self._fit)

    def update(self, layout: Any, channel: str = "T1") -> None:
        """Show the ROI's state; ``layout`` says what of it is used along ``channel``'s slices, None if not known."""
        ui, roi = self._ui, self._current()
        placed, placing_now = placing.is_placed(roi), placing.is_placing(slicer.mrmlScene, roi)
        if placing_now:
            text = _("Click two opposite corners in a slice view; press the button again to leave it.")
        elif placed:
            text = _size_line(node_to_roi(roi), layout, channel)
        else:
            text = _("Not placed yet.") if roi is not None else _("No ROI yet: place one, or fit one.")
        ui.sizeLabel.setText(text)
        set_quietly(ui.placeButton.setChecked, ui.placeButton, placing_now)
        ui.showRoiButton.setEnabled(roi is not None)
        visible = roi is not None and bool(roi.GetDisplayVisibility())
        set_quietly(ui.showRoiButton.setChecked, ui.showRoiButton, visible)
        self._list_sources()

    def mouse_mode_changed(self) -> None:
        """The user has placed the ROI, or given up: then the earlier box comes back."""
        roi = self._current()
        if self._before is None or roi is None or placing.is_placing(slicer.mrmlScene, roi):
            return
        if not placing.is_placed(roi):
            set_roi(roi, self._before)
        self._before = None

    def leave(self) -> None:
        """The user opens another module."""
        if placing.is_placing(slicer.mrmlScene, self._current()):
            placing.stop_placing(slicer.mrmlScene)

    def _list_sources(self) -> None:
        sources, ui = fit_sources(slicer.mrmlScene), self._ui
        if [source.label for source in sources] != [source.label for source in self._sources]:
            ui.fitSelector.clear()
            ui.fitSelector.addItems([source.label for source in sources])
        self._sources = sources
        ui.fitSelector.setEnabled(bool(sources))
        ui.fitButton.setEnabled(bool(sources))
        around, none = _("Put the ROI around the segment with 10 mm to spare."), _("The scene has no segment or mask.")
        ui.fitButton.setToolTip(around if sources else none)

    def _place(self) -> None:
        if not self._ui.placeButton.checked:
            placing.stop_placing(slicer.mrmlScene)
            return
        roi = self._current()
        self._before = node_to_roi(roi) if placing.is_placed(roi) else None
        self._choose(placing.start_placing(slicer.mrmlScene, roi, _("Pancreas")))

    def _show(self) -> None:
        self._current().SetDisplayVisibility(bool(self._ui.showRoiButton.checked))

    def _fit(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The ROI could not be fitted."), waitCursor=True):
            source = self._sources[int(self._ui.fitSelector.currentIndex)]
            roi = self._current() or placing.new_roi(slicer.mrmlScene, _("Pancreas"))
            try:
                fit_roi(roi, source, reference=self._reference())
            except InputError:
                if roi is not self._current():
                    slicer.mrmlScene.RemoveNode(roi)
                raise
            self._choose(roi)


def _size_line(box: Roi, layout: Any, channel: str) -> str:
    text = _("Size: {size}").format(size=size_text(box))
    if layout is None or is_same_size(box, layout.box):
        return text
    return text + _("; used along {channel}'s slices: {size}").format(channel=channel, size=size_text(layout.box))
