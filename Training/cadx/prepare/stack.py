"""A volume as slices the way a radiologist sees them, whatever its storage, and maps of slices put back into it.

Where no plane is chosen, the slices are those of the acquisition: along the axis whose spacing is unlike the other two,
which are alike (1 %); along the longest spacing where all three differ; axial where all three are alike; a volume of a
single slice is that slice. Axial slices have anterior up and the patient's right on the left, coronal ones superior up
and the right on the left, sagittal ones superior up and anterior on the left. No voxel is interpolated.

A slice becomes 8 bits from its own minimum (0) to its own maximum (255), whatever type it is stored in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.geometry import Array, Geometry
from cadx.notices import Notice
from cadx.planes import PLANES, Plane
from cadx.prepare.picture import Picture, picture_of
from cadx.volume import Volume

_EDGES = (("A", "P"), ("R", "L"), ("R", "L"))
ALIKE = 0.01
SQUARE = 0.1


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of a volume.

    Parameters
    ----------
    volume
        As stored; slices are numbered from 0 in its own order.
    axis
        The patient's axis nearest to the stack's: 0 (right), 1 (anterior) or 2 (superior).

    Examples
    --------
    >>> geometry = Geometry.from_axes((4, 3, 2), (1, 1, 5), -np.eye(3), (0, 0, 5))
    >>> stack = Stack.of(Volume(np.arange(24.0).reshape(2, 3, 4), geometry))
    >>> stack.plane, stack.indices, [stack.position_mm(i) for i in stack.indices]
    ('axial', (1, 0), [0.0, 5.0])
    >>> stack.values(0).tolist()[0]
    [0.0, 1.0, 2.0, 3.0]
    """

    volume: Volume
    axis: int

    @classmethod
    def of(cls, volume: Volume, plane: Plane | None = None) -> Stack:
        """The slices nearest to ``plane``; None: those of the volume's own acquisition.

        Raises
        ------
        InputError
            If there is no such plane.
        """
        if plane is None:
            canonical = volume.canonical_geometry()
            single = [axis for axis in range(3) if canonical.size_ijk[axis] == 1]
            return cls(volume, single[0] if len(single) == 1 else stack_axis(canonical.spacing))
        if plane not in PLANES:
            raise InputError(f"There is no plane '{plane}'; choose axial, coronal or sagittal.")
        return cls(volume, PLANES.index(plane))

    @property
    def plane(self) -> Plane:
        """Whichever is nearest."""
        return PLANES[self.axis]

    @property
    def edges(self) -> tuple[str, str]:
        """Letters of the patient's directions at the left and the right edge of a displayed slice."""
        return _EDGES[self.axis]

    @property
    def count(self) -> int:
        """Number of slices."""
        return self.volume.geometry.size_ijk[self._stored]

    @property
    def indices(self) -> tuple[int, ...]:
        """Stored numbers of all slices, inferior to superior (posterior to anterior, left to right)."""
        return self.ordered(range(self.count))

    def ordered(self, indices: Any) -> tuple[int, ...]:
        """Stored numbers by place in the patient, each once."""
        return tuple(sorted({int(i) for i in indices}, reverse=self._signs[self.axis] < 0))

    def from_first(self, index: int) -> int:
        """A stored number counted from the most inferior (posterior, left) slice, the same for every storage."""
        return index if self._signs[self.axis] > 0 else self.count - 1 - index

    def require(self, index: int) -> None:
        """Raise :class:`InputError` where there is no such slice."""
        if not 0 <= index < self.count:
            raise InputError(
                f"{self.volume.name} has {self.count} {self.plane} slices, 0 to {self.count - 1}, and no slice "
                f"{index}; choose one of these."
            )

    def center_ras(self, index: int) -> Array:
        """Middle of a slice, RAS mm."""
        middle = (np.asarray(self.volume.geometry.size_ijk, dtype=float) - 1) / 2
        middle[self._stored] = index
        return self.volume.geometry.to_ras(middle)

    def position_mm(self, index: int) -> float:
        """Of a slice's middle along the patient's axis (right, anterior, superior), mm."""
        return float(self.center_ras(index)[self.axis])

    def values(self, index: int) -> NDArray[Any]:
        """A slice as it is displayed, (rows, columns)."""
        return displayed(self.volume.voxels, self.volume.geometry, self.axis)[index]

    def picture(self, index: int) -> Picture:
        """A slice as the network's preparation takes it.

        Raises
        ------
        InputError
            If there is no such slice, it shows nothing, or holds values that are no numbers.
        """
        self.require(index)
        # as floating point: integers of 8 bits would be taken as they are
        return picture_of(self.values(index).astype(np.float64), f"slice {index} of {self.volume.name}")

    def put_back(self, maps: Mapping[int, NDArray[np.float32]]) -> Volume:
        """Maps over displayed slices, by stored number, as a volume on the stored grid; zero elsewhere."""
        voxels = np.zeros(self.volume.voxels.shape, dtype=np.float32)
        slices = displayed(voxels, self.volume.geometry, self.axis)
        for index, values in maps.items():
            slices[index] = values
        return Volume(voxels, self.volume.geometry, "map")

    def notices(self) -> list[Notice]:
        """What is odd about the volume's slices."""
        notices = []
        if not self.volume.oriented:
            text = f"{self.volume.name} does not say where it lies in the patient; check that its slices are upright."
            notices.append(Notice("no-orientation", text))
        within = np.delete(self.volume.canonical_geometry().spacing, self.axis)
        if within.max() > (1 + SQUARE) * within.min():
            text = (
                f"The pixels of {self.volume.name} are {within[0]:.2f} x {within[1]:.2f} mm and not square, so its "
                "slices look squeezed to the model."
            )
            notices.append(Notice("pixels-not-square", text))
        return notices

    @cached_property
    def _order(self) -> tuple[int, int, int]:
        return self.volume.geometry.canonical_order()[0]

    @cached_property
    def _signs(self) -> tuple[int, int, int]:
        return self.volume.geometry.canonical_order()[1]

    @property
    def _stored(self) -> int:
        return self._order[self.axis]


