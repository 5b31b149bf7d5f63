"""A map in the slice views: where it lies, how strong it must be, how dense it is drawn.

Everything is set on MRML nodes, which the views follow, so that it holds without a window too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cadx.geometry import Array
from cadx.slicer.overlay import attended_point, legend_node
from cadx.slicer.rois import node_to_roi
from cadx.slicer.runtime import nodes_of_class, slicer_module
from cadx.slicer.scene import application_logic
from cadx.slicer.volumes import node_to_volume

SIDE_BY_SIDE = ("Red", "Yellow")


def show_in_views(scene: Any, background: Any, overlay: Any, opacity: float) -> None:
    """Lay an overlay (or None) over an image in every slice view.

    Parameters
    ----------
    background, overlay
        Volume nodes.
    opacity
        0..1.
    """
    for layers in nodes_of_class(scene, "vtkMRMLSliceCompositeNode"):
        _set_layers(layers, background, overlay, opacity)


def show_side_by_side(scene: Any, left: Any, right: Any, overlay: Any, opacity: float) -> None:
    """Two images beside each other in axial views, the same overlay (or None) over both, linked."""
    for name, volume in zip(SIDE_BY_SIDE, (left, right), strict=True):
        view = scene.GetSingletonNode(name, "vtkMRMLSliceNode")
        layers = scene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode")
        if view is None or layers is None:
            continue
        view.SetOrientation("Axial")
        _set_layers(layers, volume, overlay, opacity)
        layers.SetLinkedControl(True)


def side_by_side_layout() -> int:
    """Number of Slicer's layout of two views beside each other."""
    return int(slicer_module().vtkMRMLLayoutNode.SlicerLayoutSideBySideView)


def current_arrangement(scene: Any) -> tuple[int, dict[str, str]] | None:
    """The layout's number and each slice view's orientation; None where there is no layout."""
    layout = scene.GetSingletonNode("vtkMRMLLayoutNode", "vtkMRMLLayoutNode")
    if layout is None:
        return None
    views = nodes_of_class(scene, "vtkMRMLSliceNode")
    return int(layout.GetViewArrangement()), {view.GetID(): view.GetOrientation() for view in views}


def set_arrangement(scene: Any, before: tuple[int, dict[str, str]]) -> None:
    """Back to a layout and its views' orientations."""
    number, orientations = before
    set_layout(scene, number)
    for view in nodes_of_class(scene, "vtkMRMLSliceNode"):
        orientation = orientations.get(view.GetID())
        # a view that was turned freely has no orientation by name to go back to
        if orientation is not None and view.HasSliceOrientationPreset(orientation):
            view.SetOrientation(orientation)


def set_layout(scene: Any, number: int) -> None:
    """Show a layout, where the scene has any."""
    layout = scene.GetSingletonNode("vtkMRMLLayoutNode", "vtkMRMLLayoutNode")
    if layout is not None:
        layout.SetViewArrangement(number)


def jump_to(scene: Any, point_ras: ArrayLike) -> None:
    """Show a point (RAS mm) in every slice view."""
    point = [float(value) for value in np.asarray(point_ras, dtype=float)]
    for view in nodes_of_class(scene, "vtkMRMLSliceNode"):
        view.JumpSliceByCentering(*point)


def fit_views(scene: Any) -> None:
    """Let every slice view of the application show the whole of its image."""
    logic = application_logic(scene)
    logic.FitSliceToBackground()


def most_attended_point(attention: Any, roi: Any) -> Array:
    """Where to look first (RAS mm): the highest voxel of the map, or the ROI's centre without one (None)."""
    return node_to_roi(roi).center_ras if attention is None else attended_point(node_to_volume(attention))


def colour_scale(attention: Any) -> tuple[float, float]:
    """Lower and upper end of a map's colours, as its display has them."""
    shown = attention.GetDisplayNode()
    return float(shown.GetWindowLevelMin()), float(shown.GetWindowLevelMax())


def set_threshold(attention: Any, lowest: float) -> None:
    """Draw a map (a volume node) only from ``lowest`` on, in the map's own unit."""
    display = attention.GetDisplayNode()
    display.SetThreshold(lowest, max(lowest, display.GetWindowLevelMax()))
    display.ApplyThresholdOn()


def set_legend_visible(attention: Any, visible: bool) -> None:
    """Show or hide the colour legend of a map, where Slicer made one."""
    legend = legend_node(attention)
    if legend is not None:
        legend.SetVisibility(visible)


def _set_layers(layers: Any, background: Any, overlay: Any, opacity: float) -> None:
    layers.SetBackgroundVolumeID(background.GetID() if background is not None else None)
    layers.SetForegroundVolumeID(overlay.GetID() if overlay is not None else None)
    layers.SetForegroundOpacity(opacity if overlay is not None else 0.0)
