"""A Volume: voxels with geometry, and the SimpleITK border (the only place where LPS enters)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.geometry import Geometry, lps_to_ras, ras_to_lps

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar image in patient space.

    Parameters
    ----------
    voxels
        Array (K, J, I), slowest axis first, as SimpleITK and Slicer hand it out; not to be changed afterwards.
    geometry
        Size (I, J, K) and IJK-to-RAS matrix.
    name
        What to call it in messages: a file's base name or a node's name, never a patient's.
    patient_id, frame_of_reference
        From DICOM where known; compared between T1 and T2, never written to any output.
    oriented
        False where the file says nothing of its place in the patient, so that ``geometry`` is a guess.

    Raises
    ------
    InputError
        If ``voxels`` is not three-dimensional or does not fit ``geometry``.

    Examples
    --------
    >>> v = Volume(np.zeros((2, 3, 4)), Geometry((4, 3, 2), np.eye(4)), name="t1")
    >>> v.voxels.shape, v.geometry.size_ijk
    ((2, 3, 4), (4, 3, 2))
    """

    voxels: NDArray[Any]
    geometry: Geometry
    name: str = "volume"
    patient_id: str | None = None
    frame_of_reference: str | None = None
    oriented: bool = True

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or self.voxels.shape[::-1] != self.geometry.size_ijk:
            raise InputError(
                f"{self.name}: {self.voxels.shape} voxels (K, J, I) do not fit a geometry of "
                f"{self.geometry.size_ijk} (I, J, K); give one three-dimensional image."
            )

    def with_voxels(self, voxels: NDArray[Any]) -> Volume:
        """Other values on the same grid."""
        return replace(self, voxels=voxels)

    def canonical_geometry(self) -> Geometry:
        """The geometry that :meth:`canonical` gives, without touching a voxel."""
        return self.geometry.reordered(*self.geometry.canonical_order())

    def canonical(self) -> Volume:
        """The same volume stored so that I, J, K run nearest to R, A, S; no voxel is interpolated."""
        order, signs = self.geometry.canonical_order()
        # numpy axis of I, J, K is 2, 1, 0
        voxels = np.transpose(self.voxels, [2 - order[a] for a in (2, 1, 0)])
        voxels = np.flip(voxels, tuple(2 - a for a in range(3) if signs[a] < 0))
        return replace(self, voxels=np.ascontiguousarray(voxels), geometry=self.geometry.reordered(order, signs))

    def sha256(self) -> str:
        """Hash of the voxels (as float32) and the geometry (to 0.001 mm); the same for every storage of one volume."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        canonical = self.canonical()
        digest = hashlib.sha256(np.ascontiguousarray(canonical.voxels, dtype=np.float32).tobytes())
        digest.update((np.round(canonical.geometry.ijk_to_ras, 3) + 0.0).tobytes())
        return digest.hexdigest()

    def describe(self, role: str) -> dict[str, Any]:
        """As ``result.json`` says it under ``inputs``."""
        return {
            "role": role,
            "source": self.name,
            "size": list(self.geometry.size_ijk),
            "spacing": [round(float(s), 4) for s in self.geometry.spacing],
            "sha256": self.sha256(),
        }

    def to_sitk(self) -> sitk.Image:
        """As a SimpleITK image (LPS)."""
        import SimpleITK as sitk

        voxels = self.voxels.astype(np.uint8) if self.voxels.dtype == bool else self.voxels
        image = sitk.GetImageFromArray(voxels)
        place_sitk(image, self.geometry)
        return image

    def to_sitk_lattice(self) -> sitk.Image:
        """As a SimpleITK image at the origin, unturned, with its spacing rounded to 0.1 %, voxels as float32.

        For filters that look at neighbours and spacing alone: file formats round a geometry differently in the
        last digits, and what iterates until it converges must not see that.
        """
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(self.voxels.astype(np.float32, copy=False))
        image.SetSpacing([float(f"{spacing:.3g}") for spacing in self.geometry.spacing])
        return image

    @classmethod
    def from_sitk(cls, image: sitk.Image, name: str = "volume") -> Volume:
        """From a three-dimensional scalar SimpleITK image (LPS)."""
        import SimpleITK as sitk

        return cls(sitk.GetArrayFromImage(image), geometry_from_sitk(image), name=name)


def place_sitk(image: sitk.Image, geometry: Geometry) -> None:
    """Give a SimpleITK image (LPS) this geometry (RAS)."""
    image.SetSpacing(geometry.spacing.tolist())
    image.SetOrigin(ras_to_lps(geometry.origin_ras).tolist())
    image.SetDirection(ras_to_lps(geometry.axes.T).T.ravel().tolist())


def geometry_from_sitk(image: sitk.Image | sitk.ImageFileReader) -> Geometry:
    """The geometry (RAS) of a SimpleITK image or file reader (LPS), of its first three axes if it has more."""
    size = image.GetSize()
    direction = np.asarray(image.GetDirection(), dtype=float).reshape(len(size), len(size))[:3, :3]
    return Geometry.from_axes(
        (size[0], size[1], size[2]),
        spacing=image.GetSpacing()[:3],
        axes=lps_to_ras(direction.T).T,
        origin=lps_to_ras(image.GetOrigin()[:3]),
    )
