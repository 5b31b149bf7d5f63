"""A cohort as a table: ``cases.csv`` in its folder, or any CSV file or workbook.

Columns are found without regard to case. Volumes: case, patient, t1, t2, roi (or mask: a mask that serves as ROI),
label, lesion. Pictures: path, patient, label, mask (of the finding); case where the path shall not be the name.
Either: centre. Every other column is a covariate. Paths count from the table.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from cadx.batch import resolve
from cadx.errors import InputError
from cadx.study.cohort import Sample
from cadx.study.layouts.draft import IMAGE, Draft, is_there
from cadx.study.layouts.sheets import SUFFIXES, Line, Sheet, read_sheet

TABLES = ("cases.csv", "cases.xlsx")
NAME = ("case", "name")
GROUP = ("patient", "group")
PICTURE = ("path", "image")
CENTRE = ("centre", "center", "site")
VOLUMES = ("T1", "T2")
MAX_NAME = 300


def recognises(data: Path) -> bool:
    """Whether ``data`` is a table or a folder with one."""
    return data.suffix.lower() in SUFFIXES if data.is_file() else any((data / name).is_file() for name in TABLES)


def roles(data: Path) -> tuple[str, ...]:
    """The images that the table names: those of T1 and T2 that have a column, or "image"."""
    sheet = read_sheet(_table(data))
    volumes = tuple(role for role in VOLUMES if role.lower() in sheet.headers)
    if volumes:
        return volumes
    if sheet.column(*PICTURE) is not None:
        return (IMAGE,)
    raise InputError(f"{sheet.name} names no image; it needs a column t1 or t2 (volumes), or path (pictures).")


def read(data: Path, roles: tuple[str, ...]) -> Draft:
    """Samples of a table."""
    table = _table(data)
    sheet = read_sheet(table)
    columns = _columns(sheet, roles)
    draft = Draft()
    for line in sheet.lines:
        reader = _Row(line, columns, table, draft)
        sample = reader.sample()
        if sample is not None:
            draft.samples.append(sample)
    if columns.group is not None:
        draft.notes += _doubts(sheet.name, [_composed(line.cells[columns.group]) for line in sheet.lines])
    if columns.group is None and roles == (IMAGE,):
        draft.notes.append(
            f"{sheet.name} has no column patient, so every image is its own group and images of one patient may fall "
            "on both sides of a split."
        )
    return draft


def _doubts(table: str, groups: list[str]) -> list[str]:
    """Where the column of patients may not say what it seems to say."""
    notes = []
    unnamed = groups.count("")
    if unnamed:
        notes.append(
            f"Rows of {table} that name no patient: {unnamed}; each is its own group, so images of one patient may "
            "fall on both sides of a split."
        )
    alike: dict[str, list[str]] = {}
    for group in dict.fromkeys(filter(None, groups)):
        alike.setdefault("".join(group.casefold().split()), []).append(group)
    pairs = [own for own in alike.values() if len(own) > 1]
    if pairs:
        notes.append(
            f"Patients of {table} whose names differ in case or spaces alone, taken for different ones: {len(pairs)}, "
            f"first '{pairs[0][0]}' and '{pairs[0][1]}'."
        )
    return notes


def _composed(text: str) -> str:
    """One form of letters with accents: macOS writes them as two characters, and two forms were two patients."""
    return unicodedata.normalize("NFC", text)


@dataclass(frozen=True)
class _Columns:
    """Where in the table what stands; None where it stands nowhere."""

    name: int | None
    images: dict[str, int]
    label: int
    group: int | None
    roi: int | None
    centre: int | None
    lesion: int | None
    covariates: dict[str, int]


def _table(data: Path) -> Path:
    if data.is_file():
        return data
    return next((data / name for name in TABLES if (data / name).is_file()), data / TABLES[0])


def _columns(sheet: Sheet, roles: tuple[str, ...]) -> _Columns:
    pictures = roles == (IMAGE,)
    wanted = {role: PICTURE if pictures else (role.lower(),) for role in roles}
    images = {role: _needed(sheet, *names) for role, names in wanted.items()}
    label = _needed(sheet, "label")
    name = sheet.column(*NAME) if pictures else _needed(sheet, *NAME)
    roi = None
    if not pictures:
        # two volumes need a place to be compared at; one may be the crop itself
        roi = _needed(sheet, "roi", "mask") if len(roles) > 1 else sheet.column("roi", "mask")
    group, centre = sheet.column(*GROUP), sheet.column(*CENTRE)
    lesion = sheet.column("lesion", "mask") if pictures else sheet.column("lesion")
    taken = {*images.values(), label, name, roi, group, centre, lesion}
    rest = {header: i for i, header in enumerate(sheet.headers) if header and i not in taken}
    return _Columns(name, images, label, group, roi, centre, lesion, rest)


def _needed(sheet: Sheet, *names: str) -> int:
    found = sheet.column(*names)
    if found is None:
        raise InputError(f"{sheet.name} lacks the column {' or '.join(names)}; add it to the table.")
    return found


@dataclass(frozen=True)
class _Row:
    """One row on its way to a sample; what is wrong with it goes to the draft's problems."""

    line: Line
    columns: _Columns
    table: Path
    draft: Draft

    def sample(self) -> Sample | None:
        """The sample, or None where the row cannot be used."""
        before = len(self.draft.problems)
        columns = self.columns
        texts = {role: self._cell(column) for role, column in columns.images.items()}
        name = self._cell(columns.name) or texts.get(IMAGE, "")
        if not name:
            self._complain(f"row {self.line.number} names no {'image' if IMAGE in texts else 'case'}; fill it in.")
            return None
        if not name.isprintable() or len(name) > MAX_NAME:
            self._complain(f"row {self.line.number} has a name that cannot be printed on one line; give a plain one.")
            return None
        label = self._cell(columns.label)
        if not label:
            self._complain(f"{name} has no label; fill it in or remove the row.")
        images = {role: self._file(name, role, text, texts) for role, text in texts.items()}
        roi = ""
        if columns.roi is not None:
            roi = self._cell(columns.roi)
            if not roi:
                self._complain(f"{name} has no ROI; fill it in.")
            elif roi.count(",") != 5:
                roi = self._existing(name, "ROI", roi)
        lesion = self._cell(columns.lesion)
        lesion = self._existing(name, "mask", lesion) if lesion else ""
        if len(self.draft.problems) > before:
            return None
        covariates = {header: self.line.cells[i] for header, i in columns.covariates.items()}
        group = _composed(self._cell(columns.group)) or name
        return Sample(name, images, label, group, roi, _composed(self._cell(columns.centre)), lesion, covariates)

    def _cell(self, column: int | None) -> str:
        return "" if column is None else self.line.cells[column]

    def _complain(self, text: str) -> None:
        self.draft.problems.append(f"{self.table.name}: {text}")

    def _file(self, name: str, role: str, text: str, texts: dict[str, str]) -> str:
        if text:
            return self._existing(name, role, text)
        other = next((r for r, t in texts.items() if t), None)
        lack = f"has a {other} but no {role}" if other else f"names no {role}"
        self._complain(f"{name} {lack}; fill it in or remove the row.")
        return ""

    def _existing(self, name: str, what: str, text: str) -> str:
        path = resolve(self.table.parent, text)
        if not is_there(path):
            self._complain(f"{name} names {text} as its {what}, which does not exist; correct the path.")
        return path
