"""The figures of one model's predictions: pooled with intervals, fold by fold, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.evaluate import intervals, metrics
from cadx.evaluate.rundata import Fold, Model, Predictions, Run

Scores = dict[str, float | None]


@dataclass(frozen=True)
class Scored:
    """A model with predictions, and how good they are.

    ``folds`` and ``folds_by_class``: fold's name to its figures. ``intervals``: metric to the ends of its 95 %
    interval, pooled. ``uncalibrated``: pooled metrics of the softmax of the logits, None where no temperature was set.
    """

    model: Model
    predictions: Predictions
    pooled: Scores
    intervals: dict[str, tuple[float, float] | None]
    by_class: list[dict[str, Any]]
    folds: dict[str, Scores]
    folds_by_class: dict[str, list[dict[str, Any]]]
    confusion: NDArray[np.int64]
    uncalibrated: Scores | None

    @property
    def title(self) -> str:
        """The model's name in tables."""
        return self.model.entry.title

    def over_folds(self, metric: str, of_class: int | None = None) -> list[float | None]:
        """A metric fold by fold, of all classes or of one."""
        if of_class is None:
            return [scores[metric] for scores in self.folds.values()]
        return [lines[of_class][metric] for lines in self.folds_by_class.values()]

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``report.json``."""
        return {
            "pooled": self.pooled,
            "intervals": self.intervals,
            "by_class": self.by_class,
            "confusion": self.confusion.tolist(),
            "uncalibrated": self.uncalibrated,
            "folds": {name: {**scores, "by_class": self.folds_by_class[name]} for name, scores in self.folds.items()},
        }


def score(run: Run, model: Model) -> Scored:
    """All figures of a model that has predictions."""
    predictions = model.pooled
    if predictions is None:
        raise ValueError(f"{model.entry.name} has no predictions")
    classes, batch = run.study.class_names, run.study.training.batch
    truth, p = predictions.truth, predictions.probabilities
    parts = {fold.name: part for fold, part in _parts(model.tested)}
    return Scored(
        model=model,
        predictions=predictions,
        pooled=metrics.scores(truth, p, batch),
        intervals=intervals.bootstrap(truth, p, run.groups(predictions.names), seed=run.study.seed),
        by_class=metrics.class_scores(truth, p, classes),
        folds={name: metrics.scores(part.truth, part.probabilities, batch) for name, part in parts.items()},
        folds_by_class={
            name: metrics.class_scores(part.truth, part.probabilities, classes) for name, part in parts.items()
        },
        confusion=metrics.confusion(truth, p),
        uncalibrated=metrics.scores(truth, predictions.uncalibrated, batch) if model.calibrated else None,
    )


def _parts(folds: Sequence[Fold]) -> list[tuple[Fold, Predictions]]:
    return [(fold, fold.predictions) for fold in folds if fold.predictions is not None]
