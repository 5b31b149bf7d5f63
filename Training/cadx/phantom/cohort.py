"""A cohort of phantoms on disk: one folder per patient and the cohort table."""

from __future__ import annotations

import csv
import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from cadx import __version__
from cadx.dataset import MARKER, synthetic_marker
from cadx.errors import InputError
from cadx.io.atomic import require_replaceable, staged_folder
from cadx.io.files import write_volume
from cadx.phantom.patient import make_patient

TABLE = "cases.csv"
COLUMNS = ("case", "t1", "t2", "roi", "label", "pancreas", "lesion", "cyst_mm", "duct_mm", "nodule_mm", "seed")


def write_cohort(
    out: Path,
    patients: int,
    seed: int,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a balanced cohort, its table ``cases.csv`` and ``dataset.json``, which marks it as synthetic.

    Nothing half-written is left under ``out``.

    Parameters
    ----------
    out
        New or empty folder; gets ``phantom-0000/{t1,t2,pancreas,cyst}.nii.gz``, ``roi.mrk.json`` and so on.
    patients, seed
        How many, and which: patient ``n`` is ``make_patient(seed, n)``.
    workers
        Processes; the files do not depend on it.
    progress
        Called with (patients done, patients) after each.

    Returns
    -------
    Path
        Of ``cases.csv``: paths relative to it, diameters in mm (0 where absent).

    Raises
    ------
    InputError
        If ``patients`` or ``workers`` is below 1, the seed is negative, or ``out`` is not an empty folder that can
        be written to.
    """
    out = Path(out)
    _check(out, patients, seed, workers)
    with staged_folder(out) as staging:
        rows = []
        for done, row in enumerate(_rows(staging, patients, seed, workers), start=1):
            rows.append(row)
            if progress is not None:
                progress(done, patients)
        _write_table(staging / TABLE, rows)
        marker = synthetic_marker(f"cadx phantom {__version__}", seed, patients)
        (staging / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    return out / TABLE


def _check(out: Path, patients: int, seed: int, workers: int) -> None:
    if patients < 1:
        raise InputError(f"A cohort of {patients} phantom patients is empty; ask for 1 or more.")
    if seed < 0:
        raise InputError(f"The phantom's seed is {seed}; give 0 or more.")
    if workers < 1:
        raise InputError(f"{workers} worker processes cannot make phantoms; give 1 or more.")
    require_replaceable(out)


def _rows(folder: Path, patients: int, seed: int, workers: int) -> Iterator[dict[str, object]]:
    task = partial(_write_patient, folder, seed)
    if workers == 1:
        yield from map(task, range(patients))
        return
    # spawn: a fork of a process that holds threads (SimpleITK, torch) can hang
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(task, range(patients))


def _write_patient(folder: Path, seed: int, index: int) -> dict[str, object]:
    """Make and write one patient; its row of the table."""
    patient = make_patient(seed, index)
    case = f"phantom-{index:04d}"
    (folder / case).mkdir()
    names = {name: f"{case}/{name}.nii.gz" for name in ("t1", "t2", "pancreas", "cyst")}
    for name, path in names.items():
        write_volume(folder / path, getattr(patient, name), compression=1)
    names["lesion"] = names.pop("cyst")
    roi = f"{case}/roi.mrk.json"
    (folder / roi).write_text(json.dumps(patient.roi.to_markups(), indent=1), encoding="utf-8")
    return {"case": case, **names, "roi": roi, "label": patient.label, **patient.facts, "seed": seed}


def _write_table(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
