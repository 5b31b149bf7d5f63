"""A module opened for tests or pictures, and everything put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slicer_host.host import Host


@contextmanager
def opened(module_file: Path) -> Iterator[Any]:
    """The widget object of a module's panel."""
    host = Host()
    host.attach()
    try:
        yield host.open(module_file)
    finally:
        host.reset()
        host.detach()
