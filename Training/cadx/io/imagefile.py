"""One image file (NIfTI, NRRD, MetaImage) as a volume; what it declares is checked before a voxel is read."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cadx.errors import InputError
from cadx.io.headers import locate
from cadx.io.payload import require_size, require_whole
from cadx.volume import Volume, geometry_from_sitk

if TYPE_CHECKING:
    import SimpleITK as sitk

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_LIBRARY = {".nii": "NiftiImageIO", ".nii.gz": "NiftiImageIO", ".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO"}


def read_image_file(path: Path) -> Volume:
    """Read one file as a scalar volume, named by its base name.

    Raises
    ------
    InputError
        If it is damaged, no scalar volume, too large, sheared, or holds less than its header declares.
    """
    import SimpleITK as sitk

    if not path.is_file():
        raise InputError(f"{path.name} is no regular file; give an image file or a DICOM folder.")
    payload = locate(path)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(next((io for end, io in _LIBRARY.items() if path.name.lower().endswith(end)), "MetaImageIO"))
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _require_scalar_volume(path.name, reader)
        _require_geometry(path.name, reader)
        require_whole(payload, _declared_bytes(reader), path.name)
        return replace(_volume(reader.Execute(), path.name), oriented=payload.oriented)
    except (RuntimeError, OverflowError) as error:
        if "orthonormal" in str(error):
            raise InputError(f"{path.name}: the image axes are sheared; resample it to a grid first.") from error
        raise InputError(f"{path.name} cannot be read as an image; it may be damaged, export it again.") from error


def _require_scalar_volume(name: str, reader: sitk.ImageFileReader) -> None:
    import SimpleITK as sitk

    size = reader.GetSize()
    if len(size) < 3 or min(size[:3]) < 2:
        raise InputError(f"{name} is a two-dimensional image; give a volume.")
    if len(size) > 3 and any(n > 1 for n in size[3:]):
        raise InputError(f"{name} has {len(size)} dimensions; give one three-dimensional volume of the series.")
    if reader.GetNumberOfComponents() > 1:
        raise InputError(f"{name} has several components a voxel (colour?); give a scalar MR volume.")
    if reader.GetPixelID() in (sitk.sitkUnknown, sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise InputError(f"{name} holds complex numbers; give the magnitude image.")
    require_size(name, size)


def _require_geometry(name: str, reader: sitk.ImageFileReader) -> None:
    try:
        geometry_from_sitk(reader)
    except InputError as error:
        raise error.about(name) from error


def _declared_bytes(reader: sitk.ImageFileReader) -> int:
    import SimpleITK as sitk

    one = sitk.Image([1, 1, 1], reader.GetPixelID())
    return math.prod(reader.GetSize()) * int(one.GetSizeOfPixelComponent())


def _volume(image: sitk.Image, name: str) -> Volume:
    import SimpleITK as sitk

    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    voxels = sitk.GetArrayFromImage(image)
    if voxels.dtype == np.float64:
        voxels = voxels.astype(np.float32)
    return Volume(voxels, geometry_from_sitk(image), name)
