"""Metrics of class probabilities, pooled over all predictions given.

Averages over classes ("macro") take every class that occurs in the truth, each with the same weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
BATCH = 32
Truth = NDArray[np.integer]
Probabilities = NDArray[np.floating]


@dataclass(frozen=True)
class Metric:
    """A figure's name for machines and for people, and what it means."""

    key: str
    title: str
    meaning: str


METRICS = (
    Metric("accuracy", "Accuracy", "share of images or cases graded right"),
    Metric("balanced_accuracy", "Balanced accuracy", "recall, averaged over the classes"),
    Metric("precision", "Precision", "share of those graded as a class that are of it, averaged over the classes"),
    Metric("recall", "Recall", "share of a class that is graded as it (sensitivity), averaged over the classes"),
    Metric("f1", "F1", "harmonic mean of a class's precision and recall, averaged over the classes"),
    Metric("auc", "AUROC", "area under the ROC curve, one class against the rest, averaged over the classes"),
    Metric("average_precision", "Average precision", "area under precision against recall, one class against the rest"),
    Metric("top2", "Top-2 accuracy", "share whose class is among the two most probable"),
    Metric("loss", "Loss", "cross-entropy, natural logarithm; lower is better"),
    Metric("brier", "Brier score", "squared error of the probabilities, summed over classes, 0 to 2; lower is better"),
    Metric("ece", "Calibration error", f"expected calibration error of the highest probability, {BINS} equal bins"),
    Metric("f1_by_batch", "F1, mean of batches", "macro F1 of each batch in turn, averaged over the batches"),
)
TITLES = {metric.key: metric.title for metric in METRICS}


def scores(truth: Truth, probabilities: Probabilities, batch: int = BATCH) -> dict[str, float | None]:
    """Every metric of :data:`METRICS`, unrounded; None where it is not defined.

    Parameters
    ----------
    truth
        (cases,) class indices.
    probabilities
        (cases, classes), rows sum to 1.
    batch
        Cases a batch, in the order given, for the mean of batches.

    >>> scores(np.array([0, 1]), np.array([[0.9, 0.1], [0.4, 0.6]]))["accuracy"]
    1.0
    """
    from sklearn import metrics

    _require_cases(truth, probabilities)
    predicted = probabilities.argmax(axis=1)
    present = np.unique(truth)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, predicted, labels=present, average="macro", zero_division=0
    )
    own = _of_classes(truth, probabilities)
    one_hot = np.eye(probabilities.shape[1])[truth]
    found = {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": recall,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "auc": _mean(line["auc"] for line in own),
        "average_precision": _mean(line["average_precision"] for line in own),
        "top2": top2(truth, probabilities).mean() if probabilities.shape[1] > 2 else None,
        "loss": losses(truth, probabilities).mean(),
        "brier": ((probabilities - one_hot) ** 2).sum(axis=1).mean(),
        "ece": calibration_error(truth, probabilities),
        "f1_by_batch": f1_by_batch(truth, predicted, batch),
    }
    return {key: None if value is None else float(value) for key, value in found.items()}


