"""The Cyst-X release (OSF 74vfs) as it is downloaded, older and newer.

T1 and T2 of a patient are paired by the table's row. Two roles take the whole scans with their pancreas masks; the
crops lost their place in the patient (their origins were not shifted by the crop), so two crops cannot be compared.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cadx.errors import InputError
from cadx.study.cohort import Sample
from cadx.study.layouts.draft import Draft
from cadx.study.layouts.sheets import SUFFIXES, Line, Sheet, read_sheet

CROPS, WHOLE = "IPMN_Classification", "IPMN_images_masks"
BOTH = ("T1", "T2")
CENTRES = {
    "NYU": ("nyu",),
    "MCF": ("cad", "mcf"),
    "NU": ("northwestern", "nu"),
    "AHN": ("ahn",),
    "MCA": ("mca",),
    "IU": ("iu",),
    "EMC": ("emc",),
}
# where a table's headers say nothing
FIRST, SECOND = 0, 1
RISK_OF_ONE, RISK_OF_ONE_OLDER, RISK_OF_BOTH = 5, 3, 6
RISK = ("risk assessment", "risk_assessment", "ground truth risk assessment", "risk", "label", "labels")
EMPTY = ("", "nan", "n/a", "na", "#n/a")
_IMAGE_ENDINGS = (".nii.gz", ".nii")
_TAILS = re.compile(r"(_0000|_t1|_t2|_roi|_pancreas_seg)$", re.IGNORECASE)
_ID_WORDS = {"patient", "id", "name", "image", "file", "filename", "scan", "t1", "t1w", "t2", "t2w"}


def recognises(data: Path) -> bool:
    """Whether ``data`` is the release, or one of its two folders."""
    if not data.is_dir():
        return False
    release = _Release.find(data)
    return bool(release.crops or release.whole)


def roles(data: Path) -> tuple[str, ...]:
    """T1 and T2 where they can be compared, else the first of them that is there."""
    release = _Release.find(data)
    if all(release.scans(role) for role in BOTH) and release.table_of_both():
        return BOTH
    return tuple(role for role in BOTH if release.scans(role) or release.crop_folder(role))[:1] or BOTH


def read(data: Path, roles: tuple[str, ...]) -> Draft:
    """Samples of the release: a row of the table each."""
    if not data.is_dir() or not set(roles) <= set(BOTH):
        raise InputError(f"{data.name}: Cyst-X is a folder of T1 and T2 volumes; choose a study of these.")
    release = _Release.find(data)
    if not release.tables:
        raise InputError(f"{data.name} holds no table IPMN_labels_*.xlsx or .csv; download the release's tables.")
    return _read_pairs(release, roles) if len(roles) > 1 else _read_one(release, roles[0])


@dataclass(frozen=True)
class _Release:
    """Where the parts of a release lie; None or empty where one was not downloaded."""

    name: str
    crops: Path | None
    whole: Path | None
    tables: dict[str, Path]

    @classmethod
    def find(cls, data: Path) -> _Release:
        """``data`` is the release's folder or one of its two parts."""
        inside = data.name in (CROPS, WHOLE)
        root = data.parent if inside else data
        crops, whole = (p if p.is_dir() else None for p in (root / CROPS, root / WHOLE))
        if not inside and crops is None and any(data.glob("IPMN_labels*")):
            crops = data
        tables: dict[str, Path] = {}
        for folder in filter(None, (crops, whole, root)):
            for path in sorted(folder.glob("IPMN_labels*")):
                if path.suffix.lower() in SUFFIXES:
                    tables.setdefault(path.stem.lower(), path)
        return cls(data.name or str(data), crops, whole, tables)

    def crop_folder(self, role: str) -> Path | None:
        """The crops of one role; the older release names them otherwise."""
        names = (role.lower(), f"{role.lower()}_clean_ROI")
        return next((self.crops / n for n in names if (self.crops / n).is_dir()), None) if self.crops else None

    def scans(self, role: str) -> Path | None:
        """The folder with images and masks of one role, if both are there."""
        folder = self.whole / role.lower() if self.whole else None
        return folder if folder and (folder / "images").is_dir() and (folder / "masks").is_dir() else None

    def table_of_both(self) -> Path | None:
        """The table whose rows pair T1 with T2."""
        return self.tables.get("ipmn_labels_total") or self.tables.get("ipmn_labels")

    def table_of(self, role: str) -> Path | None:
        """The table of one role."""
        stem = f"ipmn_labels_{role.lower()}"
        return self.tables.get(f"{stem}_total") or self.tables.get(stem)


