"""A map laid over the images in Slicer's slice views, changed only when something about it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cadx.slicer import display


@dataclass(frozen=True)
class Showing:
    """How a map is shown.

    Parameters
    ----------
    images
        Volume nodes to lay it over: one in every view, or two beside each other.
    attention
        Its volume node; None shows the images alone.
    threshold
        Part of the colour scale below which it is not drawn, 0..1.
    opacity
        0..1.
    legend
        Whether the colour legend is shown.
    """

    images: tuple[Any, ...]
    attention: Any
    threshold: float
    opacity: float
    legend: bool


class AttentionViews:
    """The slice views of a scene.

    A scene that was loaded shows its views as they were saved: the first thing that is shown then is taken as shown.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._shown: Showing | None = None
        self._as_saved = True
        self._before: Any = None

    def forget(self) -> None:
        """Another scene comes."""
        self._shown, self._as_saved, self._before = None, True, None

    def show(self, wanted: Showing) -> None:
        """Bring the views there, unless they are."""
        if wanted != self._shown and not self._as_saved:
            self._apply(wanted)
        self._shown, self._as_saved = wanted, False

    def renew(self, wanted: Showing) -> None:
        """Bring the views there, whatever they show."""
        self._apply(wanted)
        self._shown, self._as_saved = wanted, False

    def expect(self) -> None:
        """What is shown next is not shown yet: it was made while another module had the views."""
        self._shown, self._as_saved = None, False

    def clear(self, image: Any) -> None:
        """Take a map that was shown away: another case's must not lie over this image."""
        if self._shown is not None and image is not None:
            self._apply(Showing((image,), None, 0.0, 0.0, False))
        self._shown = None

    def _apply(self, wanted: Showing) -> None:
        if self._shown is not None and self._shown.attention not in (None, wanted.attention):
            display.set_legend_visible(self._shown.attention, False)
        if wanted.attention is not None:
            low, high = display.colour_scale(wanted.attention)
            display.set_threshold(wanted.attention, low + wanted.threshold * (high - low))
            display.set_legend_visible(wanted.attention, wanted.legend)
        self._arrange(len(wanted.images) > 1)
        first, second = wanted.images[0], wanted.images[-1]
        if first is not second:
            display.show_side_by_side(self._scene, first, second, wanted.attention, wanted.opacity)
        else:
            display.show_in_views(self._scene, first, wanted.attention, wanted.opacity)

    def _arrange(self, side_by_side: bool) -> None:
        """The layout for two images, or back to the user's own."""
        if side_by_side and self._before is None:
            self._before = display.current_arrangement(self._scene)
            display.set_layout(self._scene, display.side_by_side_layout())
        elif not side_by_side and self._before is not None:
            display.set_arrangement(self._scene, self._before)
            self._before = None
