"""Edge-preserving smoothing by curvature anisotropic diffusion (Whitaker and Xue, 2001)."""

from __future__ import annotations

from cadx.prepare.spec import SmoothSpec
from cadx.volume import Volume


def smooth(volume: Volume, spec: SmoothSpec) -> Volume:
    """Smooth within regions, keep edges; geometry stays, values are float32."""
    import SimpleITK as sitk

    image = volume.to_sitk_lattice()
    # stable up to the smallest spacing / 2^(dimensions + 1)
    step = min(0.0625, min(image.GetSpacing()) / 16.0)
    smoothed = sitk.CurvatureAnisotropicDiffusion(
        image, timeStep=step, conductanceParameter=spec.conductance, numberOfIterations=spec.iterations
    )
    return volume.with_voxels(sitk.GetArrayFromImage(smoothed))
