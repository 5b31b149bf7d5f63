"""Intensity landmarks: what they do to images, what they are learnt from, and that training and use agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.prepare import standardise as nyul
from cadx.prepare.intensity import RawCells, finish, learn_landmarks
from cadx.prepare.pipeline import Preparation
from cadx.prepare.spec import PRESETS, CropSpec, ScaleSpec, StandardiseSpec, preset
from cadx.prepare.standardise import PERCENTILES, fit_landmarks, landmarks, standardise
from cadx.volume import Volume

from support import PLAIN, pattern_volume

CHANNELS = ("T1", "T2")
SCALES = ("roi-percentile", "roi-range", "volume-zscore-range")


def volume_of(values) -> Volume:
    values = np.asarray(values, dtype=np.float32).reshape(1, 1, -1)
    return Volume(values, Geometry(values.shape[::-1], np.eye(4)), "flat")


def raw_of(own, seed: int = 0) -> RawCells:
    generator = np.random.default_rng(seed)
    values = generator.normal(300, 60, (len(own), 9, 8, 8)).astype(np.float32)
    return RawCells(values, np.array(own, dtype=float), np.array([[0.0, 900.0]] * len(own)))


def random_landmarks(seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).uniform(50, 900, (2, len(PERCENTILES))), axis=1)


def learnt(case) -> StandardiseSpec:
    spec = Preparation(PLAIN)
    changed = replace(case, images={r: v.with_voxels(v.voxels**1.5) for r, v in case.images.items()})
    return learn_landmarks([spec.raw(case), spec.raw(changed)], CHANNELS)


def test_two_scanners_are_brought_together(case):
    one = case.reference
    two = one.with_voxels(one.voxels * 3.7 + 90)
    target = fit_landmarks([landmarks(one)])
    a, b = (standardise(v.voxels, landmarks(v), target) for v in (one, two))
    np.testing.assert_allclose(a, b, atol=1e-3)
    body = one.voxels > one.voxels.mean()
    assert np.percentile(a[body], 1) == pytest.approx(0, abs=1e-3)
    assert np.percentile(a[body], 99) == pytest.approx(1, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(
    gain=st.floats(1e-3, 1e3),
    shift=st.floats(-1e3, 1e3),
    power=st.floats(0.5, 2),
)
def test_after_standardisation_the_landmarks_are_the_standard_ones(gain, shift, power):
    """Whatever the scanner's gain and offset, and whatever shape the histogram had."""
    shape = np.random.default_rng(1).gamma(2.0, 1.0, (6, 30, 30)) ** power
    target = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.5, 0.6, 0.75, 0.9, 1.0])
    geometry = Geometry((30, 30, 6), np.eye(4))
    image = Volume(shape * gain + shift, geometry, "image")
    mapped = image.with_voxels(standardise(image.voxels, landmarks(image), target))
    body = image.voxels > image.voxels.mean()
    np.testing.assert_allclose(np.percentile(mapped.voxels[body], PERCENTILES), target, atol=0.02)
    plain = standardise(shape, landmarks(image.with_voxels(shape)), target)
    np.testing.assert_allclose(mapped.voxels, plain, atol=1e-6 * max(1.0, abs(shift) / gain))


def test_the_standard_scale_is_the_mean_of_what_others_compute():
    """The recipe of the intensity-normalization package, written out with scipy: extrapolated beyond the ends."""
    from scipy.interpolate import interp1d

    own = np.stack([random_landmarks(seed)[0] for seed in range(4)])
    ends = np.stack([interp1d([row[0], row[-1]], [0, 1])(row) for row in own])
    target = fit_landmarks(own)
    np.testing.assert_allclose(target, ends.mean(axis=0), atol=1e-12)
    values = np.linspace(-100, 1200, 501)
    expected = interp1d(own[0], target, fill_value="extrapolate")(values)
    np.testing.assert_allclose(standardise(values, own[0], target), expected, atol=1e-9)


def test_the_map_never_falls_and_keeps_what_is_missing():
    own, target = random_landmarks(0)[0], fit_landmarks([random_landmarks(1)[0]])
    values = np.linspace(-500, 2000, 1000)
    assert (np.diff(standardise(values, own, target)) > 0).all()
    assert np.isnan(standardise([np.nan, 1.0], own, target)).tolist() == [True, False]


