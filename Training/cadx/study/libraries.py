"""Bringing in the large libraries of a training."""

from __future__ import annotations

import gc
from contextlib import suppress
from importlib import import_module

LIBRARIES = ("torch", "timm", "sklearn.model_selection")


def bring_in() -> None:
    """Import :data:`LIBRARIES` without Python's collector looking through them all the while.

    What they make while they are imported stays. One that is not installed is told of where it is used.
    """
    working = gc.isenabled()
    gc.disable()
    try:
        for name in LIBRARIES:
            with suppress(ImportError):
                import_module(name)
    finally:
        if working:
            gc.enable()
