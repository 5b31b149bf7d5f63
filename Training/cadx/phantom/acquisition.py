"""Two scans of one painted patient: oblique thick-slice grids, motion, coil shading, blur and Rician noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from cadx.geometry import Geometry
from cadx.phantom.canvas import Canvas, Floats
from cadx.phantom.noise import Array32
from cadx.volume import place_sitk

SUB_SLICES = 3
_LPS_STORAGE = np.diag([-1.0, -1.0, 1.0])  # columns: I to the left, J to the back, K up, as scanners store


@dataclass(frozen=True)
class Scan:
    """One scan's grid and imperfections.

    Parameters
    ----------
    geometry
        The grid that the file claims (RAS mm).
    motion
        (4, 4) from the patient at the time of the claimed grid to the painted patient, RAS mm.
    signal_to_noise
        99th percentile of the signal over the noise's standard deviation.
    blur
        Standard deviation of the in-plane point spread, voxels.
    shading
        (3, 3, 3) coefficients of the log bias field's polynomial in K, J, I (-1..1).
    gain
        int16 value of the 99th percentile.
    """

    geometry: Geometry
    motion: Floats
    signal_to_noise: float
    blur: float
    shading: Floats
    gain: float


def _turn(degrees: Floats) -> Floats:
    """Rotation by angles about R, A, S in degrees."""
    rx, ry, rz = np.radians(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(rx), -np.sin(rx)], [0, np.sin(rx), np.cos(rx)]])
    y = np.array([[np.cos(ry), 0, np.sin(ry)], [0, 1, 0], [-np.sin(ry), 0, np.cos(ry)]])
    z = np.array([[np.cos(rz), -np.sin(rz), 0], [np.sin(rz), np.cos(rz), 0], [0, 0, 1]])
    return np.asarray(x @ y @ z)


def _grid(rng: np.random.Generator, spacing: float, thickness: float, slices: int, center: Floats, fov: Floats,
          tilt: float) -> Geometry:  # fmt: skip
    axes = _turn(rng.uniform(-1, 1, 3) * [tilt, tilt, 2.5]) @ _LPS_STORAGE
    size = (round(float(fov[0]) / spacing), round(float(fov[1]) / spacing), slices)
    spacings = np.array([spacing, spacing, thickness])
    origin = center - axes @ (spacings * (np.array(size) - 1) / 2)
    return Geometry.from_axes(size, spacings, axes, origin)


def _scan(rng: np.random.Generator, geometry: Geometry, motion: Floats) -> Scan:
    """A scan on a grid with imperfections drawn anew; the shading is strongest in its lowest terms."""
    return Scan(
        geometry=geometry,
        motion=motion,
        signal_to_noise=float(np.exp(rng.uniform(np.log(28), np.log(80)))),
        blur=float(rng.uniform(0.3, 0.6)),
        shading=rng.normal(0, 0.13, (3, 3, 3)) * np.where(np.indices((3, 3, 3)).sum(axis=0) > 2, 0.5, 1.0),
        gain=float(np.exp(rng.uniform(np.log(350), np.log(2600)))),
    )


def draw_scans(rng: np.random.Generator, center: Floats, fov: Floats) -> tuple[Scan, Scan]:
    """The T1 and T2 scan about a centre (RAS mm) with a field of view (R-L, A-P) in mm."""
    thickness = rng.uniform(5.0, 6.0)
    slices = int(np.clip(rng.integers(22, 29), 22, 152 // thickness))
    t1 = _grid(rng, rng.uniform(1.6, 2.0), thickness, slices, center + rng.uniform(-3, 3, 3), fov, 6.0)
    thickness = rng.uniform(5.0, 6.5)
    slices = int(np.clip(rng.integers(22, 28), 22, 152 // thickness))
    t2_fov = fov * rng.uniform(0.97, 1.06)
    t2 = _grid(rng, rng.uniform(1.3, 1.75), thickness, slices, center + rng.uniform(-6, 6, 3), t2_fov, 4.0)
    motion = np.eye(4)
    motion[:3, :3] = _turn(rng.uniform(-1.2, 1.2, 3))
    shift = rng.normal(size=3)
    shift *= rng.uniform(1, 3) / np.linalg.norm(shift)
    motion[:3, 3] = shift + center - motion[:3, :3] @ center
    return _scan(rng, t1, np.eye(4)), _scan(rng, t2, motion)


def sample(canvas: Canvas, painted: Array32, scan: Scan) -> Array32:
    """Mean of three sub-slices over each slice's thickness, linear interpolation; (K, J, I) of the scan."""
    fine = scan.geometry.ijk_to_ras.copy()
    fine[:3, 2] /= SUB_SLICES
    fine[:3, 3] -= fine[:3, 2] * (SUB_SLICES - 1) / 2
    i, j, k = scan.geometry.size_ijk
    canvas_geometry = Geometry.from_axes(
        (painted.shape[2], painted.shape[1], painted.shape[0]),
        [float(a[1] - a[0]) for a in canvas.axes], np.eye(3), [float(a[0]) for a in canvas.axes],
    )  # fmt: skip
    image = sitk.GetImageFromArray(painted)
    place_sitk(image, canvas_geometry)
    resampler = sitk.ResampleImageFilter()
    resampler.SetNumberOfThreads(1)
    resampler.SetInterpolator(sitk.sitkLinear)
    moved = scan.motion @ fine
    grid = Geometry((i, j, k * SUB_SLICES), moved)
    blank = sitk.Image(1, 1, 1, sitk.sitkFloat32)
    place_sitk(blank, grid)
    resampler.SetSize(grid.size_ijk)
    resampler.SetOutputSpacing(blank.GetSpacing())
    resampler.SetOutputOrigin(blank.GetOrigin())
    resampler.SetOutputDirection(blank.GetDirection())
    samples = sitk.GetArrayFromImage(resampler.Execute(image))
    return np.asarray(samples.reshape(k, SUB_SLICES, j, i).mean(axis=1))


def bias_field(scan: Scan) -> Array32:
    """Smooth multiplicative field exp(polynomial of degree two in each index), about 1 in the middle."""
    bases = [np.polynomial.legendre.legvander(np.linspace(-1, 1, n), 2) for n in scan.geometry.size_ijk[::-1]]
    weights = scan.shading.copy()
    weights[0, 0, 0] = 0
    return np.exp(np.einsum("kc,jb,ia,cba->kji", bases[0], bases[1], bases[2], weights, optimize=True)).astype(
        np.float32
    )


def acquire(canvas: Canvas, painted: Array32, scan: Scan, rng: np.random.Generator) -> NDArray[np.int16]:
    """The scan as int16 (K, J, I): sampled, blurred, shaded, with Rician noise and a random gain.

    Rician noise is the magnitude of a complex signal with Gaussian noise in both channels:
    Gudbjartsson and Patz, Magn Reson Med 34:910 (1995).
    """
    image = sample(canvas, painted, scan)
    image = ndimage.gaussian_filter(image, (0, scan.blur, scan.blur))
    image *= bias_field(scan)
    top = float(np.percentile(image[:, ::4, ::4], 99))
    sigma = np.float32(top / scan.signal_to_noise)
    real = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(image.shape, dtype=np.float32)
    magnitude = np.sqrt(real**2 + imaginary**2)
    return np.clip(np.rint(magnitude * np.float32(scan.gain / top)), 0, 32767).astype(np.int16)
