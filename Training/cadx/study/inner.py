"""The inner trainings of a model, and which of their answers each outer fold may choose by.

Where the inner folds are the other outer folds, fold a leaving out b and fold b leaving out a train on the same samples
from the same seed. Such a pair is one training with two books: its answers to the part of b, by which fold a chooses,
and to the part of a, by which fold b chooses.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cadx.study.folds import Fold, Inner
from cadx.study.selection import InnerPredictions, settings_of
from cadx.study.spec import ModelEntry, StudySpec
from cadx.study.task import VALIDATION, Task, book_file

SHARED = "shared"
Candidates = list[tuple[dict[str, float], list[InnerPredictions]]]


def can_share(study: StudySpec, folds: Sequence[Fold]) -> bool:
    """Whether each inner part leaves out another outer fold and nothing but the refit follows from one training."""
    nested = study.split.inner.kind == "folds" and study.split.inner.folds is None and len(folds) > 2
    fixed = study.training.patience is None and study.training.transfer.mode != "gradual"
    return nested and fixed and study.selection.final == "refit" and all(_leaves_out_others(f, folds) for f in folds)


def _leaves_out_others(fold: Fold, folds: Sequence[Fold]) -> bool:
    others = _others(fold, folds)
    return len(others) == len(fold.inner) and all(
        np.array_equal(other.test, part.validation) for other, part in zip(others, fold.inner, strict=True)
    )


def _others(fold: Fold, folds: Sequence[Fold]) -> list[Fold]:
    return [other for other in folds if other is not fold]


@dataclass(frozen=True, eq=False)
class InnerTrainings:
    """Those of one model; ``folder`` is the model's, ``shared`` says whether a pair of folds is one training."""

    folder: Path
    entry: ModelEntry
    study: StudySpec
    folds: Sequence[Fold]
    shared: bool

    def tasks(self) -> list[Task]:
        """All trainings that the choices of all folds need."""
        return self._pairs() if self.shared else self._parts()

    def candidates(self, folds: Sequence[Fold], named_from: Path, classes: NDArray[np.integer]) -> Candidates:
        """What ``folds`` choose by: for each settings the answers to their inner parts, and to nothing else.

        Files are named by their place in the folder ``named_from``. ``classes`` (N,) of all samples.
        """
        return [
            (
                settings,
                [
                    InnerPredictions.read(file, named_from, classes[validation])
                    for fold in folds
                    for file, validation in self._files(fold, index)
                ],
            )
            for index, settings in enumerate(settings_of(self.study.selection))
        ]

    def _parts(self) -> list[Task]:
        keep: Literal["best", "nothing"] = "best" if self.study.selection.final == "best" else "nothing"
        return [
            Task(
                self.part(fold, part, index),
                self.entry,
                fold.name,
                part.name,
                settings,
                part.training,
                part.validation,
                keep=keep,
            )
            for fold in self.folds
            for part in fold.inner
            for index, settings in enumerate(settings_of(self.study.selection))
        ]

    def _pairs(self) -> list[Task]:
        return [
            Task(
                self.pair(one, other, index),
                self.entry,
                SHARED,
                f"{one.name}+{other.name}",
                settings,
                np.setdiff1d(one.training, other.test),
                None,
                books={one.name: one.test, other.name: other.test},
            )
            for one, other in itertools.combinations(self.folds, 2)
            for index, settings in enumerate(settings_of(self.study.selection))
        ]

    def part(self, fold: Fold, part: Inner, index: int) -> Path:
        """The folder of a training on an inner part, where none is shared."""
        return self.folder / fold.name / f"settings-{index}" / part.name

    def pair(self, one: Fold, other: Fold, index: int) -> Path:
        """The folder of the training that two folds share, in whichever order they are named."""
        name = "+".join(fold.name for fold in self.folds if fold is one or fold is other)
        return self.folder / SHARED / f"settings-{index}" / name

    def _files(self, fold: Fold, index: int) -> list[tuple[Path, NDArray[np.intp]]]:
        """Of each inner part: its file, and whom the file is of. A fold's own book is not among them."""
        if not self.shared:
            return [(self.part(fold, part, index) / VALIDATION, part.validation) for part in fold.inner]
        return [
            (self.pair(fold, other, index) / book_file(other.name), other.test) for other in _others(fold, self.folds)
        ]
