"""Nothing half-written: everything is made beside its place and renamed into it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cadx.errors import InputError


def require_replaceable(target: Path, marker: str = "") -> None:
    """Refuse a folder that holds anything but what an earlier run of the same kind left.

    Raises
    ------
    InputError
        If ``target`` is a file, or a folder with content and without ``marker``.
    """
    try:
        occupied = target.exists() and (not target.is_dir() or any(target.iterdir()))
    except OSError as error:
        raise InputError(f"The folder {target.name} cannot be read ({error.strerror}); choose another.") from error
    if occupied and not (marker and (target / marker).is_file()):
        raise InputError(f"The output {target.name} exists and is not empty; give a new or an empty folder.")


@contextmanager
def staged_folder(target: Path, replaces: Iterable[str] | None = None, marker: str = "") -> Iterator[Path]:
    """A new folder beside ``target``; its files move into ``target`` when the block ends well.

    Parameters
    ----------
    target
        Folder to fill. Made when missing, with its parents.
    replaces
        Names that an earlier run may have left in ``target`` and that this run replaces, written now or
        not; the first of them is moved in last, so that it vouches for the rest. None: the whole folder is
        replaced, see :func:`require_replaceable`.
    marker
        Name of a file by which a folder that may be replaced as a whole is known.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    if replaces is None:
        require_replaceable(target, marker)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_dir():
            raise InputError(f"{target.name} is a file; give a folder to write to.")
        stage = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise InputError(f"The folder {target.name} cannot be written ({error.strerror}); choose another.") from error
    try:
        yield stage
        stage.chmod(0o755)
        _move_in(stage, target, replaces)
    except OSError as error:
        raise InputError(f"Writing to {target.name} failed ({error.strerror}); make room there.") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path.name} cannot be written ({error.strerror}); choose another place.") from error


def _move_in(stage: Path, target: Path, replaces: Iterable[str] | None) -> None:
    if replaces is None:
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            os.replace(target, old)
        os.replace(stage, target)
        shutil.rmtree(old, ignore_errors=True)
        return
    target.mkdir(exist_ok=True)
    names = list(replaces)
    for name in names:
        (target / name).unlink(missing_ok=True)
    written = [path.name for path in stage.iterdir()]
    for name in sorted(written, key=lambda name: name == names[0]):
        os.replace(stage / name, target / name)
