"""Tests of panels against the rest of the package, on the test host; skipped where its parts are not installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
if any(importlib.util.find_spec(name) is None for name in ("slicer_core", "PySide6")):
    collect_ignore_glob = ["test_*.py"]
else:
    sys.path.insert(0, str(REPOSITORY / "Testing" / "host"))


MODULES = [f"{name}/{name}.py" for name in ("IPMNClassifier", "TumorClassifier")]


@pytest.fixture
def ipmn_panel() -> Iterator[Any]:
    """The panel of IPMNClassifier on an empty scene."""
    yield from panel_of(MODULES[0])


@pytest.fixture
def tumor_panel() -> Iterator[Any]:
    """The panel of TumorClassifier on an empty scene."""
    yield from panel_of(MODULES[1])


@pytest.fixture(params=MODULES, ids=lambda module: module.partition("/")[0])
def module(request: pytest.FixtureRequest) -> Path:
    """The file of each module."""
    return REPOSITORY / str(request.param)


def panel_of(module: str) -> Iterator[Any]:
    """A panel, and everything put back afterwards."""
    from slicer_host.opened import opened

    with opened(REPOSITORY / module) as panel:
        yield panel
