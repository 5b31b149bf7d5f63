"""Metrics against scikit-learn, numbers worked out by hand, and resampling done the slow way."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from sklearn import metrics as sk

from cadx.evaluate import intervals, metrics
from cadx.evaluate.published import our_metric, published

CLASSES = ("normal", "low risk", "high risk")
HAND_TRUTH = np.array([0, 0, 1, 1])
HAND = np.array([[0.9, 0.1, 0.0], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.4, 0.5]])


def drawn(seed: int = 0, cases: int = 80, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities with many equal scores among them."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, cases)
    logits = random.normal(size=(cases, classes)) + 1.2 * np.eye(classes)[truth]
    rounded = np.round(np.exp(logits), 1) + 0.1
    return truth, rounded / rounded.sum(axis=1, keepdims=True)


def test_scores_are_those_of_scikit_learn():
    truth, p = drawn()
    found, predicted = metrics.scores(truth, p), p.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "precision": sk.precision_score(truth, predicted, average="macro"),
        "recall": sk.recall_score(truth, predicted, average="macro"),
        "f1": sk.f1_score(truth, predicted, average="macro"),
        "auc": sk.roc_auc_score(truth, p, multi_class="ovr", average="macro"),
        "average_precision": sk.average_precision_score(np.eye(3)[truth], p, average="macro"),
        "top2": sk.top_k_accuracy_score(truth, p, k=2),
        "loss": sk.log_loss(truth, p),
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)


def test_figures_worked_out_by_hand():
    found = metrics.scores(HAND_TRUTH, HAND, batch=2)
    assert found["accuracy"] == 0.5
    assert found["top2"] == 1.0
    assert found["brier"] == pytest.approx((0.02 + 0.86 + 0.14 + 0.62) / 4)
    # highest 0.9 right, 0.6 wrong, 0.7 right, 0.5 wrong: each alone in its bin of a fifteenth
    assert found["ece"] == pytest.approx((0.1 + 0.6 + 0.3 + 0.5) / 4)
    # batches: (0, 0) graded 0, 1: F1 2/3 and 0; (1, 1) graded 1, 2: likewise
    assert found["f1_by_batch"] == pytest.approx(1 / 3)
    # pooled: class 0 and class 1 each precision 1 or 1/2, recall 1/2
    assert found["f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["precision"] == pytest.approx(0.75)


def test_a_class_that_does_not_occur_is_left_out_of_averages():
    line = metrics.class_scores(HAND_TRUTH, HAND, CLASSES)[2]
    assert line["class"] == "high risk"
    assert line["support"] == 0
    assert line["recall"] is line["f1"] is line["auc"] is None
    assert line["precision"] == 0.0
    assert line["specificity"] == 0.75
    one = metrics.scores(np.zeros(2, int), HAND[:2])
    assert one["auc"] is None
    assert one["recall"] == 0.5


def test_two_classes_have_no_second_best():
    truth, p = drawn(classes=2)
    assert metrics.scores(truth, p)["top2"] is None
    assert metrics.scores(truth, p)["auc"] == pytest.approx(sk.roc_auc_score(truth, p[:, 1]))


def test_a_probability_of_nothing_gives_a_finite_loss():
    assert np.isfinite(metrics.scores(np.array([1]), np.array([[1.0, 0.0]]))["loss"])


def test_figures_for_cards_keep_their_names():
    figures = metrics.classification_metrics(HAND_TRUTH, HAND, CLASSES)
    assert {"cases", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc"} <= set(figures)
    assert figures["confusion"] == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert [line["support"] for line in figures["by_class"]] == [2, 2, 0]
    assert figures["loss"] == round(float(metrics.losses(HAND_TRUTH, HAND).mean()), 4)


def test_weighted_scores_are_those_of_the_cases_repeated():
    truth, p = drawn()
    weights = np.random.default_rng(1).integers(0, 4, (5, len(truth))).astype(float)
    found = intervals.weighted_scores(truth, p, np.concatenate([np.ones((1, len(truth))), weights]))
    for row, counts in enumerate([np.ones(len(truth), int), *weights.astype(int)]):
        expected = metrics.scores(np.repeat(truth, counts), np.repeat(p, counts, axis=0))
        assert {key: values[row] for key, values in found.items()} == pytest.approx(
            {key: expected[key] for key in found}
        )
    assert set(found) == {one.key for one in metrics.METRICS} - {"f1_by_batch"}


def test_whole_groups_are_resampled():
    truth, p = drawn(cases=40)
    groups = [f"g{i // 4}" for i in range(40)]
    found = intervals.bootstrap(truth, p, groups, resamples=30, seed=3)
    counts = np.random.default_rng(3).multinomial(10, np.full(10, 0.1), 30)
    slow = []
    for row in counts:
        cases = np.concatenate([np.tile(np.arange(4 * g, 4 * g + 4), n) for g, n in enumerate(row)]).astype(int)
        slow.append(metrics.scores(truth[cases], p[cases])["average_precision"])
    assert found["average_precision"] == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))
    assert found == intervals.bootstrap(truth, p, groups, resamples=30, seed=3)


def test_no_interval_of_a_single_group_and_none_beyond_the_possible():
    truth, p = drawn(cases=12)
    assert set(intervals.bootstrap(truth, p, ["one"] * 12).values()) == {None}
    right = np.eye(3)[truth]
    found = intervals.bootstrap(truth, right, [str(i) for i in range(12)])
    assert found["accuracy"] == found["auc"] == (1.0, 1.0)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        right = random.random(60) < 0.8
        truth = np.zeros(60, int)
        p = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
        low, high = intervals.bootstrap(truth, p, [str(i) for i in range(60)], resamples=300, seed=seed)["accuracy"]
        held += low <= 0.8 <= high
    assert held >= 52


def test_spread_over_folds():
    found = intervals.spread([0.42, 0.5, 0.7])
    assert (found.mean, found.sd) == pytest.approx((0.54, np.std([0.42, 0.5, 0.7], ddof=1)))
    assert intervals.spread([0.3]).sd is None
    assert intervals.spread([None]) is None


def test_published_figures_are_the_reference(shared, repository):
    shipped = repository / "Training" / "cadx" / "evaluate" / "published.csv"
    assert shipped.read_bytes() == (shared / "reference" / "published.csv").read_bytes()


def test_every_published_figure_can_be_found_by_our_names(repository):
    path = repository / "Training" / "cadx" / "evaluate" / "published.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 300
    for row in rows:
        assert our_metric(row["metric"]), row["metric"]
        found = published(row["study"]).find(row["table"], row["model"], our_metric(row["metric"]))
        assert (found.text, found.sd_text, found.protocol) == (row["value"], row["sd"], row["protocol"])
    assert not len(published("no such study"))
    assert published("ipmn").find("Table I", "ViT", "AUROC") is None
