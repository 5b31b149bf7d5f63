"""How sure the figures are: resampled patients, spread over folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cadx.evaluate import metrics
from cadx.evaluate.metrics import Probabilities, Truth

RESAMPLES = 2000
LEVEL = 0.95
CHUNK_VALUES = 4_000_000  # weights held at a time
Weights = NDArray[np.float64]


class Spread(NamedTuple):
    """Mean and standard deviation (n - 1) over so many ``folds``; no deviation of a single one."""

    mean: float
    sd: float | None
    folds: int


def spread(values: Sequence[float | None]) -> Spread | None:
    """Mean and standard deviation of those values that are defined; None where none is.

    >>> spread([0.5, 0.75, 1.0, None])
    Spread(mean=0.75, sd=0.25, folds=3)
    """
    known = np.array([value for value in values if value is not None], np.float64)
    if not len(known):
        return None
    return Spread(float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else None, len(known))


def bootstrap(
    truth: Truth,
    probabilities: Probabilities,
    groups: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, tuple[float, float] | None]:
    """Percentile intervals of the pooled metrics: groups are drawn with replacement, all of a group's cases together.

    They tell of the choice of patients, not of how much another training would differ.

    Parameters
    ----------
    truth
        (cases,) class indices.
    probabilities
        (cases, classes).
    groups
        (cases,) who or what the cases belong to.

    Returns
    -------
    dict
        Metric to its lower and upper end; None where there are fewer than two groups, or where the metric was
        undefined in more than half of the resamples.
    """
    names, place = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    chunks: list[dict[str, NDArray[np.float64]]] = []
    if len(names) > 1:
        drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
        step = max(1, CHUNK_VALUES // len(truth))
        for start in range(0, resamples, step):
            chunks.append(weighted_scores(truth, probabilities, drawn[start : start + step, place].astype(float)))
    keys = [metric.key for metric in metrics.METRICS]
    pooled = {key: np.concatenate([chunk[key] for chunk in chunks]) for key in keys if chunks and key in chunks[0]}
    return {key: _ends(pooled[key], level) if key in pooled else None for key in keys}


def weighted_scores(truth: Truth, probabilities: Probabilities, weights: Weights) -> dict[str, NDArray[np.float64]]:
    """The metrics of :func:`metrics.scores` for many weightings of the cases at once (all but the mean of batches).

    Parameters
    ----------
    weights
        (weightings, cases), how often each case counts.

    Returns
    -------
    dict
        Metric to (weightings,) values, NaN where undefined.
    """
    classes = probabilities.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = _of_counts(_confusions(truth, probabilities, weights))
        total = weights.sum(axis=1)
        one_hot = np.eye(classes)[truth]
        found["loss"] = weights @ metrics.losses(truth, probabilities) / total
        found["brier"] = weights @ ((probabilities - one_hot) ** 2).sum(axis=1) / total
        if classes > 2:
            found["top2"] = weights @ metrics.top2(truth, probabilities).astype(float) / total
        found["ece"] = _calibration_errors(truth, probabilities, weights) / total
        areas = np.array([_areas(truth == c, probabilities[:, c], weights) for c in range(classes)])
    found["auc"], found["average_precision"] = _mean_known(areas[:, 0]), _mean_known(areas[:, 1])
    return found


def _confusions(truth: Truth, probabilities: Probabilities, weights: Weights) -> Weights:
    classes = probabilities.shape[1]
    cell = truth * classes + probabilities.argmax(axis=1)
    return (weights @ np.eye(classes**2)[cell]).reshape(len(weights), classes, classes)


def _of_counts(table: Weights) -> dict[str, NDArray[np.float64]]:
    """Of (weightings, classes, classes) confusion matrices."""
    hits, support, graded = np.diagonal(table, axis1=1, axis2=2), table.sum(axis=2), table.sum(axis=1)
    occurs = support > 0
    recall = np.where(occurs, hits / support, np.nan)
    precision = np.where(occurs, np.where(graded > 0, hits / graded, 0), np.nan)
    f1 = np.where(occurs, 2 * hits / (support + graded), np.nan)
    macro = _mean_known(recall.T)
    return {
        "accuracy": hits.sum(axis=1) / support.sum(axis=1),
        "balanced_accuracy": macro,
        "precision": _mean_known(precision.T),
        "recall": macro,
        "f1": _mean_known(f1.T),
    }


def _calibration_errors(truth: Truth, probabilities: Probabilities, weights: Weights) -> Weights:
    confidence, right, place = metrics.confidence_bins(truth, probabilities)
    return np.abs(weights @ (np.eye(metrics.BINS)[place] * (confidence - right)[:, None])).sum(axis=1)


def _areas(own: NDArray[np.bool_], score: Probabilities, weights: Weights) -> tuple[Weights, Weights]:
    """(weightings,) area under the ROC curve and average precision; equal scores count half, resp. together."""
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    positive = np.add.reduceat((weights * own)[:, order], starts, axis=1)
    negative = np.add.reduceat((weights * ~own)[:, order], starts, axis=1)
    hits, false = positive.cumsum(axis=1), negative.cumsum(axis=1)
    p, n = hits[:, -1], false[:, -1]
    area = 1 - (positive * (false - negative / 2)).sum(axis=1) / (p * n)
    flagged = hits + false
    precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
    average = np.where(n > 0, (positive * precision).sum(axis=1) / p, np.nan)
    return area, average


def _mean_known(rows: Weights) -> NDArray[np.float64]:
    """Mean over the first axis of what is no NaN; NaN where nothing is."""
    known = ~np.isnan(rows)
    count = known.sum(axis=0)
    sums = np.where(known, rows, 0).sum(axis=0)
    return np.divide(sums, count, out=np.full(sums.shape, np.nan), where=count > 0)


def _ends(values: NDArray[np.float64], level: float) -> tuple[float, float] | None:
    known = values[~np.isnan(values)]
    if 2 * len(known) < len(values):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
