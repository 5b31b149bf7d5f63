"""Reading pictures in a worker process gives what the classifier gives: document, views, probabilities and maps."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from cadx.background import KEPT_CASES, BackgroundClassifier
from cadx.background_pictures import BackgroundPictureClassifier
from cadx.classify_picture import PictureClassifier, PictureOptions, picture_request_sha256
from cadx.errors import BundleError, CancelledError, InputError
from cadx.io.exchange import get_picture, put_picture
from cadx.job import Job
from cadx.picture_case import PictureCase
from cadx.prepare.picture import picture_of
from cadx.prepare.stack import Stack

from picture_samples import KINDS, STORAGES, blob_volume, make_picture_bundle, stored


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "cnn"
    return make_picture_bundle(folder, KINDS, negative=KINDS[1:2], architecture="test_resnet", scale=30)


@pytest.fixture(scope="module")
def classifier(cnn):
    return PictureClassifier(cnn, "cpu")


@pytest.fixture(scope="module")
def background(cnn):
    made = BackgroundPictureClassifier(cnn.folder, "cpu")
    yield made
    made.close()


@pytest.fixture(scope="module")
def volume():
    """Stored against the patient's directions, with empty slices at one end."""
    order, signs = STORAGES[29]
    turned = stored(blob_volume(1), order, signs)
    stack, voxels = Stack.of(turned), turned.voxels.copy()
    for index in (0, 1):
        Stack(turned.with_voxels(voxels), stack.axis).values(index)[:] = 5
    return turned.with_voxels(voxels)


def require_equal(found, expected):
    """In everything but the time that it took."""
    plain = {"timings_s": 0}
    assert {**found.result.to_json(), **plain} == {**expected.result.to_json(), **plain}
    assert found.shown == expected.shown
    for mine, other in zip(found.slices, expected.slices, strict=True):
        assert np.array_equal(mine.view.picture.pixels, other.view.picture.pixels)
        assert mine.view.picture.name == other.view.picture.name
        assert (mine.view.index, mine.view.position_mm) == (other.view.index, other.view.position_mm)
        assert mine.view.center_ras is other.view.center_ras or all(mine.view.center_ras == other.view.center_ras)
        np.testing.assert_allclose(mine.probabilities, other.probabilities, atol=1e-6)
        assert mine.suspicion == pytest.approx(other.suspicion, abs=1e-6)
        assert (mine.own_map is None) == (other.own_map is None)
        if other.own_map is not None:
            np.testing.assert_allclose(mine.own_map, other.own_map, atol=1e-5)
    assert (found.attention is None) == (expected.attention is None)
    if expected.attention is not None:
        np.testing.assert_allclose(found.attention.voxels, expected.attention.voxels, atol=1e-5)
        assert found.attention.geometry.is_close(expected.attention.geometry, 1e-9)


@pytest.mark.parametrize("plane", [None, "axial"])
def test_the_reading_of_a_volume_is_that_of_the_classifier(background, classifier, volume, plane):
    case = PictureCase(volume, [6, 0, 3, 3], "some", plane)
    stages = []
    pending = background.classify(case, progress=lambda stage, fraction: stages.append(stage), command=("a", "b"))
    found = pending.result
    require_equal(found, classifier.classify(case, command=("a", "b")))
    assert found.case is case
    assert found.attention is not None
    assert any(one.own_map is not None for one in found.slices)
    assert found.result.slices["empty"] == ([0] if plane is None else [])
    back = Stack(found.attention, case.stack.axis)
    for one in found.slices:
        own_map = np.zeros(one.view.picture.shape) if one.own_map is None else one.own_map
        assert np.array_equal(back.values(one.view.index), own_map)
    assert list(dict.fromkeys(stages)) == ["load model", "prepare", "classify"]
    assert list(background._answers.iterdir()) == []


@pytest.mark.parametrize("options", [PictureOptions(explain=False), PictureOptions(rule="most-confident")])
def test_options_reach_the_worker(background, classifier, volume, options):
    case = PictureCase(volume)
    require_equal(background.classify(case, options).result, classifier.classify(case, options))


def test_the_reading_of_a_picture_is_that_of_the_classifier(background, classifier, volume):
    for picture in (
        Stack.of(volume).picture(4),
        picture_of(np.arange(900, dtype=np.uint8).reshape(10, 30, 3), "colour"),
    ):
        case = PictureCase(picture, name="one")
        found = background.classify(case).result
        require_equal(found, classifier.classify(case))
        assert found.attention is None
        assert found.slices[0].own_map.shape == picture.shape


