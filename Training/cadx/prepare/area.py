"""Cells as means of whole voxels, as the IPMN authors' code makes them (``sampling="area"``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cadx.geometry import Geometry
from cadx.prepare import sample
from cadx.prepare.spec import GridSpec
from cadx.roi import Roi
from cadx.volume import Volume


def snapped(box: Roi, geometry: Geometry) -> Roi:
    """The box around the voxels of a canonical volume whose centres lie in ``box`` (in plane)."""
    low, high = _voxel_range(box, geometry)
    ends = geometry.to_ras(np.array([[*(low - 0.5), 0.0], [*(high - 0.5), 0.0]])) @ box.axes
    center, size = box.center_ras @ box.axes, box.size_mm.copy()
    center[:2], size[:2] = ends[:, :2].mean(axis=0), np.ptp(ends[:, :2], axis=0)
    return Roi(box.axes @ center, size, box.axes, box.source)


def _voxel_range(box: Roi, geometry: Geometry) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Half-open in-plane voxel range (I, J) of the voxel centres within the box."""
    middle = geometry.to_ijk(box.center_ras)[:2]
    half = box.size_mm[:2] / 2 / geometry.spacing[:2]
    size = np.asarray(geometry.size_ijk[:2])
    low = np.clip(np.ceil(middle - half - 1e-6), 0, size - 1)
    high = np.clip(np.floor(middle + half + 1e-6) + 1, low + 1, size)
    return low, high


def area_cells(
    volume: Volume,
    reference: Geometry,
    box: Roi,
    slices: NDArray[np.intp],
    spec: GridSpec,
    transform: object | None,
) -> NDArray[np.float32]:
    """Voxels of the reference grid averaged into the cells, as the authors' code does with its crops."""
    same = transform is None and volume.geometry.is_close(reference)
    voxels = volume.voxels if same else sample.sample(volume, reference, transform)  # type: ignore[arg-type]
    low, high = (end.astype(int) for end in _voxel_range(box, reference))
    crop = voxels[slices, low[1] : high[1], low[0] : high[0]].astype(np.float64)
    rows = sample.adaptive_average_weights(crop.shape[1], spec.cell_pixels)
    columns = sample.adaptive_average_weights(crop.shape[2], spec.cell_pixels)
    cells = np.einsum("aj,kji,bi->kab", rows, crop, columns, optimize=True)
    # stored cells run (A, R); the authors' have rows along R, radiological ones both axes reversed
    cells = cells.transpose(0, 2, 1) if spec.orientation == "authors" else cells[:, ::-1, ::-1]
    return cells.astype(np.float32)
