"""A box fitted to a segment, a label map or a surface."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from vtk.util import numpy_support

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.roi import Roi
from cadx.slicer import node_to_roi, roi_to_node, volume_to_node
from cadx.slicer.fitting import fit_roi, fit_sources
from cadx.slicer.rois import set_roi
from cadx.slicer.segments import MaskSource
from cadx.volume import Volume

from slicer_samples import AXES, rotation, volume

ORGANS = ("spleen", "pancreas", "liver")
SIZE = (12, 10, 8)
BLOCKS = {1: np.s_[0:2, 0:3, 0:4], 2: np.s_[3:6, 4:7, 5:10], 3: np.s_[7:8, 8:10, 11:12]}
MOVES = {
    "none": np.eye(4),
    "rigid": np.block([[rotation(2, 25) @ rotation(0, 10), np.array([[5.0], [-7.0], [30.0]])], [np.eye(4)[3:]]]),
    "scaled": np.diag([1.5, 1.5, 1.5, 1.0]),
}


def labels(axes=AXES["along RAS"]) -> Volume:
    """Three blocks of voxels, the second one well inside."""
    voxels = np.zeros(SIZE[::-1], np.uint8)
    for value, block in BLOCKS.items():
        voxels[block] = value
    return Volume(voxels, Geometry.from_axes(SIZE, (0.8, 1.1, 4.5), axes, (11, -23, 37)), name="labels")


def only(mask: Volume, value: int = 2) -> Volume:
    return mask.with_voxels((mask.voxels == value).astype(np.uint8))


def moved(mask: Volume, matrix: np.ndarray) -> Volume:
    return Volume(mask.voxels, Geometry(mask.geometry.size_ijk, matrix @ mask.geometry.ijk_to_ras), name=mask.name)


def oriented_image(mask: Volume, first=(0, 0, 0)):
    """The mask as Slicer keeps it, its voxel indices counted from ``first``."""
    image = slicer.vtkOrientedImageData()
    ends = [(start, start + n - 1) for start, n in zip(first, mask.geometry.size_ijk, strict=True)]
    image.SetExtent(*(end for pair in ends for end in pair))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())[:] = mask.voxels.ravel()
    back = np.eye(4)
    back[:3, 3] = -np.asarray(first)
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(mask.geometry.ijk_to_ras @ back))
    return image


def add_segment(node, name, representation, data, value=1):
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetLabelValue(value)
    segment.AddRepresentation(representation, data)
    assert node.GetSegmentation().AddSegment(segment, f"id-{name}")


def segmentation(scene, mask: Volume, organs=ORGANS, first=(0, 0, 0), name="TotalSegmentator"):
    """Segments in one shared labelmap, as TotalSegmentator's module leaves them."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    image = oriented_image(mask, first)
    representation = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    for value, organ in enumerate(organs, start=1):
        add_segment(node, organ, representation, image, value)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    return node


