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


@pytest.fixture
def ipmn_panel() -> Iterator[Any]:
    """The panel of IPMNClassifier on an empty scene."""
    from slicer_host.opened import opened

    with opened(REPOSITORY / "IPMNClassifier" / "IPMNClassifier.py") as panel:
        yield panel
