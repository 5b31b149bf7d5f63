"""Intensity standardisation by histogram landmarks (Nyul, Udupa and Zhang, IEEE TMI 2000)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.prepare.spec import StandardiseSpec
from cadx.volume import Volume

PERCENTILES = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)


def landmarks(volume: Volume, percentiles: tuple[float, ...] = PERCENTILES) -> NDArray[np.float64]:
    """Percentiles (len(percentiles),) of the voxels brighter than the volume's mean (the body)."""
    voxels = np.asarray(volume.voxels, dtype=np.float64)
    body = voxels[voxels > voxels.mean()]
    if not body.size:
        raise InputError(f"{volume.name}: every voxel has the same value; choose another image.")
    return np.percentile(body, percentiles)


def fit_landmarks(volumes: Iterable[Volume], percentiles: tuple[float, ...] = PERCENTILES) -> tuple[float, ...]:
    """The standard scale: the mean of the volumes' landmarks, each mapped to 0..1 by its outermost two.

    Give the training part only. Returns ``len(percentiles)`` ascending values.
    """
    mapped = []
    for volume in volumes:
        own = landmarks(volume, percentiles)
        mapped.append((own - own[0]) / max(own[-1] - own[0], 1e-12))
    if not mapped:
        raise InputError("There is no volume to learn intensity landmarks from; give at least one training case.")
    return tuple(float(v) for v in np.mean(mapped, axis=0))


def standardise(volume: Volume, spec: StandardiseSpec, channel: str) -> Volume:
    """Map the volume's landmarks to the learnt ones, piecewise linearly; beyond the ends by the outer slopes."""
    target = spec.landmarks.get(channel)
    if target is None:
        raise InputError(f"The bundle holds no intensity landmarks for {channel}; use one trained on this channel.")
    own = landmarks(volume, spec.percentiles)
    # equal landmarks (a clipped histogram) would make the map many-valued
    own = np.maximum.accumulate(own + np.arange(own.size) * 1e-9 * max(1.0, np.ptp(own)))
    values = np.asarray(target)
    voxels = np.asarray(volume.voxels, dtype=np.float64)
    mapped = np.interp(voxels, own, values)
    below, above = voxels < own[0], voxels > own[-1]
    mapped[below] = values[0] + (voxels[below] - own[0]) * (values[1] - values[0]) / (own[1] - own[0])
    mapped[above] = values[-1] + (voxels[above] - own[-1]) * (values[-1] - values[-2]) / (own[-1] - own[-2])
    return volume.with_voxels(mapped.astype(np.float32))
