"""Bundles that use T1 alone or T2 alone, and networks whose map is Grad-CAM."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from cadx import output
from cadx.background import BackgroundClassifier
from cadx.case import Case
from cadx.classify import EMPTY_MAP, Classifier, Options, request_sha256
from cadx.cli import main
from cadx.errors import BundleError, InputError
from cadx.prepare.spec import CropSpec, GridSpec
from cadx.roi import Roi

from support import PLAIN, make_bundle, write

SMALL = GridSpec(cell_pixels=32)


@pytest.fixture(autouse=True)
def no_scene(request, monkeypatch):
    """Scenes take seconds: one test writes its own."""
    if "scene" not in request.node.name:
        monkeypatch.setattr(output, "_write_scene", lambda *arguments: None)


@pytest.fixture(scope="module")
def t2_bundle(tmp_path_factory):
    spec = PLAIN.model_copy(update={"grid": SMALL, "channels": ("T2",)})
    return make_bundle(tmp_path_factory.mktemp("t2") / "t2-alone", preparation=spec)


@pytest.fixture(scope="module")
def files(tmp_path_factory, case):
    folder = tmp_path_factory.mktemp("files")
    write(folder / "t1.nii.gz", case.images["T1"])
    write(folder / "t2.nii.gz", case.images["T2"])
    (folder / "roi.mrk.json").write_text(json.dumps(case.roi.to_markups()))
    return folder


def command(files, bundle, out, **images):
    given = {"roi": files / "roi.mrk.json", "bundle": bundle.folder, "device": "cpu", "out": out, **images}
    return ["classify", *(text for key, value in given.items() for text in (f"--{key}", str(value)))]


def test_t2_is_all_that_a_bundle_for_t2_needs(files, t2_bundle, tmp_path, capsys):
    assert main(command(files, t2_bundle, tmp_path / "one", t2=files / "t2.nii.gz")) == 0
    # a volume that is not used is not even read
    assert main(command(files, t2_bundle, tmp_path / "two", t1="absent.nii", t2=files / "t2.nii.gz")) == 0
    one, two = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two"))
    assert one["probabilities"] == two["probabilities"]
    assert [image["role"] for image in one["inputs"]] == ["T2"]
    assert one["request_sha256"] == two["request_sha256"]
    capsys.readouterr()
    assert main(command(files, t2_bundle, tmp_path / "three", t1=files / "t1.nii.gz")) == 2
    assert "This bundle needs T2; give --t2" in capsys.readouterr().err


def test_both_are_asked_for_where_both_are_needed(files, bundle, tmp_path, capsys):
    assert main(command(files, bundle, tmp_path / "out")) == 2
    assert "This bundle needs T1 and T2; give --t1 and --t2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_batch_needs_the_columns_of_its_bundle(files, bundle, t2_bundle, tmp_path, capsys):
    table = tmp_path / "cases.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        rows = [["case", "t2", "roi"]] + [[name, files / "t2.nii.gz", files / "roi.mrk.json"] for name in ("a", "b")]
        rows.append(["c", "", files / "roi.mrk.json"])
        csv.writer(stream).writerows(rows)
    options = ["--cases", str(table), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["batch", *options, "--bundle", str(t2_bundle.folder)]) == 4
    summary = (tmp_path / "out" / "summary.csv").read_text()
    assert "c,failed" in summary and "needs T2" in summary
    assert main(["batch", *options, "--bundle", str(t2_bundle.folder), "--resume"]) == 4
    capsys.readouterr()
    assert main(["batch", *options, "--bundle", str(bundle.folder)]) == 2
    assert "lacks the column t1" in capsys.readouterr().err


def test_the_scene_and_the_overview_hold_the_one_image(t2_bundle, case, tmp_path):
    pytest.importorskip("slicer")
    from cadx.slicer import find_cases, own_scene
    from cadx.slicer.overview import PANEL
    from cadx.slicer.scene import load_scene

    reading = Classifier(t2_bundle, "cpu").classify(case)
    names = {path.name for path in output.write_reading(tmp_path, case, reading)}
    with own_scene() as scene:
        load_scene(scene, tmp_path / "scene.mrb")
        (found,) = find_cases(scene)
        assert found.t1 is None and list(found.images) == ["T2"]
        assert found.attention is not None
    if "overview.png" in names:
        from PIL import Image

        width, height = Image.open(tmp_path / "overview.png").size
        assert PANEL < height < 2 * PANEL < width


def test_the_overlay_lies_on_the_image_that_is_used(t2_bundle, case):
    whole, alone = (Classifier(t2_bundle, "cpu").classify(one) for one in (case, case.only(("T2",))))
    assert whole.attention.geometry.is_close(case.images["T2"].geometry)
    np.testing.assert_array_equal(whole.attention.voxels, alone.attention.voxels)
    assert whole.result.request_sha256 == alone.result.request_sha256 == request_sha256(t2_bundle, case, Options())
    with pytest.raises(InputError, match="needs T2"):
        Classifier(t2_bundle, "cpu").classify(case.only(("T1",)))


def test_an_image_of_another_patient_is_no_obstacle_where_it_is_not_used(t2_bundle, case):
    t2 = replace(case.images["T2"], patient_id="B")
    assert Classifier(t2_bundle, "cpu").classify(Case({"T2": t2}, case.roi)).result.label


def test_the_worker_takes_the_image_that_it_needs(t2_bundle, case):
    with_both, alone = case, case.only(("T2",))
    background = BackgroundClassifier(t2_bundle.folder, "cpu")
    try:
        first = background.classify(with_both).result
        assert background.prepare(alone) is None, "the same image was prepared before"
        np.testing.assert_array_equal(first.shown.tensor, background.prepared(alone).tensor(first.shown.window))
        assert first.attention.geometry.is_close(alone.reference.geometry)
    finally:
        background.close()


def test_a_refusal_names_the_image(t2_bundle, case):
    from cadx.errors import RefusedError

    low = replace(case, roi=Roi(case.roi.center_ras, case.roi.size_mm * [1, 1, 0.3], case.roi.axes))
    with pytest.raises(RefusedError, match="slices of T2"):
        Classifier(t2_bundle, "cpu").classify(low)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A convolutional network on the grid."""
    spec = PLAIN.model_copy(update={"grid": SMALL})
    return make_bundle(tmp_path_factory.mktemp("cnn") / "cnn", preparation=spec, architecture="mobilenetv3_small_050")