@pytest.mark.parametrize(
    "values",
    [
        np.repeat([0, 1], [900, 100]),
        np.repeat([0, 5, 6], [500, 480, 20]),
        np.minimum(np.random.default_rng(0).normal(500, 100, 1000), 520),
        np.random.default_rng(0).integers(0, 4, 1000),
        np.r_[np.zeros(999), 1e6],
        np.full(1000, 7.0),
    ],
    ids=["two values", "hardly any", "clipped", "four values", "one bright voxel", "constant"],
)
def test_odd_histograms_are_mapped_without_a_cliff(values):
    image = volume_of(values)
    own = landmarks(image)
    mapped = standardise(image.voxels, own, np.linspace(0, 1, len(PERCENTILES)) ** 2)
    assert np.isfinite(mapped).all()
    order = np.argsort(values)
    assert (np.diff(mapped.ravel()[order]) >= 0).all()
    # two voxels that are all but equal stay so
    near = standardise(values * (1 + 1e-6), own, np.linspace(0, 1, len(PERCENTILES)))
    np.testing.assert_allclose(
        near, standardise(values, own, np.linspace(0, 1, len(PERCENTILES))), rtol=0.01, atol=0.01
    )


def test_an_image_of_one_grey_level_teaches_nothing():
    good, flat = random_landmarks(0)[0], np.full(len(PERCENTILES), 5.0)
    assert fit_landmarks([good, flat]) == fit_landmarks([good])
    for none in ([flat], []):
        with pytest.raises(InputError, match="at least one training case"):
            fit_landmarks(none)


def test_what_is_learnt_follows_the_training_part_alone():
    training = [raw_of(random_landmarks(seed)) for seed in range(5)]
    test = [raw_of(random_landmarks(seed)) for seed in range(5, 8)]
    before = learn_landmarks(training, CHANNELS)
    finished = finish(test[0], CHANNELS, before, ScaleSpec())
    test[1] = raw_of(random_landmarks(99))
    assert learn_landmarks(training, CHANNELS) == before
    np.testing.assert_array_equal(finish(test[0], CHANNELS, before, ScaleSpec()), finished)
    other = learn_landmarks([*training[:4], raw_of(random_landmarks(98))], CHANNELS)
    assert other != before
    assert not np.array_equal(finish(test[0], CHANNELS, other, ScaleSpec()), finished)


def test_learnt_landmarks_read_back_from_a_bundle_exactly(case):
    import json

    spec = learnt(case)
    assert StandardiseSpec.model_validate(json.loads(spec.model_dump_json())) == spec
    assert set(spec.landmarks) == set(CHANNELS)


@pytest.mark.parametrize("method", SCALES)
@pytest.mark.parametrize("standardised", [False, True])
def test_training_and_use_see_the_same_cells(case, method, standardised):
    raw = Preparation(PLAIN).raw(case)
    scale = ScaleSpec(method=method)
    spec = learnt(case) if standardised else None
    used = Preparation(PLAIN.model_copy(update={"standardise": spec, "scale": scale})).run(case)
    np.testing.assert_array_equal(finish(raw, CHANNELS, spec, scale), used.cells)
    if standardised and method != "volume-zscore-range":
        assert not np.array_equal(finish(raw, CHANNELS, None, scale), used.cells)


@pytest.mark.parametrize("name", PRESETS)
def test_training_and_use_agree_for_every_preset(case, name):
    # the two filters are slow and the same for both
    preparation = Preparation(preset(name).model_copy(update={"bias": None, "smooth": None}))
    raw = preparation.raw(case)
    np.testing.assert_array_equal(preparation.cells(raw), preparation.run(case).cells)


@pytest.mark.parametrize("sampling", ["linear", "area"])
@pytest.mark.parametrize("method", ["roi-percentile", "roi-zscore"])
def test_training_and_use_agree_for_a_cube(case, sampling, method):
    spec = PLAIN.model_copy(update={"crop": CropSpec(pixels=24, sampling=sampling), "scale": ScaleSpec(method=method)})
    preparation = Preparation(spec)
    cells = preparation.cells(preparation.raw(case))
    assert cells.shape == (2, 24, 24, 24)
    np.testing.assert_array_equal(cells, preparation.run(case).cells)


