"""Interpolation in patient space: any volume on any other grid, in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadx.geometry import Geometry
from cadx.volume import Volume, place_sitk

if TYPE_CHECKING:
    import SimpleITK as sitk


def sample(volume: Volume, onto: Geometry, transform: sitk.Transform | None = None) -> NDArray[np.float32]:
    """Linear interpolation of ``volume`` at the voxel centres of ``onto``.

    ``transform`` takes LPS points of ``onto`` to LPS points of the volume. Returns (K, J, I) float32,
    NaN where the volume does not reach.
    """
    import SimpleITK as sitk

    # allocating the target keeps SimpleITK from needing a proper rotation as its direction
    reference = sitk.Image([int(n) for n in onto.size_ijk], sitk.sitkUInt8)
    place_sitk(reference, onto)
    image = volume.with_voxels(volume.voxels.astype(np.float32, copy=False)).to_sitk()
    moved = sitk.Resample(
        image, reference, transform or sitk.Transform(), sitk.sitkLinear, float("nan"), sitk.sitkFloat32
    )
    return sitk.GetArrayFromImage(moved)


def resize_in_plane(volume: Volume, pixels: int) -> Volume:
    """Each K slice on a ``pixels`` x ``pixels`` grid over the same field of view, linearly."""
    geometry = resized_in_plane(volume.geometry, pixels, pixels)
    values = sample(volume, geometry)
    return Volume(values, geometry, volume.name, volume.patient_id, volume.frame_of_reference)


def resized_in_plane(geometry: Geometry, columns: int, rows: int) -> Geometry:
    """The same box cut into ``columns`` x ``rows`` pixels along I and J; K as it is."""
    old = np.asarray(geometry.size_ijk, dtype=float)
    new = np.array([columns, rows, geometry.size_ijk[2]], dtype=float)
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, :3] = matrix[:3, :3] * (old / new)
    matrix[:3, 3] = geometry.to_ras((old / new - 1) / 2)
    return Geometry((columns, rows, geometry.size_ijk[2]), matrix)


def adaptive_average_weights(n_in: int, n_out: int) -> NDArray[np.float64]:
    """(n_out, n_in) weights of adaptive average pooling.

    Output o averages inputs floor(o r) to ceil((o + 1) r), r = n_in / n_out.

    This is what PyTorch's ``interpolate(mode="area")`` computes.

    >>> adaptive_average_weights(3, 2).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    """
    weights = np.zeros((n_out, n_in))
    for row in range(n_out):
        start, stop = row * n_in // n_out, -(-(row + 1) * n_in // n_out)
        weights[row, start:stop] = 1.0 / (stop - start)
    return weights
