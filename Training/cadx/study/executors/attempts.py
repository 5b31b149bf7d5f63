"""Copies of one training that may run at the same time, on machines that cannot tell each other so.

A machine that was given up may live on and write. So each copy works in a folder of its own,
``RUN/.attempts/<training's place>/<copy>``, begun from the furthest checkpoint of another copy, and the first that is
whole is renamed into the training's place: where a folder lies already, the rename fails and the copy is dropped.
All copies have the same bits, so it matters nowhere which of them it was. Locks would not do: not every file system
that machines share has them.
"""

from __future__ import annotations

import errno
import secrets
import shutil
import tempfile
from pathlib import Path

from cadx.study.recording import CHECKPOINT, STEPS, DiskFullError
from cadx.study.task import DONE

PLACE = ".attempts"


class Attempts:
    """Those of one run."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._place = run / PLACE

    def begin(self, folder: Path) -> Path:
        """A new folder for a copy of the training that belongs in ``folder``, with what the furthest other copy left.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        try:
            return self._begin(folder)
        except OSError as error:
            raise DiskFullError.of(folder.name, error) from error

    def finish(self, attempt: Path, folder: Path) -> None:
        """Put a whole copy in its place, unless another is there; it is dropped then.

        Raises
        ------
        InputError
            If it cannot be renamed, or was taken away meanwhile.
        """
        try:
            # a folder that was taken away, and made anew by writing into it, lacks what the training began with
            (attempt / STEPS).stat()
            folder.parent.mkdir(parents=True, exist_ok=True)
            attempt.rename(folder)
        except OSError as error:
            shutil.rmtree(attempt, ignore_errors=True)
            if not (folder / DONE).is_file():
                raise DiskFullError.of(folder.name, error) from error

    def withdraw(self, folder: Path) -> None:
        """Make a training that was begun in its place one of the copies, so that the place is free.

        Raises
        ------
        InputError
            If it cannot be renamed.
        """
        if not folder.exists() or (folder / DONE).is_file():
            return
        place = self._of(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
            folder.rename(place / f"begun-{secrets.token_hex(4)}")
        except OSError as error:
            raise DiskFullError.of(folder.name, error) from error

    def clear(self, folder: Path) -> None:
        """Drop the copies of a training that is done."""
        shutil.rmtree(self._of(folder), ignore_errors=True)

    def settle(self) -> None:
        """Drop all copies; of a training that is in no place the furthest is put there.

        Raises
        ------
        InputError
            If a copy cannot be written.
        """
        begun = {path.parent.parent for name in (CHECKPOINT, DONE) for path in self._place.rglob(name)}
        for place in sorted(begun):
            folder = self._run / place.relative_to(self._place)
            if not folder.exists():
                # what still writes to a copy has no part in a new one
                attempt = self.begin(folder)
                folder.parent.mkdir(parents=True, exist_ok=True)
                attempt.rename(folder)
        shutil.rmtree(self._place, ignore_errors=True)

    def _of(self, folder: Path) -> Path:
        return self._place / folder.relative_to(self._run)

    def _begin(self, folder: Path) -> Path:
        place = self._of(folder)
        place.mkdir(parents=True, exist_ok=True)
        for earlier in _furthest_first(place):
            attempt = _new(place)
            if _copied(earlier, attempt):
                return attempt
            shutil.rmtree(attempt, ignore_errors=True)
        return _new(place)


def _new(place: Path) -> Path:
    made = Path(tempfile.mkdtemp(dir=place))
    made.chmod(0o755)
    return made


def _furthest_first(place: Path) -> list[Path]:
    """Folders below ``place`` from which a training can go on: those that are done, then by the checkpoint's age."""
    found = []
    for path in place.iterdir():
        for rank, name in enumerate((CHECKPOINT, DONE)):
            try:
                found.append((rank, (path / name).stat().st_mtime_ns, path))
            except OSError:
                continue
    return [path for *_, path in sorted(found, reverse=True)]


def _copied(source: Path, target: Path) -> bool:
    """Copy what a training goes on from, whose owner may still write; False where that is gone meanwhile.

    What vouches for the rest comes first: files only grow after it was written.
    """
    try:
        vouching = DONE if (source / DONE).is_file() else CHECKPOINT
        shutil.copy2(source / vouching, target / vouching)
        for path in source.iterdir():
            if path.is_file() and not path.name.startswith(".") and path.name not in (DONE, CHECKPOINT):
                shutil.copy2(path, target / path.name)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return False
        raise
    return True
