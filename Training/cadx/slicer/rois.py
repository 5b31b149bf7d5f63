"""A ROI node of the Markups module and a Roi: the same box in RAS mm, rotated or not."""

from __future__ import annotations

from typing import Any

import numpy as np

from cadx.errors import InputError
from cadx.geometry import Array
from cadx.roi import Roi
from cadx.slicer.runtime import slicer_module
from cadx.slicer.volumes import parent_matrix

OUTLINE_COLOR = (0.25, 0.85, 1.0)
_SKEW = 1e-3


def node_to_roi(node: Any) -> Roi:
    """The box of a ``vtkMRMLMarkupsROINode`` in world RAS mm, its linear parent transform applied.

    Under a transform that shears, it is the box at right angles that Slicer itself shows.

    Raises
    ------
    InputError
        If the node is missing, not placed yet, or stands under a non-linear transform.
    """
    if not hasattr(node, "IsA") or not node.IsA("vtkMRMLMarkupsROINode"):
        raise InputError("No ROI is selected; choose or draw a box around the organ.")
    name = node.GetName() or "ROI"
    parent_matrix(node)  # refuses a non-linear transform
    util = slicer_module().util
    matrix = np.array(util.arrayFromVTKMatrix(node.GetObjectToWorldMatrix()))
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if not (scale > 0).all():
        raise InputError(f"{name}: the ROI's transform is singular; draw the box again.")
    # the world matrix keeps a transform's scale, and GetSize is in the box's own units
    return Roi(matrix[:3, 3], np.asarray(node.GetSize()) * scale, matrix[:3, :3] / scale, source=name)


def roi_to_node(scene: Any, roi: Roi, name: str = "ROI") -> Any:
    """Add a ``vtkMRMLMarkupsROINode`` for this box (RAS mm), drawn as a thin outline.

    Slicer stores a box with left-handed axes as the same box with right-handed ones.
    """
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
    set_roi(node, roi)
    show_outline(node)
    return node


def set_roi(node: Any, roi: Roi) -> None:
    """Move a ``vtkMRMLMarkupsROINode`` to a box in world RAS mm, whatever linear transform the node stands under.

    Its look, name and transform stay.

    Raises
    ------
    InputError
        If the node is missing, or its transform is not linear, is singular, or would skew this box.
    """
    if not hasattr(node, "IsA") or not node.IsA("vtkMRMLMarkupsROINode"):
        raise InputError("No ROI is selected; choose or draw a box around the organ.")
    slicer = slicer_module()
    axes, center, scale = _in_node_space(node, roi)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes, center
    node.SetROIType(slicer.vtkMRMLMarkupsROINode.ROITypeBox)
    # not as one modification (NodeModify): Slicer then takes the centre from a control point, rounded to float32
    node.SetSize(*(roi.size_mm * scale).tolist())
    node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))


def _in_node_space(node: Any, roi: Roi) -> tuple[Array, Array, Array]:
    """A box's axes, centre and scale along the axes, as its node must hold them under its parent transform."""
    name = node.GetName() or "ROI"
    to_world = parent_matrix(node)
    try:
        to_node = np.linalg.inv(to_world)
    except np.linalg.LinAlgError as error:
        raise InputError(f"{name}: the ROI's transform is singular; take the box out of it.") from error
    edges = to_node[:3, :3] @ roi.axes
    scale = np.linalg.norm(edges, axis=0)
    axes = edges / scale
    if np.abs(axes.T @ axes - np.eye(3)).max() > _SKEW:
        raise InputError(f"{name}: the ROI's transform would skew the box; take the box out of the transform.")
    return axes, to_node[:3, :3] @ roi.center_ras + to_node[:3, 3], scale


def show_outline(node: Any) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSelectedColor(*OUTLINE_COLOR)
    display.SetColor(*OUTLINE_COLOR)
    display.SetFillVisibility(False)
    display.SetHandlesInteractive(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetPointLabelsVisibility(False)
    display.SetGlyphScale(0.1)  # no dot in the middle, which would pass for a finding
