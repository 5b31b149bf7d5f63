"""Trainings that serve two folds: whether they may be, and whether anything ended one before its time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from cadx.audit.files import BOOK, Run, read_lines
from cadx.audit.report import Check, conclude


def check_shared(run: Run) -> Check:
    """Only what two folds train alike is shared, whole, and kept in one book for each of the two."""
    folders = [folder for model in run.models for folder in run.shared_folders(model)]
    if not run.shared and not folders:
        return Check("shared trainings", "passed", "No training serves two folds.")
    faults = list(_protocol_faults(run)) if run.shared else ["trainings are shared, and run.json does not say so"]
    settings = {f"settings-{number}" for number in range(run.settings_count)}
    for folder in folders:
        place = folder.relative_to(run.folder).as_posix()
        if folder.name not in run.pairs or folder.parent.name not in settings:
            faults.append(f"{place} is of no two folds and settings of this run")
            continue
        books = {f"{BOOK}{fold.name}.npy" for fold in run.pairs[folder.name]}
        strange = sorted({path.name for path in folder.glob("*.npy")} - books)
        faults += [f"{place}/{name} is of neither fold" for name in strange]
        rounds = _rounds(folder)
        if rounds is not None and rounds != _whole_length(run):
            faults.append(f"{place} ended after {rounds} of {_whole_length(run)} rounds")
    said = f"{len(folders)} trainings serve two folds each, for their whole length; a book for each fold."
    return conclude("shared trainings", said, faults, len(folders))


def _protocol_faults(run: Run) -> Iterator[str]:
    """What the study says that two folds cannot share, and folds whose inner parts are not the other folds."""
    inner, training = run.study.get("split", {}).get("inner", {}), run.study.get("training", {})
    for field, value, needed in (
        ("split.inner.kind", inner.get("kind", "folds"), "folds"),
        ("split.inner.folds", inner.get("folds"), None),
        ("selection.final", run.study.get("selection", {}).get("final", "refit"), "refit"),
        ("training.patience", training.get("patience"), None),
    ):
        if value != needed:
            yield f"trainings are shared, and {field} is {value}"
    if training.get("transfer", {}).get("mode") == "gradual":
        yield "trainings are shared, and training.transfer follows a validation part"
    for fold in run.folds:
        others = [other for _, other in run.others(fold)]
        told = sorted((sorted(part.training), sorted(part.validation)) for part in fold.inner)
        if told != sorted((sorted(set(fold.training) - set(other.test)), sorted(other.test)) for other in others):
            yield f"trainings are shared, and the inner parts of {fold.name} are not the other folds"


def _rounds(folder: Path) -> int | None:
    """How many a training has logged; None while it is not done."""
    return len(read_lines(folder / "rounds.jsonl")) if (folder / "done.json").is_file() else None


def _whole_length(run: Run) -> int:
    training = run.study.get("training", {})
    return math.ceil((training.get("steps") or training.get("epochs", 100)) / training.get("check_every", 1))
