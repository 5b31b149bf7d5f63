"""Reading volumes and ROIs from what a user names, and writing volumes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cadx import dicom
from cadx.errors import InputError
from cadx.roi import DEFAULT_MASK_MARGIN_MM, Roi
from cadx.volume import Volume, geometry_from_sitk

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
Note = Callable[[str], None]


def read_volume(text: str, role: str = "", note: Note | None = None) -> Volume:
    """Read NIfTI, NRRD, MHA or a DICOM folder (``folder#2`` chooses its second series).

    Parameters
    ----------
    text
        Path, with ``#N`` behind a DICOM folder to choose a series by its number.
    role
        "T1" or "T2" lets a folder's series be guessed from the headers; the guess goes to ``note``.

    Raises
    ------
    InputError
        If nothing there can be read as one three-dimensional scalar volume.
    """
    path, number = _split_series(text)
    if not text or not _exists(path):
        raise InputError(f"There is no file or folder {path.name}; check the path.")
    if path.is_dir():
        return dicom.read_series(dicom.choose_series(path, role, number, note))
    if not path.name.lower().endswith(SUFFIXES):
        if dicom.is_dicom(path):
            raise InputError(f"{path.name} is one DICOM file; give the folder that holds the whole series.")
        raise InputError(f"{path.name} is no known image format; give {', '.join(SUFFIXES)} or a DICOM folder.")
    return _read_file(path)


def read_roi(text: str, reference: Volume, margin_mm: float = DEFAULT_MASK_MARGIN_MM) -> Roi:
    """A ROI from a markups file, a mask volume (bounding box on T1's axes plus margin) or six numbers (mm, RAS).

    Raises
    ------
    InputError
        If ``text`` is none of these, or holds no ROI.
    """
    if not _exists(Path(text)):
        if text.lower().endswith((".json", *SUFFIXES)):
            raise InputError(f"There is no ROI file {Path(text).name}; check the path.")
        return Roi.from_text(text)
    if text.lower().endswith(".json"):
        return Roi.from_markups(Path(text))
    mask = read_volume(text)
    return Roi.from_mask(mask, reference.canonical_geometry().axes, margin_mm)


def write_volume(path: Path, volume: Volume) -> None:
    """Write one volume; the name decides the format. The directory must exist."""
    import SimpleITK as sitk

    try:
        sitk.WriteImage(volume.to_sitk(), str(path), useCompression=True)
    except RuntimeError as error:
        raise InputError(f"{path.name} cannot be written; check free space and permissions.") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _split_series(text: str) -> tuple[Path, int | None]:
    folder, mark, number = text.rpartition("#")
    if mark and number.isdecimal() and Path(folder).is_dir():
        return Path(folder), int(number)
    return Path(text), None


def _read_file(path: Path) -> Volume:
    import SimpleITK as sitk

    if path.name.lower().endswith(".gz"):
        _require_whole_gzip(path)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _require_scalar_volume(path, reader)
        image = reader.Execute()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise InputError(f"{path.name}: the image axes are sheared; resample it to a grid first.") from error
        raise InputError(f"{path.name} cannot be read as an image; it may be damaged, export it again.") from error
    return _volume(image, path.name)


def _require_whole_gzip(path: Path) -> None:
    """The image reader fills what a cut file lacks with zeros, in silence."""
    try:
        with gzip.open(path) as stream:
            while stream.read(1 << 22):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path.name} cannot be read to its end; it is cut or damaged, copy it again.") from error


def _require_scalar_volume(path: Path, reader: object) -> None:
    size = reader.GetSize()  # type: ignore[attr-defined]
    flat = len(size) < 3 or min(size[:3]) < 2
    if flat:
        raise InputError(f"{path.name} is a two-dimensional image; give a volume.")
    if len(size) > 3 and any(n > 1 for n in size[3:]):
        raise InputError(f"{path.name} has {len(size)} dimensions; give one three-dimensional volume of the series.")
    if reader.GetNumberOfComponents() > 1:  # type: ignore[attr-defined]
        raise InputError(f"{path.name} has several components a voxel (colour?); give a scalar MR volume.")


def _volume(image: object, name: str) -> Volume:
    import SimpleITK as sitk

    if image.GetDimension() == 4:  # type: ignore[attr-defined]
        image = image[:, :, :, 0]  # type: ignore[index]
    try:
        geometry = geometry_from_sitk(image)  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    voxels = sitk.GetArrayFromImage(image)  # type: ignore[arg-type]
    if voxels.dtype == np.float64:
        voxels = voxels.astype(np.float32)
    return Volume(voxels, geometry, name)
