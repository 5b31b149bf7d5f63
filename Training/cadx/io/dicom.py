"""DICOM series in a folder: listing, choosing T1 or T2, reading."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cadx.errors import InputError
from cadx.io.dicomfile import FileFacts, inspect, is_dicom, require_no_sequences
from cadx.io.names import require_plain_name
from cadx.io.payload import MAX_DEFLATE_RATIO, require_size
from cadx.io.weighting import guess_weighting
from cadx.volume import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

PATIENT_ID = "0010|0020"
SERIES_DESCRIPTION = "0008|103e"
SEQUENCE_NAME = "0018|0024"
PROTOCOL_NAME = "0018|1030"
REPETITION_TIME = "0018|0080"
ECHO_TIME = "0018|0081"
POSITION = "0020|0032"
ORIENTATION = "0020|0037"
PIXEL_SPACING = "0028|0030"
MAX_DRIFT_MM = 0.1
MAX_FILES = 50_000
FRAME_OF_REFERENCE = "0020|0052"


@dataclass(frozen=True)
class Series:
    """One DICOM series on disk.

    ``number`` counts the folder's series from 1, ordered by file name; times are in ms; ``weighting`` is
    "T1", "T2" or "" as guessed from the headers.
    """

    number: int
    files: tuple[str, ...]
    description: str
    repetition_time: float
    echo_time: float

    @property
    def weighting(self) -> str:
        """ "T1", "T2" or "": the description's own words first, then TR and TE."""
        return guess_weighting(self.description, self.repetition_time, self.echo_time)

    def __str__(self) -> str:
        times = f"TR {self.repetition_time:g} ms, TE {self.echo_time:g} ms"
        guess = f"looks {self.weighting}-weighted" if self.weighting else "weighting unknown"
        return f"#{self.number}: {self.description or 'no description'} ({len(self.files)} slices, {times}, {guess})"


