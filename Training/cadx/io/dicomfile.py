"""One DICOM file looked at before the image library sees it: is it whole, and how deep is it nested.

The library fills a slice whose pixels are cut off with what lies in memory, leaves a file out that it cannot read, and
ends the process on sequences nested a hundred thousand deep, each in silence.
"""

from __future__ import annotations

import mmap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadx.errors import InputError

MANY_ITEMS = 5000
MAX_DEPTH = 50
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_DIRECTORY = "1.2.840.10008.1.3.10"
_PIXELS = 0x7FE00010


@dataclass(frozen=True)
class FileFacts:
    """The series a file belongs to ("" for a directory file), and whether it holds an image."""

    series: str
    image: bool


def is_dicom(path: Path) -> bool:
    """Whether a regular file carries the DICOM magic word.

    Raises
    ------
    InputError
        If it may not be read.
    """
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError as error:
        raise InputError(f"{path.name} cannot be read ({error.strerror}); check its permissions.") from error


def inspect(path: Path) -> FileFacts:
    """Read a DICOM file and check that it is whole and not nested too deeply for the image library.

    Raises
    ------
    InputError
        If it is cut, damaged or nested too deeply.
    """
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            if _has_many_items(path):
                _require_shallow(dataset)
            if str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) == _DIRECTORY:
                return FileFacts("", False)
            series, image = str(dataset.SeriesInstanceUID), _PIXELS in dataset
            if image and not _pixels_are_there(dataset):
                raise ValueError("pixels are cut")
    except RecursionError as error:
        raise InputError(
            f"{path.name} in {path.parent.name} nests its sequences too deeply; do not use it, or remove that file."
        ) from error
    except Exception as error:  # pydicom raises whatever a damaged value leads it to
        raise InputError(
            f"{path.name} in {path.parent.name} is cut or damaged; copy the series again, or remove that file."
        ) from error
    return FileFacts(series, image)


def require_no_sequences(path: Path) -> None:
    """Refuse a file without DICOM's magic word that the image library could still read as deeply nested DICOM.

    Raises
    ------
    InputError
        If it holds many items, or cannot be read.
    """
    try:
        many = _has_many_items(path)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read ({error.strerror}); check its permissions.") from error
    if many:
        raise InputError(f"{path.name} in {path.parent.name} is no plain DICOM slice; remove that file.")


def _has_many_items(path: Path) -> bool:
    """More items of sequences than a nesting could need that exhausts the stack; contours and reports have them too."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(_more_than(content, mark, MANY_ITEMS) for mark in _ITEMS)


def _require_shallow(dataset: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise RecursionError
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _require_shallow(item, depth + 1)


def _more_than(content: mmap.mmap, mark: bytes, limit: int) -> bool:
    place, count = content.find(mark), 0
    while place >= 0 and count <= limit:
        count += 1
        place = content.find(mark, place + len(mark))
    return count > limit


def _pixels_are_there(dataset: Any) -> bool:
    """What is compressed cannot be counted here; a reader stops at its missing end."""
    if str(dataset.file_meta.TransferSyntaxUID) not in _NATIVE:
        return True
    frames, samples = int(dataset.get("NumberOfFrames", 1) or 1), int(dataset.get("SamplesPerPixel", 1))
    bits = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) * samples * frames
    return len(dataset.get_item(_PIXELS).value) * 8 >= bits
