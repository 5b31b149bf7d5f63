"""Many cases from one table: a folder a case, one summary; a bad case is recorded and the rest go on."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadx import output
from cadx.case import Case
from cadx.classify import Classifier, Options
from cadx.classify_picture import PictureClassifier, PictureOptions
from cadx.errors import CadxError, CancelledError, InputError, RefusedError
from cadx.io.atomic import write_text
from cadx.io.dicomfile import is_dicom
from cadx.io.files import read_roi, read_volume
from cadx.io.jsonfile import JsonError, read_json
from cadx.picture_case import PictureCase, chosen_slices
from cadx.prepare.picture_file import read_picture_file
from cadx.result import Result
from cadx.summary import case_record, failure_record, summary_text

CHANNELS = ("T1", "T2")
MAX_TABLE_BYTES = 100_000_000
MAX_NAME_BYTES = 200
SUMMARY = "summary.csv"
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One case of the table; paths as the user wrote them, resolved against the table's folder; "" where none is."""

    case: str
    t1: str
    t2: str
    roi: str

    @property
    def files(self) -> tuple[str, ...]:
        """What is read."""
        return self.t1, self.t2, self.roi


@dataclass(frozen=True)
class PictureRow:
    """One case of a table for pictures: an image, or a volume and which of its slices ("" or "all", "7", "3,5-9")."""

    case: str
    image: str
    volume: str = ""
    slices: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """What is read."""
        return self.image, self.volume


def columns_for(channels: Sequence[str]) -> tuple[str, ...]:
    """What a table must hold for a bundle with these channels.

    >>> columns_for(("T2",))
    ('case', 't2', 'roi')
    """
    return ("case", *(channel.lower() for channel in channels), "roi")


def read_cases(table: Path, channels: Sequence[str] = CHANNELS) -> list[Row]:
    """Read ``cases.csv`` (columns case, roi, and t1 and t2 as far as ``channels`` need them; paths relative to it).

    Raises
    ------
    InputError
        If the table cannot be read, lacks a column, or names a case twice or with a path in it.
    """
    rows = [
        Row(r["case"], *(resolve(table.parent, r.get(column, "")) for column in ("t1", "t2", "roi")))
        for r in read_table(table, columns_for(channels))
    ]
    _require_names(table.name, [row.case for row in rows])
    return rows


def read_picture_cases(table: Path) -> list[PictureRow]:
    """Read a table of pictures, or take every picture in a folder.

    Columns: case, image; or case, volume and, if wanted, slice (all by default). Paths are relative to the table. In a
    folder a case is named by its file, without the ending where that suffices.

    Raises
    ------
    InputError
        If there is none, it cannot be read, lacks a column, or names a case twice or with a path in it.
    """
    rows = _pictures_in(table) if table.is_dir() else _picture_rows(table)
    _require_names(table.name, [row.case for row in rows])
    return rows


def _picture_rows(table: Path) -> list[PictureRow]:
    records = read_table(table, ("case",))
    if not {"image", "volume"} & set(records[0]):
        raise InputError(f"{table.name} lacks the column image; it needs case, image (or case, volume, slice).")
    rows = []
    for record in records:
        image = resolve(table.parent, record.get("image", ""))
        volume = "" if image else resolve(table.parent, record.get("volume", ""))
        rows.append(PictureRow(record["case"], image, volume, record.get("slice", "") if volume else ""))
    return rows


def _pictures_in(folder: Path) -> list[PictureRow]:
    files = [f for f in sorted(folder.iterdir()) if f.is_file() and not f.name.startswith(".")]
    files = [f for f in files if f.suffix.lower() in PICTURE_SUFFIXES or is_dicom(f)]
    if not files:
        raise InputError(f"{folder.name} holds no PNG, JPEG, BMP, TIFF or DICOM image; give the folder that does.")
    stems = Counter(f.stem for f in files)
    return [PictureRow(f.stem if stems[f.stem] == 1 else f.name, str(f)) for f in files]


def _require_names(table: str, cases: list[str]) -> None:
    """Every case names a folder of its own."""
    names = Counter(cases)
    for name in names:
        if not _names_a_folder(name):
            raise InputError(f"{table}: '{name[:80]}' cannot name a case's folder; use letters, digits and dashes.")
    repeated = next((name for name, count in names.items() if count > 1), None)
    if repeated:
        raise InputError(f"{table} names the case '{repeated}' twice; give each case its own name.")


def _names_a_folder(name: str) -> bool:
    """A plain name: no path, not hidden, no letter that does not print, no file of the batch's own."""
    return (
        0 < len(name.encode()) <= MAX_NAME_BYTES
        and name.isprintable()
        and not name.startswith(".")
        and not set(name) & set('/\\:*?"<>|')
        and name != SUMMARY
    )


