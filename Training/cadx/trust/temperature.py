"""Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, Eq. 9)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BOUNDS = (0.05, 20.0)


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """The temperature T that minimises the mean cross-entropy of softmax(logits / T).

    Parameters
    ----------
    logits
        (cases, classes) of cases that did not train the network.
    truth
        (cases,) class indices.

    >>> sure = np.array([[4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [0.0, 4.0]])
    >>> fit_temperature(sure, np.array([0, 1, 0, 0])) > 1  # one in four is wrong, so it is too sure
    True
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return cross_entropy(logits / np.exp(log_temperature), truth)

    found = minimize_scalar(loss, bounds=tuple(np.log(BOUNDS)), method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(found.x)), 6)


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """(cases, classes) probabilities of logits divided by the temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    raised = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def cross_entropy(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Mean negative log probability of the true class, natural logarithm."""
    scaled = np.asarray(logits, dtype=np.float64)
    top = scaled.max(axis=-1, keepdims=True)
    normaliser = top[:, 0] + np.log(np.exp(scaled - top).sum(axis=-1))
    return float((normaliser - scaled[np.arange(len(truth)), truth]).mean())
