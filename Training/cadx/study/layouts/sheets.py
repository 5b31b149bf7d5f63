"""A table's cells as text, from CSV or an Excel workbook."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cadx.batch import MAX_TABLE_BYTES
from cadx.errors import InputError, MissingDependencyError
from cadx.io.names import require_plain_name

SUFFIXES = (".csv", ".xlsx")
MAX_ROWS = 1_000_000
MAX_COLUMNS = 10_000


@dataclass(frozen=True)
class Line:
    """One row: its number as a spreadsheet counts, and as many cells as there are headers."""

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """A table's headers (lower case, single spaces) and its rows that are not empty."""

    name: str
    headers: tuple[str, ...]
    lines: tuple[Line, ...]

    def column(self, *names: str) -> int | None:
        """Index of the first of ``names`` that is a header; None where none is."""
        return next((self.headers.index(name) for name in names if name in self.headers), None)


def read_sheet(path: Path) -> Sheet:
    """Read a CSV file or the first sheet of an Excel workbook (values, no formulas).

    Raises
    ------
    InputError
        If it is missing, too large, cannot be read or holds no row.
    MissingDependencyError
        If it is a workbook and openpyxl is not installed.
    """
    require_plain_name(path)
    if not path.is_file():
        raise InputError(f"There is no table {path.name or 'of that name'}; check the path.")
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise InputError(f"{path.name} is too large for a table of cases; split it.")
    rows = _workbook(path) if path.suffix.lower() == ".xlsx" else _csv(path)
    headers = tuple(" ".join(cell.lower().split()) for cell in (rows[0] if rows else []))
    width = len(headers)
    lines = tuple(
        Line(number, tuple(cells[:width]) + ("",) * (width - len(cells)))
        for number, cells in enumerate(rows[1:], start=2)
        if any(cells)
    )
    if not lines:
        raise InputError(f"{path.name} holds no case; add one row a case.")
    return Sheet(path.name, headers, lines)


def _csv(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        # spreadsheets of half of Europe write semicolons
        delimiter = ";" if ";" in first and "," not in first else ","
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        return [[cell.strip() for cell in row] for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path.name} cannot be read as a CSV table; save it as CSV in UTF-8.") from error


def _workbook(path: Path) -> list[list[str]]:
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Reading {path.name} needs openpyxl; install it with: python -m pip install openpyxl"
        ) from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            sheet = book.worksheets[0]
            # some writers declare a size that is wrong
            sheet.reset_dimensions()
            rows = sheet.iter_rows(max_row=MAX_ROWS, max_col=MAX_COLUMNS, values_only=True)
            return [[_text(cell) for cell in row] for row in rows]
        finally:
            book.close()
    except Exception as error:  # a damaged workbook raises whatever its parts' parsers raise
        raise InputError(f"{path.name} cannot be read as an Excel workbook; save it again, or as CSV.") from error


def _text(cell: object) -> str:
    """A cell as one reads it: 2.0 is "2", a date has no clock."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, date):
        return cell.isoformat().removesuffix("T00:00:00")
    return str(cell).strip()
