"""The slices a case is read through: T1's own, or an axial stack where T1 is not near axial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadx.geometry import Array, Geometry
from cadx.notices import Notice
from cadx.roi import Roi

MAX_TILT_DEGREES = 30.0
MAX_IN_PLANE_RATIO = 1.5


@dataclass(frozen=True, eq=False)
class SliceFrame:
    """A stack of parallel slices in patient space.

    Parameters
    ----------
    axes
        (3, 3) columns in RAS: the stack's right, anterior and superior directions.
    first_mm
        Position of the lowest slice along the superior direction, mm.
    spacing_mm
        Distance between slices, mm.
    count
        Number of slices.
    own
        True where these are the volume's own slices.
    """

    axes: Array
    first_mm: float
    spacing_mm: float
    count: int
    own: bool

    @classmethod
    def of(cls, geometry: Geometry) -> SliceFrame:
        """The slices of a volume in canonical storage (I, J, K near R, A, S)."""
        if _is_axial(geometry):
            axes = geometry.axes
            first = float(geometry.origin_ras @ axes[:, 2])
            return cls(axes, first, float(geometry.spacing[2]), geometry.size_ijk[2], own=True)
        heights = geometry.corners_ras()[:, 2]
        spacing = float(geometry.spacing.max())
        count = max(1, int(np.floor((heights.max() - heights.min()) / spacing)))
        first = float((heights.max() + heights.min() - (count - 1) * spacing) / 2)
        return cls(np.eye(3), first, spacing, count, own=False)

    def positions_mm(self) -> Array:
        """(count,) positions along the superior direction, inferior to superior, mm."""
        return self.first_mm + self.spacing_mm * np.arange(self.count)

    def slices_in(self, roi: Roi) -> NDArray[np.intp]:
        """Indices, inferior to superior, of the slices whose centre lies in a box along these axes."""
        middle = float(roi.center_ras @ self.axes[:, 2])
        inside = np.abs(self.positions_mm() - middle) <= roi.size_mm[2] / 2 + 1e-6
        return np.flatnonzero(inside)

    def notices(self, name: str) -> list[Notice]:
        """A warning where the volume's own slices cannot be used."""
        if self.own:
            return []
        text = (
            f"{name} is not near axial; it was resliced into axial slices {self.spacing_mm:.1f} mm apart, "
            "so fine detail along the new slices is interpolated."
        )
        return [Notice("t1-not-axial", text)]


def _is_axial(geometry: Geometry) -> bool:
    tilt = np.degrees(np.arccos(np.clip(abs(geometry.axes[2, 2]), 0, 1)))
    thick = geometry.spacing.max() / geometry.spacing[2]
    return bool(tilt <= MAX_TILT_DEGREES and thick <= MAX_IN_PLANE_RATIO)
