"""The demonstration bundle for slices of heads: whole, marked as a demonstration, and right on heads it never saw."""

from __future__ import annotations

import numpy as np
import pytest

from cadx.classify_picture import PictureClassifier, PictureOptions
from cadx.library import BRAIN_PHANTOM_DEMO, shipped_bundle
from cadx.models.bundle import Bundle, verify
from cadx.notices import DEMO_MODEL
from cadx.phantom.head import NONE, TUMOUR, make_head
from cadx.picture_case import PictureCase
from cadx.prepare.stack import displayed
from cadx.study.presets import read_study

from picture_samples import stored

SEED = 71
WITHOUT_MAP = PictureOptions(explain=False)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(shipped_bundle(BRAIN_PHANTOM_DEMO))


@pytest.fixture(scope="module")
def classifier(bundle: Bundle) -> PictureClassifier:
    return PictureClassifier(bundle, "cpu")


@pytest.fixture(scope="module")
def sick():
    return make_head(SEED, tumour=True)


@pytest.fixture(scope="module")
def reading(classifier, sick):
    return classifier.classify(PictureCase(sick.volume), WITHOUT_MAP)


def test_it_is_whole_and_of_the_presets_task_and_classes(bundle):
    assert verify(bundle.folder) == bundle.sha256
    study = read_study("brain-tumor-binary")
    assert (bundle.settings.name, bundle.settings.task) == (BRAIN_PHANTOM_DEMO, study.name)
    assert bundle.settings.classes == study.class_names == (NONE, TUMOUR)
    assert bundle.settings.negative == (NONE,)
    assert sum(file.stat().st_size for file in bundle.folder.rglob("*")) < 3e6


def test_everything_says_that_it_was_trained_on_phantoms(bundle, reading):
    assert bundle.settings.demo and bundle.settings.training["synthetic"]
    assert "phantom" in bundle.metadata["data_source"]
    assert DEMO_MODEL.text in bundle.card and "abdomen" not in bundle.card
    assert reading.result.bundle["demo"]
    assert reading.result.warnings[0] == DEMO_MODEL


def test_every_slice_of_a_head_with_a_tumour_is_called_right(reading, sick):
    slices = reading.result.slices
    assert sick.label_of(slices["suspicious"][0]) == TUMOUR
    clear = [(row, label) for row in slices["table"] if (label := sick.label_of(row["slice"]))]
    assert {label for _, label in clear} == {NONE, TUMOUR}
    assert all(row["label"] == label for row, label in clear)
    assert min(row["suspicion"] for row, label in clear if label == TUMOUR) > 0.8


def test_no_slice_of_a_head_without_tumour_is_called_one(classifier):
    result = classifier.classify(PictureCase(make_head(SEED, tumour=False).volume), WITHOUT_MAP).result
    assert result.label == NONE
    assert max(row["suspicion"] for row in result.slices["table"]) < 0.5


def test_the_map_points_at_the_tumour(classifier, sick):
    index = sick.best_slice
    reading = classifier.classify(PictureCase(sick.volume, (index,)))
    assert reading.result.explanation["class"] == TUMOUR
    own_map = reading.slices[0].own_map
    mask = displayed(sick.tumour.voxels, sick.tumour.geometry, 2)[index] > 0
    assert own_map[mask].sum() / own_map.sum() > 3 * mask.mean()


def test_a_volume_stored_the_other_way_round_gets_the_same_answers(classifier, reading, sick):
    turned = classifier.classify(PictureCase(stored(sick.volume, (0, 1, 2), (-1, 1, -1))), WITHOUT_MAP)
    answers = [[one.suspicion for one in found.slices] for found in (reading, turned)]
    assert np.allclose(*answers, atol=1e-6)
