"""Every picture decoded and resized once: 8-bit pixels in one memory-mapped file, by content and parameters."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cadx.errors import CadxError, InputError, MissingDependencyError
from cadx.prepare.picture import Bytes, Picture, PictureSpec, resize_picture
from cadx.study.filehashes import FileHashes
from cadx.study.layouts.reading import read_any_picture

# to be raised whenever the same parameters give other pixels
PICTURES_VERSION = "pictures/2"
THUMBNAIL = 32
CHUNK = 16
Reader = Callable[[str], Picture]
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PictureSet:
    """All pictures of a study, in the order asked for.

    Parameters
    ----------
    pixels
        uint8 (N, 1 or 3, P, P), memory-mapped; 1 where every picture is grey.
    sha256
        Of each picture's content before resizing; see :attr:`cadx.prepare.picture.Picture.sha256`.
    thumbnails
        uint8 (N, 1, 32, 32).
    spec
        What they were resized by.
    """

    pixels: Bytes
    sha256: tuple[str, ...]
    thumbnails: Bytes
    spec: PictureSpec


def load_pictures(
    paths: list[str],
    spec: PictureSpec,
    cache: Path,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    read: Reader | None = None,
) -> PictureSet:
    """All pictures; decoded only where ``cache`` does not hold the same files for the same parameters.

    Parameters
    ----------
    paths
        Image files; ``.mat`` are the figshare study's.
    cache
        Folder, made when missing.
    workers
        Processes that decode.
    progress
        Called with how many are done and how many there are.
    read
        Reader to use instead; a module's function, since other processes must find it.

    Raises
    ------
    InputError
        If any picture cannot be read: the first one's reason, and how many more.
    """
    if not paths:
        raise InputError("There are no pictures to read; give a folder or a table that names some.")
    read = read or read_any_picture
    try:
        cache.mkdir(parents=True, exist_ok=True)
        place = cache / _key(_file_hashes(paths, cache), spec, read)
        found = _cached(place, spec, len(paths))
        if found is None:
            _require_room(cache, len(paths), spec)
            _fill(place, paths, spec, _decoded(paths, spec, read, workers), progress)
            found = _cached(place, spec, len(paths))
    except OSError as error:
        raise InputError(
            f"The folder {cache.name} for prepared pictures cannot be written ({error.strerror}); choose another with "
            "--cache."
        ) from error
    if found is None:
        raise InputError(f"The pictures kept in {cache.name} cannot be read back; empty that folder and try again.")
    return found


def _require_room(cache: Path, count: int, spec: PictureSpec) -> None:
    """A full disk under a memory-mapped file would end the process without a word."""
    needed = 3 * count * spec.pixels**2
    if shutil.disk_usage(cache).free < needed:
        raise InputError(f"{cache.name} needs {needed / 1e9:.1f} GB for the prepared pictures; make room there.")


def _fill(
    place: Path,
    paths: list[str],
    spec: PictureSpec,
    decoding: Iterator[tuple[int, _Decoded | str]],
    progress: Callable[[int, int], None] | None,
) -> None:
    problems: dict[int, str] = {}
    with _Store(place, len(paths), spec) as store:
        for number, (index, decoded) in enumerate(decoding, start=1):
            if isinstance(decoded, str):
                problems[index] = decoded
            else:
                store.put(index, decoded)
            if progress:
                progress(number, len(paths))
        _require_none(problems)
        store.keep()


@dataclass(frozen=True, eq=False)
class _Decoded:
    pixels: Bytes
    sha256: str
    thumbnail: Bytes


class _Store:
    """The cache's file while it is filled: one channel until the first coloured picture comes."""

    def __init__(self, place: Path, count: int, spec: PictureSpec) -> None:
        self._place, self._count, self._edge = place, count, spec.pixels
        self._hashes = [""] * count
        self._thumbnails = np.zeros((count, 1, THUMBNAIL, THUMBNAIL), np.uint8)
        self._pixels: Bytes | None = None

    def __enter__(self) -> _Store:
        self._pixels = self._new(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._pixels = None
        for channels in (1, 3):
            self._beside(channels).unlink(missing_ok=True)

    def _beside(self, channels: int) -> Path:
        return self._place.with_name(f"{self._place.name}.{os.getpid()}.{channels}.partial")

    def _new(self, channels: int) -> Bytes:
        shape = (self._count, channels, self._edge, self._edge)
        return np.lib.format.open_memmap(self._beside(channels), "w+", np.uint8, shape)

    def put(self, index: int, decoded: _Decoded) -> None:
        assert self._pixels is not None
        if len(decoded.pixels) > self._pixels.shape[1]:
            coloured = self._new(3)
            coloured[:] = self._pixels
            self._pixels = coloured
        self._pixels[index] = decoded.pixels
        self._hashes[index] = decoded.sha256
        self._thumbnails[index] = decoded.thumbnail

    def keep(self) -> None:
        """Put the files in their place; the smaller one last, since it vouches for the other."""
        assert self._pixels is not None
        beside = self._beside(self._pixels.shape[1])
        # unmapped first: Windows renames no open file
        self._pixels = None
        os.replace(beside, _pixels_of(self._place))
        with beside.open("wb") as stream:
            np.savez(stream, sha256=np.array(self._hashes), thumbnails=self._thumbnails)
        os.replace(beside, _rest_of(self._place))


def _pixels_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.npy")


def _rest_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.npz")


def _cached(place: Path, spec: PictureSpec, count: int) -> PictureSet | None:
    try:
        with np.load(_rest_of(place), allow_pickle=False) as rest:
            hashes, thumbnails = tuple(rest["sha256"].tolist()), rest["thumbnails"]
        # copy-on-write: what torch takes for writable never reaches the file
        pixels = np.load(_pixels_of(place), mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError, KeyError):
        log.debug("%s is not there yet, or not whole", place.name)
        return None
    if len(hashes) != count or pixels.shape != (count, pixels.shape[1], spec.pixels, spec.pixels):
        return None
    return PictureSet(pixels, hashes, thumbnails, spec)


def _decoded(paths: list[str], spec: PictureSpec, read: Reader, workers: int) -> Iterator[tuple[int, _Decoded | str]]:
    """Each picture's index and what came of it, in any order; a sentence where it cannot be used."""
    if workers <= 1:
        for index, path in enumerate(paths):
            yield index, _decode(path, spec, read)
        return
    # spawn: a fork of a process that holds threads (torch) can hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = {
            pool.submit(_decode_some, paths[first : first + CHUNK], spec, read): first
            for first in range(0, len(paths), CHUNK)
        }
        try:
            for future in as_completed(futures):
                yield from enumerate(future.result(), start=futures.pop(future))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _decode_some(paths: list[str], spec: PictureSpec, read: Reader) -> list[_Decoded | str]:
    return [_decode(path, spec, read) for path in paths]


