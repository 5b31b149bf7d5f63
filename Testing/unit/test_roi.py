from __future__ import annotations

import json

import numpy as np
import pytest

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.io.files import read_roi
from cadx.roi import Roi
from cadx.volume import Volume

from support import tilted


def markups(center, orientation, system):
    roi = {
        "type": "ROI",
        "coordinateSystem": system,
        "center": center,
        "orientation": orientation,
        "size": [40, 30, 20],
    }
    return {"markups": [roi]}


def test_the_two_conventions_name_the_same_box(tmp_path):
    axes = tilted(10, 20, 30)
    flip = np.diag([-1.0, -1.0, 1.0])
    center = np.array([12.0, -34.0, 56.0])
    ras, lps = tmp_path / "ras.mrk.json", tmp_path / "lps.mrk.json"
    ras.write_text(json.dumps(markups(center.tolist(), axes.ravel().tolist(), "RAS")))
    lps.write_text(json.dumps(markups((flip @ center).tolist(), (flip @ axes).ravel().tolist(), "LPS")))
    for roi in (Roi.from_markups(ras), Roi.from_markups(lps)):
        np.testing.assert_allclose(roi.center_ras, center)
        np.testing.assert_allclose(roi.axes, axes)
        assert roi.size_mm.tolist() == [40, 30, 20]


def test_a_written_box_is_read_back(tmp_path):
    roi = Roi(np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), tilted(5, 6, 7))
    path = tmp_path / "roi.mrk.json"
    path.write_text(json.dumps(roi.to_markups()))
    back = Roi.from_markups(path)
    np.testing.assert_allclose(back.corners_ras(), roi.corners_ras())


def test_numbers_may_begin_with_a_minus():
    roi = Roi.from_text("-12.5,30,-7,80,60.5,70")
    assert roi.center_ras.tolist() == [-12.5, 30, -7]
    assert roi.size_mm.tolist() == [80, 60.5, 70]


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d,e,f", "1,2,3,4,5,nan", "1,2,3,4,5,0", "1,2,3,4,5,-6", ""])
def test_bad_numbers_are_one_sentence(text):
    with pytest.raises(InputError) as caught:
        Roi.from_text(text)
    assert str(caught.value).count(". ") == 0


def test_a_turned_box_becomes_its_bounding_box():
    roi = Roi(np.zeros(3), np.array([40.0, 20, 10]), tilted(0, 0, 90))
    box = roi.on_axes(np.eye(3))
    np.testing.assert_allclose(box.size_mm, [20, 40, 10], atol=1e-9)
    turned = Roi(np.zeros(3), np.array([40.0, 20, 10]), tilted(0, 0, 30)).on_axes(np.eye(3))
    corners = Roi(np.zeros(3), np.array([40.0, 20, 10]), tilted(0, 0, 30)).corners_ras()
    np.testing.assert_allclose(turned.size_mm, np.ptp(corners, axis=0))


def test_a_mask_becomes_its_bounding_box_plus_margin(tmp_path, t1_geometry):
    mask = np.zeros(t1_geometry.size_ijk[::-1], np.uint8)
    mask[4:8, 10:20, 30:34] = 1
    stored = Volume(mask, t1_geometry, "mask")
    import SimpleITK as sitk

    path = tmp_path / "mask.nii.gz"
    sitk.WriteImage(stored.to_sitk(), str(path))
    roi = read_roi(str(path), stored, margin_mm=3)
    np.testing.assert_allclose(roi.size_mm, np.array([4 * 2, 10 * 2, 4 * 5.5]) + 6, atol=1e-4)
    np.testing.assert_allclose(roi.center_ras, t1_geometry.to_ras([31.5, 14.5, 5.5]), atol=1e-4)


def test_the_box_of_a_mask_along_turned_axes_holds_every_voxel():
    rng = np.random.default_rng(3)
    voxels = (rng.random((9, 11, 13)) > 0.97).astype(np.uint8)
    mask = Volume(voxels, Geometry.from_axes((13, 11, 9), (1.0, 1.5, 3.0), tilted(10, -20, 30), (4, 5, 6)), "mask")
    axes = tilted(-15, 25, 5)
    roi = Roi.from_mask(mask, axes, 0.0)
    places = mask.geometry.to_ras(np.argwhere(voxels)[:, ::-1]) @ axes
    half_voxel = np.abs(axes.T @ mask.geometry.axes) @ mask.geometry.spacing / 2
    np.testing.assert_allclose(roi.size_mm, np.ptp(places, axis=0) + 2 * half_voxel)
    np.testing.assert_allclose(roi.center_ras @ axes, (places.min(axis=0) + places.max(axis=0)) / 2)


def test_an_empty_mask_is_refused():
    empty = Volume(np.zeros((3, 3, 3), np.uint8), Geometry((3, 3, 3), np.eye(4)), "mask")
    with pytest.raises(InputError, match="empty"):
        Roi.from_mask(empty, np.eye(3))


@pytest.mark.parametrize("text", ["{", "[]", '{"markups": []}', '{"markups": [{"type": "ROI"}]}', '{"markups": 3}'])
def test_a_markups_file_without_a_roi_is_refused(tmp_path, text):
    path = tmp_path / "roi.mrk.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"roi\.mrk\.json"):
        Roi.from_markups(path)
