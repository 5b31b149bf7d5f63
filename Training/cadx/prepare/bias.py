"""N4 bias field correction (Tustison et al., IEEE TMI 2010), fitted on a coarser grid."""

from __future__ import annotations

import numpy as np

from cadx.geometry import Geometry
from cadx.prepare.spec import BiasSpec
from cadx.volume import Volume


def correct_bias(volume: Volume, spec: BiasSpec) -> Volume:
    """Divide by the bias field that N4 finds inside an Otsu mask.

    The field is smooth, so it is fitted on a coarser grid, of about ``spec.working_samples`` along the longest
    axis (thick slices are left as they are), and evaluated on the volume's own grid.
    Shapes and geometry stay; values are float32, in the volume's own units.
    """
    field = bias_field(volume, spec)
    return volume.with_voxels((volume.voxels / field).astype(np.float32, copy=False))


def shrink_factors(geometry: Geometry, spec: BiasSpec) -> list[int]:
    """Whole factors along I, J, K that bring every axis near the working spacing.

    >>> brain = Geometry.from_axes((256, 224, 26), (0.9, 0.9, 5.5), np.eye(3), (0, 0, 0))
    >>> shrink_factors(brain, BiasSpec())
    [5, 5, 1]
    """
    working_mm = float(geometry.extent_mm.max()) / spec.working_samples
    return [max(1, round(working_mm / spacing)) for spacing in geometry.spacing]


def bias_field(volume: Volume, spec: BiasSpec) -> np.ndarray:
    """The multiplicative field (K, J, I) on the volume's own grid, float32, around 1."""
    import SimpleITK as sitk

    # N4 works on logarithms: everything must lie above zero
    lowest = float(volume.voxels.min())
    image = volume.with_voxels(volume.voxels.astype(np.float32) - min(lowest, 0.0)).to_sitk()
    small = sitk.Shrink(image, shrink_factors(volume.geometry, spec))
    mask = sitk.OtsuThreshold(small, 0, 1, 200)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([spec.iterations] * spec.levels)
    n4.Execute(small, mask)
    log_field = n4.GetLogBiasFieldAsImage(image)
    return np.exp(sitk.GetArrayFromImage(log_field), dtype=np.float32)