@pytest.mark.parametrize("standardised", [False, True])
def test_standard_scores_leave_out_what_was_masked(standardised):
    raw = raw_of(random_landmarks(0))
    raw.values[:, :3] = 0
    spec = learn_landmarks([raw_of(random_landmarks(1))], CHANNELS) if standardised else None
    cells = finish(raw, CHANNELS, spec, ScaleSpec(method="roi-zscore"))
    assert (cells[:, :3] == 0).all()
    np.testing.assert_allclose(cells[:, 3:].mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(cells[:, 3:].std(axis=(1, 2, 3)), 1, atol=1e-5)
    raw.values[1] = 0
    with pytest.raises(InputError, match="T2 is constant"):
        finish(raw, CHANNELS, spec, ScaleSpec(method="roi-zscore"))


def test_cells_do_not_know_the_scanner_any_more(case):
    spec = learnt(case)
    preparation = Preparation(PLAIN.model_copy(update={"standardise": spec}))
    other = replace(case, images={r: v.with_voxels(v.voxels * 0.3 - 40) for r, v in case.images.items()})
    np.testing.assert_allclose(preparation.run(case).cells, preparation.run(other).cells, atol=1e-4)


def test_a_scale_over_the_volume_stays_one_after_standardisation(case):
    raw = Preparation(PLAIN).raw(case)
    spec = learnt(case)
    cells = finish(raw, CHANNELS, spec, ScaleSpec(method="volume-zscore-range"))
    for index, (channel, volume) in enumerate(case.images.items()):
        mapped = standardise(volume.voxels.astype(np.float32), raw.landmarks[index], spec.landmarks[channel])
        scaled = standardise(raw.values[index], raw.landmarks[index], spec.landmarks[channel])
        expected = np.nan_to_num((scaled - mapped.min()) / np.ptp(mapped))
        np.testing.assert_allclose(cells[index], np.clip(expected, 0, 1), atol=1e-5)


def test_what_lies_outside_is_missing_in_the_raw_cells_and_black_in_the_finished(case):
    raw = Preparation(PLAIN).raw(case)
    outside = np.isnan(raw.values)
    assert 0.1 < outside.mean() < 0.5
    assert finish(raw, CHANNELS, None, ScaleSpec())[outside].max() == 0


def test_of_a_large_volume_a_part_stands_for_the_whole():
    voxels = np.random.default_rng(0).gamma(2, 100, (24, 160, 160)).astype(np.float32)
    voxels[:, :, ::8] += 500  # a pattern that a step of eight would fall into
    whole = Volume(voxels, Geometry((160, 160, 24), np.eye(4)), "large")
    thin = nyul._thinned(voxels)
    assert 50_000 < thin.size <= nyul.MOST_VOXELS
    every = np.percentile(voxels[voxels > voxels.mean()], PERCENTILES)
    np.testing.assert_allclose(landmarks(whole), every, rtol=0.02)
    assert landmarks(whole) is landmarks(whole)
    again = Volume(np.array(voxels), whole.geometry, "handed over")
    np.testing.assert_array_equal(landmarks(again), landmarks(whole))


def test_volumes_handed_to_another_process_give_the_same_cells(case, tmp_path):
    from cadx.io.exchange import get_volume, put_volume

    preparation = Preparation(PLAIN.model_copy(update={"standardise": learnt(case)}))
    corrected = preparation.correct_all(case.images)
    for channel, volume in corrected.items():
        put_volume(tmp_path, channel, volume)
    other = {channel: get_volume(tmp_path, channel) for channel in corrected}
    onto = case.reference.geometry
    here, there = (preparation.crop(images, case.roi, onto=onto).cells for images in (corrected, other))
    np.testing.assert_array_equal(here, there)


def test_no_whole_volume_is_read_for_nothing(case, monkeypatch):
    """A moved ROI is answered at once, so what a bundle does not need is not measured."""
    preparation = Preparation(PLAIN)
    corrected = preparation.correct_all(case.images)

    def never(*_):
        raise AssertionError("a whole volume was measured")

    monkeypatch.setattr(nyul, "_landmarks", never)
    monkeypatch.setattr("cadx.prepare.intensity._extremes", never)
    preparation.crop(corrected, case.roi, onto=case.reference.geometry)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"landmarks": {"T1": tuple(np.linspace(0, 1, 11))}}, "no intensity landmarks for T2"),
        ({"percentiles": (1.0, 99.0), "landmarks": dict.fromkeys(CHANNELS, (0.0, 1.0))}, "measured at 11 percentiles"),
    ],
)
def test_landmarks_that_do_not_fit_are_one_sentence(case, change, word):
    fields = {"percentiles": PERCENTILES, "landmarks": {}, **change}
    with pytest.raises(InputError, match=word):
        finish(Preparation(PLAIN).raw(case), CHANNELS, StandardiseSpec(**fields), ScaleSpec())


def test_a_bundle_may_have_percentiles_of_its_own(case):
    spec = StandardiseSpec(percentiles=(5.0, 50.0, 95.0), landmarks=dict.fromkeys(CHANNELS, (0.0, 0.3, 1.0)))
    preparation = Preparation(PLAIN.model_copy(update={"standardise": spec}))
    raw = preparation.raw(case, spec.percentiles)
    np.testing.assert_array_equal(preparation.cells(raw), preparation.run(case).cells)


def test_a_constant_roi_is_refused(case):
    t2 = pattern_volume(case.images["T2"].geometry, "t2")
    flat = t2.with_voxels(np.where(t2.voxels == t2.voxels.max(), t2.voxels, 5))
    with pytest.raises(InputError, match="T2 is constant inside the ROI"):
        Preparation(PLAIN).run(replace(case, images={**case.images, "T2": flat}))
