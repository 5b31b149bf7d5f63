"""Choosing epoch and settings from inner validation predictions, and from nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.models.bundle import file_sha256
from cadx.study.scores import balanced_accuracy
from cadx.study.spec import SelectionSpec, StudySpec, TrainingSpec
from cadx.trust.temperature import cross_entropy, fit_temperature

SCHEMA = "cadx.selection/1"


@dataclass(frozen=True, eq=False)
class InnerPredictions:
    """One inner part: logits (rounds, N, classes) of its validation samples, their classes (N,), and its file."""

    file: str
    sha256: str
    logits: NDArray[np.float32]
    truth: NDArray[np.integer]

    @classmethod
    def read(cls, path: Path, folder: Path, truth: NDArray[np.integer]) -> InnerPredictions:
        """From a task's file, named by its place in ``folder``."""
        return cls(path.relative_to(folder).as_posix(), file_sha256(path), np.load(path), truth)


def settings_of(spec: SelectionSpec) -> list[dict[str, float]]:
    """The declared grid, one dictionary a choice; one empty one where there is no grid.

    >>> settings_of(SelectionSpec(grid={"learning_rate": (0.1, 0.01)}))
    [{'learning_rate': 0.1}, {'learning_rate': 0.01}]
    """
    names = list(spec.grid)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*spec.grid.values())]


def with_settings(training: TrainingSpec, settings: dict[str, float]) -> TrainingSpec:
    """The training with one choice of the grid laid over."""
    own = {name: value for name, value in settings.items() if name == "label_smoothing"}
    optimiser = {name: value for name, value in settings.items() if name != "label_smoothing"}
    return training.model_copy(update={**own, "optimiser": training.optimiser.model_copy(update=optimiser)})


def select(
    study: StudySpec, candidates: Sequence[tuple[dict[str, float], Sequence[InnerPredictions]]]
) -> dict[str, Any]:
    """The document of ``selection.json``: mean curves over the inner parts, the best round and settings, temperature.

    Rounds that not all inner parts reached are left out; on ties the first wins.
    """
    described = [_candidate(study.selection.metric, settings, inner) for settings, inner in candidates]
    better = min if study.selection.metric == "loss" else max
    value = better(c["value"] for c in described)
    index = next(i for i, c in enumerate(described) if c["value"] == value)
    round_ = described[index]["best_round"]
    return {
        "schema": SCHEMA,
        "metric": study.selection.metric,
        "candidates": described,
        "chosen": {"index": index, "settings": described[index]["settings"], "round": round_},
        "temperature": _temperature(study, candidates[index][1], round_),
        "inputs": {part.file: part.sha256 for _, inner in candidates for part in inner},
    }


def _candidate(metric: str, settings: dict[str, float], inner: Sequence[InnerPredictions]) -> dict[str, Any]:
    rounds = min(len(part.logits) for part in inner)
    curve = [float(np.mean([_value(metric, part, r) for part in inner])) for r in range(rounds)]
    best = int(np.argmin(curve) if metric == "loss" else np.argmax(curve))
    return {"settings": settings, "curve": curve, "best_round": best, "value": curve[best]}


def _value(metric: str, part: InnerPredictions, round_: int) -> float:
    logits = part.logits[round_]
    if metric == "loss":
        return cross_entropy(logits, part.truth)
    return balanced_accuracy(logits, part.truth)


def _temperature(study: StudySpec, inner: Sequence[InnerPredictions], round_: int) -> float | None:
    if study.calibration == "none" or study.split.inner.kind == "test":
        return None
    logits = np.concatenate([part.logits[round_] for part in inner])
    return fit_temperature(logits, np.concatenate([part.truth for part in inner]))
