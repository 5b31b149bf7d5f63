"""Whether a file or folder is still worked on: by an advisory lock, which ends with its process however it ends."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: age stands in
    fcntl = None  # type: ignore[assignment]

ABANDONED_AFTER_S = 86_400


@contextlib.contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Hold a file or folder while the block runs; yields False where another removed it before it could be held.

    Where the file system has no locks, nothing is held.
    """
    if fcntl is None:
        yield path.exists()
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield path.exists()
    finally:
        os.close(handle)


@contextlib.contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether nobody holds it; it is held meanwhile, so that it can be removed. Without locks: older than a day."""
    if fcntl is None:
        yield path.exists() and time.time() - path.stat().st_mtime > ABANDONED_AFTER_S
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:
            free = False
        yield free
    finally:
        os.close(handle)
