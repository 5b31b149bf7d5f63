"""Memory that a training gave back stays with the process, so that the next step need not fetch it from the system.

A step's activations are tens of megabytes each. The C library of most Linux systems (glibc) hands blocks of that size
back to the kernel when they are freed, and the kernel fills each page with zeros when it is touched again: half
the time of a convolutional network's step on a CPU. This changes where memory comes from and nothing that is computed.
"""

from __future__ import annotations

import ctypes
import sys

# parameters of mallopt, by glibc's malloc.h
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8
MEBI = 2**20
NEVER = -1
# one arena: those of other threads are no larger than 64 MiB, and what is larger would be fetched anew each time
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: NEVER, TOP_PAD: 256 * MEBI, ARENA_MAX: 1}


def keep_freed() -> bool:
    """Keep what is freed, in this process from now on; False where the C library has no such setting."""
    library = _glibc()
    if library is None:
        return False
    done = [library.mallopt(name, value) == 1 for name, value in KEPT.items()]
    return all(done)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    # musl has none
    return library if hasattr(library, "mallopt") else None
