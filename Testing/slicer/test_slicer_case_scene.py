"""What ``cadx classify`` calls: one function from volumes to overview.png and scene.mrb."""

from __future__ import annotations

import numpy as np
import pytest

from cadx.errors import InputError
from cadx.roi import Roi
from cadx.slicer import (
    add_case,
    attended_point,
    case_from_nodes,
    find_cases,
    load_scene,
    node_to_roi,
    node_to_volume,
    runtime,
    write_case_scene,
)
from cadx.volume import Volume

from slicer_samples import BRAIN_PAIR, case, needs_drawing, result


@needs_drawing
@pytest.mark.parametrize("explained", [True, False])
def test_two_files_and_nothing_else(tmp_path, scene, explained):
    images = case() if explained else case(attention=None)
    paths = write_case_scene(tmp_path / "new" / "out", **images, result=result())
    assert [p.name for p in paths] == ["scene.mrb", "overview.png"]
    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == ["overview.png", "scene.mrb"]
    load_scene(scene, paths[0])
    (found,) = find_cases(scene)
    assert found.result() == result()
    assert (found.attention is not None) == explained
    view = scene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    point = attended_point(images["attention"]) if explained else images["roi"].center_ras
    assert [view.GetSliceToRAS().GetElement(r, 3) for r in range(3)] == pytest.approx(point, abs=1e-3)


@needs_drawing
def test_a_refused_case_can_be_looked_at(tmp_path):
    refused = result(status="refused", label=None, probabilities={})
    assert len(write_case_scene(tmp_path, **case(attention=None), result=refused)) == 2


@needs_drawing
def test_a_map_that_is_zero_everywhere_is_no_obstacle(tmp_path):
    images = case()
    images["attention"] = images["attention"].with_voxels(np.zeros((40, 40, 40), np.float32))
    assert len(write_case_scene(tmp_path, **images, result=result())) == 2


def test_without_an_opengl_driver_the_scene_is_still_written(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    monkeypatch.setattr(runtime, "EGL_DRIVERS", (str(tmp_path / "none"),))
    runtime.require_drawing.cache_clear()
    try:
        paths = write_case_scene(tmp_path, **case(), result=result())
    finally:
        runtime.require_drawing.cache_clear()
    assert [p.name for p in paths] == ["scene.mrb"]
    assert "apt-get install libegl1" in caplog.text


def test_nodes_give_back_the_case(scene):
    images = case()
    nodes = add_case(scene, **images)
    t1, t2, roi = case_from_nodes(nodes.t1, nodes.t2, nodes.roi)
    np.testing.assert_array_equal(t1.voxels, images["t1"].voxels)
    assert t2.geometry.is_close(images["t2"].geometry)
    np.testing.assert_allclose(roi.corners_ras(), images["roi"].corners_ras())
    with pytest.raises(InputError, match="No ROI"):
        case_from_nodes(nodes.t1, nodes.t2, None)


def test_skin_and_fat_far_from_the_roi_do_not_set_the_contrast(scene):
    images = case(attention=None)
    for name in ("t1", "t2"):
        images[name].voxels[:, :, :4] = 1e6
    nodes = add_case(scene, **images)
    for node in (nodes.t1, nodes.t2):
        assert node.GetDisplayNode().GetWindowLevelMax() < 1000


@pytest.mark.skipif(not BRAIN_PAIR.is_dir(), reason="../shared/data/mri/brain_pair is not there")
def test_real_images_on_different_grids(tmp_path, scene):
    import SimpleITK as sitk

    t1, t2 = (Volume.from_sitk(sitk.ReadImage(str(BRAIN_PAIR / f"{n}.nii.gz")), n) for n in ("t1", "t2"))
    roi = Roi.from_text("-5,10,10,75,60,50")
    bundle, *_ = write_case_scene(tmp_path, t1=t1, t2=t2, roi=roi, attention=None, result=result())
    load_scene(scene, bundle)
    (found,) = find_cases(scene)
    for node, before in ((found.t1, t1), (found.t2, t2)):
        after = node_to_volume(node).canonical()
        assert after.geometry.is_close(before.canonical().geometry, atol=0.05)
        np.testing.assert_array_equal(after.voxels, before.canonical().voxels)
    np.testing.assert_allclose(node_to_roi(found.roi).corners_ras(), roi.corners_ras(), atol=1e-3)