def list_series(folder: Path) -> list[Series]:
    """The DICOM series in a folder and the folders in it, in order of their file names.

    Raises
    ------
    InputError
        If there is none.
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    folder = folder.absolute()
    files = _files(folder)
    facts = {file: inspect(file) for file in files if is_dicom(file)}
    for file in set(files) - set(facts):
        require_no_sequences(file)
    found: list[tuple[str, ...]] = []
    for place in sorted({file.parent for file in files}):
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(place)):
            found.append(tuple(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(place), uid)))
    if not found:
        raise InputError(f"{folder.name} holds no DICOM series; give the folder with the .dcm files of one study.")
    _require_all_read(facts, found)
    return [_describe(number, files) for number, files in enumerate(found, start=1)]


def _files(folder: Path) -> list[Path]:
    """The regular files in a folder and the folders in it, links to folders not followed."""
    found: list[Path] = []

    def unreadable(error: OSError) -> None:
        name = Path(error.filename or folder).name
        raise InputError(f"The folder {name} cannot be read ({error.strerror}); check its permissions.") from error

    for place, _, names in os.walk(folder, onerror=unreadable):
        found += [Path(place) / name for name in names]
        if len(found) > MAX_FILES:
            raise InputError(f"{folder.name} holds more than {MAX_FILES} files; give the folder of one study.")
    for file in found:
        require_plain_name(file)
    return sorted(file for file in found if file.is_file())


def _require_all_read(facts: dict[Path, FileFacts], found: list[tuple[str, ...]]) -> None:
    """The library leaves out what it cannot read: every image of a series that it found must be in it."""
    read = {Path(file) for files in found for file in files}
    series = {facts[file].series for file in read if file in facts}
    left = sorted(file for file, fact in facts.items() if fact.image and fact.series in series and file not in read)
    if left:
        raise InputError(
            f"{left[0].name} in {left[0].parent.name} belongs to a series but cannot be read with it; copy the series "
            "again, or remove that file."
        )


def choose_series(
    folder: Path, role: str = "", number: int | None = None, note: Callable[[str], None] | None = None
) -> Series:
    """One series of a folder: by number, the only one, or the only one that looks like ``role``.

    Raises
    ------
    InputError
        If the choice is open; the message lists the series.
    """
    series = list_series(folder)
    listing = "; ".join(str(s) for s in series)
    if number is not None:
        if not 1 <= number <= len(series):
            raise InputError(f"{folder.name} has no series #{number}; it holds {listing}.")
        return series[number - 1]
    if len(series) == 1:
        return series[0]
    alike = [s for s in series if role and s.weighting == role]
    if len(alike) != 1:
        raise InputError(
            f"{folder.name} holds {len(series)} series, {len(alike)} of which look {role or 'right'}: {listing}; "
            f"choose one by its number, such as {folder.name}#{series[0].number}."
        )
    if note:
        note(f"{role}: series {alike[0]} of {len(series)}, guessed from the headers.")
    return alike[0]


def read_series(series: Series) -> Volume:
    """Read one series as a volume, float32 after rescale, named by its folder.

    Raises
    ------
    InputError
        If slices are missing or of different geometry, or the files cannot be read.
    """
    import SimpleITK as sitk

    name = Path(series.files[0]).parent.name
    headers = [_header(file) for file in series.files]
    _require_even_stack(headers, name)
    _require_affordable(headers, name)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(series.files)
    # the rescale slope may differ from slice to slice: never round to the first slice's type
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"{name}: the DICOM series cannot be read as one volume; export it again.") from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise InputError(f"{name} is a colour series; give a scalar MR series.")
    try:
        volume = Volume.from_sitk(image, name)
    except InputError as error:
        raise error.about(name) from error
    return replace(
        volume,
        patient_id=_tag(headers[0], PATIENT_ID) or None,
        frame_of_reference=_tag(headers[0], FRAME_OF_REFERENCE) or None,
    )


def _describe(number: int, files: tuple[str, ...]) -> Series:
    header = _header(files[0])
    words = [_tag(header, tag) for tag in (SERIES_DESCRIPTION, PROTOCOL_NAME, SEQUENCE_NAME)]
    description = next((word for word in words if word), "")
    description = "".join(letter for letter in description if letter.isprintable())
    return Series(number, files, description, _number(header, REPETITION_TIME), _number(header, ECHO_TIME))


def _header(file: str) -> sitk.ImageFileReader:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{Path(file).name} cannot be read as DICOM; export the series again.") from error
    return reader


def _tag(header: sitk.ImageFileReader, tag: str) -> str:
    return header.GetMetaData(tag).strip() if header.HasMetaDataKey(tag) else ""


def _number(header: sitk.ImageFileReader, tag: str) -> float:
    try:
        return float(_tag(header, tag))
    except ValueError:
        return 0.0


def _is_spacing(text: str) -> bool:
    try:
        numbers = [float(part) for part in text.split("\\")]
    except ValueError:
        return False
    return len(numbers) == 2 and all(0 < number < 1000 for number in numbers)


def _require_affordable(headers: list[sitk.ImageFileReader], name: str) -> None:
    """Refuse what would take far more memory than its files hold, before it is unpacked."""
    columns, rows = headers[0].GetSize()[:2]
    require_size(name, (columns, rows, len(headers)))
    stored = sum(Path(h.GetFileName()).stat().st_size for h in headers)
    if columns * rows * len(headers) > stored * MAX_DEFLATE_RATIO:
        raise InputError(f"{name}: its slices declare far more pixels than they hold; export the series again.")


def _require_even_stack(headers: list[sitk.ImageFileReader], name: str) -> None:
    """Slices at even distances, all of one orientation and size: otherwise a slice is missing or foreign."""
    if any(h.GetSize()[2:] not in ((), (1,)) for h in headers):
        raise InputError(f"{name} holds multi-frame DICOM; export it as single slices or as NIfTI.")
    if len(headers) < 2:
        raise InputError(f"{name} holds a single DICOM slice; give the folder of the whole series.")
    if len({(_tag(h, PIXEL_SPACING), _tag(h, FRAME_OF_REFERENCE)) for h in headers}) > 1:
        raise InputError(f"{name} mixes slices of different pixel spacing or frame of reference; separate them first.")
    if not _is_spacing(_tag(headers[0], PIXEL_SPACING)):
        raise InputError(f"{name}: its slices carry no pixel spacing in mm; export the series again.")
    if len({_tag(h, PATIENT_ID) for h in headers}) > 1:
        raise InputError(f"{name} mixes slices of different patients; separate the series first.")
    if len({(h.GetSize()[:2], _tag(h, ORIENTATION)) for h in headers}) > 1:
        raise InputError(f"{name} mixes slices of different size or orientation; separate the series first.")
    try:
        cosines = [float(v) for v in _tag(headers[0], ORIENTATION).split("\\")]
        normal = np.cross(cosines[:3], cosines[3:])
        places = np.array([[float(v) for v in _tag(h, POSITION).split("\\")] for h in headers])
        levels = np.sort(places @ normal)
        sideways = places - np.outer(places @ normal, normal)
        if not np.isfinite(levels).all() or not 0.99 < np.linalg.norm(normal) < 1.01:
            raise ValueError("no orthonormal orientation")
    except (ValueError, IndexError) as error:
        raise InputError(f"{name}: slices carry no position in the patient; export the series again.") from error
    if np.ptp(sideways, axis=0).max() > MAX_DRIFT_MM:
        raise InputError(f"{name}: the slices are shifted against each other (a sheared stack); resample it first.")
    steps = np.diff(levels)
    usual = float(np.median(steps))
    if usual < 1e-3 or np.abs(steps - usual).max() > max(0.05 * usual, 0.01):
        raise InputError(
            f"{name}: slices are missing or repeated (distances {steps.min():.2f} to {steps.max():.2f} mm, usually "
            f"{usual:.2f} mm); export the whole series again."
        )
