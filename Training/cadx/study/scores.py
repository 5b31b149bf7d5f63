"""What a check of the validation part is measured by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cadx.trust.temperature import cross_entropy


def balanced_accuracy(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Share of right cases, averaged over the classes that occur in ``truth`` (N,); logits (N, classes)."""
    right = logits.argmax(1) == truth
    return float(np.mean([right[truth == c].mean() for c in np.unique(truth)]))


def validation_scores(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> dict[str, float]:
    """The figures of one check, as ``rounds.jsonl`` names them; logits (N, classes), truth (N,)."""
    return {
        "validation_loss": cross_entropy(logits, truth),
        "validation_accuracy": float((logits.argmax(1) == truth).mean()),
        "validation_balanced_accuracy": balanced_accuracy(logits, truth),
    }