def surface(scene, points, name="pancreas"):
    """A segmentation with one segment that is a closed surface only: a box with these corners."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    node.SetSourceRepresentationToClosedSurface()
    data, cells = vtk.vtkPoints(), vtk.vtkCellArray()
    for point in points:
        index = data.InsertNextPoint(point)
        cells.InsertNextCell(1, [index])
    poly = vtk.vtkPolyData()
    poly.SetPoints(data)
    poly.SetVerts(cells)
    add_segment(node, name, slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName(), poly)
    return node


def label_map(scene, mask: Volume, name="pancreas mask"):
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, mask.voxels)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.array(mask.geometry.ijk_to_ras)))
    return node


def under(scene, node, matrix):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node


def warped(scene, node):
    transform = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    spline = vtk.vtkThinPlateSplineTransform()
    points, targets = vtk.vtkPoints(), vtk.vtkPoints()
    for point in np.eye(3).tolist() + [[0, 0, 0], [9, 9, 9]]:
        points.InsertNextPoint(point)
        targets.InsertNextPoint(np.square(point))
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(targets)
    spline.SetBasisToR()
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node


def new_roi(scene):
    return scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")


def pancreas(scene) -> MaskSource:
    return fit_sources(scene)[0]


def assert_same_box(first: Roi, second: Roi) -> None:
    np.testing.assert_allclose(first.center_ras, second.center_ras, atol=1e-4)
    distance = np.linalg.norm(first.corners_ras()[:, None] - second.corners_ras()[None], axis=-1)
    assert distance.min(axis=0).max() < 1e-4
    assert distance.min(axis=1).max() < 1e-4


def test_the_pancreas_comes_first_then_its_parts_then_scene_order(scene):
    segmentation(scene, labels(), ("liver", "pancreatic duct", "spleen"), name="abdomen")
    label_map(scene, labels(), "Pancreas_T1")
    segmentation(scene, labels(), ("head of the pancreas", "PANCREAS", "aorta"), name="more")
    label_map(scene, labels(), "kidneys")
    assert [source.label for source in fit_sources(scene)] == [
        "PANCREAS (more)",
        "Pancreas_T1",
        "pancreatic duct (abdomen)",
        "head of the pancreas (more)",
        "liver (abdomen)",
        "spleen (abdomen)",
        "aorta (more)",
        "kidneys",
    ]


def test_sources_name_node_and_segment(scene):
    node, mask = segmentation(scene, labels()), label_map(scene, labels(), "other")
    found = fit_sources(scene)
    assert (found[0].node, found[0].segment_id) == (node, "id-pancreas")
    assert (found[-1].node, found[-1].segment_id) == (mask, None)


@pytest.mark.parametrize(
    ("kind", "region", "first"),
    [("Pancreas", "", True), ("Organ", "Pancreas", True), ("Mass", "Pancreas", False), ("Pancreatic duct", "", False)],
)
def test_the_terminology_counts_as_the_name_does(scene, kind, region, first):
    node = segmentation(scene, labels(), ("liver", "Segment_2", "whole pancreas"))
    code = f"SCT^1^{region}" if region else "^^"
    entry = f"Pancreas list~SCT^1^Anatomical Structure~SCT^2^{kind}~^^~Anatomic codes~{code}~^^"
    segment = node.GetSegmentation().GetSegment("id-Segment_2")
    segment.SetTerminology(entry)
    order = [source.segment_id for source in fit_sources(scene)]
    both = ["id-Segment_2", "id-whole pancreas"]
    assert order == [*(both if first else both[::-1]), "id-liver"]


def test_a_single_segment_may_take_its_name_from_its_node(scene):
    label_map(scene, labels(), "liver")
    segmentation(scene, only(labels()), ("Segment_1",), name="pancreas.seg")
    assert fit_sources(scene)[0].segment_id == "id-Segment_1"


def test_hidden_nodes_are_no_sources(scene):
    segmentation(scene, labels()).SetHideFromEditors(True)
    label_map(scene, labels()).SetHideFromEditors(True)
    scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    assert fit_sources(scene) == []


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES.keys())
def test_a_segment_in_a_shared_labelmap_gets_its_own_box(scene, axes, move):
    mask = labels(axes)
    under(scene, segmentation(scene, mask), move)
    node = new_roi(scene)
    roi = fit_roi(node, pancreas(scene), margin_mm=7.0)
    world = moved(only(mask), move)
    assert_same_box(roi, Roi.from_mask(world, world.geometry.axes, 7.0))
    assert_same_box(node_to_roi(node), roi)
    assert np.abs(np.diag(roi.axes)).min() > 0.5  # the sizes that a panel shows are along R, A, S


def test_a_cropped_labelmap_lies_where_its_indices_say(scene):
    mask = labels(AXES["oblique"])
    segmentation(scene, mask, first=(40, -3, 7))
    roi = fit_roi(new_roi(scene), pancreas(scene))
    assert_same_box(roi, Roi.from_mask(only(mask), mask.geometry.axes, 10.0))


def test_slicer_itself_finds_the_segment_inside_the_box_and_its_edges_at_the_margin(scene):
    mask = labels(AXES["oblique"])
    node = under(scene, segmentation(scene, mask), MOVES["rigid"])
    roi_node = new_roi(scene)
    fit_roi(roi_node, pancreas(scene), margin_mm=0.0)
    center = node.GetSegmentCenterRAS("id-pancreas")
    np.testing.assert_allclose(center, roi_node.GetCenterWorld(), atol=5)
    world = moved(only(mask), MOVES["rigid"]).geometry
    inside = world.to_ras(np.argwhere(mask.voxels == 2)[:, ::-1])
    outside = world.to_ras(np.argwhere((mask.voxels == 1) | (mask.voxels == 3))[:, ::-1])
    assert all(roi_node.IsPointInROIWorld(point.tolist()) for point in inside)
    assert not any(roi_node.IsPointInROIWorld(point.tolist()) for point in outside)


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_the_box_lies_along_the_reference_image(scene, axes):
    mask = labels(AXES["oblique"])
    segmentation(scene, mask)
    t1 = under(scene, volume_to_node(scene, volume(axes), "T1"), MOVES["rigid"])
    roi = fit_roi(new_roi(scene), pancreas(scene), reference=t1)
    along = MOVES["rigid"][:3, :3] @ axes
    assert_same_box(roi, Roi.from_mask(only(mask), along, 10.0))
    assert roi.tilt_degrees(along) < 1e-3


@pytest.mark.parametrize("axes", [AXES["oblique"], AXES["left-handed"]], ids=["oblique", "left-handed"])
@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES.keys())
def test_a_label_map_is_fitted_as_a_whole(scene, axes, move):
    mask = labels(axes)
    under(scene, label_map(scene, mask), move)
    roi = fit_roi(new_roi(scene), pancreas(scene), margin_mm=3.0)
    world = moved(mask, move)
    assert_same_box(roi, Roi.from_mask(world, world.geometry.axes, 3.0))


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES.keys())
def test_a_surface_without_a_mask_is_fitted_by_its_points(scene, move):
    box = Roi(np.array([4.0, -9.0, 20.0]), np.array([30.0, 20.0, 10.0]), AXES["oblique"])
    under(scene, surface(scene, box.corners_ras()), move)
    points = box.corners_ras() @ move[:3, :3].T + move[:3, 3]
    roi = fit_roi(new_roi(scene), pancreas(scene), margin_mm=2.0)
    low, high = points.min(axis=0) - 2, points.max(axis=0) + 2
    assert_same_box(roi, Roi((low + high) / 2, high - low))
    t1 = under(scene, volume_to_node(scene, volume(AXES["oblique"])), move)
    scale = np.linalg.norm(move[:3, 0])
    turned = fit_roi(new_roi(scene), pancreas(scene), margin_mm=2.0, reference=t1)
    np.testing.assert_allclose(sorted(turned.size_mm), sorted(box.size_mm * scale + 4), atol=1e-4)


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES.keys())
def test_the_roi_may_stand_under_a_transform_of_its_own(scene, move):
    mask = labels(AXES["oblique"])
    segmentation(scene, mask)
    node = under(scene, roi_to_node(scene, Roi(np.zeros(3), np.full(3, 50.0), AXES["permuted"])), move)
    transform, shown = node.GetParentTransformNode(), node.GetDisplayNode()
    roi = fit_roi(node, pancreas(scene))
    assert_same_box(node_to_roi(node), Roi.from_mask(only(mask), mask.geometry.axes, 10.0))
    assert (node.GetParentTransformNode(), node.GetDisplayNode()) == (transform, shown)
    drawn = numpy_support.vtk_to_numpy(node.CreateROIBoxPolyDataWorld().GetPoints().GetData())
    distance = np.linalg.norm(drawn[:, None] - roi.corners_ras()[None], axis=-1)
    assert distance.min(axis=1).max() < 1e-3


def test_a_stretching_transform_is_undone_where_the_box_lies_along_it_and_refused_where_not(scene):
    node = under(scene, new_roi(scene), np.diag([2.0, 1.0, 0.5, 1.0]))
    wanted = Roi(np.array([3.0, 4.0, 5.0]), np.array([10.0, 20.0, 30.0]))
    set_roi(node, wanted)
    assert_same_box(node_to_roi(node), wanted)
    with pytest.raises(InputError, match=r"R: the ROI's transform would skew the box.*take"):
        set_roi(node, Roi(np.zeros(3), np.full(3, 9.0), AXES["oblique"]))
    assert_same_box(node_to_roi(node), wanted)


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES.keys())
def test_setting_a_box_again_leaves_the_last_one_to_full_precision(scene, move):
    node = under(scene, new_roi(scene), move)
    for axes in AXES.values():
        wanted = Roi(np.array([3.1, 4.3, 50.7]), np.array([10.1, 20.3, 30.7]), axes)
        set_roi(node, wanted)
        found = node_to_roi(node)
        np.testing.assert_allclose(found.center_ras, wanted.center_ras, atol=1e-11)
        assert_same_box(found, wanted)
    assert node.GetNumberOfControlPoints() == 1


def test_an_empty_segment_is_refused_by_name_and_the_box_stays(scene):
    node = segmentation(scene, labels())
    empty_id = node.GetSegmentation().AddEmptySegment("id-empty", "empty one")
    roi_node = roi_to_node(scene, Roi(np.zeros(3), np.full(3, 9.0)))
    source = next(s for s in fit_sources(scene) if s.segment_id == empty_id)
    with pytest.raises(InputError, match=r"empty one \(TotalSegmentator\) is empty.*choose"):
        fit_roi(roi_node, source)
    assert_same_box(node_to_roi(roi_node), Roi(np.zeros(3), np.full(3, 9.0)))


def test_everything_else_that_is_empty_is_refused_by_name(scene):
    bare = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bare")
    words = slicer.vtkSegmentationConverter
    add_segment(bare, "nothing", words.GetSegmentationBinaryLabelmapRepresentationName(), slicer.vtkOrientedImageData())
    surface(scene, [], "hollow")
    label_map(scene, labels().with_voxels(np.zeros(SIZE[::-1], np.uint8)), "zeros")
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "no voxels")
    for source in fit_sources(scene):
        with pytest.raises(InputError, match=f"^{source.label.split(' (')[0]}.*(is empty|has no voxels).*;"):
            fit_roi(new_roi(scene), source)
    assert len(fit_sources(scene)) == 4


def test_a_segment_with_neither_mask_nor_surface_is_refused_by_name(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "soft")
    fractional = slicer.vtkSegmentationConverter.GetSegmentationFractionalLabelmapRepresentationName()
    node.GetSegmentation().SetSourceRepresentationName(fractional)
    add_segment(node, "organ", fractional, oriented_image(labels()))
    with pytest.raises(InputError, match=r"organ \(soft\) has neither a mask nor a surface; make"):
        fit_roi(new_roi(scene), fit_sources(scene)[0])


def test_a_segment_that_has_gone_is_refused_by_name(scene):
    node = segmentation(scene, labels())
    source = pancreas(scene)
    node.GetSegmentation().RemoveSegment(source.segment_id)
    with pytest.raises(InputError, match=r"pancreas \(TotalSegmentator\) is not there any more"):
        fit_roi(new_roi(scene), source)


@pytest.mark.parametrize("margin", [-1.0, float("nan"), float("inf")])
def test_a_margin_must_be_a_length(scene, margin):
    surface(scene, np.eye(3))
    with pytest.raises(InputError, match="margin.*0 mm or more"):
        fit_roi(new_roi(scene), pancreas(scene), margin_mm=margin)


@pytest.mark.parametrize("which", ["source", "surface", "reference", "roi"])
def test_a_non_linear_transform_is_refused_by_name(scene, which):
    nodes = {
        "source": segmentation(scene, labels()),
        "reference": volume_to_node(scene, volume(np.eye(3)), "T1"),
        "roi": new_roi(scene),
        "surface": surface(scene, np.eye(3)),
    }
    warped(scene, nodes[which])
    fitted = nodes["surface" if which == "surface" else "source"]
    source = next(s for s in fit_sources(scene) if s.node is fitted)
    with pytest.raises(InputError, match=f"^{nodes[which].GetName()}.*non-linear"):
        fit_roi(nodes["roi"], source, reference=nodes["reference"])


def test_a_shearing_transform_of_the_mask_is_refused_by_name(scene):
    shear = np.eye(4)
    shear[0, 1] = 0.5
    under(scene, segmentation(scene, labels()), shear)
    with pytest.raises(InputError, match=r"pancreas \(TotalSegmentator\).*sheared"):
        fit_roi(new_roi(scene), pancreas(scene))


def test_a_missing_roi_is_refused(scene):
    segmentation(scene, labels())
    with pytest.raises(InputError, match="No ROI"):
        fit_roi(None, pancreas(scene))


def test_fitting_adds_nothing_to_the_scene(scene):
    segmentation(scene, labels())
    node = new_roi(scene)
    before = scene.GetNumberOfNodes()
    fit_roi(node, pancreas(scene))
    assert scene.GetNumberOfNodes() == before
