"""Tests of the stand-in application; skipped as a whole where Qt or slicer-core is not installed.

Other tests in the same process must not find ``slicer.app``: it is there only while a test here runs.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
collect_ignore = ["slicer_host", "sample"]
missing = [name for name in ("PySide6", "slicer_core") if importlib.util.find_spec(name) is None]
if missing:
    collect_ignore_glob = ["test_*.py"]
elif str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))


def pytest_report_header() -> str:
    """Why the tests are skipped, if they are."""
    return f"Testing/host skipped: {' and '.join(missing)} not installed" if missing else ""


@pytest.fixture
def host() -> Iterator[Any]:
    """The host with an empty scene, nothing shown and no module open."""
    from slicer_host import Host

    host = Host()
    yield host
    host.reset()
    host.detach()


@pytest.fixture
def sample(host: Any) -> Any:
    """The panel of the sample module."""
    return host.open(HERE / "sample" / "Sample.py")
