"""A cohort: the table of labelled cases, and the one way it is split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cadx.batch import Row, read_cases, read_table, resolve
from cadx.errors import InputError

LABEL_COLUMNS = ("case", "t1", "t2", "roi", "label")


@dataclass(frozen=True)
class LabelledCase:
    """One row of a cohort table: the files, the class name, the patient, and a lesion mask where there is one."""

    row: Row
    label: str
    patient: str
    lesion: str = ""


def read_cohort(folder: Path, classes: tuple[str, ...]) -> list[LabelledCase]:
    """Read ``cases.csv`` of a cohort folder (columns case, t1, t2, roi, label).

    A column ``patient`` groups cases of one patient (by default each is its own); ``lesion`` names a mask.

    Raises
    ------
    InputError
        If the table is missing, a label is not one of ``classes``, or a patient has two labels.
    """
    table = folder / "cases.csv" if folder.is_dir() else folder
    rows = read_cases(table)
    cells = read_table(table, LABEL_COLUMNS)
    cases = [
        LabelledCase(row, cell["label"], cell.get("patient") or row.case, resolve(table.parent, cell.get("lesion", "")))
        for row, cell in zip(rows, cells, strict=True)
    ]
    for case in cases:
        if case.label not in classes:
            raise InputError(
                f"{table.name}: {case.row.case} has the label '{case.label}'; allowed are {', '.join(classes)}."
            )
    labels: dict[str, str] = {}
    for case in cases:
        if labels.setdefault(case.patient, case.label) != case.label:
            raise InputError(f"{table.name}: the patient '{case.patient}' has two labels; correct the table.")
    return cases


def split_patients(cases: list[LabelledCase], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of training and validation cases; whole patients, stratified by class.

    Raises
    ------
    InputError
        If a class has fewer than two patients.
    """
    patients = {case.patient: case.label for case in cases}
    for label, count in Counter(patients.values()).items():
        if count < 2:
            raise InputError(f"The class '{label}' has {count} patient; at least two are needed to train and validate.")
    generator = np.random.default_rng(seed)
    validation: set[str] = set()
    for label in sorted(set(patients.values())):
        members = sorted(p for p, own in patients.items() if own == label)
        generator.shuffle(members)
        validation.update(members[: min(len(members) - 1, max(1, round(share * len(members))))])
    inside = [i for i, case in enumerate(cases) if case.patient not in validation]
    return inside, [i for i, case in enumerate(cases) if case.patient in validation]
