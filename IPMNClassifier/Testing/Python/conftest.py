"""Outside the application these tests run on the test host; skipped as a whole where its parts are not installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MISSING = [name for name in ("slicer_core", "PySide6") if importlib.util.find_spec(name) is None]

if MISSING:
    collect_ignore_glob = ["test_*.py"]
else:
    sys.path[:0] = [str(HERE), str(HERE.parents[2] / "Testing" / "host")]
    from slicer_host import Host
    from slicer_host.opened import opened

    Host().detach()


@pytest.fixture(scope="module", autouse=True)
def _panel() -> Iterator[None]:
    with opened(HERE.parents[1] / "IPMNClassifier.py"):
        yield


@pytest.fixture(autouse=True)
def _no_error_is_swallowed(_panel: None) -> Iterator[None]:
    """What is raised in a slot is printed by Qt and else lost."""
    Host().errors.clear()
    yield
    assert Host().errors == []
