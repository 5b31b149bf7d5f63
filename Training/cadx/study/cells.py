"""Every case prepared once: raw cells kept on disk by content and parameters, finished when a fold is known."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadx.case import Case
from cadx.errors import CadxError, InputError
from cadx.io.files import Note, read_volume
from cadx.io.headers import locate
from cadx.prepare import grid
from cadx.prepare import sample as sampling
from cadx.prepare.intensity import RawCells, finish
from cadx.prepare.pipeline import Preparation, window_of
from cadx.prepare.spec import PreparationSpec, ScaleSpec
from cadx.prepare.standardise import PERCENTILES
from cadx.roi import DEFAULT_MASK_MARGIN_MM
from cadx.study.cohort import Sample, read_sample_roi
from cadx.study.filehashes import FileHashes

# to be raised whenever the same parameters give other cells
CELLS_VERSION = "cells/3"
THUMBNAIL_PIXELS = 32
# finished from the raw cells, so they decide nothing of what is kept
LATER = ("standardise", "scale")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedSample:
    """A case whose raw cells lie in ``file``; ``sha256`` is that of their values.

    They are read anew each time, so that a large cohort need not fit into memory.
    """

    file: Path
    sha256: str

    @property
    def raw(self) -> RawCells:
        """The cells as they were sampled, float32.

        Raises
        ------
        InputError
            If the file is no longer there, or no longer whole.
        """
        try:
            return _load(self.file)
        except _NOT_WHOLE as error:
            raise InputError(f"The prepared case {self.file.name} is gone or damaged; start again.") from error


def prepare_all(
    samples: Sequence[Sample],
    spec: PreparationSpec,
    cache: Path,
    *,
    workers: int = 1,
    pad: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[PreparedSample]:
    """Raw cells of all cases, in order; what lies in ``cache`` for the same files and parameters is reused.

    Landmarks and scale of ``spec`` change nothing of what is kept. With ``pad`` a ROI may hold fewer slices than the
    grid.

    Raises
    ------
    InputError
        If cases cannot be prepared; the first one's name and the number of the others are in the message.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"The folder {cache.name} cannot be made ({error.strerror}); choose another with --cache."
        raise InputError(text) from error
    places = _places(samples, spec, cache, pad)
    done: dict[int, PreparedSample] = {}
    failed: dict[int, CadxError] = {}
    for number, (index, found) in enumerate(_each(samples, places, spec, workers, pad), start=1):
        if isinstance(found, PreparedSample):
            done[index] = found
        else:
            failed[index] = found
        if progress:
            progress(number, len(samples))
    if failed:
        first = min(failed)
        raise InputError(_complaint(samples[first].name, failed[first], len(failed) - 1)) from failed[first]
    return [done[index] for index in range(len(samples))]


def case_of(
    sample: Sample, channels: Sequence[str], note: Note | None = None, margin_mm: float = DEFAULT_MASK_MARGIN_MM
) -> Case:
    """The sample's images of ``channels``, the first of which is the reference, and its ROI.

    Without a ROI the whole reference is the box, as it is for a volume that was cropped before.

    Raises
    ------
    InputError
        If an image is not named, or a file cannot be read.
    """
    missing = [channel for channel in channels if not sample.images.get(channel)]
    if missing:
        raise InputError(f"There is no {missing[0]} image; name one, or leave {missing[0]} out of the channels.")
    read = {role: read_volume(sample.images[role], role, note) for role in _roles(sample, channels)}
    images = {channel: read[channel] for channel in channels}
    return Case(images, read_sample_roi(sample, read, margin_mm), sample.name)


def lesion_cells(sample: Sample, spec: PreparationSpec) -> NDArray[np.uint8]:
    """(slices, rows, columns): 1 where the case's lesion mask lies on its cells; no correction is needed for it.

    Raises
    ------
    InputError
        If the mask or the case cannot be read.
    """
    try:
        reference = case_of(sample, spec.channels[:1])
        layout = Preparation(spec).layout(reference.reference.canonical_geometry(), reference.roi, pad=True)
        mask = read_volume(sample.lesion)
    except CadxError as error:
        raise InputError(_complaint(sample.name, error)) from error
    return (np.nan_to_num(sampling.sample(mask, layout.geometry)) > 0.5).astype(np.uint8)


def thumbnails(prepared: PreparedSample, spec: PreparationSpec) -> NDArray[np.uint8]:
    """(channels, 32, 32): the central window's grid of each channel made small, to find near copies by.

    Of a crop, slices spread over all of it.
    """
    cells = Preparation(spec.model_copy(update={"standardise": None, "scale": ScaleSpec()})).cells(prepared.raw)
    if spec.crop is None:
        shown = list(window_of(cells.shape[1], spec.grid.slices).indices)
    else:
        shown = np.linspace(0, cells.shape[1] - 1, spec.grid.slices + 2).round().astype(int)[1:-1].tolist()
    whole = grid.tile(cells[:, shown])
    weights = sampling.adaptive_average_weights(whole.shape[-1], THUMBNAIL_PIXELS)
    # two products: einsum over three arrays at once is a hundred times slower
    return np.round(weights @ whole @ weights.T * 255).astype(np.uint8)


