"""figshare 1512427: brain tumour slices as MATLAB files ``N.mat`` with a struct ``cjdata``.

The files are HDF5 (MATLAB v7.3) or of the older form (v5, v7); both are read as data, nothing in them is run, and no
other file that they point to is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError, MissingDependencyError
from cadx.study.cohort import Sample
from cadx.study.layouts.draft import IMAGE, Draft, natural, visible_folders

if TYPE_CHECKING:
    import h5py

LABELS = {1: "meningioma", 2: "glioma", 3: "pituitary"}
STRUCT = "cjdata"
MAX_BYTES = 100_000_000
MAX_EDGE = 8192
MAX_NAME = 200
_HDF5 = b"\x89HDF\r\n\x1a\n"


def recognises(data: Path) -> bool:
    """Whether .mat files lie in ``data`` or in folders right within it, as the archives unpack."""
    return data.is_dir() and bool(_files(data))


def roles(data: Path) -> tuple[str, ...]:
    """Pictures."""
    return (IMAGE,)


def read(data: Path, roles: tuple[str, ...]) -> Draft:
    """Samples named by their numbers; the label and the patient are read from each file."""
    if roles != (IMAGE,):
        raise InputError(f"{data.name} holds pictures, not {' and '.join(roles)} volumes; choose another study.")
    if not data.is_dir():
        raise InputError(f"{data.name} is no folder of .mat files; check the path.")
    draft = Draft()
    for path in _files(data):
        try:
            label, patient = _read_label(path)
        except InputError as error:
            draft.problems.append(str(error))
            continue
        draft.samples.append(Sample(path.stem, {IMAGE: str(path)}, label, patient, lesion=str(path)))
    return draft


def read_figshare_image(path: str | Path) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """The slice as MATLAB shows it, and the tumour's mask where the file holds one of its size.

    Parameters
    ----------
    path
        ``N.mat`` of figshare 1512427, of either form.

    Returns
    -------
    tuple
        (rows, columns) in the file's own type, and (rows, columns) bool or None.

    Raises
    ------
    InputError
        If it is no such file, or its image is no sensible 2-D array of finite numbers.
    MissingDependencyError
        If the package that reads this form is not installed.
    """
    path = Path(path)
    with _opened(path) as fields:
        image = np.asarray(fields.array("image"))
        mask = fields.array("tumorMask") if fields.has("tumorMask") else None
    if image.ndim != 2 or not 1 < min(image.shape) <= max(image.shape) <= MAX_EDGE or image.dtype.kind not in "iufb":
        raise InputError(f"{path.name} holds no 2-D image of numbers; download it again.")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise InputError(f"{path.name} holds pixels that are not finite numbers; download it again.")
    if mask is None or mask.shape != image.shape:
        return image, None
    return image, mask > 0


def _read_label(path: Path) -> tuple[str, str]:
    """Label and patient."""
    with _opened(path) as fields:
        value = np.asarray(fields.array("label")).ravel()
        patient = fields.text("PID")
    if value.size != 1 or value.dtype.kind not in "iuf" or float(value[0]) not in LABELS:
        raise InputError(f"{path.name} has no label 1, 2 or 3; download it again.")
    if not patient:
        raise InputError(f"{path.name} names no patient (PID); download it again.")
    return LABELS[int(value[0])], patient


def _files(data: Path) -> list[Path]:
    found = [p for folder in (data, *visible_folders(data)) for p in folder.glob("*.mat")]
    return sorted((p for p in found if p.stem.isdecimal() and p.is_file()), key=natural)


class _Hdf5:
    """The struct of a v7.3 file. MATLAB stores columns first, so every array comes transposed."""

    def __init__(self, path: Path, group: h5py.Group) -> None:
        self._path, self._group = path, group

    def has(self, name: str) -> bool:
        return name in self._group

    def array(self, name: str) -> NDArray[Any]:
        """One field; links and storage outside this file are not followed."""
        import h5py

        link = self._group.get(name, getlink=True)
        found = self._group.get(name) if isinstance(link, h5py.HardLink) else None
        if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
            raise InputError(f"{self._path.name} holds no {STRUCT}.{name}; give a file of figshare 1512427.")
        if found.size is None or found.size > MAX_EDGE**2 or found.dtype.kind not in "iufb":
            raise InputError(f"{self._path.name}: {STRUCT}.{name} holds no numbers of a sensible size.")
        return np.asarray(found[()]).T

    def text(self, name: str) -> str:
        """Characters are stored as their codes."""
        codes = self.array(name).ravel()[:MAX_NAME]
        return "".join(chr(int(code)) for code in codes if 0 < int(code) < 0xD800).strip()


class _Matlab5:
    """The struct of an older file."""

    def __init__(self, path: Path, struct: NDArray[Any]) -> None:
        self._path, self._struct = path, struct

    def has(self, name: str) -> bool:
        return name in (self._struct.dtype.names or ())

    def _field(self, name: str) -> Any:
        if not self.has(name) or self._struct.size != 1:
            raise InputError(f"{self._path.name} holds no {STRUCT}.{name}; give a file of figshare 1512427.")
        return self._struct.ravel()[0][name]

    def array(self, name: str) -> NDArray[Any]:
        """One field."""
        value = np.asarray(self._field(name))
        if value.dtype.kind not in "iufb" or value.size > MAX_EDGE**2:
            raise InputError(f"{self._path.name}: {STRUCT}.{name} holds no numbers of a sensible size.")
        return value

    def text(self, name: str) -> str:
        """Characters come as text, or as their codes."""
        value = np.asarray(self._field(name)).ravel()
        if value.dtype.kind == "U":
            return "".join(value.tolist()).strip()[:MAX_NAME]
        codes = self.array(name).ravel()[:MAX_NAME]
        return "".join(chr(int(code)) for code in codes if 0 < int(code) < 0xD800).strip()


@contextmanager
def _opened(path: Path) -> Iterator[_Hdf5 | _Matlab5]:
    """The file's struct; whatever the libraries say of a damaged file becomes one sentence."""
    if not path.is_file():
        raise InputError(f"There is no file {path.name}; check the path.")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path.name} is too large for one slice; give a file of figshare 1512427.")
    try:
        with path.open("rb") as stream:
            head = stream.read(520)
        # v7.3 files begin with 512 bytes of MATLAB's own
        if _HDF5 in (head[:8], head[512:]):
            with _import_h5py().File(path, "r") as file:
                yield _Hdf5(path, _group(path, file))
        else:
            yield _Matlab5(path, _struct(path))
    except (InputError, MissingDependencyError):
        raise
    except Exception as error:  # both libraries raise many kinds on damaged files
        raise InputError(f"{path.name} cannot be read as a MATLAB file; download it again.") from error


def _import_h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "Reading MATLAB 7.3 files needs h5py; install it with: python -m pip install h5py"
        ) from error
    return h5py


def _group(path: Path, file: h5py.File) -> h5py.Group:
    import h5py

    found = file.get(STRUCT) if isinstance(file.get(STRUCT, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Group):
        raise InputError(f"{path.name} holds no {STRUCT}; give a file of figshare 1512427.")
    return found


def _struct(path: Path) -> NDArray[Any]:
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "Reading MATLAB files needs scipy; install it with: python -m pip install scipy"
        ) from error
    found = loadmat(str(path), variable_names=[STRUCT]).get(STRUCT)
    if not isinstance(found, np.ndarray) or not found.dtype.names:
        raise InputError(f"{path.name} holds no {STRUCT}; give a file of figshare 1512427.")
    return found
