"""Whether one picture lies on two sides of a split, as it is or altered."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cadx.audit.alike import EDGE, Likeness, find_alike
from cadx.audit.files import Run, read_array
from cadx.audit.report import Check, conclude

SIDES = ("", "training", "validation", "test")


class Sides:
    """On which side of each split each sample lies: (samples, splits) of 0 none, 1 training, 2 validation, 3 test."""

    def __init__(self, run: Run) -> None:
        self.places: list[str] = []
        columns = []
        for fold in run.folds:
            self.places.append(fold.name)
            columns.append(_column(run, fold.training, (), fold.test))
            for part in fold.inner:
                self.places.append(f"{fold.name}/{part.name}")
                columns.append(_column(run, part.training, part.validation, fold.test))
        self.of = np.stack(columns, axis=1) if columns else np.zeros((len(run.rows), 0), np.uint8)

    def crossing(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """(rows, samples) whether two samples lie on different sides of some split."""
        result = np.zeros((len(rows), len(self.of)), dtype=bool)
        for column in self.of.T:
            one = column[rows][:, None]
            result |= (one != column) & (one > 0) & (column > 0)
        return result

    def where(self, first: int, second: int) -> str:
        """The first split that parts two samples, and how; empty where none does."""
        one, other = self.of[first], self.of[second]
        found = np.flatnonzero((one != other) & (one > 0) & (other > 0))
        if not len(found):
            return ""
        k = found[0]
        return f"{SIDES[one[k]]} and {SIDES[other[k]]} of {self.places[k]}"


def _column(
    run: Run, training: tuple[str, ...], validation: tuple[str, ...], test: tuple[str, ...]
) -> NDArray[np.uint8]:
    column = np.zeros(len(run.rows), dtype=np.uint8)
    for side, part in enumerate((training, validation, test), start=1):
        column[[run.row[name] for name in part if name in run.row]] = side
    return column


def check_identical(run: Run) -> Check:
    """No two samples of the same content on different sides."""
    sides, same = Sides(run), defaultdict(list)
    for number, row in enumerate(run.rows):
        same[row["sha256"]].append(number)
    found = []
    for numbers in same.values():
        for first, second in combinations(numbers, 2):
            where = sides.where(first, second)
            if where:
                found.append(f"{run.rows[first]['name']} and {run.rows[second]['name']} are one image, in {where}")
    said = f"{len(same)} different images among {len(run.rows)} samples, none on two sides."
    if run.by_image:
        return conclude("identical images", said, [], len(run.folds), found, run.by_image)
    return conclude("identical images", said, found, len(run.folds))


def check_near_identical(run: Run) -> Check:
    """No two samples that show the same on different sides."""
    name = "near-identical images"
    if not run.has("thumbnails.npy"):
        return Check(name, "not done", "There is no thumbnails.npy.")
    thumbnails = read_array(run.folder / "thumbnails.npy")
    if thumbnails.shape != (len(run.rows), *thumbnails.shape[1:2], EDGE, EDGE) or thumbnails.dtype != np.uint8:
        return Check(name, "failed", "thumbnails.npy does not hold one thumbnail for each row of samples.csv.")
    likeness, found = _compare(run, np.array(thumbnails))
    said = _measured(likeness)
    if run.by_image and found:
        return Check(
            name, "by design", f"leaks by design: {run.by_image} {len(found)} pairs. {said}", tuple(found[:20])
        )
    if found:
        count = "1 pair shows" if len(found) == 1 else f"{len(found)} pairs show"
        return Check(name, "failed", f"{count} the same on different sides. {said}", tuple(found[:20]))
    return Check(name, "by design" if run.by_image else "passed", said)


def _compare(run: Run, thumbnails: NDArray[np.uint8]) -> tuple[Likeness, list[str]]:
    sides = Sides(run)
    group = np.unique([row["group"] for row in run.rows], return_inverse=True)[1]
    label = np.unique([row["class"] for row in run.rows], return_inverse=True)[1]
    content = np.unique([row["sha256"] for row in run.rows], return_inverse=True)[1]

    def compared(rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        return sides.crossing(rows) & (content[rows][:, None] != content)

    def differ(rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        return (group[rows][:, None] != group) & (label[rows][:, None] != label)

    likeness = find_alike(thumbnails, compared, differ)
    names = [row["name"] for row in run.rows]
    found = [f"{names[a]} and {names[b]} ({value:.2f}) in {sides.where(a, b)}" for a, b, value in likeness.pairs]
    return likeness, found


def _measured(likeness: Likeness) -> str:
    """The threshold and what is known of it, as a sentence."""
    start = (
        f"Likeness from {likeness.threshold:.2f} on counts as the same; {likeness.compared} pairs across sides compared"
    )
    if not likeness.reference:
        return f"{start}, no pairs known to differ to measure false alarms by."
    return (
        f"{start}; {likeness.reference_above} of {likeness.reference} pairs known to differ reach it "
        f"(rate {likeness.rate:.1e}, at most {likeness.rate_upper:.1e} with 95 % confidence)."
    )
