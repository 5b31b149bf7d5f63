"""What the conftest of a module's tests is made of: outside the application they run on the test host."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MISSING = [name for name in ("slicer_core", "PySide6") if importlib.util.find_spec(name) is None]
IGNORED = ["*.py"] if MISSING else []
"""For ``collect_ignore_glob``: all of a module's tests are skipped where the host's parts are not installed."""

if not MISSING:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))
    from slicer_host import Host
    from slicer_host.opened import opened

    Host().detach()


def panel_fixture(module_file: Path) -> Callable[..., Any]:
    """A fixture that opens the module for the tests of one file."""

    @pytest.fixture(scope="module", autouse=True)
    def _panel() -> Iterator[None]:
        with opened(module_file):
            yield

    return _panel


@pytest.fixture(autouse=True)
def no_error_is_swallowed(_panel: None) -> Iterator[None]:
    """What is raised in a slot is printed by Qt and else lost."""
    Host().errors.clear()
    yield
    assert Host().errors == []
