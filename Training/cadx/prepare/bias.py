"""N4 bias field correction (Tustison et al., IEEE TMI 2010), fitted on coarser grids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cadx.geometry import Geometry
from cadx.prepare.spec import BiasSpec
from cadx.volume import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

SPLINE_ORDER = 3


def correct_bias(volume: Volume, spec: BiasSpec) -> Volume:
    """Divide by the bias field that N4 finds inside an Otsu mask.

    The field is smooth, so it is fitted on a coarser grid, of about ``spec.working_samples`` along the longest
    axis (thick slices are left as they are), and evaluated on the volume's own grid.
    Shapes and geometry stay; values are float32, in the volume's own units.
    """
    field = bias_field(volume, spec)
    np.divide(volume.voxels, field, out=field)
    return volume.with_voxels(field)


def shrink_factors(geometry: Geometry, samples: int) -> list[int]:
    """Whole factors along I, J, K that leave about ``samples`` along the longest axis and near-even spacing.

    >>> brain = Geometry.from_axes((256, 224, 26), (0.9, 0.9, 5.5), np.eye(3), (0, 0, 0))
    >>> shrink_factors(brain, 50)
    [5, 5, 1]
    """
    working_mm = float(geometry.extent_mm.max()) / samples
    return [max(1, round(working_mm / spacing)) for spacing in geometry.spacing]


def bias_field(volume: Volume, spec: BiasSpec) -> np.ndarray:
    """The multiplicative field (K, J, I) on the volume's own grid, float32, around 1."""
    import SimpleITK as sitk

    # N4 works on logarithms: everything must lie above zero
    lowest = float(volume.voxels.min())
    image = volume.with_voxels(volume.voxels.astype(np.float32) - np.float32(min(lowest, 0.0))).to_sitk_lattice()
    fine = sitk.Shrink(image, shrink_factors(volume.geometry, spec.working_samples))
    mask = sitk.OtsuThreshold(fine, 0, 1, 200)
    coarse_levels = spec.levels - 1 if spec.coarse_samples else 0
    log_field = np.zeros(volume.voxels.shape, dtype=np.float32)
    if coarse_levels:
        # all levels but the last hold few control points, so that fewer voxels carry them
        coarse = sitk.Shrink(image, shrink_factors(volume.geometry, spec.coarse_samples or 0))
        inside = sitk.Resample(mask, coarse, sitk.Transform(), sitk.sitkNearestNeighbor)
        first = _fit(coarse, inside, coarse_levels, 1, spec.iterations)
        log_field += sitk.GetArrayFromImage(first.GetLogBiasFieldAsImage(image))
        # never in place: SimpleITK's /= leaves the image as it was
        fine = fine / sitk.Exp(first.GetLogBiasFieldAsImage(fine))
    last = _fit(fine, mask, spec.levels - coarse_levels, 2**coarse_levels, spec.iterations)
    log_field += sitk.GetArrayFromImage(last.GetLogBiasFieldAsImage(image))
    return np.exp(log_field, out=log_field)


def _fit(
    image: sitk.Image, mask: sitk.Image, levels: int, mesh: int, iterations: int
) -> sitk.N4BiasFieldCorrectionImageFilter:
    """N4 over ``levels`` levels, from ``mesh`` B-spline cells an axis, doubled from level to level."""
    import SimpleITK as sitk

    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetSplineOrder(SPLINE_ORDER)
    n4.SetNumberOfControlPoints([mesh + SPLINE_ORDER] * 3)
    n4.SetMaximumNumberOfIterations([iterations] * levels)
    n4.Execute(image, mask)
    return n4
