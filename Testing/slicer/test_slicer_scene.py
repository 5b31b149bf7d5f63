"""A scene saved as .mrb and loaded into a fresh one: everything is back, and nothing of this machine is in it."""

from __future__ import annotations

import getpass
import socket
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cadx.errors import InputError
from cadx.explain.display import LOWEST_SHOWN
from cadx.geometry import Geometry
from cadx.roi import Roi
from cadx.slicer import (
    add_case,
    attended_point,
    find_cases,
    group_nodes,
    load_scene,
    node_to_roi,
    node_to_volume,
    own_scene,
    save_scene,
    set_slice_views,
    store_result,
)
from cadx.slicer.overlay import legend_node
from cadx.slicer.scene import application_logic
from cadx.volume import Volume

from slicer_samples import AXES, case, grid, result, rotation, spot, volume

ROI = Roi(np.array([2.0, 0.0, -4.0]), np.array([40.0, 30.0, 24.0]), rotation(2, 15))


def saved(path: Path, **changes) -> dict:
    """Save a scene with a case; returns what went in."""
    images = case(roi=ROI, **changes)
    with own_scene() as scene:
        nodes = store_result(add_case(scene, **images), result(), case="c1")
        set_slice_views(
            scene, background=nodes.t1, foreground=nodes.attention, point_ras=(8, -6, 4), field_of_view_mm=90
        )
        group_nodes(scene, "case", list(vars(nodes).values()))
        save_scene(scene, path)
    return images


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> tuple[Path, dict]:
    path = tmp_path_factory.mktemp("mrb") / "scene.mrb"
    return path, saved(path)


def test_images_box_and_result_are_back(bundle, scene):
    path, images = bundle
    load_scene(scene, path)
    (found,) = find_cases(scene)
    for node, before in ((found.t1, images["t1"]), (found.t2, images["t2"]), (found.attention, images["attention"])):
        after = node_to_volume(node)
        assert after.geometry.is_close(before.geometry)
        np.testing.assert_array_equal(after.voxels, before.voxels)
    after = node_to_roi(found.roi)
    np.testing.assert_allclose(after.corners_ras(), ROI.corners_ras(), atol=1e-3)
    assert found.case == "c1"
    assert found.result() == result()
    assert found.table.GetCellText(0, 0) == "c1"
    assert found.table.GetTable().GetColumnByName("p:low risk").GetValue(0) == pytest.approx(0.7)


def test_the_overlay_looks_the_same_again(bundle, scene):
    load_scene(scene, bundle[0])
    (found,) = find_cases(scene)
    display = found.attention.GetDisplayNode()
    assert display.GetApplyThreshold() and not display.GetAutoWindowLevel()
    assert display.GetLowerThreshold() == pytest.approx(1 + 2 * LOWEST_SHOWN, abs=1e-3)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((1, 3), abs=1e-3)
    colors = display.GetColorNode()
    assert colors.GetNumberOfColors() == 256
    low, high = [0.0] * 4, [0.0] * 4
    colors.GetColor(10, low)
    colors.GetColor(255, high)
    assert (low[3], high[3]) == (1, 1)
    assert high[0] > 0.9 and high[1] > 0.9
    assert legend_node(found.attention).GetTitleText() == "Attention"