def _places(samples: Sequence[Sample], spec: PreparationSpec, cache: Path, pad: bool) -> list[Path | InputError]:
    """Where each sample's raw cells lie or are to lie; or why it cannot be read."""
    percentiles = _percentiles(spec)
    hashes = FileHashes(cache)
    places: list[Path | InputError] = []
    for one in samples:
        try:
            places.append(cache / f"{_key(one, spec, percentiles, pad, hashes)}.npz")
        except InputError as error:
            places.append(error)
    try:
        hashes.keep()
    except OSError as error:
        log.debug("the files' hashes are not kept: %s", error)
    return places


def _each(
    samples: Sequence[Sample], places: Sequence[Path | InputError], spec: PreparationSpec, workers: int, pad: bool
) -> Iterator[tuple[int, PreparedSample | CadxError]]:
    """Index and outcome of every sample: first what lies there or has no place, then the others as they come."""
    waiting: dict[int, Path] = {}
    for index, place in enumerate(places):
        if isinstance(place, InputError):
            yield index, place
            continue
        found = _found(place, spec)
        if found is None:
            waiting[index] = place
        else:
            yield index, found
    if workers <= 1 or len(waiting) <= 1:
        for index, place in waiting.items():
            yield index, _prepare(samples[index], spec, place, pad)
        return
    # spawn: a fork of a process that holds threads (torch, SimpleITK) can hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        futures = {pool.submit(_prepare, samples[index], spec, place, pad): index for index, place in waiting.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "A process that prepared cases was ended, perhaps for want of memory; use fewer workers."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _prepare(one: Sample, spec: PreparationSpec, place: Path, pad: bool) -> PreparedSample | CadxError:
    """One case, or what is wrong with it: the others are still to be looked at."""
    log.debug("%s is not prepared yet, or not whole", one.name)
    try:
        case = case_of(one, spec.channels)
        _save(place, Preparation(spec).raw(case, _percentiles(spec), pad=pad))
    except CadxError as error:
        return error
    found = _found(place, spec)
    return found or InputError(f"The prepared case {place.name} cannot be read back; make room and start again.")


def _found(place: Path, spec: PreparationSpec) -> PreparedSample | CadxError | None:
    """The cells kept in ``place``, or why they cannot be scaled; None where there are none, or not whole."""
    try:
        raw = _load(place)
    except _NOT_WHOLE:
        return None
    try:
        # what cannot be scaled is to be known before anything is trained
        finish(raw, spec.channels, None, spec.scale)
    except CadxError as error:
        return error
    return PreparedSample(place, _digest(raw))


def _percentiles(spec: PreparationSpec) -> tuple[float, ...]:
    return spec.standardise.percentiles if spec.standardise else PERCENTILES


def _complaint(name: str, error: CadxError, others: int = 0) -> str:
    text = f"{name}: {error}"
    if not others:
        return text
    rest = "1 more case" if others == 1 else f"{others} more cases"
    return f"{text.rstrip('.')} ({rest} cannot be prepared either)."


def _roles(one: Sample, channels: Sequence[str]) -> list[str]:
    """The images that a case is read from: its channels, and what a mask was drawn on."""
    drawn_on = [one.mask_on] if one.images.get(one.mask_on) else []
    return list(dict.fromkeys([*channels, *drawn_on]))


def _load(place: Path) -> RawCells:
    with np.load(place, allow_pickle=False) as arrays:
        return RawCells(arrays["values"], arrays["landmarks"], arrays["extremes"])


_NOT_WHOLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)


def _save(place: Path, raw: RawCells) -> None:
    beside = place.with_suffix(f".{os.getpid()}.partial")
    try:
        with beside.open("wb") as stream:
            np.savez(stream, values=raw.values, landmarks=raw.landmarks, extremes=raw.extremes)
        os.replace(beside, place)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"{place.parent.name} cannot be written ({error.strerror}); make room there.") from error


def _digest(raw: RawCells) -> str:
    digest = hashlib.sha256(str(raw.values.shape).encode())
    digest.update(np.ascontiguousarray(raw.values).tobytes())
    return digest.hexdigest()


def _voxels_of(file: Path) -> Path:
    """The file itself, or what a detached header names."""
    return locate(file).file if file.name.lower().endswith((".mhd", ".nhdr")) else file


def _key(one: Sample, spec: PreparationSpec, percentiles: tuple[float, ...], pad: bool, hashes: FileHashes) -> str:
    """SHA-256 over all that raw cells follow from: version, parameters and the bytes of every input file."""
    parameters = {name: value for name, value in spec.to_json().items() if name not in LATER}
    document = [CELLS_VERSION, parameters, percentiles, pad, one.mask_on]
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for text in (*(one.images.get(role, "") for role in _roles(one, spec.channels)), one.roi):
        for part in _parts(text, hashes):
            digest.update(part)
    return digest.hexdigest()


def _parts(text: str, hashes: FileHashes) -> Iterator[bytes]:
    """What a named file, folder or ROI consists of: hashes of its files' bytes, or the text itself."""
    if not text:
        yield b"-"
        return
    path = Path(text.rpartition("#")[0] if "#" in text and not Path(text).exists() else text)
    if path != Path(text):
        yield text.rpartition("#")[2].encode()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if not file.is_file():
            yield text.encode()
            continue
        for part in dict.fromkeys((file, _voxels_of(file))):
            try:
                yield bytes.fromhex(hashes.of(part))
            except OSError as error:
                raise InputError(f"{part.name} cannot be read ({error.strerror}); check its permissions.") from error
