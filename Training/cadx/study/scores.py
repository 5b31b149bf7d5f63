"""What a check of the validation part is measured by, beside the cross-entropy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def balanced_accuracy(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Share of right cases, averaged over the classes that occur in ``truth`` (N,); logits (N, classes)."""
    right = logits.argmax(1) == truth
    return float(np.mean([right[truth == c].mean() for c in np.unique(truth)]))
