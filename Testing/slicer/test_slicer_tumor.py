"""Slices and pictures from nodes of a scene: the same numbers as the classifier's own, the map in its place."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cadx.classify_picture import PictureClassifier, PictureReading, SliceReading
from cadx.cli import main
from cadx.errors import BundleError, InputError
from cadx.library import BRAIN_TYPE, shipped_bundle
from cadx.phantom.head import make_head
from cadx.picture_case import PictureCase, View
from cadx.prepare.stack import Stack
from cadx.result import Result
from cadx.slicer import TumorClassifierLogic, find_cases, load_scene, own_scene, save_scene, volume_to_node
from cadx.slicer.logic import case_name
from cadx.slicer.overlay import attended_point
from cadx.slicer.picture_nodes import is_picture, on_node, open_picture
from cadx.slicer.results import CaseNodes
from cadx.slicer.runtime import slicer_module
from cadx.slicer.segments import MaskSource, mask_sources
from cadx.slicer.slice_selection import go_to_slice, slice_alone, slice_in_view, slice_view, touched_slices
from cadx.slicer.storing import store_answer
from cadx.slicer.tumor import candidates, go_to_strongest
from cadx.slicer.volumes import fill_volume_node, node_to_volume, view_of_node
from cadx.volume import Volume

from picture_samples import KINDS, blob_volume, make_picture_bundle, stored, write_slice_dicom

Image = pytest.importorskip("PIL.Image")
ASIDE = {"timings_s": 0, "command": 0}
FLIPS = (((1, 2, 0), (-1, 1, -1)), ((0, 1, 2), (1, 1, -1)), ((2, 0, 1), (-1, -1, 1)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tumor")


@pytest.fixture(scope="module")
def cnn(folder):
    return make_picture_bundle(folder / "cnn", architecture="test_resnet", scale=30).folder


@pytest.fixture(scope="module")
def logic():
    made = TumorClassifierLogic()
    yield made
    made.close()


@pytest.fixture(scope="module")
def head():
    return make_head(11, 0, tumour=True)


def document(graded: Any) -> dict[str, Any]:
    return {**graded.toJson(), **ASIDE}


def labelmap(scene: Any, mask: Volume) -> MaskSource:
    fill_volume_node(scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "mask"), mask)
    return mask_sources(scene)[-1]


def test_slices_give_what_the_classifier_gives_and_join_the_scene(logic, scene, cnn, head):
    node = volume_to_node(scene, head.volume, "head")
    graded = logic.classify(node, bundle=cnn, device="cpu", slices="3,5-7", rule="most-confident")
    from cadx.classify_picture import PictureOptions
    from cadx.models.bundle import Bundle

    case = PictureCase(node_to_volume(node), (3, 5, 6, 7))
    expected = PictureClassifier(Bundle.load(cnn), "cpu").classify(case, PictureOptions(rule="most-confident"))
    assert document(graded) == {**expected.result.to_json(), **ASIDE}
    (found,) = find_cases(scene)
    assert found.image is node and found.t1 is None and found.roi is None
    np.testing.assert_allclose(node_to_volume(found.attention).voxels, expected.attention.voxels, atol=1e-6)
    np.testing.assert_allclose(found.attention.GetOrigin(), node.GetOrigin())
    assert found.slices.GetNumberOfRows() == 4
    columns = [found.slices.GetColumnName(i) for i in range(found.slices.GetNumberOfColumns())]
    assert columns == ["slice", "position_mm", "label", "p:no tumour", "p:tumour", "suspicion", "disclaimer"]
    row = expected.result.slices["table"][2]
    assert found.slices.GetCellText(2, 0) == "6" and found.slices.GetCellText(2, 2) == row["label"]
    again = logic.classify(node, bundle=cnn, device="cpu", slices=2)
    (found,) = find_cases(scene)
    assert again.nodes.slices is found.slices and found.slices.GetNumberOfRows() == 1
    assert again.toJson()["rule"]["name"] == "chosen-slice"


def test_the_storage_changes_nothing(logic, scene, cnn):
    volume = blob_volume()
    first = logic.classify(volume_to_node(scene, volume, "first"), bundle=cnn, device="cpu")
    point = brightest(first)
    for order, signs in FLIPS:
        flipped = logic.classify(
            volume_to_node(scene, stored(volume, order, signs), "flipped"), bundle=cnn, device="cpu"
        )
        for name, share in first.probabilities.items():
            assert flipped.probabilities[name] == pytest.approx(share, abs=1e-5)
        np.testing.assert_allclose(brightest(flipped), point, atol=1e-3)


def brightest(graded: Any) -> Any:
    """RAS of the map's highest voxel; of equal ones the centre."""
    drawn = node_to_volume(graded.nodes.attention)
    return drawn.geometry.to_ras(np.argwhere(drawn.voxels == drawn.voxels.max())[:, ::-1]).mean(axis=0)


