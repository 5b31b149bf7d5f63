"""Whether the voxels that a header declares are all there, before memory is spent on them.

The image library fills what a cut NIfTI file lacks with zeros and reads a damaged MetaImage as noise, in silence.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cadx.errors import InputError

MAX_VOXELS = 2**28
MAX_DEFLATE_RATIO = 1032
SPARE_BYTES = 1 << 24
_CHUNK = 1 << 22

Encoding = Literal["raw", "gzip", "zlib"]


@dataclass(frozen=True)
class Payload:
    """The voxels behind a header.

    Parameters
    ----------
    file
        The file that holds them: the image itself, or what a detached header names in its own folder.
    encoding
        How they are stored there.
    start
        Byte in the file at which the stored (perhaps compressed) part begins.
    skip
        Bytes to skip in it once it is decompressed.
    floats
        NumPy type of the voxels where they are floats that the image library would take for 0 if not finite.
    oriented
        Whether the header says where the image lies in the patient.
    """

    file: Path
    encoding: Encoding
    start: int = 0
    skip: int = 0
    floats: str = ""
    oriented: bool = True


def require_size(name: str, size: tuple[int, ...]) -> None:
    """Refuse more voxels than are read.

    Raises
    ------
    InputError
        If there are more than :data:`MAX_VOXELS`.
    """
    count = 1
    for n in size:
        count *= int(n)
    if count > MAX_VOXELS:
        raise InputError(
            f"{name} declares {' x '.join(str(n) for n in size)} voxels, more than the {MAX_VOXELS // 10**6} million "
            "that are read; crop or resample it first."
        )


def require_whole(payload: Payload, declared: int, name: str) -> None:
    """Refuse a file that holds fewer bytes than its header declares, or many more, or floats that are no numbers.

    ``declared`` counts the bytes of all voxels. What is compressed is read through once and not kept.

    Raises
    ------
    InputError
        If it does not hold what it declares.
    """
    try:
        stored = payload.file.stat().st_size - payload.start
        growth = 1 if payload.encoding == "raw" else MAX_DEFLATE_RATIO
        if stored * growth + SPARE_BYTES * (growth > 1) < payload.skip + declared:
            raise _cut(name)
        if payload.encoding == "raw" and not payload.floats:
            return
        held, rest = 0, b""
        for chunk in _chunks(payload):
            begin, held = held, held + len(chunk)
            if held > payload.skip + declared + SPARE_BYTES:
                raise InputError(f"{name} unpacks to far more than its header declares; do not use it.")
            if payload.floats:
                voxels = chunk[max(0, payload.skip - begin) : max(0, payload.skip + declared - begin)]
                rest = _require_finite(rest + voxels, payload.floats, name)
        if held < payload.skip + declared:
            raise _cut(name)
    except (OSError, EOFError, zlib.error) as error:
        raise _cut(name) from error


def _cut(name: str) -> InputError:
    return InputError(f"{name} cannot be read to its end; it is cut or damaged, copy it again.")


def _require_finite(data: bytes, dtype: str, name: str) -> bytes:
    """Check as many whole numbers as there are; returns the bytes that are left."""
    whole = len(data) - len(data) % np.dtype(dtype).itemsize
    if not np.isfinite(np.frombuffer(data[:whole], dtype)).all():
        raise InputError(f"{name} holds voxels that are not finite numbers; export it again.")
    return data[whole:]


def _chunks(payload: Payload) -> Iterator[bytes]:
    """The payload's bytes, decompressed."""
    with payload.file.open("rb") as stream:
        stream.seek(payload.start)
        if payload.encoding == "raw":
            while chunk := stream.read(_CHUNK):
                yield chunk
            return
        if payload.encoding == "gzip":
            with gzip.GzipFile(fileobj=stream) as unpacked:
                while chunk := unpacked.read(_CHUNK):
                    yield chunk
            return
        # a MetaImage's zlib stream may carry a gzip header
        decoder = zlib.decompressobj(wbits=47)
        while not decoder.eof:
            packed = decoder.unconsumed_tail or stream.read(_CHUNK)
            if not packed:
                raise EOFError
            yield decoder.decompress(packed, _CHUNK)
