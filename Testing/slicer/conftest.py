"""Tests of cadx.slicer on slicer-core; skipped as a whole where it is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

if importlib.util.find_spec("slicer_core") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def scene() -> Iterator[Any]:
    """A scene of its own for each test."""
    from cadx.slicer import own_scene

    with own_scene() as scene:
        yield scene