def read_table(table: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file that must have ``columns`` (found without regard to case).

    Raises
    ------
    InputError
        If it cannot be read, is empty or lacks a column.
    """
    try:
        if not table.is_file():
            raise InputError(f"There is no table {table.name or 'of that name'}; check the path.")
        if table.stat().st_size > MAX_TABLE_BYTES:
            raise InputError(f"{table.name} is too large for a table of cases; split it.")
        reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline=""))
        rows = [{(k or "").strip().lower(): (v or "").strip() for k, v in row.items() if k} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table.name} cannot be read as a CSV table; save it as CSV in UTF-8.") from error
    missing = [c for c in columns if c not in [(h or "").strip().lower() for h in reader.fieldnames or []]]
    if missing:
        raise InputError(f"{table.name} lacks the column {missing[0]}; it needs {', '.join(columns)}.")
    if not rows:
        raise InputError(f"{table.name} holds no case; add one row a case.")
    return rows


def read_case(row: Row, note: Callable[[str], None], margin_mm: float, channels: Sequence[str] = CHANNELS) -> Case:
    """Read the ROI of one row and those of its volumes that a bundle with these channels needs.

    Raises
    ------
    InputError
        If one of them is missing or cannot be read.
    """
    given = {"T1": row.t1, "T2": row.t2}
    missing = [channel for channel in channels if not given.get(channel)]
    if missing:
        options = " and ".join(f"--{channel.lower()}" for channel in missing)
        raise InputError(f"This bundle needs {' and '.join(channels)}; give {options}, or fill in that column.")
    images = {channel: read_volume(given[channel], channel, note) for channel in channels}
    return Case(images, read_roi(row.roi, images[channels[0]], margin_mm), row.case)


def read_picture_case(row: PictureRow, note: Callable[[str], None]) -> PictureCase:
    """Read the picture, or the volume, of one row.

    Raises
    ------
    InputError
        If it is missing, cannot be read, or has no such slice.
    """
    if row.image:
        return PictureCase(read_picture_file(row.image), name=row.case)
    if not row.volume:
        raise InputError("This bundle needs a picture; fill in the column image, or volume.")
    return PictureCase(read_volume(row.volume, "", note), chosen_slices(row.slices), row.case)


def run_batch(
    rows: Sequence[Row | PictureRow],
    classifier: Classifier | PictureClassifier,
    folder: Path,
    options: Options | PictureOptions,
    *,
    margin_mm: float,
    resume: bool = False,
    command: tuple[str, ...] = (),
    note: Callable[[str], None] = log.info,
    progress: Callable[[int, int, str], None] | None = None,
    emit: Callable[[dict[str, str]], None] | None = None,
) -> int:
    """Grade every row; write ``summary.csv`` after each. Returns the number of cases that failed.

    With ``resume`` a case is kept whose ``result.json`` was made from the same images, ROI, bundle and options. A case
    that fails keeps no files of an earlier run.
    """
    names = classifier.bundle.settings.classes
    records: list[dict[str, str]] = []
    for number, row in enumerate(rows, start=1):
        case_folder = folder / row.case
        record = _kept(case_folder, row, classifier, options, margin_mm) if resume else None
        if record is None:
            record = _run_case(row, classifier, case_folder, options, margin_mm, command, note)
        records.append(record)
        write_text(folder / SUMMARY, summary_text(records, names))
        if emit:
            emit(record)
        if progress:
            progress(number, len(rows), f"{row.case}: {record['label'] or record['status']}")
    return sum(record["status"] == "failed" for record in records)


def resolve(base: Path, text: str) -> str:
    """Relative paths count from the table; a ROI's six numbers stay as they are."""
    return text if not text or text.count(",") == 5 else str(base / text)


def _read(row: Row | PictureRow, classifier: Any, margin_mm: float, note: Callable[[str], None]) -> Case | PictureCase:
    if isinstance(row, PictureRow):
        return read_picture_case(row, note)
    return read_case(row, note, margin_mm, classifier.preparation.spec.channels)


def _run_case(
    row: Row | PictureRow,
    classifier: Any,
    folder: Path,
    options: Options | PictureOptions,
    margin_mm: float,
    command: tuple[str, ...],
    note: Callable[[str], None],
) -> dict[str, str]:
    try:
        output.require_apart(folder, row.files)
        case = _read(row, classifier, margin_mm, note)
        try:
            reading = classifier.classify(case, options, command=command)
        except RefusedError as error:
            refused = classifier.refusal(case, error, options, command)
            output.write_refusal(folder, refused)
            return case_record(row.case, refused.to_json())
        output.write_reading(folder, case, reading, note)
        return case_record(row.case, reading.result.to_json())
    except CancelledError:
        raise
    except CadxError as error:
        output.remove(folder)
        return failure_record(row.case, str(error))
    except MemoryError:
        output.remove(folder)
        return failure_record(row.case, "Memory ran out; use a smaller volume or close other programs.")
    except Exception as error:
        log.exception("%s", row.case)
        output.remove(folder)
        return failure_record(
            row.case, f"An unexpected {type(error).__name__} stopped this case; run it alone with --debug."
        )


def _kept(
    folder: Path, row: Row | PictureRow, classifier: Any, options: Options | PictureOptions, margin_mm: float
) -> dict[str, str] | None:
    """The record of an earlier run on the same images, ROI, bundle and options; None where it must be done again."""
    try:
        result = Result.from_json(read_json(folder / "result.json"))
        case = _read(row, classifier, margin_mm, lambda text: None)
    except (JsonError, CadxError, OSError):
        return None
    same = result.request_sha256 == classifier.request_sha256(case, options)
    return case_record(row.case, result.to_json()) if same and output.is_whole(folder, result) else None
