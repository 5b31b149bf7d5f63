"""What a model card says: of the images, of the licence, of how sure its figures are."""

from __future__ import annotations

from cadx.study.card import card
from cadx.study.presets import read_study
from cadx.study.spec import DataSpec

TRAINING = {"cases": {"training": 90, "validation": 10}, "patients": 12, "weights": {"source": "w.safetensors"}}
FIGURES = {
    "cases": 100,
    "accuracy": 0.9,
    "balanced_accuracy": 0.88,
    "auc": 0.95,
    "ece": 0.0312,
    "classes": ["a", "b"],
    "confusion": [[50, 5], [5, 40]],
    "intervals": {"accuracy": [0.8, 0.95], "auc": [0.9, 0.99]},
}


def study(**more):
    return read_study("brain-tumor-type").model_copy(update=more)


def test_it_names_source_licence_and_what_it_is_not_for():
    told = DataSpec(source="Slices of one hospital.", licence="CC BY 4.0.")
    text = card(study(data=told, not_for="Children."), "mine", False, TRAINING, {})
    assert "Slices of one hospital. 90 cases for training, 10 for choosing the epoch of 12 patients or groups" in text
    assert text.index("Children. Any decision about a patient.") < text.index("## Data")
    assert text.rstrip().endswith("CC BY 4.0.")


def test_without_any_the_starting_weights_are_named():
    text = card(study(), "mine", False, TRAINING, {})
    assert "the weights w.safetensors; their licence holds" in text
    assert "## What it must not be used for\n\nAny decision" in text


def test_figures_come_with_their_intervals():
    text = card(study(), "mine", False, TRAINING, {"Out of fold": FIGURES})
    assert "accuracy 0.800 to 0.950, auroc 0.900 to 0.990" in text
    assert "Expected calibration error 0.031" in text
    without = {key: value for key, value in FIGURES.items() if key not in ("intervals", "ece")}
    assert "intervals" not in card(study(), "mine", False, TRAINING, {"Out of fold": without})