def test_a_map_that_is_missing_over_one_slice_is_missing_here_too(
    tmp_path, background, classifier, volume, monkeypatch
):
    """The worker's own side, in this process: one slice of three has no map, and zeros stand for it in the volume."""
    from cadx import network
    from cadx.desks import PictureDesk
    from cadx.explain.maps import Explained
    from cadx.io.exchange import put_source
    from cadx.requests import Read

    case, made = PictureCase(volume, [3, 4, 5]), iter([1.0, 0.0, 2.0])

    def one_empty(model, x, kind, class_index=None, spec=None):
        return Explained(model(x).detach(), np.full((4, 4), next(made), np.float32), "layer")

    monkeypatch.setattr(network, "explain", one_empty)
    put_source(tmp_path, volume)
    request = Read(id=1, folder=str(tmp_path), answers=str(tmp_path), slices=case.slices)
    answer = PictureDesk(classifier.bundle, "cpu").answer(request, lambda stage, fraction: None)
    assert answer["shown"]["mapped"] == [0, 2]
    found = background._reading(case, answer, tmp_path)
    assert [None if one.own_map is None else float(one.own_map.max()) for one in found.slices] == [0.5, None, 1.0]


def test_the_request_is_the_same_for_every_storage(background, volume):
    options = PictureOptions()
    hashes = {
        plane: background.request_sha256(PictureCase(volume, plane=plane), options) for plane in ("axial", "coronal")
    }
    assert hashes["coronal"] == background.request_sha256(PictureCase(volume), options) != hashes["axial"]
    assert hashes["axial"] == picture_request_sha256(background.bundle, PictureCase(volume, plane="axial"), options)
    for order, signs in STORAGES[::11]:
        turned = stored(volume, order, signs)
        for plane, expected in hashes.items():
            assert background.request_sha256(PictureCase(turned, plane=plane), options) == expected


def test_a_renamed_volume_keeps_its_new_name(background, volume):
    options = PictureOptions(explain=False)
    for name in ("first", "second"):
        result = background.classify(PictureCase(replace(volume, name=name), [4]), options).result.result
        assert result.inputs[0]["source"] == name


def test_what_shows_nothing_is_raised_at_once_and_starts_nothing(cnn, volume):
    background = BackgroundPictureClassifier(cnn.folder, "cpu")
    case = PictureCase(volume, [1, 0])
    for ask in (lambda: background.check(case, PictureOptions()), lambda: background.classify(case)):
        with pytest.raises(InputError, match="blob shows nothing in the chosen slices; choose others"):
            ask()
    background.check(replace(case, slices=[0, 4]), PictureOptions())
    assert background.worker_id is None
    background.close()


def test_what_the_worker_finds_comes_back_as_its_sentence(background, volume):
    voxels = volume.voxels.astype(np.float32)
    Stack(volume.with_voxels(voxels), Stack.of(volume).axis).values(5)[3, 3] = np.nan
    with pytest.raises(InputError, match="slice 5 of blob holds values that are no numbers"):
        _ = background.classify(PictureCase(volume.with_voxels(voxels), [5])).result
    assert background.describe().result["kind"] == "cpu"
    # an empty choice is the worker's business too
    asked = {"do": "read", "folder": str(background._folder(PictureCase(volume))), "answers": "", "slices": [0, 1]}
    with pytest.raises(InputError, match="shows nothing in the chosen slices"):
        Job(background._running(), asked).wait()


def test_jobs_keep_their_own_answers_and_only_the_latest_images_stay(background, classifier, volume):
    options = PictureOptions(explain=False)
    cases = [PictureCase(volume.with_voxels(volume.voxels + n * (volume.voxels > 600)), [3 + n % 2]) for n in range(4)]
    assert len(cases) > KEPT_CASES + 1
    before = set(background._answers.iterdir())
    pending = [background.classify(case, options) for case in cases]
    for case, job in reversed(list(zip(cases, pending, strict=True))):
        require_equal(job.result, classifier.classify(case, options))
    _ = background.classify(PictureCase(volume, [6]), options).result
    assert len(list(background._cases.iterdir())) == KEPT_CASES
    assert set(background._answers.iterdir()) == before


def test_after_cancel_the_next_job_is_answered(background, volume):
    job = background.classify(PictureCase(volume))
    job.cancel()
    with pytest.raises(CancelledError):
        _ = job.result
    background.load().wait()
    done = background.classify(PictureCase(volume, [4]))
    while not done.poll():
        time.sleep(0.01)
    background.close()
    with pytest.raises(InputError, match="closed before the result was taken"):
        _ = done.result


def test_each_bundle_has_its_own_classifier(cnn, bundle):
    with pytest.raises(BundleError, match="for volumes with a ROI"):
        BackgroundPictureClassifier(bundle.folder)
    with pytest.raises(BundleError, match="for pictures"):
        BackgroundClassifier(cnn.folder)


def test_a_picture_crosses_over_whole(tmp_path):
    picture = picture_of(np.arange(60, dtype=np.uint8).reshape(4, 5, 3), "a picture")
    put_picture(tmp_path, "picture", picture)
    back = get_picture(tmp_path, "picture")
    assert (back.sha256, back.name) == (picture.sha256, picture.name)
    (tmp_path / "picture.npy").write_bytes((tmp_path / "picture.npy").read_bytes()[:-8])
    with pytest.raises(InputError, match="not handed over whole"):
        get_picture(tmp_path, "picture")
