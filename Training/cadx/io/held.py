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
def lock(path: Path) -> Iterator[None]:
    """Hold a file or folder while the block runs; where the file system has no locks, nothing is held."""
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether another process, or this one, holds it; without locks, whether it is younger than a day."""
    try:
        if fcntl is None:
            return time.time() - path.stat().st_mtime < ABANDONED_AFTER_S
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(handle)