def class_scores(truth: Truth, probabilities: Probabilities, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One line a class: name, support, precision, recall, specificity, f1, auc, average_precision.

    A class that does not occur has a support of 0 and None for what then means nothing.
    """
    _require_cases(truth, probabilities)
    return [{"class": name, **line} for name, line in zip(classes, _of_classes(truth, probabilities), strict=True)]


def confusion(truth: Truth, probabilities: Probabilities) -> NDArray[np.int64]:
    """(classes, classes) counts, truth by row, in the order of the outputs whatever classes occur."""
    from sklearn import metrics

    labels = list(range(probabilities.shape[1]))
    return metrics.confusion_matrix(truth, probabilities.argmax(axis=1), labels=labels)


def losses(truth: Truth, probabilities: Probabilities) -> NDArray[np.float64]:
    """(cases,) cross-entropy of each case, natural logarithm; a probability of 0 counts as the smallest there is."""
    p = np.asarray(probabilities, np.float64)
    return -np.log(np.clip(p[np.arange(len(p)), truth], np.finfo(np.float64).tiny, 1))


def top2(truth: Truth, probabilities: Probabilities) -> NDArray[np.bool_]:
    """(cases,) whether the class is among the two most probable."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    return (best == truth[:, None]).any(axis=1)


def calibration_error(truth: Truth, probabilities: Probabilities, bins: int = BINS) -> float:
    """Expected calibration error: gap between highest probability and share right, weighted by the bins' cases."""
    found = reliability(truth, probabilities, bins)
    return float(np.sum(found["cases"] * np.abs(found["confidence"] - found["right"])) / len(truth))


def reliability(truth: Truth, probabilities: Probabilities, bins: int = BINS) -> dict[str, NDArray[np.float64]]:
    """Mean ``confidence``, share ``right`` and number of ``cases`` of each bin that holds any, ascending."""
    confidence, right, place = confidence_bins(truth, probabilities, bins)
    cases = np.bincount(place, minlength=bins).astype(float)
    held = cases > 0
    mean_confidence = np.bincount(place, confidence, bins)[held] / cases[held]
    share_right = np.bincount(place, right, bins)[held] / cases[held]
    return {"confidence": mean_confidence, "right": share_right, "cases": cases[held]}


def confidence_bins(
    truth: Truth, probabilities: Probabilities, bins: int = BINS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """(cases,) each: highest probability, 1 where right, the bin; a bin's upper edge belongs to it."""
    confidence = np.asarray(probabilities, np.float64).max(axis=1)
    right = (probabilities.argmax(axis=1) == truth).astype(float)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return confidence, right, place


def f1_by_batch(truth: Truth, predicted: Truth, batch: int = BATCH) -> float:
    """Macro F1 of each batch in turn, over the classes that occur in it, averaged over the batches.

    It trails the pooled F1, since rare classes are often missing from a batch or missed in it once.
    """
    from sklearn import metrics

    starts = range(0, len(truth), batch)
    cut = [slice(start, start + batch) for start in starts]
    return float(
        np.mean([metrics.f1_score(truth[part], predicted[part], average="macro", zero_division=0) for part in cut])
    )


def classification_metrics(truth: Truth, probabilities: Probabilities, classes: tuple[str, ...]) -> dict[str, Any]:
    """All metrics as they stand in cards and reports, rounded to four places.

    Parameters
    ----------
    truth
        (cases,) class indices.
    probabilities
        (cases, classes), rows sum to 1.
    classes
        Names; the confusion matrix (truth by row) keeps this order whatever classes occur.
    """
    return {
        "cases": len(truth),
        **{key: _rounded(value) for key, value in scores(truth, probabilities).items()},
        "by_class": [
            {key: _rounded(value) for key, value in line.items()}
            for line in class_scores(truth, probabilities, classes)
        ],
        "confusion": confusion(truth, probabilities).tolist(),
        "classes": list(classes),
    }


def _of_classes(truth: Truth, probabilities: Probabilities) -> list[dict[str, Any]]:
    from sklearn import metrics

    predicted = probabilities.argmax(axis=1)
    labels = list(range(probabilities.shape[1]))
    each = metrics.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    lines = []
    for c, (precision, recall, f1, support) in enumerate(zip(*each, strict=True)):
        own = truth == c
        occurs, all_of_it = bool(own.any()), bool(own.all())
        compared = occurs and not all_of_it
        p = probabilities[:, c]
        lines.append(
            {
                "support": int(support),
                "precision": float(precision) if occurs or (predicted == c).any() else None,
                "recall": float(recall) if occurs else None,
                "specificity": None if all_of_it else float((predicted[~own] != c).mean()),
                "f1": float(f1) if occurs else None,
                "auc": float(metrics.roc_auc_score(own, p)) if compared else None,
                "average_precision": float(metrics.average_precision_score(own, p)) if compared else None,
            }
        )
    return lines


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _require_cases(truth: Truth, probabilities: Probabilities) -> None:
    if len(truth) == 0 or probabilities.ndim != 2 or len(truth) != len(probabilities):
        raise ValueError(f"{len(truth)} labels do not go with probabilities of shape {probabilities.shape}")
