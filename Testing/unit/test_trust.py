from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from cadx.trust.temperature import cross_entropy, fit_temperature, softmax


def drawn(count=20_000):
    """Logits whose softmax is the true probability, and classes drawn from it."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (count, 3))
    shares = softmax(logits)
    truth = (generator.random((count, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    return logits, truth


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_the_logits_too_sure(factor):
    logits, truth = drawn()
    assert fit_temperature(logits * factor, truth) == pytest.approx(factor, rel=0.03)


def test_it_lowers_the_loss_and_changes_no_decision():
    logits, truth = drawn(500)
    temperature = fit_temperature(logits * 4, truth)
    assert cross_entropy(logits * 4 / temperature, truth) < cross_entropy(logits * 4, truth)
    assert np.array_equal(softmax(logits * 4, temperature).argmax(1), logits.argmax(1))


def test_softmax_and_loss_hold_for_large_logits():
    logits = np.array([[1000.0, 0.0], [0.0, 1000.0]])
    assert softmax(logits).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert cross_entropy(logits, np.array([0, 0])) == pytest.approx(500.0)
    assert cross_entropy(logits, np.array([0, 1])) == 0.0
