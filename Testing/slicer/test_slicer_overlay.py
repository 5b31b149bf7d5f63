"""Attention as a volume node: heat map, threshold, legend, and its highest point."""

from __future__ import annotations

import numpy as np
import pytest

from cadx.explain.display import LOWEST_SHOWN
from cadx.geometry import Geometry
from cadx.slicer import attended_point, attention_to_node, node_to_volume
from cadx.slicer.overlay import attention_colors, inferno, legend_node
from cadx.slicer.runtime import nodes_of_class
from cadx.volume import Volume

from slicer_samples import AXES, grid, spot, volume


def peak(point=(8.0, -6.0, 4.0), scale=3.0) -> Volume:
    return Volume(scale * spot(point, grid()), grid(), name="attention")


def test_the_overlay_shows_at_once_and_only_where_attention_is_high(scene):
    display = attention_to_node(scene, peak(scale=3.0)).GetDisplayNode()
    low, high = 1.0, 3.0
    assert not display.GetAutoWindowLevel()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((low, high))
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == pytest.approx(low + LOWEST_SHOWN * (high - low))
    assert display.GetUpperThreshold() >= high * 0.999999
    assert display.GetInterpolate()
    assert display.GetVisibility()


def test_the_colours_are_ours_clear_at_the_low_end_and_brighter_step_by_step(scene):
    table = attention_to_node(scene, peak()).GetDisplayNode().GetColorNode()
    colors = np.zeros((table.GetNumberOfColors(), 4))
    for index in range(len(colors)):
        table.GetColor(index, colors[index])
    assert len(colors) == 256
    assert (colors[:, 3] == 1).all(), "what is drawn is the threshold's part, which a user may lower"
    brightness = colors[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > -0.004).all()
    assert table.GetSaveWithScene()


def test_the_heat_map_is_inferno():
    matplotlib = pytest.importorskip("matplotlib")
    t = np.linspace(0, 1, 256)
    assert np.abs(matplotlib.colormaps["inferno"](t)[:, :3] - inferno(t)).max() < 0.04


def test_colours_are_made_once_a_scene(scene):
    assert attention_colors(scene) is attention_colors(scene)
    attention_to_node(scene, peak())
    attention_to_node(scene, peak())
    ours = [n for n in nodes_of_class(scene, "vtkMRMLColorTableNode") if n.GetAttribute("cadx.colors")]
    assert len(ours) == 1


def test_there_is_a_legend_for_this_volume(scene):
    node = attention_to_node(scene, peak())
    legend = legend_node(node)
    assert legend.GetTitleText() == "Attention"
    assert legend.GetVisibility()
    assert legend.GetPrimaryDisplayNode() is node.GetDisplayNode()


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_attention_stays_where_it_is(scene, axes):
    attention = volume(axes, np.float32)
    after = node_to_volume(attention_to_node(scene, attention))
    assert after.geometry.is_close(attention.geometry, atol=1e-9)
    np.testing.assert_array_equal(after.voxels, attention.voxels)


@pytest.mark.parametrize("value", [0.0, 1.1, np.nan])
def test_a_map_without_a_peak_is_shown_as_nothing(scene, value):
    node = attention_to_node(scene, Volume(np.full((4, 4, 4), value), grid(4)))
    display = node.GetDisplayNode()
    assert display.GetLowerThreshold() > node_to_volume(node).voxels.max()
    assert np.isfinite([display.GetWindow(), display.GetLevel()]).all()


def test_values_that_are_not_finite_count_as_zero(scene):
    attention = peak()
    attention.voxels[0, 0, :3] = np.nan, np.inf, -np.inf
    node = attention_to_node(scene, attention)
    assert (node_to_volume(node).voxels[0, 0, :3] == 0).all()
    assert node.GetDisplayNode().GetWindowLevelMax() == pytest.approx(3.0)


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_the_most_attended_point_is_the_centre_of_the_peak_voxel(axes):
    attention = volume(axes, np.float32)
    attention.voxels[3, 5, 2] = 1000
    attention.voxels[0, 0, 0] = np.inf
    np.testing.assert_allclose(attended_point(attention), attention.geometry.to_ras([2, 5, 3]))


def test_of_equal_peaks_the_middle_one_is_taken():
    voxels = np.zeros((5, 5, 5), np.float32)
    voxels[2, 2, 1:4] = 1
    np.testing.assert_allclose(attended_point(Volume(voxels, grid(5))), grid(5).to_ras([2, 2, 2]))


def test_the_most_attended_point_does_not_depend_on_the_storage():
    voxels = np.zeros((4, 4, 4), np.float32)
    voxels[1:3, 1:3, 1:3] = 1
    one = Volume(voxels, Geometry.from_axes((4, 4, 4), (1, 2, 3), AXES["oblique"], (5, 6, 7)))
    flipped = Volume(np.flip(voxels, (0, 2)), one.geometry.reordered((0, 1, 2), (-1, 1, -1)))
    turned = Volume(voxels.transpose(1, 0, 2), one.geometry.reordered((0, 2, 1), (1, 1, 1)))
    np.testing.assert_allclose(attended_point(one), attended_point(flipped))
    np.testing.assert_allclose(attended_point(one), attended_point(turned))
