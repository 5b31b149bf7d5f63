"""Tiles, slice views, place mode and the reading of nodes that the panels stand on."""

from __future__ import annotations

import numpy as np
import pytest

from cadx.explain.display import height_text
from cadx.prepare.pipeline import Preparation
from cadx.slicer import add_case, node_to_roi
from cadx.slicer.display import jump_to, set_threshold, show_in_views, show_side_by_side
from cadx.slicer.placing import is_placed, is_placing, new_roi, start_placing, stop_placing
from cadx.slicer.runtime import nodes_of_class, slicer_module
from cadx.slicer.scene import set_slice_views
from cadx.slicer.tiles import legend_pixels, window_tiles
from cadx.slicer.volumes import VolumeReader

from slicer_samples import case as sample_case
from support import PLAIN


@pytest.fixture
def prepared(case):
    return Preparation(PLAIN).run(case)


@pytest.fixture
def nodes(scene):
    made = add_case(scene, **sample_case())
    set_slice_views(scene, background=made.t1, foreground=None, point_ras=(0, 0, 0), field_of_view_mm=100)
    return made


def test_tiles_are_the_grid_that_is_fed(prepared):
    window = prepared.window()
    tiles = window_tiles(prepared, window, PLAIN.channels)
    assert tiles.pixels.shape == (2, 9, 64, 64, 3)
    np.testing.assert_array_equal(
        tiles.pixels[..., 1], np.round(prepared.cells[:, list(window.indices)] * 255).astype(np.uint8)
    )
    assert (np.ptp(tiles.pixels, axis=-1) == 0).all()
    assert (np.diff(tiles.centres_ras[:, 2]) > 0).all()
    assert tiles.radiological and not any(tiles.repeated)


def test_a_tile_s_centre_is_that_of_its_cell_in_the_patient(prepared):
    tiles = window_tiles(prepared, prepared.window(), PLAIN.channels)
    offsets = (tiles.centres_ras - prepared.roi.center_ras) @ prepared.roi.axes
    np.testing.assert_allclose(offsets[:, :2], 0, atol=1e-6)


def test_the_map_is_drawn_from_the_threshold_on_and_as_dense_as_asked(prepared):
    grid_map = np.ones((12, 12), dtype=np.float32)
    grid_map[:4, :4] = 3.0
    plain = window_tiles(prepared, prepared.window(), PLAIN.channels).pixels
    drawn = window_tiles(prepared, prepared.window(), PLAIN.channels, grid_map, threshold=0.5, opacity=0.6).pixels
    assert (drawn[:, 0] != plain[:, 0]).any()
    np.testing.assert_array_equal(drawn[:, 1:], plain[:, 1:])
    for silent in ({"opacity": 0.0}, {"threshold": 1.01}):
        np.testing.assert_array_equal(
            window_tiles(prepared, prepared.window(), PLAIN.channels, grid_map, **silent).pixels, plain
        )


def test_the_legend_goes_from_dark_to_light():
    legend = legend_pixels(50, 4)
    assert legend.shape == (4, 50, 3)
    assert (np.diff(legend[0].astype(int).sum(axis=-1)) >= 0).all()
    assert height_text(0.04) == "S 0.0 mm"


def test_layers_and_opacity_reach_every_view(scene, nodes):
    show_in_views(scene, nodes.t2, nodes.attention, 0.7)
    for layers in nodes_of_class(scene, "vtkMRMLSliceCompositeNode"):
        assert layers.GetBackgroundVolumeID() == nodes.t2.GetID()
        assert layers.GetForegroundVolumeID() == nodes.attention.GetID()
        assert layers.GetForegroundOpacity() == pytest.approx(0.7)
    show_side_by_side(scene, nodes.t1, nodes.t2, nodes.attention, 0.4)
    shown = {n.GetLayoutName(): n for n in nodes_of_class(scene, "vtkMRMLSliceCompositeNode")}
    assert shown["Red"].GetBackgroundVolumeID() == nodes.t1.GetID()
    assert shown["Yellow"].GetBackgroundVolumeID() == nodes.t2.GetID()
    assert scene.GetSingletonNode("Yellow", "vtkMRMLSliceNode").GetOrientation() == "Axial"


def test_jump_and_threshold(scene, nodes):
    jump_to(scene, (3.0, -4.0, 7.0))
    for name, axis, value in (("Red", 2, 7.0), ("Green", 1, -4.0), ("Yellow", 0, 3.0)):
        view = scene.GetSingletonNode(name, "vtkMRMLSliceNode")
        assert view.GetSliceToRAS().GetElement(axis, 3) == pytest.approx(value)
    set_threshold(nodes.attention, 1.9)
    assert nodes.attention.GetDisplayNode().GetLowerThreshold() == pytest.approx(1.9)


def test_placing_switches_slicer_s_own_mode(scene):
    for name in ("vtkMRMLSelectionNode", "vtkMRMLInteractionNode"):
        node = scene.CreateNodeByClass(name)
        node.SetSingletonTag("Singleton")
        scene.AddNode(node)
    other = new_roi(scene)
    roi = start_placing(scene)
    assert is_placing(scene, roi) and not is_placed(roi)
    assert not is_placing(scene, other) and other.GetName() != roi.GetName()
    # the two clicks
    vector = slicer_module().vtkMRMLMarkupsROINode
    assert isinstance(roi, vector)
    roi.AddControlPoint(0, 0, 0)
    roi.AddControlPoint(20, 30, 40)
    stop_placing(scene)
    assert not is_placing(scene, roi) and is_placed(roi)
    np.testing.assert_allclose(node_to_roi(roi).size_mm, (20, 30, 40))
    assert start_placing(scene, roi) is roi and not is_placed(roi)


def test_a_node_is_read_again_only_when_it_changed(scene, nodes):
    reader = VolumeReader()
    first = reader.read(nodes.t1)
    assert reader.read(nodes.t1) is first
    util = slicer_module().util
    util.arrayFromVolume(nodes.t1)[0, 0, 0] += 1
    util.arrayFromVolumeModified(nodes.t1)
    second = reader.read(nodes.t1)
    assert second is not first and second.sha256() != first.sha256()
    nodes.t1.SetSpacing(3, 3, 3)
    assert reader.read(nodes.t1).geometry.spacing[0] == pytest.approx(3)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[0, 3] = 11
    transform.SetMatrixTransformToParent(util.vtkMatrixFromArray(matrix))
    moved = reader.read(nodes.t1).geometry.origin_ras[0]
    nodes.t1.SetAndObserveTransformNodeID(transform.GetID())
    assert reader.read(nodes.t1).geometry.origin_ras[0] == pytest.approx(moved + 11)
