"""Pairs of pictures that show the same, whatever was done to contrast, orientation and edge.

Two stages. All pairs: both thumbnails once normalised to their neighbourhood and once to their own histogram, whitened
by the cohort (what most pictures share, such as the head's outline, counts little), correlated; the maximum over the
eight flips and quarter turns. Each picture's nearest: one is cropped and turned a little until they fit, then
correlated likewise. The threshold follows from pairs known to differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
Pairs = Callable[[Indices], NDArray[np.bool_]]

EDGE = 32
PIXELS = EDGE * EDGE
TURNS = 8
# of the turn that undoes each turn
BACK = np.array([0, 3, 2, 1, 4, 5, 6, 7])
NEAREST = 20
ROWS = 256
SHRINK = 0.3
# pictures of one class are a little more alike than the reference: at 0.62 a clean run of 2631 slices once failed
FLOOR = 0.68
CEILING = 0.85
FALSE_ALARMS = 0.1
TAIL = 100
CROPS = ((0.0, 0.0, 0.0),) + tuple(
    (share, y, x) for share in (0.04, 0.08, 0.12, 0.16) for y in (0, 0.5, 1) for x in (0, 0.5, 1)
)
DEGREES = (-8, -4, 4, 8)


@dataclass(frozen=True)
class Likeness:
    """What was compared, and the pairs that are alike.

    Parameters
    ----------
    threshold
        Likeness from which on a pair counts as the same picture; 1 is identical, unrelated pictures are near 0.
    compared, reference
        How many pairs of either kind there are.
    reference_above
        How many of the reference pairs reach the threshold.
    pairs
        (first, second, likeness) of the compared pairs that reach it, most alike first.
    """

    threshold: float
    compared: int
    reference: int
    reference_above: int
    pairs: tuple[tuple[int, int, float], ...]

    @property
    def rate(self) -> float:
        """Measured rate of false alarms, a pair."""
        return self.reference_above / self.reference if self.reference else math.nan

    @property
    def rate_upper(self) -> float:
        """Upper end of its one-sided 95 % interval."""
        return poisson_upper(self.reference_above) / self.reference if self.reference else math.nan


def find_alike(thumbnails: NDArray[np.uint8], compared: Pairs, reference: Pairs) -> Likeness:
    """Find the compared pairs that show the same.

    Parameters
    ----------
    thumbnails
        (N, V, 32, 32); all channels of a case are turned and cropped together, and their likenesses averaged
        (the least of them finds slightly fewer copies and raises no fewer false alarms).
    compared, reference
        Of the rows asked for, (rows, N) whether a pair is to be compared, or is known to differ. Symmetric.
    """
    features = _Features(np.asarray(thumbnails))
    kept, counts = _nearest(features, (compared, reference))
    (first, second, turn, kind) = kept
    likeness = _refined(features, first, second, turn)
    threshold = _threshold(np.sort(likeness[kind == 1])[::-1], counts[1], counts[0])
    above = likeness >= threshold
    found = np.flatnonzero(above & (kind == 0))
    order = found[np.argsort(-likeness[found], kind="stable")]
    pairs = tuple((int(first[k]), int(second[k]), float(likeness[k])) for k in order)
    return Likeness(threshold, counts[0], counts[1], int((above & (kind == 1)).sum()), pairs)


def poisson_upper(count: int, level: float = 0.95) -> float:
    """Upper bound of a rate of which ``count`` events were seen.

    >>> round(poisson_upper(0), 2)
    3.0
    """
    low, high = float(count), count + 10 * math.sqrt(count + 1) + 10
    for _ in range(60):
        middle = (low + high) / 2
        logs = [k * math.log(middle) - middle - math.lgamma(k + 1) for k in range(count + 1)] if middle > 0 else [0.0]
        low, high = (middle, high) if sum(map(math.exp, logs)) > 1 - level else (low, middle)
    return high


class _Features:
    """Thumbnails in the forms in which they are compared; whitening is learnt from all of them."""

    def __init__(self, thumbnails: NDArray[np.uint8]) -> None:
        self.thumbnails = thumbnails
        self.count, self.channels = thumbnails.shape[:2]
        forms = (_by_neighbourhood, _by_histogram)
        self._whiten = [[_whitening(form(thumbnails[:, v])) for form in forms] for v in range(self.channels)]
        local = [_unit(_by_neighbourhood(thumbnails[:, v])) for v in range(self.channels)]
        self.local = np.concatenate(local, axis=1)
        self.whole = np.concatenate([self.of(thumbnails[k : k + 1024]) for k in range(0, self.count, 1024)])

    def of(self, thumbnails: NDArray) -> Floats:
        """(n, 2 V 1024) unit vectors; their dot product is the likeness."""
        parts = []
        for v in range(self.channels):
            for form, (mean, matrix) in zip((_by_neighbourhood, _by_histogram), self._whiten[v], strict=True):
                parts.append(_unit((_unit(form(thumbnails[:, v])) - mean) @ matrix))
        return np.concatenate(parts, axis=1) / np.float32(math.sqrt(len(parts)))


def _unit(vectors: NDArray) -> Floats:
    """Rows of mean 0 and length 1 (all 0 where a row is constant)."""
    flat = np.asarray(vectors, dtype=np.float32).reshape(len(vectors), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.float32(1e-6))


def _turned(vectors: NDArray, turn: int) -> NDArray:
    """(..., k 1024) or (..., 32, 32): mirrored from the fifth turn on, then by quarter turns."""
    pictures = vectors.reshape(-1, EDGE, EDGE)
    pictures = np.rot90(pictures if turn < 4 else pictures[:, :, ::-1], turn % 4, (1, 2))
    return np.ascontiguousarray(pictures).reshape(vectors.shape)


def _along(pictures: NDArray, rows: Floats, columns: Floats) -> Floats:
    """``rows @ picture @ columns.T`` of each picture, as two large products."""
    n = len(pictures)
    once = (np.ascontiguousarray(pictures, dtype=np.float32).reshape(n * EDGE, EDGE) @ columns.T).reshape(n, EDGE, EDGE)
    twice = np.ascontiguousarray(once.transpose(0, 2, 1)).reshape(n * EDGE, EDGE) @ rows.T
    return twice.reshape(n, EDGE, EDGE).transpose(0, 2, 1)


@cache
def _blur() -> Floats:
    place = np.arange(EDGE)
    weights = np.exp(-((place[:, None] - place) ** 2) / (2 * 3.0**2))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _by_neighbourhood(pictures: NDArray) -> Floats:
    """Less the mean around each pixel, over the deviation there: light and contrast leave."""
    flat = pictures.astype(np.float32)
    apart = flat - _along(flat, _blur(), _blur())
    spread = np.sqrt(np.maximum(_along(apart * apart, _blur(), _blur()), 0))
    return apart / (spread + 4)


def _by_histogram(pictures: NDArray) -> Floats:
    """Each pixel's rank within its picture, equal values alike: any monotone change of grey leaves."""
    n = len(pictures)
    values = np.clip(np.rint(pictures), 0, 255).astype(np.int64).reshape(n, -1)
    rows = np.arange(n)[:, None]
    counts = np.bincount((values + 256 * rows).ravel(), minlength=256 * n).reshape(n, 256)
    ranks = np.cumsum(counts, axis=1) - counts / 2
    return ranks[rows, values].astype(np.float32).reshape(n, EDGE, EDGE)


