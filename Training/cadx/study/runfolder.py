"""A run's folder: what it is of, what lies where, and whether a run that goes on is still the same run.

Below each model's folder lies a folder a fold: ``settings-N/inner-M/`` for each inner training, ``selection.json``,
``final/``, predictions and the record of their opening. Where ``run.json`` says ``"shared": true``, inner trainings lie
in ``MODEL/shared/settings-N/fold-a+fold-b/`` instead, one for both folds: ``task.json`` with ``"books": {"fold-a":
[names], "fold-b": [names]}``, and for each of the two ``book-FOLD.npy``, the logits (rounds, names, classes) on its
test part, beside ``book-FOLD.jsonl``, the figures that follow from them. ``rounds.jsonl`` has none. Fold a chooses by
``book-fold-b``, and the ``inputs`` of its ``selection.json`` are named by their place in the model's folder.

``run.json`` says in ``folds_at_once`` how many folds are trained in one batch (``"auto"``: as many of each model as
``folds_at_once_of`` says), and ``task.json`` how many a training went with. Numbers are rounded accordingly, so a run
goes on as it was begun.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx import DISCLAIMER
from cadx.classify import versions
from cadx.device import Device
from cadx.errors import InputError
from cadx.io.atomic import require_writable, write_text
from cadx.io.jsonfile import JsonError, read_json
from cadx.study.cohort import Cohort
from cadx.study.presets import dump, first_difference, read_study, study_sha256
from cadx.study.spec import StudySpec

SCHEMA = "cadx.run/1"
NUMERIC = ("cadx", "torch", "timm", "numpy")
RUN, STUDY, SAMPLES, THUMBNAILS, FOLDS = "run.json", "study.yaml", "samples.csv", "thumbnails.npy", "folds.json"


@dataclass(frozen=True)
class RunIdentity:
    """What must be the same for a run to go on: data, device and threads (numbers depend on the last two)."""

    data_sha256: str
    device: str
    threads: int


def require_new(folder: Path, way_on: str = "go on with --resume, or give a new folder") -> None:
    """A new run needs a new or an empty folder; ``way_on`` is what to do where a run lies there.

    Raises
    ------
    InputError
        If something lies there.
    """
    require_writable(folder)
    if (folder / RUN).is_file():
        raise InputError(f"{folder.name} holds a run; {way_on}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder.name} exists and is not empty; give a new or an empty folder.")


def read_run(folder: Path) -> dict[str, Any]:
    """The document of ``run.json``.

    Raises
    ------
    InputError
        If the folder holds no run.
    """
    try:
        document = read_json(folder / RUN)
    except JsonError as error:
        raise InputError(f"{folder.name} holds no run that can be read; check the path.") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise InputError(f"{folder.name} holds no run of this program's version; check the path.")
    return document


def is_shared(run: dict[str, Any]) -> bool:
    """Whether trainings that serve two outer folds are one, by the document of ``run.json``."""
    return bool(run.get("shared"))


def require_same(folder: Path, study: StudySpec, models: Sequence[str], identity: RunIdentity) -> None:
    """Refuse to go on with something else than what was begun.

    Raises
    ------
    InputError
        If study, models, images, versions, device or threads differ.
    """
    run = read_run(folder)
    begun = read_study(str(folder / STUDY))
    field = first_difference(begun, study)
    if field or list(models) != run["models"]:
        what = f"its {field} differs" if field else "its models differ"
        raise InputError(f"{folder.name} was begun as another study ({what}); resume as it was begun.")
    if run["data"]["sha256"] != identity.data_sha256:
        raise InputError(f"The images or labels have changed since {folder.name} was begun; start a new run.")
    changed = next((name for name in NUMERIC if run["versions"].get(name) != versions().get(name)), None)
    if changed:
        raise InputError(
            f"{folder.name} was begun with {changed} {run['versions'].get(changed)}, and only that gives the same "
            "numbers; install it again, or start a new run."
        )
    kind, threads = run["device"]["kind"], run["threads"]
    if (kind, threads) != (identity.device, identity.threads):
        raise InputError(
            f"{folder.name} was begun on {kind} with {threads} threads, and only there it gives the same numbers; "
            f"resume with --device {kind} --threads {threads}."
        )


def data_sha256(hashes: Sequence[str], labels: NDArray[np.integer], groups: Sequence[str]) -> str:
    """One hash over all images, labels and groups, in order."""
    lines = (f"{sha256} {label} {group}\n" for sha256, label, group in zip(hashes, labels, groups, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def pseudonyms(groups: Sequence[str]) -> list[str]:
    """g0001, g0002 ... in order of appearance: a run's folder names no patient.

    >>> pseudonyms(["Miller", "Smith", "Miller"])
    ['g0001', 'g0002', 'g0001']
    """
    order = {group: number for number, group in enumerate(dict.fromkeys(groups), start=1)}
    return [f"g{order[group]:04d}" for group in groups]


def described(
    kind: str, study: StudySpec, command: Sequence[str], where: Device, threads: int, precision: str
) -> dict[str, Any]:
    """The part of ``run.json`` that is about the study and the machine."""
    return {
        "kind": kind,
        "command": list(command),
        "versions": versions(),
        "seed": study.seed,
        "device": {"kind": where.kind, "name": where.name},
        "precision": precision,
        "threads": threads,
        "study_sha256": study_sha256(study),
    }


def write_inputs(
    folder: Path,
    study: StudySpec,
    cohort: Cohort,
    labels: NDArray[np.integer],
    hashes: Sequence[str],
    thumbnails: NDArray[np.uint8],
    folds: dict[str, Any] | None,
    document: dict[str, Any],
) -> None:
    """Everything that is known before training; ``run.json`` comes last and vouches for the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / STUDY, dump(study))
    write_text(folder / SAMPLES, _samples_table(study, cohort, labels, hashes))
    beside = folder / f".{THUMBNAILS}.partial"
    with beside.open("wb") as stream:
        np.save(stream, thumbnails)
    os.replace(beside, folder / THUMBNAILS)
    if folds is not None:
        write_json(folder / FOLDS, folds)
    write_json(folder / RUN, {"schema": SCHEMA, **document, "disclaimer": DISCLAIMER})


def write_json(path: Path, document: Any) -> None:
    """Whole or not at all."""
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _samples_table(study: StudySpec, cohort: Cohort, labels: NDArray[np.integer], hashes: Sequence[str]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["name", "group", "class", "label", "centre", "sha256"])
    groups = pseudonyms([one.group for one in cohort.samples])
    for one, group, label, sha256 in zip(cohort.samples, groups, labels, hashes, strict=True):
        writer.writerow([one.name, group, study.class_names[label], one.label, one.centre, sha256])
    return stream.getvalue()