def test_a_convolutional_network_has_grad_cam_on_the_grid(network, case, tmp_path):
    reading = Classifier(network, "cpu").classify(case)
    explanation = reading.result.explanation
    assert explanation["method"].startswith("Grad-CAM") and explanation["layer"]
    assert "attention" not in json.dumps(explanation).lower()
    assert reading.shown.grid_map.shape == (3, 3)
    assert reading.shown.grid_map.max() == 1
    assert 0 < reading.attention.voxels.max() <= 1 + 1e-6
    names = {path.name for path in output.write_reading(tmp_path / "out", case, reading)}
    assert "gradcam.nii.gz" in names and "attention.nii.gz" not in names
    assert output.is_whole(tmp_path / "out", reading.result)


def test_all_windows_are_explained_for_the_one_grade(network, case):
    tall = replace(case, roi=Roi(case.roi.center_ras, case.roi.size_mm + [0, 0, 2 * 5.5], case.roi.axes))
    reading = Classifier(network, "cpu").classify(tall, Options(windows="all"))
    assert len(reading.result.windows) == 3
    assert reading.result.explanation["method"].startswith("Grad-CAM")
    assert reading.attention.voxels.max() <= 1 + 1e-6


def test_an_empty_grad_cam_is_said_and_not_drawn(network, case, monkeypatch, tmp_path):
    from cadx.explain import gradcam

    real = gradcam.gradcam
    monkeypatch.setattr(gradcam, "gradcam", lambda *a, **k: (0 * real(*a, **k)[0], *real(*a, **k)[1:]))
    reading = Classifier(network, "cpu").classify(case)
    assert reading.attention is None and reading.shown.grid_map is None
    assert reading.result.explanation == {"method": "none", "text": EMPTY_MAP}
    assert "empty-map" in [notice.code for notice in reading.result.warnings]
    output.write_reading(tmp_path / "out", case, reading)
    assert output.is_whole(tmp_path / "out", reading.result)


def test_a_bundle_for_a_cube_grades_the_whole_roi(tmp_path, case):
    spec = PLAIN.model_copy(update={"channels": ("T1", "T2"), "crop": CropSpec(pixels=32)})
    bundle = make_bundle(tmp_path / "cube", preparation=spec, architecture="densenet121_3d")
    reading = Classifier(bundle, "cpu").classify(case)
    assert reading.shown.tensor.shape == (2, 32, 32, 32)
    assert reading.result.slices["count"] == reading.result.slices["in_roi"] == 9
    assert "slices-not-seen" not in [notice.code for notice in reading.result.warnings]
    assert reading.result.explanation["method"].startswith("Grad-CAM")
    with pytest.raises(InputError, match="whole ROI at once"):
        Classifier(bundle, "cpu").classify(case, Options(start=0))


def test_a_bundle_for_pictures_grades_no_volume(tmp_path, bundle):
    from cadx.models.bundle import BundleSettings
    from cadx.models.write_bundle import write_bundle
    from cadx.prepare.picture import PictureSpec

    from support import TEXT

    model = bundle.settings.model.model_copy(update={"channels": 3})
    from cadx.models.build import build

    settings = BundleSettings(name="pictures", task="brain", classes=bundle.settings.classes, model=model)
    made = write_bundle(
        tmp_path / "pictures", settings, PictureSpec(pixels=model.image_pixels), build(model).state_dict(), TEXT
    )
    assert made.metadata["data_type"] == "2-D pictures"
    with pytest.raises(BundleError, match="pictures is a bundle for pictures"):
        Classifier(made, "cpu")