@pytest.mark.parametrize(("order", "signs"), FLIPS)
def test_an_impulse_lies_on_the_right_voxel(scene, order, signs):
    """What the network points at in the displayed slice is found again at that place in the patient."""
    volume = stored(blob_volume(), order, signs)
    node = volume_to_node(scene, volume, "volume")
    stack = Stack.of(volume)
    number, row, column = stack.indices[3], 7, 30
    own_map = np.zeros(stack.values(number).shape, dtype=np.float32)
    own_map[row, column] = 1
    store_answer(CaseNodes(image=node), result(), stack.put_back({number: own_map}), "impulse")
    (found,) = find_cases(scene)
    canonical = volume.canonical()
    place = canonical.geometry.to_ras([column_of(canonical, column), row_of(canonical, row), stack.from_first(number)])
    drawn = node_to_volume(found.attention)
    assert (drawn.voxels > 0).sum() == 1
    np.testing.assert_allclose(drawn.geometry.to_ras(np.argwhere(drawn.voxels > 0)[0, ::-1]), place, atol=1e-3)


def column_of(canonical: Volume, column: int) -> int:
    """I (towards the patient's right) of a displayed axial column: the first one is the most right."""
    return canonical.geometry.size_ijk[0] - 1 - column


def row_of(canonical: Volume, row: int) -> int:
    return canonical.geometry.size_ijk[1] - 1 - row


def result() -> Result:
    shares = {"no tumour": 0.25, "tumour": 0.75}
    made = {"task": "brain", "label": "tumour", "probabilities": shares, "bundle": {"name": "b", "version": "1"}}
    empty: dict[str, Any] = {"inputs": [], "roi": {}, "slices": {}, "warnings": [], "device": {}, "timings_s": {}}
    return Result(status="ok", precision="fp32", versions={}, **made, **empty)


def test_the_very_same_slice_from_volume_picture_and_dicom(logic, scene, cnn, head, tmp_path):
    node = volume_to_node(scene, head.volume, "head")
    number = head.best_slice
    pixels = Stack.of(head.volume).picture(number).pixels
    Image.fromarray(pixels).save(tmp_path / "slice.png")
    values = Stack.of(head.volume).values(number)
    write_slice_dicom(tmp_path / "slice.dcm", np.ascontiguousarray(values).astype(np.int16))
    graded = [
        logic.classify(node, bundle=cnn, device="cpu", slices=number),
        logic.classify(logic.openImage(tmp_path / "slice.png", scene), bundle=cnn, device="cpu"),
        logic.classify(logic.openImage(tmp_path / "slice.dcm", scene), bundle=cnn, device="cpu"),
    ]
    for other in graded[1:]:
        for name, share in graded[0].probabilities.items():
            assert other.probabilities[name] == pytest.approx(share, abs=1e-4)
    whole, flat = (node_to_volume(one.nodes.attention) for one in graded[:2])
    np.testing.assert_allclose(Stack.of(whole).values(number), Stack.of(flat).values(0), atol=1e-5)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_gives_what_the_command_line_gives(logic, scene, cnn, tmp_path, mode, capsys):
    rng = np.random.default_rng(3)
    shape = (50, 70, 3) if mode == "RGB" else (50, 70)
    Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode).save(tmp_path / "picture.png")
    node = logic.openImage(tmp_path / "picture.png", scene)
    assert is_picture(node)
    graded = logic.classify(node, bundle=cnn, device="cpu")
    command = [
        "classify",
        "--image",
        str(tmp_path / "picture.png"),
        "--bundle",
        str(cnn),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*command, "--device", "cpu", "--json"]) == 0
    capsys.readouterr()
    assert document(graded) == {**json.loads((tmp_path / "out" / "result.json").read_text()), **ASIDE}


