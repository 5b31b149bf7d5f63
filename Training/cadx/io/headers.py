"""Headers of NIfTI, NRRD and MetaImage files, as far as they say where the voxels lie.

They are read here because the image library does not say it, follows a detached header to any file or device, and
takes a NIfTI file's second orientation in silence where the first is sheared, and 0 for voxels that are no numbers.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.io.payload import Encoding, Payload

MAX_HEADER_BYTES = 1_000_000
_NIFTI_FLOATS = {16: "f4", 64: "f8"}
_NRRD_ENCODINGS: dict[str, Encoding] = {"gzip": "gzip", "gz": "gzip", "raw": "raw"}


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
    """NIfTI-1; the offsets are those of nifti1.h."""
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as stream:
        header = stream.read(348)
    for order in "<>":
        size = struct.unpack_from(order + "i", header)[0]
        if size == 540:
            raise InputError(f"{path.name} is NIfTI-2, which is not read; save it as NIfTI-1.")
        if size != 348:
            continue
        (kind,), (offset,) = struct.unpack_from(order + "h", header, 70), struct.unpack_from(order + "f", header, 108)
        qform, sform = struct.unpack_from(order + "2h", header, 252)
        if sform > 0:
            matrix = np.frombuffer(header, order + "f4", 12, 280).reshape(3, 4)
            _require_box(matrix, np.frombuffer(header, order + "f4", 3, 80), path.name)
        floats = order + _NIFTI_FLOATS[kind] if kind in _NIFTI_FLOATS else ""
        return Payload(path, "gzip" if packed else "raw", 0, max(0, int(offset)), floats, max(qform, sform) > 0)
    raise ValueError("no NIfTI header")


def _require_box(sform: np.ndarray, spacing: np.ndarray, name: str) -> None:
    """The image library falls back to the qform where the sform is sheared, and takes its spacing from elsewhere."""
    try:
        geometry = Geometry((1, 1, 1), np.vstack([sform, [0, 0, 0, 1]]))
    except InputError as error:
        raise error.about(name) from error
    if not np.allclose(geometry.spacing, np.abs(spacing), rtol=0.01):
        stored, placed = (" x ".join(f"{v:.3g}" for v in values) for values in (np.abs(spacing), geometry.spacing))
        raise InputError(f"{name} says two spacings, {stored} and {placed} mm; convert it from DICOM again.")


def _nrrd(path: Path) -> Payload:
    """NRRD (teem.sourceforge.net/nrrd/format.html): fields up to an empty line, then the data or a file's name."""
    with path.open("rb") as stream:
        head = stream.read(MAX_HEADER_BYTES)
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None and len(head) == MAX_HEADER_BYTES:
        raise ValueError("no end of the header")
    # a detached header may end with its file
    stop, start = end.span() if end else (len(head), len(head))
    fields = _fields(head[:stop].decode("latin-1"), ":")
    encoding = _NRRD_ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise InputError(f"{path.name} is stored as '{fields.get('encoding', '')[:20]}'; save it raw or with gzip.")
    detached = fields.get("data file") or fields.get("datafile")
    oriented = "none" not in fields.get("space directions", "none").lower()
    if detached:
        return Payload(_beside(path, detached), encoding, oriented=oriented)
    return Payload(path, encoding, start, oriented=oriented)


def _metaimage(path: Path) -> Payload:
    """MetaImage: ``key = value`` lines, the last of which is ElementDataFile."""
    with path.open("rb") as stream:
        head = stream.read(MAX_HEADER_BYTES)
    last = re.search(rb"(?m)^[ \t]*ElementDataFile[ \t]*=([^\r\n]*)\r?\n?", head)
    if last is None:
        raise ValueError("no ElementDataFile")
    value = last.group(1).decode("latin-1").strip()
    fields = _fields(head[: last.start()].decode("latin-1"), "=")
    encoding: Encoding = "zlib" if fields.get("compresseddata", "false").lower() == "true" else "raw"
    if value.upper() == "LOCAL":
        return Payload(path, encoding, last.end())
    return Payload(_beside(path, value), encoding)


def _fields(text: str, mark: str) -> dict[str, str]:
    """The header's fields; one that stands there twice could be read either way."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, found, value = line.partition(mark)
        # key:=value is a free comment of NRRD's
        if not found or line.startswith("#") or (mark == ":" and value.startswith("=")):
            continue
        if key.strip().lower() in fields:
            raise ValueError("a field stands there twice")
        fields[key.strip().lower()] = value.strip()
    return fields


def _beside(path: Path, name: str) -> Path:
    """The file that a detached header names: it must lie in the header's own folder."""
    file = path.parent / name
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(f"{path.name} spreads its voxels over several files; save it as one.")
    if Path(name).is_absolute() or not file.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(f"{path.name} names its voxels '{name[:60]}', outside its folder; save it as one file.")
    if not file.is_file():
        raise InputError(f"{path.name} names '{name[:60]}' as its voxels, which is no file beside it; save it as one.")
    return file
