"""Where voxels lie in the patient: size and the IJK-to-RAS matrix, and the one RAS/LPS conversion.

Everything inside ``cadx`` is in RAS millimetres (x to the patient's Right, y Anterior, z Superior),
as in Slicer and NIfTI. SimpleITK, DICOM and some markups files are LPS; they are converted here and
nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadx.errors import InputError

Array = NDArray[np.floating[Any]]

_FLIP_XY = np.array([-1.0, -1.0, 1.0])


def lps_to_ras(points: ArrayLike) -> Array:
    """Points or direction vectors (..., 3) from LPS to RAS; the map is its own inverse.

    >>> lps_to_ras([10.0, 20.0, 30.0]).tolist()
    [-10.0, -20.0, 30.0]
    """
    return np.asarray(points, dtype=float) * _FLIP_XY


ras_to_lps = lps_to_ras


@dataclass(frozen=True, eq=False)
class Geometry:
    """A regular grid of voxels in patient space.

    Parameters
    ----------
    size_ijk
        Number of voxels along I, J and K.
    ijk_to_ras
        (4, 4) matrix from voxel indices (centre of the first voxel = 0, 0, 0) to RAS millimetres.

    Raises
    ------
    InputError
        If the matrix is not finite, is singular or sheared, or a size is not positive.

    Examples
    --------
    >>> g = Geometry.from_axes((4, 3, 2), spacing=(1, 1, 5), axes=np.eye(3), origin=(0, 0, -5))
    >>> g.to_ras([0, 0, 1]).tolist()
    [0.0, 0.0, 0.0]
    >>> g.extent_mm.tolist()
    [4.0, 3.0, 10.0]
    """

    size_ijk: tuple[int, int, int]
    ijk_to_ras: Array

    def __post_init__(self) -> None:
        matrix = np.array(self.ijk_to_ras, dtype=float)
        matrix.setflags(write=False)
        object.__setattr__(self, "ijk_to_ras", matrix)
        object.__setattr__(self, "size_ijk", tuple(int(n) for n in self.size_ijk))
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError("The geometry is not a finite 4 x 4 matrix; export the image again.")
        if min(self.size_ijk) < 1:
            raise InputError(f"The image has no voxels (size {self.size_ijk}); export it again.")
        if self.spacing.min() < 1e-6:
            raise InputError("The geometry is singular (a spacing of zero); export the image again.")
        gram = self.axes.T @ self.axes
        if np.abs(gram - np.eye(3)).max() > 1e-3:
            raise InputError("The image axes are sheared (not at right angles); resample it to a regular grid first.")

    @classmethod
    def from_axes(
        cls, size_ijk: tuple[int, int, int], spacing: ArrayLike, axes: ArrayLike, origin: ArrayLike
    ) -> Geometry:
        """From spacing (mm), axes ((3, 3), columns are the unit vectors of I, J, K in RAS) and origin (RAS)."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(axes, dtype=float) * np.asarray(spacing, dtype=float)
        matrix[:3, 3] = origin
        return cls(size_ijk, matrix)

    @cached_property
    def spacing(self) -> Array:
        """Distance between voxel centres along I, J, K in mm."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)

    @cached_property
    def axes(self) -> Array:
        """(3, 3): columns are the unit vectors of I, J, K in RAS."""
        return self.ijk_to_ras[:3, :3] / self.spacing

    @property
    def origin_ras(self) -> Array:
        """Centre of voxel (0, 0, 0), RAS mm."""
        return self.ijk_to_ras[:3, 3]

    @property
    def extent_mm(self) -> Array:
        """Edge-to-edge length along I, J, K in mm."""
        return self.spacing * np.asarray(self.size_ijk)

    @property
    def center_ras(self) -> Array:
        """Centre of the whole grid, RAS mm."""
        return self.to_ras((np.asarray(self.size_ijk) - 1) / 2)

    @cached_property
    def ras_to_ijk(self) -> Array:
        """(4, 4) inverse of :attr:`ijk_to_ras`."""
        return np.linalg.inv(self.ijk_to_ras)

    def to_ras(self, ijk: ArrayLike) -> Array:
        """Continuous voxel indices (..., 3) in I, J, K order to RAS mm."""
        return np.asarray(ijk, dtype=float) @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def to_ijk(self, ras: ArrayLike) -> Array:
        """RAS mm (..., 3) to continuous voxel indices in I, J, K order."""
        return np.asarray(ras, dtype=float) @ self.ras_to_ijk[:3, :3].T + self.ras_to_ijk[:3, 3]

    def contains(self, ras: ArrayLike) -> NDArray[np.bool_]:
        """Whether points (..., 3) RAS lie within the voxels' outer edges."""
        ijk = self.to_ijk(ras)
        size = np.asarray(self.size_ijk)
        within: NDArray[np.bool_] = np.all((ijk >= -0.5 - 1e-6) & (ijk <= size - 0.5 + 1e-6), axis=-1)
        return within

    def corners_ras(self) -> Array:
        """(8, 3) outer corners (voxel edges, not centres), RAS mm."""
        ends = [(-0.5, n - 0.5) for n in self.size_ijk]
        return self.to_ras(list(product(*ends)))

    def is_close(self, other: Geometry, atol: float = 1e-3) -> bool:
        """Same size and, within ``atol`` mm at every corner, the same place."""
        return self.size_ijk == other.size_ijk and bool(np.abs(self.corners_ras() - other.corners_ras()).max() < atol)

    def canonical_order(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """How to permute and flip the storage so that I, J, K run nearest to R, A, S.

        Returns ``(order, signs)``: new axis ``a`` is stored axis ``order[a]``, reversed where
        ``signs[a]`` is -1. The choice depends on the axes' directions in the patient alone, so every
        storage of one volume gives the same canonical grid.
        """

        def rank(order: tuple[int, ...]) -> tuple[float, ...]:
            cosines = self.axes[:, order]
            diagonal = np.diag(cosines)
            physical = cosines * np.where(diagonal < 0, -1.0, 1.0)
            return (round(float(np.abs(diagonal).sum()), 6), *np.round(physical.ravel(), 6).tolist())

        i, j, k = max(permutations(range(3)), key=rank)
        signs = np.where(np.diag(self.axes[:, (i, j, k)]) < 0, -1, 1)
        return (i, j, k), (int(signs[0]), int(signs[1]), int(signs[2]))

    def reordered(self, order: tuple[int, int, int], signs: tuple[int, int, int]) -> Geometry:
        """The same voxels under permuted and flipped indices; see :meth:`canonical_order`."""
        matrix = self.ijk_to_ras.copy()
        size = tuple(self.size_ijk[a] for a in order)
        matrix[:3, :3] = self.ijk_to_ras[:3, order] * np.asarray(signs)
        first = np.zeros(3)
        for new_axis, old_axis in enumerate(order):
            if signs[new_axis] < 0:
                first[old_axis] = size[new_axis] - 1
        matrix[:3, 3] = self.to_ras(first)
        return Geometry((size[0], size[1], size[2]), matrix)
