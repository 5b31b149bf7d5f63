"""The whole ROI as one cube, for a network in three dimensions, and the way back to patient space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadx.geometry import Geometry
from cadx.prepare.frame import SliceFrame
from cadx.prepare.grid import cells_to_volume, linear_weights
from cadx.prepare.sample import adaptive_average_weights, sample
from cadx.prepare.spec import CropSpec
from cadx.roi import Roi
from cadx.volume import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

Floats = NDArray[np.floating]
LATTICE_MM = 1.0
SHOWN_PLANES = 9


def cube_geometry(frame: SliceFrame, roi: Roi, size: tuple[int, int, int]) -> Geometry:
    """Where ``size`` (columns, rows, planes) voxels lie that fill the ROI: I to the left, J to the back, K upwards.

    ``roi`` must lie along the frame's axes.
    """
    right, anterior, superior = frame.axes.T
    axes = np.stack([-right, -anterior, superior], axis=1)
    spacing = roi.size_mm / np.asarray(size)
    corner = roi.center_ras - axes @ (spacing * (np.asarray(size) - 1) / 2)
    return Geometry.from_axes(size, spacing=spacing, axes=axes, origin=corner)


def lattice_geometry(frame: SliceFrame, roi: Roi) -> Geometry:
    """Voxels of about :data:`LATTICE_MM` that fill the ROI, along the cube's axes."""
    columns, rows, planes = (max(1, round(float(edge) / LATTICE_MM)) for edge in roi.size_mm)
    return cube_geometry(frame, roi, (columns, rows, planes))


def masked_sample(volume: Volume, onto: Geometry, transform: sitk.Transform | None = None) -> NDArray[np.float32]:
    """As :func:`cadx.prepare.sample.sample`, for an image that is 0 outside an organ: the organ's edge stays sharp.

    What is nearer to the organ than to the background is interpolated among the organ's voxels alone, the rest is 0.
    """
    values = sample(volume, onto, transform)
    share = sample(volume.with_voxels((volume.voxels != 0).astype(np.float32)), onto, transform)
    inside = share > 0.5
    sharp = np.where(inside, values / np.where(inside, share, 1), 0)
    return np.where(np.isfinite(values), sharp, np.nan).astype(np.float32)


def area_cube(values: Floats, pixels: int) -> NDArray[np.float32]:
    """(K, J, I) of any size to a cube, by adaptive averages along each axis: ``area`` of PyTorch and MONAI."""
    k, j, i = (adaptive_average_weights(n, pixels) for n in values.shape)
    shrunk = np.einsum("ak,kji->aji", k, values, optimize=True)
    shrunk = np.einsum("bj,aji->abi", j, shrunk, optimize=True)
    return np.einsum("ci,abi->abc", i, shrunk, optimize=True).astype(np.float32)


def turned(cube: Floats, crop: CropSpec) -> Floats:
    """(..., K, J, I) of the cube to the network's axes, or back: the same exchange both ways."""
    return np.ascontiguousarray(np.swapaxes(cube, -1, -3)) if crop.orientation == "LPS" else cube


def shown_planes(pixels: int) -> tuple[int, ...]:
    """Evenly spaced planes of a cube to look at, the lowest first.

    >>> shown_planes(96)
    (5, 16, 26, 37, 48, 58, 69, 80, 90)
    """
    return tuple(int((number + 0.5) * pixels / SHOWN_PLANES) for number in range(SHOWN_PLANES))


def map_planes(cube_map: Floats, planes: tuple[int, ...], pixels: int) -> Floats:
    """A map on the cube (k, j, i) of any resolution at the given planes and at the cube's pixels, linearly."""
    k, j, i = (linear_weights(n, pixels) for n in cube_map.shape)
    return np.einsum("ak,bj,ci,kji->abc", k[list(planes)], j, i, cube_map, optimize=True)


def map_to_volume(cube_map: Floats, geometry: Geometry, roi: Roi, onto: Geometry) -> Volume:
    """A map on the cube (k, j, i) of any resolution on the grid ``onto``, linearly; zero outside the ROI.

    ``geometry`` is the cube's. Float32.
    """
    pixels = np.asarray(geometry.size_ijk)
    size = np.asarray(cube_map.shape[::-1])
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, :3] = matrix[:3, :3] * (pixels / size)
    matrix[:3, 3] = geometry.to_ras((pixels / size - 1) / 2)
    columns, rows, planes = (int(n) for n in size)
    return cells_to_volume(cube_map, Geometry((columns, rows, planes), matrix), roi, onto)
