"""Many cases from a table or a folder: a folder a case, one summary; a bad case is recorded and the rest go on."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cadx import output
from cadx.case import Case
from cadx.case_names import SUMMARY, require_names
from cadx.classify import Classifier, Options
from cadx.classify_picture import PictureClassifier, PictureOptions
from cadx.errors import CadxError, CancelledError, InputError, RefusedError
from cadx.io.atomic import write_text
from cadx.io.files import read_roi, read_volume
from cadx.io.jsonfile import JsonError, read_json
from cadx.picture_case import PictureCase, chosen_slices
from cadx.picture_folder import cases_in, is_volume_name
from cadx.planes import Plane
from cadx.prepare.picture_file import read_picture_file
from cadx.result import Result
from cadx.summary import case_record, failure_record, summary_text

CHANNELS = ("T1", "T2")
PICTURE_COLUMNS = "case, image (or case, volume, slice, plane)"
MAX_TABLE_BYTES = 100_000_000
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
    """One case for a bundle for pictures: an image, or a volume with which of its slices in which plane.

    ``slices`` as :func:`cadx.picture_case.chosen_slices` takes them; ``plane`` "" is that of the acquisition.
    """

    case: str
    image: str
    volume: str = ""
    slices: str = ""
    plane: str = ""

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
        If the table cannot be read, lacks a column, or names a case twice or with a path in it; of a folder always.
    """
    if table.is_dir():
        columns = ", ".join(columns_for(channels))
        raise InputError(
            f"{table.resolve().name} is a folder; this bundle needs a table of cases (CSV with {columns})."
        )
    rows = [
        Row(r["case"], *(resolve(table.parent, r.get(column, "")) for column in ("t1", "t2", "roi")))
        for r in read_table(table, columns_for(channels))
    ]
    require_names(table.name, [row.case for row in rows])
    return rows


def read_picture_cases(table: Path) -> list[PictureRow]:
    """Read a table of pictures, or take every picture and volume in a folder (:mod:`cadx.picture_folder`).

    Columns: case, image; or case, volume and, if wanted, slice (all by default) and plane (by default that of the
    acquisition); an image's row passes these two over. Paths are relative to the table. Of a folder's volumes all
    slices are taken.

    Raises
    ------
    InputError
        If there is none, it cannot be read, lacks a column, or names a case twice or with a path in it.
    """
    rows = _folder_rows(table) if table.is_dir() else _picture_rows(table)
    require_names(table.name, [row.case for row in rows])
    return rows


def require_results_apart(cases: Path, out: Path, rows: Sequence[Row | PictureRow]) -> None:
    """Refuse to write over the table, or into the folder, that is read.

    Raises
    ------
    InputError
        If the summary would replace the table, or a case's pictures would be cases the next time.
    """
    read = cases.resolve()
    if read == (out / SUMMARY).resolve():
        raise InputError(f"{cases.name} would be overwritten by the batch's own summary; give another --out.")
    if read.is_dir() and any((out / row.case).resolve().is_relative_to(read) for row in rows):
        raise InputError(f"The results would lie among the cases in {read.name}; give an --out that is not in it.")


def _picture_rows(table: Path) -> list[PictureRow]:
    records = read_table(table, ())
    missing = "case" if "case" not in records[0] else "" if {"image", "volume"} & set(records[0]) else "image"
    if missing:
        raise InputError(f"{table.name} lacks the column {missing}; it needs {PICTURE_COLUMNS}.")
    rows = []
    for record in records:
        image, volume = (resolve(table.parent, record.get(column, "")) for column in ("image", "volume"))
        # of an image these say where it comes from
        slices, plane = ("", "") if image else (record.get("slice", ""), record.get("plane", ""))
        rows.append(PictureRow(record["case"], image, volume, slices, plane))
    return rows


def _folder_rows(folder: Path) -> list[PictureRow]:
    return [
        PictureRow(name, "", str(file)) if is_volume_name(file) else PictureRow(name, str(file))
        for name, file in cases_in(folder)
    ]


def read_table(table: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file that must have ``columns`` (found without regard to case).

    Raises
    ------
    InputError
        If it cannot be read, is empty, lacks a column, or a row holds more than its columns.
    """
    try:
        if not table.is_file():
            raise InputError(f"There is no table {table.name or 'of that name'}; check the path.")
        if table.stat().st_size > MAX_TABLE_BYTES:
            raise InputError(f"{table.name} is too large for a table of cases; split it.")
        reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline=""))
        records = list(reader)
        rows = [{(k or "").strip().lower(): (v or "").strip() for k, v in row.items() if k} for row in records]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table.name} cannot be read as a CSV table; save it as CSV in UTF-8.") from error
    missing = [c for c in columns if c not in [(h or "").strip().lower() for h in reader.fieldnames or []]]
    if missing:
        raise InputError(f"{table.name} lacks the column {missing[0]}; it needs {', '.join(columns)}.")
    if any("".join(record.get(None, ())).strip() for record in records):
        raise InputError(f"{table.name} has a row of more values than columns; put quotes around values with commas.")
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
        If neither or both are given, it cannot be read, or has no such slice or plane.
    """
    if row.image and row.volume:
        raise InputError("An image and a volume are given, which are two cases; leave one of the two out.")
    if not row.image and not row.volume:
        raise InputError("This bundle needs a picture; fill in the column image, or volume.")
    slices = chosen_slices(row.slices)
    source = read_picture_file(row.image) if row.image else read_volume(row.volume, "", note)
    # the case itself refuses what is no plane
    return PictureCase(source, slices, row.case, cast("Plane | None", row.plane.lower() or None))


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
