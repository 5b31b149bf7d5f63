"""How strong attention must be to be shown: one rule for pictures, overlay and legend."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AVERAGE = 1.0
LEAST_SPAN = 0.5
LOWEST_SHOWN = 0.25
"""Part of the scale below which an overlay that cannot fade (Slicer draws a voxel or not) leaves the image free."""


def display_range(attention: NDArray[np.floating]) -> tuple[float, float]:
    """Lower and upper end of the colour scale for attention relative to the average patch.

    What lies below the average (1) is not drawn. The scale spans at least 1 to 1.5, so that a map which is
    nearly even looks faint, as it should.

    >>> display_range(np.array([0.8, 1.2]))
    (1.0, 1.5)
    """
    finite = attention[np.isfinite(attention)]
    return AVERAGE, max(float(np.max(finite, initial=0.0)), AVERAGE + LEAST_SPAN)


def height_text(height_mm: float, digits: int = 1) -> str:
    """A height with its letter instead of a sign.

    >>> height_text(-12.04)
    'I 12.0 mm'
    """
    return f"{'S' if height_mm >= 0 else 'I'} {abs(height_mm):.{digits}f} mm"