def test_a_pictures_map_lies_on_its_pixels(logic, scene, tmp_path):
    pixels = np.zeros((20, 30), dtype=np.uint8)
    pixels[4, 25] = 255
    Image.fromarray(pixels).save(tmp_path / "dot.png")
    node = open_picture(scene, tmp_path / "dot.png")
    own_map = np.zeros((20, 30), dtype=np.float32)
    own_map[4, 25] = 1
    image = slicer_module().util.arrayFromVolume(node)
    laid = on_node(node, own_map)
    assert np.argwhere(laid.voxels > 0).tolist() == np.argwhere(image == 255).tolist()
    # the top left pixel is the patient's right front in an axial view
    np.testing.assert_allclose(node_to_volume(node).geometry.to_ras([25, 4, 0]), [-25, -4, 0])


def test_a_radiograph_that_slicer_loaded_is_read_from_its_dicom_file(logic, scene, cnn, tmp_path, monkeypatch):
    values = np.random.default_rng(1).integers(0, 4000, (40, 60)).astype(np.uint16)
    file = write_slice_dicom(tmp_path / "x.dcm", values, PhotometricInterpretation="MONOCHROME1")
    node = volume_to_node(scene, Volume(values[None].astype(np.int16), blob_geometry(60, 40)), "radiograph")
    node.SetAttribute("DICOM.instanceUIDs", "1.2.7")
    as_loaded = logic.classify(node, bundle=cnn, device="cpu")
    database = type("Database", (), {"fileForInstance": lambda self, uid: str(file), "instanceValue": lambda *_: ""})()
    monkeypatch.setattr(slicer_module(), "dicomDatabase", database, raising=False)
    assert is_picture(node)
    read = logic.classify(node, bundle=cnn, device="cpu")
    expected = logic.classify(logic.openImage(file, scene), bundle=cnn, device="cpu")
    assert read.probabilities == expected.probabilities != as_loaded.probabilities
    assert read.nodes.attention.GetImageData().GetDimensions() == (60, 40, 1)


def blob_geometry(columns: int, rows: int) -> Any:
    from cadx.geometry import Geometry

    return Geometry.from_axes((columns, rows, 1), (0.2, 0.2, 1), np.diag([-1.0, -1.0, 1.0]), (0, 0, 0))


def test_touched_slices_are_those_with_mask(scene, head):
    node = volume_to_node(scene, head.volume, "head")
    source = labelmap(scene, head.tumour)
    expected = np.flatnonzero(head.tumour.voxels.any(axis=(1, 2))).tolist()
    stack = Stack.of(node_to_volume(node))
    assert list(touched_slices(stack, source)) == expected
    for order, signs in FLIPS:
        flipped = Stack.of(stored(head.volume, order, signs))
        assert [flipped.from_first(n) for n in touched_slices(flipped, source)] == expected


def test_a_coarser_mask_touches_every_slice_that_it_covers(scene):
    from cadx.geometry import Geometry

    volume = Volume(np.zeros((12, 10, 10)), Geometry.from_axes((10, 10, 12), (1, 1, 2), np.eye(3), (0, 0, 0)))
    mask = np.zeros((4, 10, 10), dtype=np.uint8)
    mask[1, 5, 5] = 1
    # voxels three slices thick: the second one covers slices 3, 4 and 5
    coarse = Volume(mask, Geometry.from_axes((10, 10, 4), (1, 1, 6), np.eye(3), (0, 0, 2)))
    assert touched_slices(Stack.of(volume), labelmap(scene, coarse)) == (3, 4, 5)


@pytest.mark.parametrize("turned", [(0, 0, 30), (20, 0, 0), (10, 20, 30)])
def test_a_turned_mask_touches_what_its_voxels_say_one_by_one(scene, head, turned):
    from cadx.geometry import Geometry

    a, b, c = np.radians(turned)
    about_r = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_a = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_s = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    stack = Stack.of(head.volume)
    geometry = Geometry.from_axes((9, 8, 7), (2, 2, 2), about_r @ about_a @ about_s, stack.center_ras(5))
    voxels = np.zeros((7, 8, 9), dtype=np.uint8)
    voxels[1:5, 2:6, 3:8] = 1
    source = labelmap(scene, Volume(voxels, geometry, "mask"))
    whole = set()
    for k, j, i in np.argwhere(voxels):
        one = np.zeros_like(voxels)
        one[k, j, i] = 1
        slicer_module().util.updateVolumeFromArray(source.node, one)
        whole.update(touched_slices(stack, source))
    slicer_module().util.updateVolumeFromArray(source.node, voxels)
    assert touched_slices(stack, source) == stack.ordered(whole)


