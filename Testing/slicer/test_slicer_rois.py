"""ROI nodes, Rois and markups files: one box, three forms."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
from vtk.util import numpy_support

from cadx.errors import InputError
from cadx.roi import Roi
from cadx.slicer import node_to_roi, roi_to_node

from slicer_samples import AXES, rotation

CENTER, SIZE = np.array([-12.5, 30.0, 10.0]), np.array([80.0, 60.0, 25.0])


def same_box(first: Roi, second: Roi, atol: float = 1e-6) -> bool:
    """Whether two boxes have the same corners, whatever the order and sign of their axes."""

    def rows(roi: Roi) -> np.ndarray:
        corners = np.round(roi.corners_ras() / atol / 10) * atol * 10
        return corners[np.lexsort(corners.T)]

    return bool(np.abs(rows(first) - rows(second)).max() < 30 * atol)


def under_transform(scene, node, linear, shift=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, shift
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return matrix


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_round_trip_gives_the_same_box(scene, axes):
    before = Roi(CENTER, SIZE, axes)
    node = roi_to_node(scene, before, "pancreas")
    after = node_to_roi(node)
    assert same_box(before, after)
    assert after.source == "pancreas"
    assert np.linalg.det(after.axes) > 0
    np.testing.assert_allclose(node.GetCenterWorld(), CENTER, atol=1e-9)


def test_slicer_agrees_on_which_points_are_inside(scene):
    roi = Roi(CENTER, SIZE, AXES["oblique and left-handed"])
    node = roi_to_node(scene, roi)
    for corner in roi.corners_ras():
        assert node.IsPointInROIWorld((CENTER + 0.98 * (corner - CENTER)).tolist())
        assert not node.IsPointInROIWorld((CENTER + 1.02 * (corner - CENTER)).tolist())


def test_a_rigid_transform_moves_the_box(scene):
    before = Roi(CENTER, SIZE, AXES["oblique"])
    node = roi_to_node(scene, before)
    matrix = under_transform(scene, node, rotation(1, 33), (4, 5, -6))
    moved = Roi(matrix[:3, :3] @ CENTER + matrix[:3, 3], SIZE, matrix[:3, :3] @ before.axes)
    assert same_box(moved, node_to_roi(node))


def test_a_scaling_transform_changes_the_size(scene):
    node = roi_to_node(scene, Roi(CENTER, SIZE))
    under_transform(scene, node, np.diag([2.0, 1.0, 0.5]))
    after = node_to_roi(node)
    np.testing.assert_allclose(after.size_mm, SIZE * [2, 1, 0.5])
    np.testing.assert_allclose(after.center_ras, CENTER * [2, 1, 0.5])


@pytest.mark.parametrize(
    "linear", [np.eye(3), rotation(0, 20), np.diag([2.0, 1.0, 1.0])], ids=["none", "rigid", "shear"]
)
def test_it_is_the_box_that_slicer_draws(scene, linear):
    node = roi_to_node(scene, Roi(CENTER, SIZE, AXES["oblique"]))
    under_transform(scene, node, linear, (3, 2, 1))
    drawn = node.CreateROIBoxPolyDataWorld()
    points = numpy_support.vtk_to_numpy(drawn.GetPoints().GetData())
    distance = np.linalg.norm(points[:, None] - node_to_roi(node).corners_ras()[None], axis=-1)
    assert distance.min(axis=0).max() < 1e-3  # every corner of ours is one of Slicer's
    assert distance.min(axis=1).max() < 1e-3


def test_a_box_that_is_not_placed_yet_is_refused_by_name(scene):
    with pytest.raises(InputError, match="fresh one.*empty"):
        node_to_roi(scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "fresh one"))
    with pytest.raises(InputError, match="No ROI"):
        node_to_roi(None)
    with pytest.raises(InputError, match="No ROI"):
        node_to_roi(scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode"))


def test_the_outline_does_not_hide_the_image(scene):
    display = roi_to_node(scene, Roi(CENTER, SIZE)).GetDisplayNode()
    assert not display.GetFillVisibility()
    assert not display.GetHandlesInteractive()
    assert display.GetVisibility()


@pytest.mark.parametrize("system", ["LPS", "RAS"])
@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_a_file_that_slicer_wrote_is_read_as_the_same_box(scene, tmp_path, axes, system):
    node = roi_to_node(scene, Roi(CENTER, SIZE, axes))
    storage = slicer.vtkMRMLMarkupsROIJsonStorageNode()
    scene.AddNode(storage)
    storage.SetCoordinateSystem(getattr(storage, f"CoordinateSystem{system}"))
    storage.SetFileName(str(tmp_path / "box.mrk.json"))
    assert storage.WriteData(node)
    assert json.loads((tmp_path / "box.mrk.json").read_text())["markups"][0]["coordinateSystem"] == system
    assert same_box(Roi.from_markups(tmp_path / "box.mrk.json"), Roi(CENTER, SIZE, axes))


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_a_file_that_we_wrote_is_read_by_slicer_as_the_same_box(scene, tmp_path, axes):
    path = tmp_path / "box.mrk.json"
    path.write_text(json.dumps(Roi(CENTER, SIZE, axes).to_markups()))
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    storage = slicer.vtkMRMLMarkupsROIJsonStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    assert same_box(node_to_roi(node), Roi(CENTER, SIZE, axes))
