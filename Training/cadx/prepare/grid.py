"""Slices of the ROI as cells, cells as a square grid, and the way back to patient space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.geometry import Array, Geometry
from cadx.prepare.frame import SliceFrame
from cadx.prepare.sample import resized_in_plane, sample
from cadx.prepare.spec import GridSpec
from cadx.roi import Roi
from cadx.volume import Volume

Floats = NDArray[np.floating]


def cell_geometry(frame: SliceFrame, roi: Roi, slices: NDArray[np.intp], spec: GridSpec) -> Geometry:
    """Where the cells of the given slices lie: I = column, J = row, K = slice, inferior to superior.

    ``roi`` must lie along the frame's axes. Radiological cells have anterior up and the patient's right
    on the left; the authors' have rows along R and columns along A. ``fit="pad"`` makes the crop a square
    in mm about the ROI's centre, ``"stretch"`` squeezes it into one.
    """
    right, anterior, superior = frame.axes.T
    width, height = (max(roi.size_mm[:2]),) * 2 if spec.fit == "pad" else roi.size_mm[:2]
    if spec.orientation == "radiological":
        columns, rows, lengths = -right, -anterior, (width, height)
    else:
        columns, rows, lengths = anterior, right, (height, width)
    pixel = np.array(lengths) / spec.cell_pixels
    level = frame.positions_mm()[slices[0]]
    center = roi.center_ras + (level - roi.center_ras @ superior) * superior
    corner = center - (spec.cell_pixels - 1) / 2 * (pixel[0] * columns + pixel[1] * rows)
    return Geometry.from_axes(
        (spec.cell_pixels, spec.cell_pixels, len(slices)),
        spacing=(pixel[0], pixel[1], frame.spacing_mm),
        axes=np.stack([columns, rows, superior], axis=1),
        origin=corner,
    )


def cell_centres(geometry: Geometry) -> Array:
    """(slices, 3) where the middles of a stack's cells lie, RAS mm."""
    columns, rows, slices = geometry.size_ijk
    return geometry.to_ras(np.array([[(columns - 1) / 2, (rows - 1) / 2, index] for index in range(slices)]))


def tile(cells: Floats) -> Floats:
    """Cells (..., k, rows, columns) to a square grid (..., s rows, s columns), s = sqrt(k), row by row.

    >>> tile(np.arange(4).reshape(4, 1, 1)).tolist()
    [[0, 1], [2, 3]]
    """
    *lead, k, rows, columns = cells.shape
    side = _side(k)
    split = cells.reshape(*lead, side, side, rows, columns)
    return np.moveaxis(split, -3, -2).reshape(*lead, side * rows, side * columns)