def stack_axis(spacing: Array) -> int:
    """The axis of the acquisition's stack, from the spacing along R, A and S.

    >>> [stack_axis(np.array(s)) for s in ([1, 1, 5], [0.9, 1, 1], [1, 1, 1], [1, 3, 2])]
    [2, 0, 2, 1]
    """
    for axis in range(3):
        first, second = (float(s) for s in np.delete(spacing, axis))
        if _alike(first, second) and not _alike(float(spacing[axis]), first):
            return axis
    return 2 if _alike(float(spacing.min()), float(spacing.max())) else int(np.argmax(spacing))


def displayed(voxels: NDArray[Any], geometry: Geometry, axis: int) -> NDArray[Any]:
    """(slices, rows, columns) as displayed, slices in stored order: a view of the stored array (K, J, I)."""
    order, signs = geometry.canonical_order()
    across, up = (a for a in range(3) if a != axis)
    view = np.transpose(voxels, [2 - order[a] for a in (axis, up, across)])
    # the first row is the most superior (anterior) one, the first column the most right (anterior) one
    return np.flip(view, tuple(place for place, a in ((1, up), (2, across)) if signs[a] > 0))


def upright(values: NDArray[Any], axes: Array) -> NDArray[Any]:
    """One stored image (rows, columns) or (rows, columns, 3) as displayed.

    ``axes``: (3, 3) columns in RAS, of a row's next pixel, a column's next pixel, and the normal.
    """
    if values.ndim == 3:
        return np.stack([upright(values[..., channel], axes) for channel in range(values.shape[2])], axis=-1)
    rows, columns = values.shape
    geometry = Geometry.from_axes((columns, rows, 1), (1, 1, 1), axes, (0, 0, 0))
    return displayed(values[None], geometry, geometry.canonical_order()[0].index(2))[0]


def _alike(first: float, second: float) -> bool:
    return abs(first - second) <= ALIKE * max(first, second)