def test_touched_slices_are_looked_for_again_only_when_something_changed(logic, scene, head, monkeypatch):
    node = volume_to_node(scene, head.volume, "head")
    mask = labelmap(scene, head.tumour)
    looked = []
    look = touched_slices
    monkeypatch.setattr("cadx.slicer.tumor.touched_slices", lambda *of: looked.append(1) or look(*of))
    first = logic.touchedSlices(node, mask)
    assert logic.touchedSlices(node, mask) == first and len(looked) == 1
    fewer = np.array(head.tumour.voxels)
    fewer[first[0]] = 0
    slicer_module().util.updateVolumeFromArray(mask.node, fewer)
    assert logic.touchedSlices(node, mask) == first[1:]
    moved = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = head.volume.geometry.to_ras([[0, 0, 1]])[0] - head.volume.geometry.to_ras([[0, 0, 0]])[0]
    moved.SetMatrixTransformToParent(slicer_module().util.vtkMatrixFromArray(matrix))
    mask.node.SetAndObserveTransformNodeID(moved.GetID())
    assert logic.touchedSlices(node, mask) == tuple(number + 1 for number in first[1:])
    mask.node.SetAndObserveTransformNodeID(None)
    assert logic.touchedSlices(node, mask, "coronal") != first[1:]
    slicer_module().util.updateVolumeFromArray(mask.node, np.zeros_like(fewer))
    with pytest.raises(InputError, match="is empty"):
        logic.touchedSlices(node, mask)


def test_touched_slices_follow_a_segment_that_is_edited_in_place(logic, scene, head):
    from vtk.util.numpy_support import vtk_to_numpy

    slicer = slicer_module()
    node = volume_to_node(scene, head.volume, "head")
    image = slicer.vtkOrientedImageData()
    labels = labelmap(scene, head.tumour).node
    image.DeepCopy(labels.GetImageData())
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(np.array(head.tumour.geometry.ijk_to_ras)))
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Seg")
    name = segmentation.AddSegmentFromBinaryLabelmapRepresentation(image, "tumour", [1, 0, 0])
    mask = MaskSource("tumour", segmentation, name)
    first = logic.touchedSlices(node, mask)
    held = segmentation.GetSegmentation().GetSegment(name).GetRepresentation("Binary labelmap")
    voxels = vtk_to_numpy(held.GetPointData().GetScalars()).reshape(held.GetDimensions()[::-1])
    voxels[int(min(first)) - held.GetExtent()[4]] = 0
    held.GetPointData().GetScalars().Modified()
    assert set(logic.touchedSlices(node, mask)) == set(first) - {min(first)}


def test_empty_slices_are_looked_for_once_until_the_image_changes(logic, scene, head, monkeypatch):
    from cadx import picture_case

    node = volume_to_node(scene, head.volume, "head")
    looked, look = [], picture_case._is_even
    monkeypatch.setattr(picture_case, "_is_even", lambda values: looked.append(1) or look(values))
    before = logic.check(node)
    count = len(looked)
    assert count >= Stack.of(head.volume).count
    for _again in range(3):
        assert logic.check(node) == before
        logic.stack(node)
        logic.view(node, 3)
    assert len(looked) - count == 3, "whether there is anything at all is asked each time"
    emptied = np.array(head.volume.voxels)
    emptied[4] = 7
    slicer_module().util.updateVolumeFromArray(node, emptied)
    assert [notice.code for notice in logic.check(node)][-1:] == ["empty-slices"]


def test_nothing_of_a_scene_is_held_when_it_goes(scene, head):
    import gc
    import weakref

    with TumorClassifierLogic() as logic:
        node = volume_to_node(scene, head.volume, "head")
        logic.touchedSlices(node, labelmap(scene, head.tumour))
        read = weakref.ref(logic.stack(node).volume)
        logic.forgetImages()
        gc.collect()
        assert read() is None