def untile(grid: Floats, k: int) -> Floats:
    """The inverse of :func:`tile` for a map of any resolution that ``sqrt(k)`` divides.

    >>> untile(np.array([[0, 1], [2, 3]]), 4).ravel().tolist()
    [0, 1, 2, 3]
    """
    *lead, height, width = grid.shape
    side = _side(k)
    if height % side or width % side:
        raise InputError(f"A map of {height} x {width} cannot be cut into {side} x {side} cells; resize it first.")
    split = grid.reshape(*lead, side, height // side, side, width // side)
    return np.moveaxis(split, -2, -3).reshape(*lead, k, height // side, width // side)


def smooth_cells(grid_map: Floats, spec: GridSpec) -> Floats:
    """A map on the grid as cells (k, rows, columns) at the cells' own resolution: linear within each, never across."""
    cells = untile(grid_map, spec.slices)
    patches = cells.shape[-1]
    weights = linear_weights(patches, spec.cell_pixels)
    return np.einsum("kab,ia,jb->kij", cells, weights, weights)


def fitted_map(grid_map: Floats, spec: GridSpec) -> Floats:
    """A map on the grid (h, w) at the next resolution that cuts into whole cells, linearly; itself where it does."""
    side = spec.side
    rows, columns = (linear_weights(n, -(-n // side) * side) for n in grid_map.shape)
    fits = not any(n % side for n in grid_map.shape)
    return grid_map if fits else (rows @ grid_map @ columns.T).astype(grid_map.dtype)


def linear_weights(n_in: int, n_out: int) -> Floats:
    """(n_out, n_in) weights of linear interpolation over the same length."""
    at = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    return np.stack([np.interp(at, np.arange(n_in), row) for row in np.eye(n_in)], axis=1)


def cells_to_volume(cells: Floats, geometry: Geometry, roi: Roi, onto: Geometry) -> Volume:
    """A map on the cells (k, rows, columns) of any resolution, laid on the grid ``onto`` in patient space.

    ``geometry`` is that of the cells' stack (its in-plane size may differ: the box counts). Linear within
    a cell and never across cells; a voxel larger than a map pixel takes the mean over its footprint.
    Zero outside the ROI and outside the slices of the stack. Float32, geometry ``onto``.
    """
    map_geometry = resized_in_plane(geometry, cells.shape[2], cells.shape[1])
    stack = Volume(np.asarray(cells, dtype=np.float32), map_geometry, "map")
    low, high = _index_box(map_geometry, onto)
    voxels = np.zeros(onto.size_ijk[::-1], dtype=np.float32)
    if (high > low).all():
        part = _sub_geometry(onto, low, high)
        values = _sample_footprints(stack, part)
        values *= _inside(roi, part)
        voxels[low[2] : high[2], low[1] : high[1], low[0] : high[0]] = values
    return Volume(voxels, onto, "map")


def inside_roi(roi: Roi, geometry: Geometry) -> NDArray[np.bool_]:
    """(rows, columns) mask: which pixels of a cell lie inside the ROI (the rest is padding)."""
    columns, rows = geometry.size_ijk[:2]
    plane = Geometry((columns, rows, 1), geometry.ijk_to_ras)
    return _inside(roi, plane)[0]


def _side(k: int) -> int:
    side = round(k**0.5)
    if side * side != k:
        raise InputError(f"{k} slices do not fill a square grid; choose 4, 9, 16 or 25.")
    return side


def _index_box(inner: Geometry, outer: Geometry) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Half-open index range (I, J, K) of ``outer`` that holds every voxel centre within ``inner``."""
    ijk = outer.to_ijk(inner.corners_ras())
    size = np.asarray(outer.size_ijk)
    low = np.clip(np.floor(ijk.min(axis=0)), 0, size).astype(np.intp)
    high = np.clip(np.ceil(ijk.max(axis=0)) + 1, 0, size).astype(np.intp)
    return low, high


def _sub_geometry(geometry: Geometry, low: NDArray[np.intp], high: NDArray[np.intp]) -> Geometry:
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] = geometry.to_ras(low)
    size = high - low
    return Geometry((int(size[0]), int(size[1]), int(size[2])), matrix)


def _sample_footprints(stack: Volume, onto: Geometry) -> NDArray[np.float32]:
    """Sample with as many points a voxel as it covers map pixels, then average."""
    pixel_along = np.abs(onto.axes.T @ stack.geometry.axes) @ (1 / stack.geometry.spacing)
    fine = np.clip(np.ceil(onto.spacing * pixel_along - 1e-6), 1, 16).astype(int)
    in_slice = np.abs(onto.axes.T @ stack.geometry.axes[:, 2]) < 0.5
    fine = np.where(in_slice, fine, 1)
    matrix = onto.ijk_to_ras.copy()
    matrix[:3, :3] = matrix[:3, :3] / fine
    matrix[:3, 3] = onto.to_ras((1 / fine - 1) / 2)
    size = np.asarray(onto.size_ijk) * fine
    values = np.nan_to_num(sample(stack, Geometry((int(size[0]), int(size[1]), int(size[2])), matrix)))
    i, j, k = onto.size_ijk
    return values.reshape(k, fine[2], j, fine[1], i, fine[0]).mean(axis=(1, 3, 5))


def _inside(roi: Roi, geometry: Geometry) -> NDArray[np.bool_]:
    """(K, J, I): voxel centres within the box in its first two directions; the slices bound the third."""
    total: Array | float
    inside = np.ones(geometry.size_ijk[::-1], dtype=bool)
    for axis in range(2):
        direction = roi.axes[:, axis]
        total = (geometry.origin_ras - roi.center_ras) @ direction
        steps = [
            (geometry.ijk_to_ras[:3, a] @ direction) * np.arange(geometry.size_ijk[a], dtype=float) for a in range(3)
        ]
        distance = total + steps[2][:, None, None] + steps[1][None, :, None] + steps[0][None, None, :]
        inside &= np.abs(distance) <= roi.size_mm[axis] / 2 + 1e-6
    return inside
