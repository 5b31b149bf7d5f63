"""What a map means and how strong it must be to be shown: one rule for pictures, overlay and legend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

AVERAGE = 1.0
LEAST_SPAN = 0.5
LOWEST_SHOWN = 0.25
"""Part of the scale below which an overlay that cannot fade (Slicer draws a voxel or not) leaves the image free."""


@dataclass(frozen=True)
class MapKind:
    """A kind of map: how it is called, and what its numbers are.

    Parameters
    ----------
    name
        For nodes and legends; ``file`` is what its volume is called.
    method, unit, text
        As ``result.json`` says them.
    scale
        Beside a colour bar.
    """

    name: str
    file: str
    method: str
    unit: str
    scale: str
    text: str
    relative_to_average: bool

    def range(self, values: NDArray[np.floating]) -> tuple[float, float]:
        """Lower and upper end of the colour scale.

        Of attention, what lies below the average (1) is not drawn, and the scale spans at least 1 to 1.5, so that a
        map which is nearly even looks faint, as it should. Grad-CAM and HiResCAM have 0 to 1.
        """
        if not self.relative_to_average:
            return 0.0, 1.0
        finite = values[np.isfinite(values)]
        return AVERAGE, max(float(np.max(finite, initial=0.0)), AVERAGE + LEAST_SPAN)

    def number(self, value: float) -> str:
        """A value of the map with its unit, short.

        >>> ATTENTION.number(1.42), GRADCAM.number(0.25)
        ('1.4 x', '25 %')
        """
        return f"{value:.1f} x" if self.relative_to_average else f"{100 * value:.0f} %"

    @property
    def of_one_class(self) -> bool:
        """Whether it speaks of one class, and is shown relative to its maximum over a case."""
        return not self.relative_to_average

    @property
    def word(self) -> str:
        """Within a sentence."""
        return self.name.lower() if self.name.istitle() else self.name


ATTENTION = MapKind(
    name="Attention",
    file="attention.nii.gz",
    method="attention rollout (Abnar and Zuidema, 2020)",
    unit="relative to the average patch (1 = average)",
    scale="attention, relative to the average patch",
    text="Where information could flow from into the decision; it does not show that a region caused the grade.",
    relative_to_average=True,
)
GRADCAM = MapKind(
    name="Grad-CAM",
    file="gradcam.nii.gz",
    method="Grad-CAM (Selvaraju et al., 2017)",
    unit="relative to its maximum (1 = highest)",
    scale="Grad-CAM, relative to its maximum",
    text="Where feature maps speak for the class, coarsely; it does not show that a region caused the grade.",
    relative_to_average=False,
)
HIRESCAM = MapKind(
    name="HiResCAM",
    file="hirescam.nii.gz",
    method="HiResCAM (Draelos and Carin, 2020)",
    unit="relative to its maximum (1 = highest)",
    scale="HiResCAM, relative to its maximum",
    text="Where features speak for the class, place by place; it does not show that a region caused the grade.",
    relative_to_average=False,
)
KINDS = (ATTENTION, GRADCAM, HIRESCAM)


def kind_of(explanation: Mapping[str, Any] | None) -> MapKind | None:
    """The kind of map that a result's ``explanation`` speaks of; None where it has none.

    >>> kind_of({"method": "Grad-CAM (Selvaraju et al., 2017)"}).name
    'Grad-CAM'
    """
    method = str((explanation or {}).get("method", ""))
    return next((kind for kind in KINDS if kind.method == method), None)


def display_range(attention: NDArray[np.floating], kind: MapKind = ATTENTION) -> tuple[float, float]:
    """Lower and upper end of the colour scale of a map.

    >>> display_range(np.array([0.8, 1.2]))
    (1.0, 1.5)
    """
    return kind.range(attention)


def height_text(height_mm: float, digits: int = 1) -> str:
    """A height with its letter instead of a sign.

    >>> height_text(-12.04)
    'I 12.0 mm'
    """
    return f"{'S' if height_mm >= 0 else 'I'} {abs(height_mm):.{digits}f} mm"


def percent(probability: float) -> str:
    """A probability as text that never rounds to certainty.

    >>> percent(0.704), percent(0.9999), percent(0.0004), percent(1.0)
    ('70 %', '> 99 %', '< 1 %', '100 %')
    """
    if 0.0 < probability < 0.005:
        return "< 1 %"
    if 0.995 <= probability < 1.0:
        return "> 99 %"
    return f"{100 * probability:.0f} %"
