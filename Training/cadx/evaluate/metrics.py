"""Metrics of class probabilities, pooled over all predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def classification_metrics(
    truth: NDArray[np.integer], probabilities: NDArray[np.floating], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Accuracy, balanced accuracy, macro precision, recall and F1, AUC (one against rest, macro), confusion.

    Parameters
    ----------
    truth
        (cases,) class indices.
    probabilities
        (cases, classes), rows sum to 1.
    classes
        Names; the confusion matrix (truth by row) keeps this order whatever classes occur.
    """
    from sklearn import metrics

    labels = list(range(len(classes)))
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, predicted, labels=labels, average="macro", zero_division=0
    )
    one_hot = np.eye(len(classes))[truth]
    present = (one_hot.sum(axis=0) > 0) & (one_hot.sum(axis=0) < len(truth))
    areas = [metrics.roc_auc_score(one_hot[:, c], probabilities[:, c]) for c in np.flatnonzero(present)]
    return {
        "cases": len(truth),
        "accuracy": round(float(metrics.accuracy_score(truth, predicted)), 4),
        "balanced_accuracy": round(float(recall), 4),
        "precision": round(float(precision), 4),
        "recall": round(float(recall), 4),
        "f1": round(float(f1), 4),
        "auc": round(float(np.mean(areas)), 4) if areas else None,
        "confusion": metrics.confusion_matrix(truth, predicted, labels=labels).tolist(),
        "classes": list(classes),
    }
