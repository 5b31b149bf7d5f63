"""Intensity standardisation by histogram landmarks (Nyul, Udupa and Zhang, IEEE TMI 2000).

An image's own landmarks come from all of it, the standard ones from the training part; the map between the two is
applied to whatever was cut out of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadx.errors import InputError
from cadx.volume import Volume

PERCENTILES = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)
MOST_VOXELS = 200_000
# landmarks nearer to each other than this share of their range count as one
TOGETHER = 1e-3
# a range below this share of the greatest magnitude is rounding
ROUNDING = 1e-6

Floats = NDArray[np.float64]
_known: WeakKeyDictionary[Volume, dict[tuple[float, ...], Floats]] = WeakKeyDictionary()


def landmarks(volume: Volume, percentiles: tuple[float, ...] = PERCENTILES) -> Floats:
    """Percentiles (len(percentiles),) of the voxels brighter than the mean (the body), in the volume's own units.

    Of a large volume every n-th voxel is looked at, always the same ones; asked for again, the answer is at hand.
    All are alike where the volume holds one value.
    """
    found = _known.setdefault(volume, {})
    if percentiles not in found:
        found[percentiles] = _landmarks(volume.voxels, percentiles)
    return found[percentiles]


def fit_landmarks(own: ArrayLike, percentiles: Sequence[float] = PERCENTILES) -> tuple[float, ...]:
    """The standard scale: the mean of the images' landmarks, each mapped to 0..1 by its outermost two.

    Parameters
    ----------
    own
        (images, len(percentiles)), as :func:`landmarks` finds them; those of the training part only. An image whose
        landmarks are all alike says nothing and is left out.

    Returns
    -------
    ``len(percentiles)`` ascending values from 0 to 1.

    Raises
    ------
    InputError
        If no image is left.
    """
    rows = np.asarray(own, dtype=np.float64).reshape(-1, len(percentiles))
    rows = rows[[not _alike(row) for row in rows]]
    if not len(rows):
        raise InputError("There is no image to learn intensity landmarks from; give at least one training case.")
    first, last = rows[:, :1], rows[:, -1:]
    mean = np.mean((rows - first) / (last - first), axis=0)
    return tuple(float(value) for value in np.maximum.accumulate(mean))


def standardise(values: ArrayLike, own: Floats, standard: ArrayLike) -> Floats:
    """Map an image's own landmarks to the standard ones, piecewise linearly; beyond the ends by the outer slopes.

    ``values`` may have any shape; NaN stays. Landmarks that lie together (a clipped or a coarse histogram) count as
    one, so that the map stays a function; where all do, the values are returned as they are.
    """
    values = np.asarray(values, dtype=np.float64)
    if _alike(own):
        return values
    knots, levels = _apart(own, np.asarray(standard, dtype=np.float64))
    slopes = np.diff(levels) / np.diff(knots)
    below, above = np.minimum(values - knots[0], 0), np.maximum(values - knots[-1], 0)
    return np.interp(values, knots, levels) + slopes[0] * below + slopes[-1] * above


def _landmarks(voxels: NDArray[np.generic], percentiles: tuple[float, ...]) -> Floats:
    for values in (_thinned(voxels), voxels.reshape(-1)):
        values = values[np.isfinite(values)].astype(np.float64)
        body = values[values > values.mean()]
        if body.size:
            return np.percentile(body, percentiles)
    return np.full(len(percentiles), values[0])


def _thinned(voxels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Every n-th voxel of a (K, J, I) array, ``MOST_VOXELS`` at most; n shares no factor with the size, so that the
    voxels do not fall into the same columns of every row."""
    step = max(1, math.ceil(voxels.size / MOST_VOXELS))
    while math.gcd(step, voxels.size) > 1:
        step += 1
    return voxels.reshape(-1)[::step]


def _alike(own: Floats) -> bool:
    return not np.ptp(own) > ROUNDING * np.abs(own).max()


def _apart(own: Floats, standard: Floats) -> tuple[Floats, Floats]:
    """Own and standard landmarks, those that lie together in ``own`` replaced by their means."""
    near = TOGETHER * np.ptp(own)
    starts = [0]
    for index in range(1, len(own)):
        if own[index] - own[starts[-1]] > near:
            starts.append(index)
    counts = np.diff([*starts, len(own)])
    return np.add.reduceat(own, starts) / counts, np.add.reduceat(standard, starts) / counts
