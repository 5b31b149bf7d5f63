"""Which slices of a ROI are graded, and how large it is, in words that a radiologist reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cadx.explain.display import height_text
from cadx.roi import Roi

if TYPE_CHECKING:
    from cadx.prepare.pipeline import CellLayout

_DIRECTIONS = ("R-L", "A-P", "S-I")
_NOTEWORTHY_MM = 1.0


class SliceChoice:
    """A window of consecutive slices within those of a ROI, or all of them where the model is fed a cube.

    Parameters
    ----------
    layout
        Where the ROI's cells lie.
    count
        Slices in a window.
    first
        The window's first slice, counted from the ROI's lowest (0); None for the window in the middle.
    """

    def __init__(self, layout: CellLayout, count: int, first: int | None = None) -> None:
        from cadx.prepare.grid import cell_centres

        total = len(layout.slices)
        if layout.whole:
            count, first = total, 0
        self.starts = max(1, total - count + 1)
        self.start = max(0, total // 2 - count // 2) if first is None else first
        end = min(self.start + count, total) - 1
        numbers = [int(number) + 1 for number in layout.slices]
        self.whole = f"{numbers[0]}-{numbers[-1]}"
        self.chosen = f"{numbers[self.start]}-{numbers[end]}"
        heights = cell_centres(layout.geometry)[:, 2]
        ends = (0, -1) if layout.whole else (self.start, end)
        self.low, self.high = (height_text(float(heights[index])) for index in ends)

    @property
    def last_start(self) -> int:
        """Where the highest window starts."""
        return self.starts - 1


def is_same_size(roi: Roi, used: Roi) -> bool:
    """Whether the box that is used has the ROI's size, to a millimetre: it grows where the ROI had to be turned."""
    return bool(np.abs(_by_direction(used) - _by_direction(roi)).max() <= _NOTEWORTHY_MM)


def size_text(roi: Roi) -> str:
    """Edge lengths by direction, mm."""
    edges = (f"{name} {mm:.0f}" for name, mm in zip(_DIRECTIONS, _by_direction(roi), strict=True))
    return " x ".join(edges) + " mm"


def _by_direction(roi: Roi) -> np.ndarray:
    """Edge lengths of the edges nearest to R, A and S, mm."""
    return np.array([roi.size_mm[np.abs(roi.axes[row]).argmax()] for row in range(3)])
