"""Headers of NIfTI, NRRD and MetaImage files, as far as they say where the voxels lie.

They are read here because the image library does not say it, follows a detached header to any file or device, and
takes a NIfTI file's second orientation in silence where the first is sheared, and 0 for voxels that are no numbers.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.io.payload import Encoding, Payload

MAX_HEADER_BYTES = 1_000_000
_NIFTI_FLOATS = {16: "f4", 64: "f8"}
_DEFLATED = {"gzip": "gzip", "gz": "gzip", "raw": "raw"}


def locate(path: Path) -> Payload:
    """Where the voxels of an image file lie; the name decides which header is read.

    Raises
    ------
    InputError
        If the header cannot be read, is sheared or singular, or leads to a file outside the image's folder.
    """
    name = path.name.lower()
    try:
        if name.endswith((".nii", ".nii.gz")):
            return _nifti(path)
        return _nrrd(path) if name.endswith((".nrrd", ".nhdr")) else _metaimage(path)
    except (OSError, EOFError, zlib.error, ValueError, OverflowError, struct.error) as error:
        raise InputError(f"{path.name} cannot be read as an image; it may be damaged, export it again.") from error


def _nifti(path: Path) -> Payload:
    """NIfTI-1 and NIfTI-2; the offsets are those of nifti1.h and nifti2.h."""
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as stream:
        header = stream.read(540)
    for order in "<>":
        size = struct.unpack_from(order + "i", header)[0]
        if size == 348:
            (offset,), (code,) = (
                struct.unpack_from(order + "f", header, 108),
                struct.unpack_from(order + "h", header, 254),
            )
            (kind,) = struct.unpack_from(order + "h", header, 70)
            sform = np.frombuffer(header, order + "f4", 12, 280)
        elif size == 540:
            (offset,), (code,) = (
                struct.unpack_from(order + "q", header, 168),
                struct.unpack_from(order + "i", header, 348),
            )
            (kind,) = struct.unpack_from(order + "h", header, 12)
            sform = np.frombuffer(header, order + "f8", 12, 400)
        else:
            continue
        if code > 0:
            _require_box(sform.reshape(3, 4), path.name)
        floats = order + _NIFTI_FLOATS[kind] if kind in _NIFTI_FLOATS else ""
        return Payload(path, "gzip" if packed else "raw", skip=max(0, int(offset)), floats=floats)
    raise ValueError("no NIfTI header")


def _require_box(sform: np.ndarray, name: str) -> None:
    """The image library falls back to the qform where the sform is sheared."""
    try:
        Geometry((1, 1, 1), np.vstack([sform, [0, 0, 0, 1]]))
    except InputError as error:
        raise error.about(name) from error


def _nrrd(path: Path) -> Payload:
    """NRRD (teem.sourceforge.net/nrrd/format.html): fields up to an empty line, then the data or a file's name."""
    text, start = _text_header(path, b"\n\n", b"\r\n\r\n")
    fields = _fields(text, ":")
    encoding = _DEFLATED.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise InputError(f"{path.name} is stored as '{fields.get('encoding', '')[:20]}'; save it raw or with gzip.")
    detached = fields.get("data file") or fields.get("datafile")
    if detached:
        return Payload(_beside(path, detached), encoding)  # type: ignore[arg-type]
    return Payload(path, encoding, start)  # type: ignore[arg-type]


def _metaimage(path: Path) -> Payload:
    """MetaImage: ``key = value`` lines, the last of which is ElementDataFile."""
    text, start = _text_header(path, b"ElementDataFile")
    with path.open("rb") as stream:
        stream.seek(start)
        line = stream.readline(MAX_HEADER_BYTES)
    value = line.decode("latin-1").partition("=")[2].strip()
    fields = _fields(text, "=")
    encoding: Encoding = "zlib" if fields.get("compresseddata", "false").lower() == "true" else "raw"
    if value.upper() == "LOCAL":
        return Payload(path, encoding, start + len(line))
    return Payload(_beside(path, value), encoding)


def _text_header(path: Path, *ends: bytes) -> tuple[str, int]:
    """The text before the first of the marks, and the byte behind that mark."""
    with path.open("rb") as stream:
        head = stream.read(MAX_HEADER_BYTES)
    found = [(head.index(end), len(end)) for end in ends if end in head]
    if not found and len(head) == MAX_HEADER_BYTES:
        raise ValueError("no end of the header")
    # a detached header may end with its file
    place, length = min(found, default=(len(head), 0))
    return head[:place].decode("latin-1"), place + length


def _fields(text: str, mark: str) -> dict[str, str]:
    pairs = (line.partition(mark) for line in text.splitlines() if not line.startswith("#"))
    return {key.strip().lower(): value.strip() for key, found, value in pairs if found}


def _beside(path: Path, name: str) -> Path:
    """The file that a detached header names: it must lie in the header's own folder."""
    file = path.parent / name
    if Path(name).is_absolute() or not file.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(f"{path.name} names its voxels '{name[:60]}', outside its folder; save it as one file.")
    if not file.is_file():
        raise InputError(f"{path.name} names '{name[:60]}' as its voxels, which is no file beside it; save it as one.")
    return file
