from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cadx import output
from cadx.classify import Classifier, Options
from cadx.errors import InputError
from cadx.roi import Roi

from support import CLASSES, make_bundle


@pytest.fixture(scope="module")
def classifier(bundle):
    return Classifier(bundle, "cpu")


@pytest.fixture(scope="module")
def reading(classifier, case):
    return classifier.classify(case, command=("cadx", "classify"))


def test_the_result_holds_what_the_schema_promises(reading, case, bundle):
    document = json.loads(json.dumps(reading.result.to_json()))
    assert document["schema"] == "cadx.result/1"
    assert document["status"] == "ok"
    assert document["label"] == max(document["probabilities"], key=document["probabilities"].get)
    assert list(document["probabilities"]) == list(CLASSES)
    assert sum(document["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert document["bundle"] == {"name": "random", "version": "0.0.1", "sha256": bundle.sha256, "demo": False}
    assert [(i["role"], i["source"], i["size"]) for i in document["inputs"]] == [
        ("T1", "t1", [60, 52, 15]),
        ("T2", "t2", [70, 76, 18]),
    ]
    np.testing.assert_allclose(document["roi"]["center_ras"], case.roi.center_ras, atol=1e-3)
    assert document["slices"]["first"] == 0
    assert document["slices"]["count"] == 9
    assert len(document["slices"]["positions_mm"]) == 9
    assert document["warnings"] == []
    assert "not for clinical decisions" in document["disclaimer"]
    for key in ("task", "device", "precision", "timings_s", "versions", "command"):
        assert document[key]


def test_probabilities_are_those_of_the_model(reading, bundle):
    import torch

    with torch.inference_mode():
        expected = bundle.build_model()(torch.from_numpy(reading.shown.tensor)[None]).softmax(-1)[0].numpy()
    np.testing.assert_allclose(list(reading.result.probabilities.values()), expected, atol=1e-5)


def test_attention_lies_on_t1s_grid_and_only_where_the_model_looked(reading, case):
    assert reading.attention.geometry.is_close(case.reference.geometry)
    voxels = reading.attention.voxels
    assert voxels.max() > 0
    assert not voxels[:3].any()
    assert not voxels[12:].any()
    inside = voxels[voxels > 0]
    assert inside.mean() == pytest.approx(1.0, abs=0.2)


def test_the_same_case_gives_the_same_numbers(classifier, case, reading):
    again = classifier.classify(case, command=("cadx", "classify"))
    assert again.result.probabilities == reading.result.probabilities
    np.testing.assert_array_equal(again.attention.voxels, reading.attention.voxels)


def test_a_demonstration_bundle_says_so_everywhere(tmp_path, case):
    demo = Classifier(make_bundle(tmp_path / "demo", demo=True), "cpu").classify(case).result
    assert [n.code for n in demo.warnings] == ["demo-model"]
    assert "synthetic phantoms" in demo.summary()
    assert "not for clinical decisions" in demo.summary()


def test_unseen_slices_are_counted(classifier, case):
    size = case.roi.size_mm + [0, 0, 4 * 5.5]
    tall = replace(case, roi=Roi(case.roi.center_ras, size, case.roi.axes))
    central = classifier.classify(tall).result
    (unseen,) = (n for n in central.warnings if n.code == "slices-not-seen")
    assert "4 of 13 slices" in unseen.text
    assert central.slices["first"] == 2
    all_windows = classifier.classify(tall, Options(windows="all")).result
    assert "slices-not-seen" not in [n.code for n in all_windows.warnings]
    assert [w["first"] for w in all_windows.windows] == list(range(5))
    mean = np.mean([list(w["probabilities"].values()) for w in all_windows.windows], axis=0)
    np.testing.assert_allclose(list(all_windows.probabilities.values()), mean, atol=1e-5)
    assert classifier.classify(tall, Options(start=4)).result.slices["first"] == 4
    with pytest.raises(InputError, match="cannot start"):
        classifier.classify(tall, Options(start=5))


def test_files_are_all_there_and_carry_no_patient(reading, case, tmp_path):
    named = replace(case, images={r: replace(v, patient_id="Secret") for r, v in case.images.items()})
    written = output.write_reading(tmp_path / "out", named, reading)
    names = {p.name for p in written}
    assert {"result.json", "grid.png", "attention.nii.gz"} <= names
    for path in written:
        assert b"Secret" not in path.read_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_second_run_replaces_what_the_first_left(classifier, reading, case, tmp_path):
    output.write_reading(tmp_path, case, reading)
    (tmp_path / "mine.txt").write_text("kept")
    plain = classifier.classify(case, Options(explain=False))
    assert plain.attention is None
    output.write_reading(tmp_path, case, plain)
    assert not (tmp_path / "attention.nii.gz").exists()
    assert (tmp_path / "mine.txt").exists()


def test_a_device_that_runs_out_of_memory_falls_back_in_plain_sight(bundle, case, monkeypatch):
    from cadx import device

    classifier = Classifier(bundle, "cpu")
    expected = classifier.classify(case).result.probabilities
    classifier.device = device.Device("cuda", "a small GPU", "asked for")
    forward, calls = Classifier._forward, []

    def failing(self, *given):
        calls.append(self.device.kind)
        if self.device.kind == "cuda":
            raise RuntimeError("CUDA out of memory")
        return forward(self, *given)

    monkeypatch.setattr(Classifier, "_forward", failing)
    result = classifier.classify(case).result
    assert calls == ["cuda", "cpu"]
    assert result.device["kind"] == "cpu"
    assert [n.code for n in result.warnings] == ["device-fallback"]
    assert "ran out of memory" in result.device["reason"]
    assert result.probabilities == expected