def test_a_mask_elsewhere_or_empty_is_one_sentence(scene, head):
    stack = Stack.of(head.volume)
    away = replace(head.tumour, geometry=replace_origin(head.tumour.geometry, 500))
    with pytest.raises(InputError, match="touches no slice"):
        touched_slices(stack, labelmap(scene, away))
    with pytest.raises(InputError, match="is empty"):
        touched_slices(stack, labelmap(scene, head.tumour.with_voxels(np.zeros_like(head.tumour.voxels))))


def replace_origin(geometry: Any, height: float) -> Any:
    matrix = np.array(geometry.ijk_to_ras)
    matrix[2, 3] += height
    return replace(geometry, ijk_to_ras=matrix)


def view(scene: Any, name: str = "Red", orientation: str = "Axial") -> Any:
    node = scene.CreateNodeByClass("vtkMRMLSliceNode")
    node.SetSingletonTag(name)
    node.SetName(name)
    node.SetLayoutName(name)
    node = scene.AddNode(node)
    node.SetOrientation(orientation)
    return node


def test_the_slice_in_view_follows_the_view_of_its_plane(scene):
    volume = blob_volume()
    node = volume_to_node(scene, volume, "oblique")
    stack = Stack.of(volume)
    assert slice_in_view(scene, stack) is None, "no view yet"
    view(scene, "Yellow", "Sagittal")
    red = view(scene)
    for number in stack.indices:
        go_to_slice(scene, node, stack, number)
        assert slice_in_view(scene, stack) == number
        normal = [red.GetSliceToRAS().GetElement(row, 2) for row in range(3)]
        assert abs(np.dot(normal, volume.geometry.axes[:, 2])) == pytest.approx(1, abs=1e-4), "the acquisition's plane"
    red.JumpSliceByOffsetting(0, 0, 900)
    assert slice_in_view(scene, stack) is None


def test_of_two_views_of_a_plane_the_one_that_is_shown_counts(scene):
    stack = Stack.of(blob_volume())
    first, second = view(scene, "Red"), view(scene, "Yellow")
    assert slice_view(scene, stack.axis) is first, "where no layout shows any"
    second.SetMappedInLayout(1)
    assert slice_view(scene, stack.axis) is second
    first.SetMappedInLayout(1)
    assert slice_view(scene, stack.axis) is first


@pytest.mark.parametrize(("order", "signs"), FLIPS)
def test_a_slice_alone_lies_where_it_lay(order, signs):
    stack = Stack.of(stored(blob_volume(), order, signs))
    whole = stack.put_back({3: stack.values(3).astype(np.float32)})
    alone = slice_alone(stack, 3)
    assert np.shares_memory(alone.voxels, stack.volume.voxels)
    np.testing.assert_allclose(attended_point(alone), attended_point(whole), atol=1e-5)


def test_a_view_of_a_node_copies_nothing(scene, head):
    node = volume_to_node(scene, head.volume, "head")
    assert np.shares_memory(view_of_node(node).voxels, slicer_module().util.arrayFromVolume(node))
    assert not np.shares_memory(node_to_volume(node).voxels, slicer_module().util.arrayFromVolume(node))