def _decode(path: str, spec: PictureSpec, read: Reader) -> _Decoded | str:
    try:
        picture = read(path)
    except MissingDependencyError:
        raise
    except CadxError as error:
        return str(error)
    small = spec.model_copy(update={"pixels": THUMBNAIL, "channels": 1})
    return _Decoded(resize_picture(picture.pixels, spec), picture.sha256, resize_picture(picture.pixels, small))


def _require_none(problems: dict[int, str]) -> None:
    if not problems:
        return
    first = problems[min(problems)]
    if len(problems) > 1:
        more = len(problems) - 1
        first = f"{first.removesuffix('.')} ({more} more picture{'s' * (more > 1)} cannot be used either)."
    raise InputError(first)


def _key(files: list[str], spec: PictureSpec, read: Reader) -> str:
    """SHA-256 over the version, what resizing depends on, the reader and every file's bytes."""
    resizing = spec.normalised("unit").to_json()
    head = json.dumps([PICTURES_VERSION, resizing, read.__module__, read.__qualname__, files], sort_keys=True)
    return hashlib.sha256(head.encode()).hexdigest()


def _file_hashes(paths: list[str], cache: Path) -> list[str]:
    """SHA-256 of each file's bytes; see :class:`cadx.study.filehashes.FileHashes`."""
    known = FileHashes(cache)
    hashes = []
    for path in paths:
        try:
            hashes.append(known.of(Path(path)))
        except (OSError, ValueError):
            # the reader says what is wrong with it
            hashes.append(f"unreadable {path}")
    known.keep()
    return hashes
