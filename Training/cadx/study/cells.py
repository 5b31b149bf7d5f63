"""Every case prepared once: cells kept on disk by content and parameters, gathered into one tensor."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadx.batch import Row, read_case
from cadx.errors import CadxError, InputError
from cadx.io.files import read_roi, read_volume
from cadx.io.headers import locate
from cadx.prepare.pipeline import Preparation
from cadx.prepare.sample import sample
from cadx.prepare.spec import PreparationSpec
from cadx.roi import DEFAULT_MASK_MARGIN_MM
from cadx.study.cohort import LabelledCase

# to be raised whenever the same parameters give other cells
CELLS_VERSION = "cells/2"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellsOfCase:
    """(channels, slices, rows, columns) float16 in 0..1 and the SHA-256 of what it was made from."""

    cells: NDArray[np.float16]
    sha256: str


def prepare_all(
    rows: list[Row],
    spec: PreparationSpec,
    cache: Path,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[CellsOfCase]:
    """Cells of all cases, in order; what lies in ``cache`` for the same files and parameters is reused.

    Raises
    ------
    InputError
        If a case cannot be prepared; its name is in the message.
    """
    cache.mkdir(parents=True, exist_ok=True)
    if workers <= 1:
        done = []
        for number, row in enumerate(rows, start=1):
            done.append(_prepare(row, spec, cache))
            if progress:
                progress(number, len(rows))
        return done
    # spawn: a fork of a process that holds threads (torch, SimpleITK) can hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        futures = {pool.submit(_prepare, row, spec, cache): index for index, row in enumerate(rows)}
        results: dict[int, CellsOfCase] = {}
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                results[futures[future]] = future.result()
                if progress:
                    progress(number, len(rows))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [results[index] for index in range(len(rows))]


def lesion_cells(case: LabelledCase, spec: PreparationSpec) -> NDArray[np.uint8]:
    """(slices, rows, columns): 1 where the case's lesion mask lies on its cells; no correction is needed for it.

    Raises
    ------
    InputError
        If the mask or the case cannot be read.
    """
    t1 = read_volume(case.row.t1, "T1")
    roi = read_roi(case.row.roi, t1)
    layout = Preparation(spec).layout(t1.canonical_geometry(), roi)
    cover = sample(read_volume(case.lesion), layout.geometry)
    return (np.nan_to_num(cover) > 0.5).astype(np.uint8)


def _one_thread() -> None:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _prepare(row: Row, spec: PreparationSpec, cache: Path) -> CellsOfCase:
    key = _key(row, spec)
    place = cache / f"{key}.npy"
    try:
        return CellsOfCase(np.load(place, allow_pickle=False), key)
    except (OSError, ValueError, EOFError):
        log.debug("%s is not prepared yet, or not whole", row.case)
    try:
        case = read_case(row, lambda text: None, DEFAULT_MASK_MARGIN_MM)
        cells = Preparation(spec).run(case).cells.astype(np.float16)
    except CadxError as error:
        raise InputError(f"{row.case}: {error}") from error
    beside = place.with_suffix(f".{os.getpid()}.partial")
    with beside.open("wb") as stream:
        np.save(stream, cells)
    os.replace(beside, place)
    return CellsOfCase(cells, key)


def _voxels_of(file: Path) -> Path:
    """The file itself, or what a detached header names."""
    return locate(file).file if file.name.lower().endswith((".mhd", ".nhdr")) else file


def _key(row: Row, spec: PreparationSpec) -> str:
    """SHA-256 over the preparation's version and parameters and the bytes of every input file."""
    digest = hashlib.sha256(f"{CELLS_VERSION}{json.dumps(spec.to_json(), sort_keys=True)}".encode())
    for text in (row.t1, row.t2, row.roi):
        path = Path(text.rpartition("#")[0] if "#" in text and not Path(text).exists() else text)
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        digest.update(text.rpartition("#")[2].encode() if path != Path(text) else b"")
        for file in files:
            if file.is_file():
                for part in dict.fromkeys((file, _voxels_of(file))):
                    with part.open("rb") as stream:
                        digest.update(hashlib.file_digest(stream, "sha256").digest())
            else:
                digest.update(text.encode())
    return digest.hexdigest()
