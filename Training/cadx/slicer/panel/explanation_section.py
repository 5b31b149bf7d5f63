"""How the map is shown: on which image, from what strength, how dense; and what it is and is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from cadx.explain.display import ATTENTION, GRADCAM, HIRESCAM, MapKind
from cadx.slicer.panel.forms import button, form_with_room_below
from cadx.slicer.panel.pixels import to_pixmap
from cadx.slicer.tiles import legend_pixels


class ExplanationSection:
    """Controls of the overlay.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    places
        What the map can be shown on, in the order of the list.
    placed
        Called with the index of the place that a user chooses. The other controls are bound to parameters.
    strongest
        Called when the user wants to see where the map is strongest.
    """

    def __init__(
        self, parent: Any, places: list[str], placed: Callable[[int], None], strongest: Callable[[], None]
    ) -> None:
        form, below = form_with_room_below(parent)
        self.place = qt.QComboBox()
        self.place.addItems(places)
        self.place.setToolTip(_("The image that the map is laid over in the slice views."))
        self.threshold = _slider(_("What is below this part of the colour scale is not drawn."))
        self.opacity = _slider(_("How dense the map is drawn over the image; 0 hides it."))
        self.legend = qt.QCheckBox(_("Colour legend in the slice views"))
        self.legend.setToolTip(_("Show the scale of the colours in the slice views."))
        self.on_tiles = qt.QCheckBox()
        self.on_tiles.setToolTip(_("Lay the map over the pictures that the model was fed, too."))
        self._bar, self._scale = qt.QLabel(), qt.QLabel()
        self._bar.setScaledContents(True)
        self._bar.setFixedHeight(12)
        self._bar.setToolTip(_("Colours from the lower to the upper end of the scale."))
        form.addRow(_("Show on:"), self.place)
        form.addRow(_("Threshold:"), self.threshold)
        form.addRow(_("Opacity:"), self.opacity)
        self.strongest = button("", _("Bring the slice views to the point with the highest value."))
        self._sentence = qt.QLabel()
        self._sentence.setWordWrap(True)
        self.strongest.connect("clicked()", strongest)
        for widget in (self.legend, self.on_tiles, self.strongest, self._bar, self._scale, self._sentence):
            below.addWidget(widget)
        self._placed = placed
        self.place.connect("activated(int)", placed)
        self.show_kind(ATTENTION)
        self.show_scale(None)

    @property
    def text(self) -> str:
        """What it says about the map."""
        return "\n".join(str(widget.text) for widget in (self.on_tiles, self.strongest, self._scale, self._sentence))

    def show_kind(self, kind: MapKind) -> None:
        """Name the kind of map that the model has."""
        self._kind = kind
        self.on_tiles.setText(_("{map} on what the model sees").format(map=kind.name))
        self.strongest.setText(_("Go to strongest {map}").format(map=kind.word))
        rollout = _(
            "Attention rollout shows where information could flow from into the decision; it does not show that a "
            "region caused the answer, and it is no outline of a lesion. One map belongs to all images of a case."
        )
        gradcam = _(
            "Grad-CAM shows where the network's feature maps speak for the answer. It is coarse; it does not show that "
            "a region caused the answer, and it is no outline of a lesion."
        )
        hirescam = _(
            "HiResCAM shows where the network's features speak for the answer, place by place, finer where the "
            "model sharpens it by earlier layers. It does not show that "
            "a region caused the answer, and it is no outline of a lesion."
        )
        self._sentence.setText({ATTENTION: rollout, GRADCAM: gradcam, HIRESCAM: hirescam}[kind])

    def show_on(self, index: int) -> None:
        """As a user's choice of a place."""
        self.place.setCurrentIndex(index)
        self._placed(index)

    def set_enabled(self, enabled: bool, reason: str = "") -> None:
        """Whether there is a map to show; ``reason`` where not."""
        for widget in (self.place, self.threshold, self.opacity, self.legend, self.on_tiles, self.strongest):
            widget.setEnabled(enabled)
        if not enabled:
            self.show_scale(None, reason=reason)

    def show_scale(self, scale: tuple[float, float] | None, drawn_from: float = 0.0, *, reason: str = "") -> None:
        """The colours' legend: ``scale`` in the map's own unit; ``drawn_from`` a part of it, 0..1."""
        self._bar.setVisible(scale is not None)
        self._scale.setText(reason)
        self._scale.setVisible(bool(reason) or scale is not None)
        self._scale.setWordWrap(True)
        if scale is None:
            return
        low, high = scale
        self._bar.setPixmap(to_pixmap(legend_pixels()))
        averages = _(
            "Left {low:.1f}, right {high:.1f} times the average attention; drawn from {lowest:.1f} times on. "
            "Colours are scaled anew for each case."
        )
        maximum = _("Left {low:.0%}, right {high:.0%} of the highest {map} of this case; drawn from {lowest:.0%} on.")
        text = averages if self._kind is ATTENTION else maximum
        self._scale.setText(
            text.format(map=self._kind.name, low=low, high=high, lowest=low + drawn_from * (high - low))
        )


def _slider(tip: str) -> Any:
    slider = ctk.ctkSliderWidget()
    slider.minimum, slider.maximum, slider.singleStep, slider.decimals = 0.0, 1.0, 0.01, 2
    slider.setToolTip(tip)
    return slider
