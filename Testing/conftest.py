"""Fixtures shared by all tests: small volumes with a known pattern in patient space, a small random bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cadx.case import Case
from cadx.geometry import Geometry
from cadx.models.bundle import Bundle
from cadx.roi import Roi

from support import make_bundle, pattern_volume, tilted

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and reference numbers that lies beside the repository, where it is."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the folder of real images (../shared) is not on this machine")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def t1_geometry() -> Geometry:
    """Thick slices, slightly oblique."""
    return Geometry.from_axes((60, 52, 15), (2.0, 2.0, 5.5), tilted(3, -4, 5), (-55, -50, -40))


@pytest.fixture(scope="session")
def t2_geometry() -> Geometry:
    """Another grid over the same place, stored with flipped and permuted axes."""
    grid = Geometry.from_axes((76, 70, 18), (1.7, 1.7, 5.0), tilted(-2, 3, -4), (-60, -56, -45))
    return grid.reordered((1, 0, 2), (-1, 1, -1))


@pytest.fixture(scope="session")
def case(t1_geometry: Geometry, t2_geometry: Geometry) -> Case:
    """T1 and T2 show the same pattern in patient space; the ROI lies along T1's axes and spans 9 slices."""
    roi = Roi(t1_geometry.center_ras, np.array([70.0, 56.0, 9 * 5.5]), t1_geometry.axes)
    images = {"T1": pattern_volume(t1_geometry, "t1"), "T2": pattern_volume(t2_geometry, "t2")}
    return Case(images, roi, "pattern")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small vision transformer with random weights and no bias or smoothing step."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "random")
