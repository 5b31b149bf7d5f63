"""Sampled cells and what of their whole volumes is needed to bring them to 0..1, in training as in use.

Intensity landmarks are learnt on a training part, so cells are kept as they were sampled and finished once the
landmarks are known. :func:`finish` is the only way from the one to the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.prepare import standardise as nyul
from cadx.prepare.spec import ScaleSpec, StandardiseSpec
from cadx.prepare.standardise import PERCENTILES
from cadx.volume import Volume


@dataclass(frozen=True, eq=False)
class RawCells:
    """Cells in the units of their corrected volumes.

    Parameters
    ----------
    values
        (channels, slices, rows, columns) float32; NaN outside the ROI and where the volume does not reach.
    landmarks
        (channels, percentiles) float64, of each whole volume; no column where none are needed.
    extremes
        (channels, 2) float64, smallest and greatest value of each whole volume; NaN where they are not needed.
    """

    values: NDArray[np.float32]
    landmarks: NDArray[np.float64]
    extremes: NDArray[np.float64]


def raw_cells(
    values: NDArray[np.float32],
    volumes: Sequence[Volume],
    percentiles: tuple[float, ...] = PERCENTILES,
    extremes: bool = True,
) -> RawCells:
    """Cells with what is known of their corrected volumes, one a channel; a whole volume is read for it."""
    own = [nyul.landmarks(volume, percentiles) if percentiles else np.empty(0) for volume in volumes]
    ends = [_extremes(volume) if extremes else (np.nan, np.nan) for volume in volumes]
    return RawCells(values, np.array(own, dtype=np.float64), np.array(ends, dtype=np.float64))


def learn_landmarks(
    raws: Iterable[RawCells], channels: Sequence[str], percentiles: tuple[float, ...] = PERCENTILES
) -> StandardiseSpec:
    """The standard landmarks of each channel; give the training part only.

    Raises
    ------
    InputError
        If there is no case, or none with more than one grey level.
    """
    own = np.array([raw.landmarks for raw in raws], dtype=np.float64).reshape(-1, len(channels), len(percentiles))
    learnt = {channel: nyul.fit_landmarks(own[:, index], percentiles) for index, channel in enumerate(channels)}
    return StandardiseSpec(percentiles=percentiles, landmarks=learnt)


def finish(
    raw: RawCells, channels: Sequence[str], standardise: StandardiseSpec | None, scale: ScaleSpec
) -> NDArray[np.float32]:
    """(channels, slices, rows, columns) float32 in 0..1: standardised where landmarks are given, then scaled.

    What lies outside the ROI or its volume is 0. The scale ``roi-zscore`` does not end in 0..1.

    Raises
    ------
    InputError
        If a channel has no landmarks, or is constant inside the ROI.
    """
    return np.stack([_finished(raw, index, channel, standardise, scale) for index, channel in enumerate(channels)])


def _finished(
    raw: RawCells, index: int, channel: str, standardise: StandardiseSpec | None, scale: ScaleSpec
) -> NDArray[np.float32]:
    values, extremes = raw.values[index], raw.extremes[index]
    if standardise:
        own, target = raw.landmarks[index], _target(standardise, channel)
        if len(own) != len(target):
            raise InputError(
                f"{channel} was measured at {len(own)} percentiles and the landmarks hold {len(target)}; learn them "
                "anew."
            )
        values = nyul.standardise(values, own, target).astype(np.float32)
        # the map never falls, so that the extremes stay the extremes
        extremes = nyul.standardise(extremes, own, target)
    inside = np.isfinite(values)
    if scale.method == "roi-zscore":
        # what was masked out counts for nothing and stays 0
        inside &= raw.values[index] != 0
    low, high = _ends(values[inside], extremes, scale)
    if not high > low:
        raise InputError(f"{channel} is constant inside the ROI; choose another image or move the ROI.")
    cells = (values - low) / (high - low)
    if scale.method != "roi-zscore":
        cells = np.clip(cells, 0, 1)
    return np.where(inside, cells, 0).astype(np.float32)


def _ends(inside: NDArray[np.float32], extremes: NDArray[np.float64], scale: ScaleSpec) -> tuple[float, float]:
    """The two values that become 0 and 1."""
    if scale.method == "volume-zscore-range":
        # the z-score cancels in the range that follows it
        return float(extremes[0]), float(extremes[1])
    if scale.method == "roi-zscore":
        values = inside.astype(np.float64) if inside.size else np.zeros(1)
        return float(values.mean()), float(values.mean() + values.std())
    ends = (0.0, 100.0) if scale.method == "roi-range" else (scale.low, scale.high)
    low, high = np.percentile(inside, ends)
    return float(low), float(high)


def _target(standardise: StandardiseSpec, channel: str) -> tuple[float, ...]:
    target = standardise.landmarks.get(channel)
    if target is None:
        raise InputError(f"The bundle holds no intensity landmarks for {channel}; use one trained on this channel.")
    return target


def _extremes(volume: Volume) -> tuple[float, float]:
    return float(np.nanmin(volume.voxels)), float(np.nanmax(volume.voxels))