def _whitening(pictures: Floats) -> tuple[Floats, Floats]:
    """(1024,) mean and (1024, 1024) matrix, the same under all turns."""
    vectors = _unit(pictures)
    total, mean = vectors.T @ vectors / len(vectors), vectors.mean(axis=0)
    place = np.arange(PIXELS)
    orders = [_turned(place[None], turn)[0] for turn in range(TURNS)]
    mean = np.mean([mean[order] for order in orders], axis=0, dtype=np.float32)
    total = np.mean([total[np.ix_(order, order)] for order in orders], axis=0) - np.outer(mean, mean)
    return mean, _inverse_root(total, SHRINK * max(float(np.trace(total)) / PIXELS, 1e-12))


def _inverse_root(total: Floats, shrink: float) -> Floats:
    """(1024, 1024) inverse square root of ``total + shrink``.

    What is the same under both mirrorings falls into four blocks of even and odd patterns, a sixteenth of the work.
    """
    half = np.eye(EDGE // 2) / math.sqrt(2)
    even, odd = np.hstack([half, half[:, ::-1]]), np.hstack([half, -half[:, ::-1]])
    result = np.zeros((PIXELS, PIXELS), dtype=np.float32)
    for rows in (even, odd):
        for columns in (even, odd):
            basis = np.kron(rows, columns).astype(np.float32)
            values, axes = np.linalg.eigh(basis @ total @ basis.T)
            turned = basis.T @ axes
            result += (turned / np.sqrt(np.maximum(values, 0) + shrink)) @ turned.T
    return result


def _nearest(
    features: _Features, kinds: tuple[Pairs, Pairs]
) -> tuple[tuple[Indices, Indices, Indices, Indices], list[int]]:
    """Of each kind of pair those where one is among the other's nearest: first, second, turn of the second, kind."""
    n = features.count
    counts, found = [0, 0], []
    for start in range(0, n, ROWS):
        rows = np.arange(start, min(start + ROWS, n))
        likeness, turns = _all_turns(features.whole[rows], features.whole)
        for kind, asked in enumerate(kinds):
            mask = asked(rows)
            mask[np.arange(len(rows)), rows] = False
            counts[kind] += int(mask.sum())
            line, column = _largest(np.where(mask, likeness, -2), mask)
            found.append(np.stack([rows[line], column, turns[line, column], np.full(len(line), kind)]))
    first, second, turn, kind = np.concatenate(found, axis=1)
    swapped = first > second
    first, second = np.where(swapped, second, first), np.where(swapped, first, second)
    turn = np.where(swapped, BACK[turn], turn)
    _, once = np.unique((kind * n + first) * n + second, return_index=True)
    return (first[once], second[once], turn[once], kind[once]), [count // 2 for count in counts]


def _all_turns(rows: Floats, columns: Floats) -> tuple[Floats, Indices]:
    """(rows, columns) likeness under the best turn of the column, and that turn."""
    best, turns = rows @ columns.T, np.zeros((len(rows), len(columns)), dtype=np.intp)
    for turn in range(1, TURNS):
        # turning the few back is turning the many forth
        other = _turned(rows, int(BACK[turn])) @ columns.T
        better = other > best
        best[better], turns[better] = other[better], turn
    return best, turns


def _largest(likeness: Floats, mask: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    count = min(NEAREST, likeness.shape[1])
    columns = np.argpartition(-likeness, count - 1, axis=1)[:, :count].ravel()
    lines = np.repeat(np.arange(len(likeness)), count)
    kept = mask[lines, columns]
    return lines[kept], columns[kept]


def _warped(pictures: NDArray, number: int) -> Floats:
    """(n, 32, 32) cropped, or turned by a few degrees."""
    if number >= len(CROPS):
        return _rotated(pictures, DEGREES[number - len(CROPS)])
    share, y, x = CROPS[number]
    if not share:
        return pictures.astype(np.float32)
    return _along(pictures, _crop(share * y, share), _crop(share * x, share))


@cache
def _crop(start: float, share: float) -> Floats:
    """(32, 32) weights that stretch what is left of an edge over the whole of it."""
    place = np.clip((start + (np.arange(EDGE) + 0.5) / EDGE * (1 - share)) * EDGE - 0.5, 0, EDGE - 1)
    lower = np.minimum(place.astype(int), EDGE - 2)
    weights = np.zeros((EDGE, EDGE), dtype=np.float32)
    weights[np.arange(EDGE), lower] = 1 - (place - lower)
    weights[np.arange(EDGE), lower + 1] += place - lower
    return weights


def _rotated(pictures: NDArray, degrees: float) -> Floats:
    middle, angle = (EDGE - 1) / 2, math.radians(degrees)
    y, x = np.mgrid[0:EDGE, 0:EDGE] - middle
    across = np.clip(x * math.cos(angle) - y * math.sin(angle) + middle, 0, EDGE - 1.001)
    down = np.clip(x * math.sin(angle) + y * math.cos(angle) + middle, 0, EDGE - 1.001)
    i, j = down.astype(int), across.astype(int)
    fy, fx = (down - i).astype(np.float32), (across - j).astype(np.float32)
    upper = (1 - fx) * pictures[:, i, j] + fx * pictures[:, i, j + 1]
    lower = (1 - fx) * pictures[:, i + 1, j] + fx * pictures[:, i + 1, j + 1]
    return ((1 - fy) * upper + fy * lower).astype(np.float32)


def _refined(features: _Features, first: Indices, second: Indices, turn: Indices) -> Floats:
    """(pairs,) likeness after the crop or rotation of either that fits best."""
    count = len(first)
    both = (np.r_[first, second], np.r_[second, first], np.r_[turn, BACK[turn]])
    warp, fit = _fitted(features.local, *both)
    chosen = np.where(fit[:count] >= fit[count:], np.arange(count), np.arange(count) + count)
    warped, other, turned = (values[chosen] for values in both)
    result = np.zeros(count, dtype=np.float32)
    for number in np.unique(warp[chosen]):
        places = np.flatnonzero(warp[chosen] == number)
        for k in range(0, len(places), 2048):
            part = places[k : k + 2048]
            pictures = features.thumbnails[warped[part]]
            moved = _warped(pictures.reshape(-1, EDGE, EDGE), int(number)).reshape(pictures.shape)
            goal = _turned_each(features.whole[other[part]], turned[part])
            result[part] = np.einsum("pk,pk->p", features.of(moved), goal)
    return result


def _fitted(local: Floats, warped: Indices, other: Indices, turn: Indices) -> tuple[Indices, Floats]:
    """For each pair the number of the warp of the one that correlates best with the turned other, and how well."""
    best, fit = np.zeros(len(warped), dtype=np.intp), np.zeros(len(warped), dtype=np.float32)
    order = np.argsort(warped, kind="stable")
    pictures, starts = np.unique(warped[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    for k in range(0, len(pictures), 64):
        moved = _all_warps(local[pictures[k : k + 64]])
        for own, start, end in zip(moved, starts[k : k + 64], ends[k : k + 64], strict=True):
            places = order[start:end]
            found = own @ _turned_each(local[other[places]], turn[places]).T
            best[places] = found.argmax(axis=0)
            fit[places] = found.max(axis=0)
    return best, fit


def _all_warps(local: Floats) -> Floats:
    """(n, warps, V 1024) unit vectors."""
    pictures = local.reshape(-1, EDGE, EDGE)
    moved = [_unit(_warped(pictures, number).reshape(local.shape)) for number in range(len(CROPS) + len(DEGREES))]
    return np.stack(moved, axis=1)


def _turned_each(vectors: Floats, turns: Indices) -> Floats:
    result = np.empty_like(vectors)
    for turn in np.unique(turns):
        result[turns == turn] = _turned(vectors[turns == turn], int(turn))
    return result


def _threshold(reference: Floats, count: int, compared: int) -> float:
    """Where fewer than :data:`FALSE_ALARMS` of the compared pairs are expected if they differ like the reference.

    The reference's upper tail falls nearly exponentially; its median excess measures how fast, which a few pictures
    that occur under two labels do not change. ``reference`` is sorted, largest first.
    """
    tail = min(TAIL, len(reference) // 5)
    if tail < 5:
        return CEILING
    excess = reference[:tail] - reference[tail]
    fall = max(float(np.median(excess)) / math.log(2), 1e-6)
    expected = compared * tail / count
    return float(np.clip(reference[tail] + fall * math.log(max(expected / FALSE_ALARMS, 1)), FLOOR, CEILING))
