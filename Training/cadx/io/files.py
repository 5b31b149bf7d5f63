"""Reading volumes and ROIs from what a user names, and writing volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cadx.errors import InputError
from cadx.io import dicom
from cadx.io.dicomfile import is_dicom
from cadx.io.headers import locate
from cadx.io.imagefile import SUFFIXES, read_image_file
from cadx.io.names import require_plain_name
from cadx.io.payload import require_whole
from cadx.roi import DEFAULT_MASK_MARGIN_MM, Roi
from cadx.volume import Volume

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
    if not text:
        raise InputError(f"No {role or 'image'} volume was given; name a file or a DICOM folder.")
    path, number = _split_series(text)
    require_plain_name(path)
    if not _exists(path):
        raise InputError(f"There is no file or folder {path.name}; check the path.")
    if path.is_dir():
        return dicom.read_series(dicom.choose_series(path, role, number, note))
    if not path.name.lower().endswith(SUFFIXES):
        if is_dicom(path):
            raise InputError(f"{path.name} is one DICOM file; give the folder that holds the whole series.")
        raise InputError(f"{path.name} is no known image format; give {', '.join(SUFFIXES)} or a DICOM folder.")
    return read_image_file(path)


def read_roi(text: str, reference: Volume, margin_mm: float = DEFAULT_MASK_MARGIN_MM) -> Roi:
    """A ROI from a markups file, a mask volume (bounding box on T1's axes plus margin) or six numbers (mm, RAS).

    Raises
    ------
    InputError
        If ``text`` is none of these, or holds no ROI.
    """
    if not text:
        raise InputError("No ROI was given; name a markups file, a mask or six numbers.")
    require_plain_name(Path(text))
    if not _exists(Path(text)):
        if text.lower().endswith((".json", *SUFFIXES)):
            raise InputError(f"There is no ROI file {Path(text).name}; check the path.")
        return Roi.from_text(text)
    if text.lower().endswith(".json"):
        return Roi.from_markups(Path(text))
    mask = read_volume(text)
    return Roi.from_mask(mask, reference.canonical_geometry().axes, margin_mm)


def write_volume(path: Path, volume: Volume, compression: int = -1) -> None:
    """Write one volume; the name decides the format. The directory must exist.

    ``compression`` is the level of the format's own compression, -1 its default.

    Raises
    ------
    InputError
        If it cannot be written to its end.
    """
    import SimpleITK as sitk

    image = volume.to_sitk()
    try:
        sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=compression)
        # on a full disk the NIfTI writer ends as if all were well
        require_whole(locate(path), image.GetNumberOfPixels() * image.GetSizeOfPixelComponent(), path.name)
    except (RuntimeError, InputError) as error:
        raise InputError(f"{path.name} cannot be written; check free space and permissions.") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _split_series(text: str) -> tuple[Path, int | None]:
    folder, mark, number = text.rpartition("#")
    if mark and number.isdecimal() and len(number) < 7 and _exists(Path(folder)) and Path(folder).is_dir():
        return Path(folder), int(number)
    return Path(text), None
