"""Volume nodes and Volumes: the same voxels at the same place, both ways."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import slicer
import vtk

from cadx.errors import InputError
from cadx.roi import Roi
from cadx.slicer import node_to_volume, volume_to_node
from cadx.slicer.scene import application_logic
from cadx.slicer.volumes import range_around, robust_range
from cadx.volume import Volume

from slicer_samples import AXES, BRAIN_PAIR, grid, rotation, volume

TYPES = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_round_trip_keeps_voxels_and_place(scene, axes):
    before = volume(axes)
    node = volume_to_node(scene, before, "T1")
    after = node_to_volume(node)
    assert after.geometry.is_close(before.geometry, atol=1e-9)
    np.testing.assert_array_equal(after.voxels, before.voxels)
    assert after.name == "T1"


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_slicer_itself_puts_a_voxel_where_the_geometry_says(scene, axes):
    before = volume(axes)
    node = volume_to_node(scene, before)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    i, j, k = 7, 2, 3
    np.testing.assert_allclose(matrix.MultiplyPoint((i, j, k, 1))[:3], before.geometry.to_ras([i, j, k]), atol=1e-9)
    assert node.GetImageData().GetScalarComponentAsDouble(i, j, k, 0) == before.voxels[k, j, i]


@pytest.mark.parametrize("dtype", TYPES)
def test_round_trip_keeps_the_type(scene, dtype):
    assert node_to_volume(volume_to_node(scene, volume(np.eye(3), dtype))).voxels.dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "stored"), [(bool, np.uint8), (np.float16, np.float32), (np.int64, np.int32), (np.dtype(">i2"), np.int16)]
)
def test_types_that_slicer_cannot_draw_become_ones_with_the_same_numbers(scene, dtype, stored):
    before = volume(np.eye(3), dtype)
    after = node_to_volume(volume_to_node(scene, before)).voxels
    assert after.dtype == stored
    np.testing.assert_array_equal(after, before.voxels.astype(stored))


def test_numbers_beyond_32_bits_are_not_wrapped(scene):
    before = volume(np.eye(3), np.int64)
    before.voxels[0, 0, 0] = 2**40
    assert node_to_volume(volume_to_node(scene, before)).voxels[0, 0, 0] == 2**40


def test_the_result_is_a_copy(scene):
    node = volume_to_node(scene, volume(np.eye(3)))
    after = node_to_volume(node)
    slicer.util.arrayFromVolume(node)[:] = 0
    assert after.voxels.max() > 0


def test_a_linear_parent_transform_moves_the_geometry(scene):
    before = volume(AXES["oblique"])
    node = volume_to_node(scene, before)
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = rotation(2, 25), (5, -7, 30)
    outer = np.eye(4)
    outer[:3, 3] = (1, 2, 3)
    inner_node, outer_node = (scene.AddNewNodeByClass("vtkMRMLLinearTransformNode") for _ in range(2))
    inner_node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    outer_node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(outer))
    inner_node.SetAndObserveTransformNodeID(outer_node.GetID())
    node.SetAndObserveTransformNodeID(inner_node.GetID())
    after = node_to_volume(node)
    np.testing.assert_allclose(after.geometry.ijk_to_ras, outer @ moved @ before.geometry.ijk_to_ras, atol=1e-9)
    np.testing.assert_array_equal(after.voxels, before.voxels)
    assert node.GetParentTransformNode() is inner_node  # the node itself is left as it was


def test_a_non_linear_transform_is_refused_by_name(scene):
    node = volume_to_node(scene, volume(np.eye(3)), "warped")
    transform = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    spline = vtk.vtkThinPlateSplineTransform()
    points, moved = vtk.vtkPoints(), vtk.vtkPoints()
    for point in np.eye(3).tolist() + [[0, 0, 0], [9, 9, 9]]:
        points.InsertNextPoint(point)
        moved.InsertNextPoint(np.square(point))
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(moved)
    spline.SetBasisToR()
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="warped.*non-linear.*harden"):
        node_to_volume(node)


def test_a_shearing_transform_is_refused_by_name(scene):
    node = volume_to_node(scene, volume(np.eye(3)), "leaning")
    shear = np.eye(4)
    shear[0, 1] = 0.5
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shear))
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="leaning.*sheared"):
        node_to_volume(node)


def test_nodes_that_are_no_images_are_refused(scene):
    with pytest.raises(InputError, match="No volume"):
        node_to_volume(None)
    with pytest.raises(InputError, match="empty one.*no voxels"):
        node_to_volume(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty one"))
    with pytest.raises(InputError, match="colour picture.*not a scalar"):
        node_to_volume(scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colour picture"))


def test_reading_a_node_leaves_the_scene_as_it_was(scene):
    node = volume_to_node(scene, volume(np.eye(3)))
    before = scene.GetNumberOfNodes()
    node_to_volume(node)
    assert scene.GetNumberOfNodes() == before


def test_patient_and_frame_come_from_where_slicer_keeps_them(scene, monkeypatch):
    node = volume_to_node(scene, volume(np.eye(3)))
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = tree.CreateSubjectItem(tree.GetSceneItemID(), "somebody")
    tree.SetItemLevel(patient, "Patient")
    tree.SetItemUID(patient, "DICOM", "P-17")
    tree.CreateItem(tree.CreateStudyItem(patient, "study"), node)
    values = {("1.2.3", "0020,0052"): "9.8.7"}
    database = SimpleNamespace(instanceValue=lambda uid, tag: values.get((uid, tag), ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    after = node_to_volume(node)
    assert (after.patient_id, after.frame_of_reference) == ("P-17", "9.8.7")


def test_the_window_ignores_outliers_and_never_collapses():
    voxels = np.full((10, 10, 10), 50.0)
    voxels[:, :, :5] = 10.0
    voxels[0, 0, 0], voxels[1, 1, 1], voxels[2, 2, 2] = 1e9, np.nan, np.inf
    assert robust_range(voxels) == (10.0, 50.0)
    assert robust_range(np.full((2, 2, 2), 7)) == (7.0, 8.0)
    assert robust_range(np.full((2, 2, 2), np.nan)) == (0.0, 1.0)


def test_contrast_follows_the_tissue_around_the_roi():
    voxels = np.full((40, 40, 40), 1000.0)
    voxels[10:30, 10:30, 10:30] = np.linspace(20, 80, 20)
    image = Volume(voxels, grid())
    low, high = range_around(image, Roi(np.zeros(3), np.full(3, 20.0)))
    assert 19 < low < high < 81
    assert range_around(image, Roi(np.full(3, 5000.0), np.full(3, 20.0))) == robust_range(voxels)


def test_a_node_shows_in_grey_with_a_fixed_window(scene):
    display = volume_to_node(scene, volume(np.eye(3)), shown_range=(20, 120)).GetDisplayNode()
    assert display.GetColorNode().GetName() == "Grey"
    assert not display.GetAutoWindowLevel()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (20, 120)


@pytest.mark.skipif(not BRAIN_PAIR.is_dir(), reason="../shared/data/mri/brain_pair is not there")
@pytest.mark.parametrize("name", ["t1", "t2"])
def test_a_real_image_is_where_slicers_own_reader_puts_it(scene, name):
    import SimpleITK as sitk

    logic = slicer.vtkSlicerVolumesLogic()
    logic.SetMRMLApplicationLogic(application_logic(scene))
    logic.SetMRMLScene(scene)
    theirs = logic.AddArchetypeVolume(str(BRAIN_PAIR / f"{name}.nii.gz"), name)
    ours = Volume.from_sitk(sitk.ReadImage(str(BRAIN_PAIR / f"{name}.nii.gz")), name).canonical()
    read = node_to_volume(theirs).canonical()  # Slicer's reader turns left-handed storage round
    assert read.geometry.is_close(ours.geometry, atol=0.02)
    np.testing.assert_array_equal(read.voxels, ours.voxels)
    logic.SetMRMLScene(None)
