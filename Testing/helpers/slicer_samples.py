"""Small volumes, boxes and results that the tests of cadx.slicer share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cadx.errors import MissingDependencyError
from cadx.geometry import Geometry
from cadx.roi import Roi
from cadx.slicer import runtime
from cadx.volume import Volume

ATTENTION_PEAK = 3.0
BRAIN_PAIR = Path(__file__).parents[3] / "shared" / "data" / "mri" / "brain_pair"


def can_draw() -> bool:
    """Whether slices can be drawn off screen on this machine."""
    try:
        runtime.slicer_module()
        runtime.require_drawing()
    except MissingDependencyError:
        return False
    return True


needs_drawing = pytest.mark.skipif(not can_draw(), reason="there is no OpenGL driver to draw with on this machine")


def rotation(axis: int, degrees: float) -> np.ndarray:
    """A right-handed rotation about R, A or S."""
    angle = np.radians(degrees)
    matrix = np.eye(3)
    first, second = [a for a in range(3) if a != axis]
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


AXES = {
    "along RAS": np.eye(3),
    "along LPS": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([1.0, 1.0, -1.0]),
    "permuted": np.eye(3)[:, [2, 0, 1]],
    "oblique": rotation(0, 17) @ rotation(2, -31),
    "oblique and left-handed": rotation(1, 12) @ rotation(2, 40) @ np.diag([1.0, -1.0, 1.0]),
}


def volume(axes: np.ndarray, dtype: Any = np.int16, name: str = "sample") -> Volume:
    """An anisotropic volume of random numbers, off centre."""
    voxels = np.random.default_rng(3).integers(0, 200, (5, 7, 9)).astype(dtype)
    return Volume(voxels, Geometry.from_axes((9, 7, 5), (0.8, 1.1, 4.5), axes, (11, -23, 37)), name=name)


def grid(size: int = 40, spacing: float = 2.0) -> Geometry:
    """A cube of voxels along RAS around the origin, with a voxel centre at the origin."""
    first = -spacing * (size // 2)
    return Geometry.from_axes((size, size, size), (spacing,) * 3, np.eye(3), (first,) * 3)


def spot(point_ras: tuple[float, float, float], geometry: Geometry, width_mm: float = 4.0) -> np.ndarray:
    """(K, J, I) float32: a Gaussian of height 1 around a point."""
    i, j, k = np.meshgrid(*(np.arange(n) for n in geometry.size_ijk), indexing="ij")
    ras = geometry.to_ras(np.stack([i, j, k], axis=-1))
    squared = ((ras - np.asarray(point_ras)) ** 2).sum(axis=-1)
    return np.exp(-squared / (2 * width_mm**2)).astype(np.float32).transpose(2, 1, 0)


def case(**changes: Any) -> dict[str, Any]:
    """T1 and T2 on different grids, a ROI and attention with its peak at (8, -6, 4); ``changes`` replace any."""
    rng = np.random.default_rng(5)
    images = {
        "t1": Volume(rng.normal(100, 20, (40, 40, 40)).astype(np.float32), grid(), name="t1"),
        "t2": Volume(rng.normal(300, 40, (30, 30, 30)).astype(np.float32), grid(30, 3.0), name="t2"),
        "roi": Roi(np.array([2.0, 0.0, -4.0]), np.array([40.0, 30.0, 24.0])),
        "attention": Volume(ATTENTION_PEAK * spot((8, -6, 4), grid()), grid(), name="attention"),
    }
    return {**images, **changes}


def result(**changes: Any) -> dict[str, Any]:
    """A ``cadx.result/1`` document."""
    return {
        "schema": "cadx.result/1",
        "status": "ok",
        "task": "ipmn",
        "label": "low risk",
        "probabilities": {"normal": 0.1, "low risk": 0.7, "high risk": 0.2},
        "bundle": {"name": "ipmn-phantom-demo", "version": "1.0.0", "sha256": "00", "demo": True},
        "inputs": [{"role": "T1", "source": "t1.nii.gz"}, {"role": "T2", "source": "t2.nii.gz"}],
        "warnings": [{"code": "demo-model", "text": "Trained on phantoms."}],
        "disclaimer": "Research use only, not for clinical decisions.",
        **changes,
    }