def test_the_views_go_to_the_shown_slice_s_strongest_place(logic, scene, cnn, head):
    red = view(scene)
    node = volume_to_node(scene, head.volume, "head")
    graded = logic.classify(node, bundle=cnn, device="cpu", rule="most-confident")
    go_to_strongest(scene, graded.nodes)
    stack, shown = Stack.of(head.volume), graded.toJson()["slices"]["shown"]
    assert slice_in_view(scene, stack) == shown
    centre = [red.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    own = Stack.of(node_to_volume(graded.nodes.attention)).values(shown)
    i, j, _k = np.rint(head.volume.geometry.to_ijk(centre)).astype(int)
    assert node_to_volume(graded.nodes.attention).voxels[shown, j, i] == pytest.approx(own.max(), rel=0.02)


def test_a_result_is_restored_from_a_saved_scene(logic, cnn, head, tmp_path):
    with own_scene() as scene:
        node = volume_to_node(scene, head.volume, "head")
        before = logic.classify(node, bundle=cnn, device="cpu", slices=(4, 5, 6), name="kept")
        save_scene(scene, tmp_path / "scene.mrb")
    with own_scene() as scene:
        load_scene(scene, tmp_path / "scene.mrb")
        (found,) = find_cases(scene)
        after = logic.restored(found)
        assert after.toJson() == before.toJson() and after.case.name == "kept"
        assert after.reading.shown == before.reading.shown
        for one, other in zip(after.reading.slices, before.reading.slices, strict=True):
            assert one.view.index == other.view.index and one.suspicion == pytest.approx(other.suspicion)
            np.testing.assert_array_equal(one.view.picture.pixels, other.view.picture.pixels)
            np.testing.assert_allclose(one.own_map, other.own_map, atol=1e-5)
        names = {path.name for path in logic.export(after, tmp_path / "out")}
        assert names == {"result.json", "summary.csv", "overlay.png", "slices.png", "profile.png"}
        wanted = {"bundle": cnn, "device": "cpu", "slices": (4, 5, 6)}
        assert logic.requestHash(found.image, **wanted) == after.toJson()["request_sha256"]
        assert logic.requestHash(found.image, **{**wanted, "slices": 4}) != after.toJson()["request_sha256"]


def test_a_bundle_without_a_negative_class_says_so_ahead(logic, scene, folder, head):
    bundle = make_picture_bundle(folder / "kinds", KINDS, negative=(), architecture="test_resnet").folder
    node = volume_to_node(scene, head.volume, "head")
    notices = logic.check(node, bundle=bundle, device="cpu")
    assert [notice.code for notice in notices] == ["presumes-finding"]
    graded = logic.classify(node, bundle=bundle, device="cpu", slices=(3, 4))
    assert "presumes-finding" in [notice["code"] for notice in graded.toJson()["warnings"]]
    assert "suspicious" not in graded.toJson()["slices"]


def test_what_cannot_be_read_is_one_sentence_and_nothing_is_added(logic, scene, cnn, head):
    node = volume_to_node(scene, head.volume, "head")
    flat = volume_to_node(scene, head.volume.with_voxels(np.zeros_like(head.volume.voxels)), "flat")
    before = scene.GetNumberOfNodes()
    with own_scene() as other:
        apart = volume_to_node(other, head.volume, "apart")
        for image, options, complaint in (
            (None, {}, "No image is chosen"),
            (node, {"slices": 12}, "no slice 12"),
            (node, {"slices": "five"}, "names no slices"),
            (node, {"slices": (1, 2.5)}, "whole numbers"),
            (node, {"slices": ()}, "no slice was chosen"),
            (node, {"plane": "oblique"}, "no plane 'oblique'"),
            (node, {"rule": "worst"}, "no rule 'worst'"),
            (node, {"name": 7}, "case name is no text"),
            (flat, {}, "shows nothing"),
            (apart, {"device": "quantum"}, "no device"),
        ):
            with pytest.raises(InputError, match=complaint):
                logic.classifyInBackground(image, **{"bundle": cnn, **options})
        del apart
    with pytest.raises(BundleError):
        logic.classifyInBackground(node, bundle=shipped_bundle())
    assert scene.GetNumberOfNodes() == before and find_cases(scene) == []


def test_maps_and_masks_are_no_candidates(logic, scene, cnn, head):
    node = volume_to_node(scene, head.volume, "head")
    labelmap(scene, head.tumour)
    logic.classify(node, bundle=cnn, device="cpu", slices=3)
    for kind in ("vtkMRMLDiffusionTensorVolumeNode", "vtkMRMLDiffusionWeightedVolumeNode"):
        # the panel's list does not offer them either
        scene.AddNewNodeByClass(kind, "diffusion").SetAndObserveImageData(node.GetImageData())
    assert candidates(scene) == [node]


def test_the_bundle_that_ships_reads_without_being_named(logic, scene, head):
    node = volume_to_node(scene, head.volume, "head")
    graded = logic.classify(node, device="cpu", slices=head.best_slice)
    assert graded.toJson()["bundle"]["name"] == BRAIN_TYPE
    assert set(graded.probabilities) == {"meningioma", "glioma", "pituitary tumour"}
    assert case_name(CaseNodes(image=node), None) == graded.nodes.case


def test_an_empty_map_is_said_and_not_drawn(scene):
    node = volume_to_node(scene, blob_volume(), "blob")
    case = PictureCase(node_to_volume(node), (2,))
    one = SliceReading(View(case.stack, 2), np.array([0.25, 0.75]), None, 0.75)
    from cadx.slicer.tumor import _added

    graded = _added(case, PictureReading(result(), case, (one,), 0, None), CaseNodes(image=node), scene, None)
    assert graded.nodes.attention is None
