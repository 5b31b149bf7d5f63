"""Optional rigid registration by Mattes mutual information (Mattes et al., IEEE TMI 2003)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cadx.errors import InputError
from cadx.geometry import Array
from cadx.volume import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True)
class RigidMotion:
    """What a registration found: ``transform`` takes LPS points of the fixed image to the moving one."""

    transform: sitk.Transform
    translation_mm: float
    rotation_degrees: float


def register_rigid(fixed: Volume, moving: Volume, center_ras: Array, seed: int = 1) -> RigidMotion:
    """Register ``moving`` to ``fixed``; the movement is reported at ``center_ras`` (the ROI's centre, mm).

    ``seed`` must not be 0: SimpleITK takes that for the clock.

    Raises
    ------
    InputError
        If the images do not overlap enough to be registered.
    """
    import SimpleITK as sitk

    from cadx.geometry import ras_to_lps

    center = ras_to_lps(center_ras)
    start = sitk.Euler3DTransform()
    start.SetCenter(center.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.1, seed)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=100, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([4.0, 2.0, 0.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=False)
    try:
        found = method.Execute(_float_image(fixed), _float_image(moving))
    except RuntimeError as error:
        raise InputError(f"{moving.name} could not be registered to {fixed.name}; try without --register.") from error
    moved = np.asarray(found.TransformPoint(center.tolist())) - center
    return RigidMotion(found, float(np.linalg.norm(moved)), _rotation_degrees(found, center))


def _float_image(volume: Volume) -> sitk.Image:
    return volume.with_voxels(volume.voxels.astype(np.float32, copy=False)).to_sitk()


def _rotation_degrees(transform: sitk.Transform, center: Array) -> float:
    origin = np.asarray(transform.TransformPoint(center.tolist()))
    columns = [np.asarray(transform.TransformPoint((center + unit).tolist())) - origin for unit in np.eye(3)]
    return float(np.degrees(np.arccos(np.clip((np.trace(np.array(columns)) - 1) / 2, -1, 1))))