@dataclass
class _Labels:
    """Rows with a label (the row, its images by role without endings, the label), how many had none, and all pairs."""

    table: str
    rows: list[tuple[Line, dict[str, str], str]] = field(default_factory=list)
    pairs: list[dict[str, str]] = field(default_factory=list)
    unlabelled: int = 0
    headers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, roles: tuple[str, ...]) -> _Labels:
        """Read a table whose first columns name the images of ``roles``."""
        sheet = read_sheet(path)
        columns = _image_columns(sheet, roles)
        risk = sheet.column(*RISK)
        if risk is None:
            of_one = RISK_OF_ONE if path.stem.lower().endswith("_total") else RISK_OF_ONE_OLDER
            risk = RISK_OF_BOTH if len(roles) > 1 else of_one
        if risk >= len(sheet.headers) or max(columns.values()) >= len(sheet.headers):
            raise InputError(f"{path.name} lacks the column risk assessment; download the release's table again.")
        labels = cls(path.name)
        taken = {*columns.values(), risk}
        labels.headers = {header: i for i, header in enumerate(sheet.headers) if header and i not in taken}
        for line in sheet.lines:
            stems = {role: _stem(line.cells[i]) for role, i in columns.items()}
            label = _plain_number(line.cells[risk])
            if all(stems.values()):
                labels.pairs.append(stems)
            if label.casefold() in EMPTY:
                labels.unlabelled += 1
                continue
            labels.rows.append((line, stems, label))
        return labels

    def covariates(self, line: Line) -> dict[str, str]:
        """Every column that is neither a name nor the label."""
        return {header: line.cells[i] for header, i in self.headers.items()}

    def note(self) -> list[str]:
        """How many rows were dropped for want of a label."""
        return [f"Rows of {self.table} without a label, left out: {self.unlabelled}."] if self.unlabelled else []


def _read_pairs(release: _Release, roles: tuple[str, ...]) -> Draft:
    table = release.table_of_both()
    if table is None:
        raise InputError(
            f"{release.name} holds no IPMN_labels_total.xlsx, which alone says which T1 and T2 belong together; "
            "download it, or train on one of T1 and T2."
        )
    if not all(release.scans(role) for role in roles):
        raise InputError(
            f"{release.name} holds crops whose place in the patient was lost, so T1 and T2 cannot be matched; "
            f"download {WHOLE} too, or train on one of T1 and T2."
        )
    labels = _Labels.read(table, BOTH)
    patients = _Patients(labels)
    draft = Draft(notes=labels.note())
    whole = [row for row in labels.rows if all(row[1].values())]
    if len(whole) < len(labels.rows):
        draft.notes.append(
            f"Rows of {table.name} with only one of T1 and T2, left out: {len(labels.rows) - len(whole)}."
        )
    names = _sample_names([stems[roles[0]] for _, stems, _ in whole])
    finders = {role: _Scans(release, role) for role in roles}
    for name, (line, stems, label) in zip(names, whole, strict=True):
        images = {role: finders[role].image(stems[role], name, draft) for role in roles}
        roi = finders[roles[0]].mask(stems[roles[0]], name, draft)
        if roi and all(images.values()):
            group = patients.of(roles[0], stems[roles[0]])
            draft.samples.append(_sample(name, images, label, group, stems[roles[0]], roi, labels.covariates(line)))
    return draft


def _read_one(release: _Release, role: str) -> Draft:
    both = release.table_of_both()
    table = release.table_of(role)
    if table is None and both is None:
        raise InputError(f"{release.name} holds no table of labels for {role}; download IPMN_labels_*_total.xlsx.")
    pairs = _Labels.read(both, BOTH) if both else None
    labels = _Labels.read(table, (role,)) if table else pairs
    assert labels is not None
    patients = _Patients(pairs)
    draft = Draft(notes=labels.note())
    rows = [row for row in labels.rows if row[1][role]]
    names = _sample_names([stems[role] for _, stems, _ in rows])
    finder = _Scans(release, role)
    for name, (line, stems, label) in zip(names, rows, strict=True):
        image = finder.image(stems[role], name, draft)
        roi = finder.mask(stems[role], name, draft)
        if image and (roi or not finder.whole):
            group = patients.of(role, stems[role])
            sample = _sample(name, {role: image}, label, group, stems[role], roi, labels.covariates(line))
            draft.samples.append(sample)
    return draft


def _sample(
    name: str, images: dict[str, str], label: str, group: str, stem: str, roi: str, covariates: dict[str, str]
) -> Sample:
    mask_on = next(iter(images)) if roi else ""
    return Sample(name, images, label, group, roi, _centre(stem), "", covariates, mask_on)