@pytest.mark.parametrize(
    ("name", "orientation", "axis"), [("Red", "Axial", 2), ("Green", "Coronal", 1), ("Yellow", "Sagittal", 0)]
)
def test_it_opens_at_the_most_attended_point_with_the_overlay_on(bundle, scene, name, orientation, axis):
    load_scene(scene, bundle[0])
    (found,) = find_cases(scene)
    layers = scene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode")
    view = scene.GetSingletonNode(name, "vtkMRMLSliceNode")
    assert layers.GetBackgroundVolumeID() == found.t1.GetID()
    assert layers.GetForegroundVolumeID() == found.attention.GetID()
    assert layers.GetForegroundOpacity() == pytest.approx(0.5)
    assert view.GetOrientation() == orientation
    position = [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    assert position == pytest.approx([8, -6, 4])
    assert abs(view.GetSliceToRAS().GetElement(axis, 2)) == 1
    assert view.GetFieldOfView()[:2] == pytest.approx((90, 90))
    assert scene.GetSingletonNode("default", "vtkMRMLCrosshairNode").GetCrosshairRAS() == pytest.approx((8, -6, 4))
    assert scene.GetSingletonNode("vtkMRMLLayoutNode", "vtkMRMLLayoutNode").GetViewArrangement() == 3


def test_the_case_is_one_folder_of_the_data_tree(bundle, scene):
    load_scene(scene, bundle[0])
    (found,) = find_cases(scene)
    tree = scene.GetSubjectHierarchyNode()
    nodes = [node for node in vars(found).values() if node is not None]
    assert len(nodes) == 6
    parents = {tree.GetItemName(tree.GetItemParent(tree.GetItemByDataNode(node))) for node in nodes}
    assert parents == {"case"}


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_any_orientation_survives_the_file(tmp_path, scene, axes):
    before = volume(axes)
    saved(tmp_path / "scene.mrb", t1=before)
    load_scene(scene, tmp_path / "scene.mrb")
    after = node_to_volume(find_cases(scene)[0].t1)
    # Slicer's reader turns left-handed storage round; every voxel stays at its place in the patient
    assert after.canonical().geometry.is_close(before.canonical().geometry)
    np.testing.assert_array_equal(after.canonical().voxels, before.canonical().voxels)


def test_nothing_of_this_machine_or_the_patient_is_in_the_file(tmp_path):
    path = tmp_path / "scene.mrb"
    patient = Volume(spot((0, 0, 0), grid()), grid(), name="DOE^JANE", patient_id="4711-SECRET")
    saved(path, t1=patient)
    forbidden = [str(tmp_path), tempfile.gettempdir() + "/", str(Path.cwd()), str(Path.home()) + "/", "file:"]
    forbidden += [f"/{getpass.getuser()}/", socket.gethostname(), "DOE^JANE", "4711-SECRET", "cadx-scene-"]
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            assert not name.startswith("/") and ".." not in name
            content = archive.read(name)
            head = content.split(b"\n\n", 1)[0] if name.endswith(".nrrd") else content
            for text in forbidden:
                assert text not in name and text.encode() not in head, (name, text)
        assert {n.split("/")[0] for n in archive.namelist()} == {"scene"}


def test_saving_leaves_only_the_file_and_replaces_an_older_one(tmp_path, scene):
    path = tmp_path / "scene.mrb"
    path.write_bytes(b"older")
    add_case(scene, **case())
    assert save_scene(scene, path) == path
    assert [p.name for p in tmp_path.iterdir()] == ["scene.mrb"]
    assert zipfile.is_zipfile(path)


def test_a_save_that_fails_leaves_the_older_file(tmp_path, scene, monkeypatch):
    path = tmp_path / "scene.mrb"
    path.write_bytes(b"older")
    with pytest.raises(InputError, match="scene.mrb cannot be written"):
        save_scene(type("Scene", (), {"WriteToMRB": lambda self, name: False})(), path)
    assert path.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["scene.mrb"]
    with pytest.raises(InputError, match="cannot be written"):
        save_scene(scene, tmp_path / "no such folder" / "scene.mrb")


def test_what_is_no_scene_is_refused_by_name(tmp_path, scene):
    with pytest.raises(InputError, match="gone.mrb does not exist"):
        load_scene(scene, tmp_path / "gone.mrb")
    (tmp_path / "text.mrb").write_text("not a scene")
    with pytest.raises(InputError, match="text.mrb cannot be read"):
        load_scene(scene, tmp_path / "text.mrb")


def test_two_cases_in_one_file_keep_apart(tmp_path, scene):
    with own_scene() as before:
        first = store_result(add_case(before, **case()), result(), case="c1")
        other = case(t1=volume(AXES["along LPS"], np.float32), attention=None)
        store_result(add_case(before, **other), result(label="normal"), case="c2", table=first.table)
        save_scene(before, tmp_path / "scene.mrb")
    load_scene(scene, tmp_path / "scene.mrb")
    one, two = find_cases(scene)
    np.testing.assert_array_equal(node_to_volume(one.t1).voxels, case()["t1"].voxels)
    np.testing.assert_array_equal(node_to_volume(two.t1).voxels, other["t1"].voxels)
    assert (one.result()["label"], two.result()["label"]) == ("low risk", "normal")
    assert one.table is two.table
    assert [one.table.GetCellText(row, 0) for row in range(2)] == ["c1", "c2"]


def test_the_working_folder_stays(tmp_path, scene, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "scene.mrb")
    (tmp_path / "torn.mrb").write_bytes((tmp_path / "scene.mrb").read_bytes()[1000:])
    load_scene(scene, tmp_path / "scene.mrb")
    assert Path.cwd() == tmp_path
    with pytest.raises(InputError, match=r"torn.mrb cannot be read"):
        load_scene(scene, tmp_path / "torn.mrb")
    assert Path.cwd() == tmp_path


def test_a_path_from_the_working_folder_will_do(tmp_path, scene, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(Path("scene.mrb"))
    load_scene(scene, Path("scene.mrb"))
    assert len(find_cases(scene)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["scene.mrb"]


def test_a_scene_without_overlay_opens_too(tmp_path, scene):
    saved(tmp_path / "scene.mrb", attention=None)
    load_scene(scene, tmp_path / "scene.mrb")
    (found,) = find_cases(scene)
    assert found.attention is None
    layers = scene.GetSingletonNode("Red", "vtkMRMLSliceCompositeNode")
    assert layers.GetForegroundVolumeID() is None
    assert layers.GetForegroundOpacity() == 0


def test_a_strangers_scene_has_no_logic_of_ours(scene):
    import slicer

    assert application_logic(scene).GetMRMLScene() is scene
    with pytest.raises(InputError, match="own_scene"):
        application_logic(slicer.vtkMRMLScene())


def test_scenes_are_apart(scene):
    add_case(scene, **case())
    with own_scene() as other:
        assert find_cases(other) == []
        assert other.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 3


def test_the_point_of_an_oblique_coarse_map_is_kept(tmp_path, scene):
    geometry = Geometry.from_axes((6, 5, 4), (7, 7, 9), AXES["oblique"], (-10, -14, 3))
    attention = Volume(np.random.default_rng(1).random((4, 5, 6)).astype(np.float32), geometry)
    saved(tmp_path / "scene.mrb", attention=attention)
    load_scene(scene, tmp_path / "scene.mrb")
    after = node_to_volume(find_cases(scene)[0].attention)
    np.testing.assert_allclose(attended_point(after), attended_point(attention), atol=1e-3)
