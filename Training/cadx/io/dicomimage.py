"""One DICOM image, as training and use alike take it: rescaled, windowed, white where a viewer shows white."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.geometry import Array, lps_to_ras
from cadx.io.dicomfile import inspect, is_dicom

if TYPE_CHECKING:
    from pydicom import Dataset

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
BITS = (8, 16, 32)
OVERLAYS = 0x6000
# three times the largest radiograph, as for other pictures
MAX_PIXELS = 64_000_000
_LETTERS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}


@dataclass(frozen=True, eq=False)
class DicomImage:
    """A decoded image as it is stored.

    Parameters
    ----------
    values
        (rows, columns) float64, or (rows, columns, 3) uint8 where it is coloured.
    axes
        (3, 3) columns in RAS: where a row's next pixel lies, a column's next pixel, and the normal; None where the file
        does not say it.
    """

    values: NDArray[Any]
    axes: Array | None


def read_dicom_image(path: Path) -> DicomImage:
    """Read one image.

    Grey values are rescaled; then the file's first VOI LUT or window is applied, except on MR, where it is a
    technician's taste of that one slice and a volume of the same slices does not know it; black on white is inverted.

    Raises
    ------
    InputError
        If it is no DICOM file, damaged, holds no image or several, or is stored in a way that is not read.
    """
    import pydicom

    if not is_dicom(path):
        raise InputError(f"{path.name} is no DICOM file; export it again.")
    inspect(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            _require_readable(dataset, path.name)
            values = dataset.pixel_array
            if values.ndim == 2:
                _require_bits(values, dataset, path.name)
                values = _shown(values, dataset, path.name)
    except InputError:
        raise
    except Exception as error:  # pydicom raises whatever a damaged value leads it to
        raise InputError(f"{path.name} cannot be read as a DICOM image; export it as PNG.") from error
    return DicomImage(values, _axes(dataset))


def _require_readable(dataset: Dataset, name: str) -> None:
    if "PixelData" not in dataset:
        raise InputError(f"{name} holds no image (no pixel data); give the DICOM file of an image.")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        raise InputError(f"{name} holds {frames} images; give one a file.")
    photometric = str(dataset.get("PhotometricInterpretation", "not stated"))
    if photometric not in (*GREY, *COLOUR):
        raise InputError(f"{name} is stored as '{photometric[:30]}', which is not read; export it as PNG.")
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored", dataset.BitsAllocated))
    if allocated not in (BITS if photometric in GREY else (8,)) or not 0 < stored <= allocated:
        raise InputError(f"{name} stores {stored} bits in {allocated} as '{photometric}'; export it as PNG.")
    if int(dataset.get("SamplesPerPixel", 1)) != (1 if photometric in GREY else 3):
        raise InputError(f"{name} says '{photometric}' of {dataset.SamplesPerPixel} samples a pixel; export it as PNG.")
    if int(dataset.Rows) * int(dataset.Columns) > MAX_PIXELS:
        raise InputError(f"{name} has more than {MAX_PIXELS // 10**6} million pixels; export it smaller.")


def _require_bits(values: NDArray[Any], dataset: Dataset, name: str) -> None:
    """The library cuts off what lies beyond the stored bits; only an overlay may lie there."""
    from pydicom.pixels import pixel_array

    bits = int(dataset.get("BitsStored", dataset.BitsAllocated))
    if bits == int(dataset.BitsAllocated) or dataset.get("PixelRepresentation", 0):
        return
    if any(element.tag.group & 0xFF00 == OVERLAYS for element in dataset):
        return
    if not np.array_equal(values, pixel_array(dataset, correct_unused_bits=False)):
        raise InputError(f"{name} holds values beyond the {bits} bits that it declares; export it again.")


def _shown(values: NDArray[Any], dataset: Dataset, name: str) -> NDArray[np.float64]:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    values = apply_modality_lut(values, dataset)
    if dataset.get("Modality") != "MR":
        try:
            values = apply_voi_lut(values, dataset)
        except (ValueError, TypeError, IndexError) as error:
            raise InputError(f"{name} says a display window that cannot be applied; export it as PNG.") from error
    values = np.asarray(values, dtype=np.float64)
    return values.max() - values if dataset.PhotometricInterpretation == "MONOCHROME1" else values


def _axes(dataset: Dataset) -> Array | None:
    """From the orientation in the patient, or from the letters of a radiograph that shows the patient upright."""
    along = _cosines(dataset) or _lettered(dataset)
    if along is None:
        return None
    row, column = (np.asarray(direction, dtype=float) for direction in along)
    square = abs(np.linalg.norm(row) - 1) < 1e-3 and abs(np.linalg.norm(column) - 1) < 1e-3 and abs(row @ column) < 1e-3
    return lps_to_ras(np.array([row, column, np.cross(row, column)])).T if square else None


def _cosines(dataset: Dataset) -> tuple[list[float], list[float]] | None:
    try:
        numbers = [float(number) for number in dataset.get("ImageOrientationPatient") or ()]
    except (TypeError, ValueError):
        return None
    return (numbers[:3], numbers[3:]) if len(numbers) == 6 and np.isfinite(numbers).all() else None


def _lettered(dataset: Dataset) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Mammograms have a custom of their own and stay as they are."""
    letters = [str(word)[:1] or " " for word in dataset.get("PatientOrientation") or ()]
    if len(letters) != 2 or dataset.get("Modality") == "MG" or letters[0] not in "LRAP" or letters[1] not in "HF":
        return None
    return _LETTERS[letters[0]], _LETTERS[letters[1]]
