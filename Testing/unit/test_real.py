"""The whole chain on real volumes; random weights, so the grade means nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from cadx.cli import main
from cadx.volume import Volume


def classify(bundle, tmp_path, t1, t2, roi) -> dict:
    command = ["classify", "--t1", str(t1), "--t2", str(t2), "--roi", roi, "--bundle", str(bundle.folder)]
    assert main([*command, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    return json.loads((tmp_path / "out" / "result.json").read_text())


def overlay_lies_in_the_roi(tmp_path, document) -> None:
    attention = Volume.from_sitk(sitk.ReadImage(str(tmp_path / "out" / "attention.nii.gz")))
    seen = attention.geometry.to_ras(np.argwhere(attention.voxels > 0.01)[:, ::-1])
    offsets = (seen - document["roi"]["center_ras"]) @ np.array(document["roi"]["axes"]).T
    assert len(seen) > 1000
    assert (np.abs(offsets) <= np.array(document["roi"]["size_mm"]) / 2 + 0.1).all()
    assert np.ptp(offsets, axis=0)[:2] == pytest.approx(document["roi"]["size_mm"][:2], rel=0.05)


def test_a_nifti_pair_on_different_oblique_grids(shared, bundle, tmp_path):
    pair = shared / "data" / "mri" / "brain_pair"
    document = classify(bundle, tmp_path, pair / "t1.nii.gz", pair / "t2.nii.gz", "-4.9,20,22,100,80,60")
    assert [i["size"] for i in document["inputs"]] == [[256, 224, 26], [224, 256, 26]]
    overlay_lies_in_the_roi(tmp_path, document)
    t1 = sitk.ReadImage(str(pair / "t1.nii.gz"))
    attention = sitk.ReadImage(str(tmp_path / "out" / "attention.nii.gz"))
    np.testing.assert_allclose(attention.GetOrigin(), t1.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(attention.GetDirection(), t1.GetDirection(), atol=1e-5)


def test_two_dicom_series_found_in_one_folder(shared, bundle, tmp_path, capsys):
    study = shared / "data" / "mri" / "pelvis_dicom"
    document = classify(bundle, tmp_path, study, study, "0,25,25,110,80,40")
    assert [i["source"] for i in document["inputs"]] == ["t1_axial", "t2_axial"]
    assert capsys.readouterr().err.count("guessed from the headers") == 2
    overlay_lies_in_the_roi(tmp_path, document)
    for path in (tmp_path / "out").iterdir():
        assert b"ProstateX" not in path.read_bytes()