class _Scans:
    """Finds the files of one role: whole scans with masks where they are, else crops."""

    def __init__(self, release: _Release, role: str) -> None:
        self.role = role
        folder = release.scans(role)
        self.whole = folder is not None
        crops = release.crop_folder(role)
        if folder is None and crops is None:
            raise InputError(f"{release.name} holds no {role} images; download {CROPS} or {WHOLE}.")
        self._images = _Files(folder / "images" if folder else crops)
        self._masks = _Files(folder / "masks") if folder else None

    def image(self, stem: str, name: str, draft: Draft) -> str:
        """Path of the image; empty, and a problem, where it is missing."""
        return self._found(self._images, stem, name, self.role, draft)

    def mask(self, stem: str, name: str, draft: Draft) -> str:
        """Path of the pancreas mask; empty where the image is the crop itself."""
        return self._found(self._masks, stem, name, f"{self.role} mask", draft) if self._masks else ""

    @staticmethod
    def _found(files: _Files, stem: str, name: str, what: str, draft: Draft) -> str:
        path = files.get(stem)
        if path is None:
            draft.problems.append(
                f"{name}: the {what} {stem}.nii.gz is not in {files.where}; download it or remove the row."
            )
        return str(path or "")


class _Files:
    """The images of a folder by name, or by what is left of the name without its tails where that is unique."""

    def __init__(self, folder: Path | None) -> None:
        assert folder is not None
        self.where = f"{folder.parent.name}/{folder.name}"
        paths = sorted(p for p in folder.iterdir() if p.name.lower().endswith(_IMAGE_ENDINGS))
        self._by_stem = {_stem(path.name): path for path in paths}
        counts = Counter(_identity(stem) for stem in self._by_stem)
        self._by_identity = {
            _identity(stem): path for stem, path in self._by_stem.items() if counts[_identity(stem)] == 1
        }

    def get(self, stem: str) -> Path | None:
        """The file that a table's name means."""
        return self._by_stem.get(stem) or self._by_identity.get(_identity(stem))


class _Patients:
    """Which scans are one patient's: those of a row, and those of a name unless rows say otherwise.

    A patient is called by the name that T1 and T2 share, or by that of T1.
    """

    def __init__(self, pairs: _Labels | None) -> None:
        self._parent: dict[tuple[str, str], tuple[str, str]] = {}
        for nodes in self._linked(pairs):
            self._link(*nodes)
        firsts: dict[tuple[str, str], str] = {}
        for node in sorted(self._parent, key=lambda n: n[0]):
            firsts.setdefault(self._root(node), node[1])
        self._names = {node: firsts[self._root(node)] for node in self._parent}

    def of(self, role: str, stem: str) -> str:
        """The patient of a scan."""
        identity = _identity(stem)
        other = BOTH[1 - BOTH.index(role)]
        return self._names.get((role, identity)) or self._names.get((other, identity)) or identity

    @staticmethod
    def _linked(pairs: _Labels | None) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
        for stems in pairs.pairs if pairs else ():
            first, second = ((role, _identity(stems[role])) for role in BOTH)
            yield first, second

    def _root(self, node: tuple[str, str]) -> tuple[str, str]:
        while self._parent.setdefault(node, node) != node:
            node = self._parent[node]
        return node

    def _link(self, first: tuple[str, str], second: tuple[str, str]) -> None:
        self._parent[self._root(second)] = self._root(first)


def _image_columns(sheet: Sheet, roles: tuple[str, ...]) -> dict[str, int]:
    """Where the names of the images stand: by headers such as "T1 name", else the table's first columns."""
    if len(roles) == 1:
        named = sheet.column("patient id", "patientid", "patient_id")
        return {roles[0]: FIRST if named is None else named}
    found: dict[str, int] = {}
    for i, header in enumerate(sheet.headers):
        words = set(re.findall(r"[a-z0-9]+", header))
        for role in roles:
            if words and words <= _ID_WORDS and words & {role.lower(), f"{role.lower()}w"}:
                found.setdefault(role, i)
    return found if len(found) == len(roles) else dict(zip(BOTH, (FIRST, SECOND), strict=True))


def _stem(name: str) -> str:
    name = Path(name.strip()).name
    ending = next((e for e in _IMAGE_ENDINGS if name.lower().endswith(e)), "")
    name = name.removesuffix(name[-len(ending) :]) if ending else name
    return "" if name.casefold() in EMPTY else name


def _identity(stem: str) -> str:
    """What T1 and T2 of a patient share: the name without ``_0000``, ``_T1`` and ``_T2``."""
    while (shorter := _TAILS.sub("", stem)) != stem:
        stem = shorter
    return stem


def _sample_names(stems: list[str]) -> list[str]:
    counts = Counter(_identity(stem) for stem in stems)
    return [_identity(stem) if counts[_identity(stem)] == 1 else stem for stem in stems]


def _centre(stem: str) -> str:
    """From the name's first letters; empty where they are no centre's."""
    letters = re.match(r"[a-z]*", stem.casefold())
    word = letters.group() if letters else ""
    return next((centre for centre, prefixes in CENTRES.items() if word in prefixes), "")


def _plain_number(text: str) -> str:
    """Tables write 2 as 2.0 where other rows of the column are empty."""
    try:
        value = float(text)
    except ValueError:
        return text
    return str(int(value)) if value.is_integer() else text
