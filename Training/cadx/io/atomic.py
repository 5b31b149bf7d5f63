"""Nothing half-written: everything is made beside its place and renamed into it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cadx.errors import InputError
from cadx.io import held
from cadx.io.names import require_plain_name

SUFFIX = ".partial"


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


def require_writable(target: Path) -> None:
    """Refuse, before anything is computed, a folder that cannot be made or written to.

    Raises
    ------
    InputError
        If it is a file, lies below one, or the nearest folder that exists may not be written.
    """
    require_plain_name(target)
    try:
        place = target.absolute()
        while not place.exists():
            place = place.parent
        allowed = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    except OSError as error:
        raise InputError(f"The folder {target.name} cannot be written ({error.strerror}); choose another.") from error
    if not allowed:
        reason = f"{place.name} is a file" if not place.is_dir() else f"no permission in {place.name or place}"
        raise InputError(f"The folder {target.name} cannot be written ({reason}); choose another.")


@contextmanager
def staged_folder(target: Path, replaces: Iterable[str] | None = None, marker: str = "") -> Iterator[Path]:
    """A new folder beside ``target``; its files move into ``target`` when the block ends well.

    A process that is killed leaves a hidden ``.partial`` folder at most; the next one with this target removes it.

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
    require_writable(target)
    target = target.resolve()
    made = _missing_parents(target)
    try:
        with _stage(target) as stage:
            yield stage
            stage.chmod(0o755)
            _move_in(stage, target, replaces, marker)
    except OSError as error:
        raise InputError(f"Writing to {target.name} failed ({error.strerror or error}); make room there.") from error
    finally:
        _remove_empty(made)


@contextmanager
def _stage(target: Path) -> Iterator[Path]:
    """A new hidden folder near ``target``, held so that no other process sweeps it away; removed at the end."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place = target if _must_stay(target) else target.parent
        _sweep(target, place)
        stage = _new(target, place)
    except OSError as error:
        raise InputError(f"The folder {target.name} cannot be written ({error.strerror}); choose another.") from error
    while True:
        with held.lock(stage) as ours:
            if not ours:
                stage = _new(target, place)  # the first was swept before it was held
                continue
            try:
                yield stage
            finally:
                shutil.rmtree(stage, ignore_errors=True)
            return


def _new(target: Path, place: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=SUFFIX, dir=place))


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    try:
        with _stage(path) as stage:
            made = stage / path.name
            made.write_text(text, encoding="utf-8", newline="")
            os.replace(made, path)
    except OSError as error:
        raise InputError(f"{path.name} cannot be written ({error.strerror}); choose another place.") from error


def _sweep(target: Path, place: Path) -> None:
    """Remove what a killed process left half-made for ``target``, and put back what it had moved away."""
    for path in place.iterdir():
        if path.name.startswith(f".{target.name}.") and path.name.endswith(SUFFIX):
            with held.abandoned(path) as free:
                if free:
                    _remove(path)
    old = _old(target)
    if old.exists() and not target.exists():
        os.replace(old, target)


def _must_stay(target: Path) -> bool:
    """Whether a folder cannot be renamed: a mount, the working folder, or in a folder that may not be written."""
    return target.is_dir() and (
        os.path.ismount(target) or Path.cwd().is_relative_to(target) or not os.access(target.parent, os.W_OK)
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _missing_parents(target: Path) -> list[Path]:
    """The folders above ``target`` that do not exist yet, innermost first."""
    return [parent for parent in target.absolute().parents if not parent.exists()]


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _move_in(stage: Path, target: Path, replaces: Iterable[str] | None, marker: str) -> None:
    names = None if replaces is None else list(replaces)
    present = [path.name for path in target.iterdir() if path != stage] if target.exists() else []
    if stage.parent != target and (names is None or set(present) <= set(names)):
        _swap(stage, target)
        return
    # something else lies in the folder, or it must stay: piece by piece, what vouches for the rest out first, in last
    target.mkdir(exist_ok=True)
    vouching = marker if names is None else names[0]
    for name in sorted(present if names is None else names, key=lambda name: name != vouching):
        _remove(target / name)
    for name in sorted((path.name for path in stage.iterdir()), key=lambda name: name == vouching):
        os.replace(stage / name, target / name)


def _swap(stage: Path, target: Path) -> None:
    old = _old(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(stage, target)
    shutil.rmtree(old, ignore_errors=True)
