"""A map in a scene, attention, Grad-CAM or HiResCAM: a scalar volume in heat colours, drawn from a threshold on."""

from __future__ import annotations

from typing import Any

import numpy as np

from cadx.explain.display import ATTENTION, LOWEST_SHOWN, MapKind
from cadx.geometry import Array
from cadx.slicer.runtime import nodes_of_class, slicer_module
from cadx.slicer.volumes import fill_volume_node, volume_to_node
from cadx.volume import Volume

COLORS_NAME = "Map colours"
COLORS_ATTRIBUTE = "cadx.colors"

# Inferno (matplotlib, CC0) as a polynomial in t = 0..1, red green blue, lowest power first; within 0.04 of the table
_INFERNO = np.array(
    [
        [0.00021894, 0.00165100, -0.01948090],
        [0.10651342, 0.56395644, 3.93271239],
        [11.60249308, -3.97285397, -15.94239411],
        [-41.70399613, 17.43639888, 44.35414520],
        [77.16293570, -33.40235894, -81.80730926],
        [-71.31942825, 32.62606426, 73.20951986],
        [25.13112622, -12.24266895, -23.07032500],
    ]
)


def inferno(t: Array) -> Array:
    """The perceptually uniform map Inferno at ``t`` (n,) in 0..1: (n, 3) red, green, blue in 0..1."""
    powers = np.asarray(t, dtype=float)[:, None] ** np.arange(len(_INFERNO))
    return np.clip(powers @ _INFERNO, 0.0, 1.0)


def attention_to_node(
    scene: Any, attention: Volume, name: str | None = None, *, kind: MapKind = ATTENTION, node: Any = None
) -> Any:
    """Add a map as a ``vtkMRMLScalarVolumeNode`` with heat colours, threshold and legend, ready for the foreground.

    Parameters
    ----------
    scene
        ``vtkMRMLScene`` that receives the volume, its display, the colours and the legend.
    attention
        Voxels (K, J, I) on any grid, geometry in RAS mm, in the unit of its kind; values that are not finite count
        as 0.
    name
        Node name; by default the kind's.
    kind
        What the numbers are; its :meth:`~cadx.explain.display.MapKind.range` is the colour scale. Attention that is
        nearly even is not drawn.
    node
        One that this function made before, to be brought up to date.
    """
    shown = kind.range(attention.voxels)
    voxels = attention.voxels.astype(np.float32, copy=False)
    if not np.isfinite(voxels).all():
        voxels = np.nan_to_num(voxels, nan=0.0, posinf=0.0, neginf=0.0)
    if node is not None:
        fill_volume_node(node, attention.with_voxels(voxels))
        node.SetName(name or kind.name)
        legend = legend_node(node)
        if legend is not None:
            legend.SetTitleText(kind.name)
        node.GetDisplayNode().SetWindowLevelMinMax(*shown)
        node.GetDisplayNode().SetThreshold(shown[0] + LOWEST_SHOWN * (shown[1] - shown[0]), shown[1])
        return node
    node = volume_to_node(scene, attention.with_voxels(voxels), name or kind.name, shown_range=shown)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(attention_colors(scene).GetID())
    display.SetThreshold(shown[0] + LOWEST_SHOWN * (shown[1] - shown[0]), shown[1])
    display.ApplyThresholdOn()
    _add_legend(node, kind)
    return node


def attended_point(attention: Volume) -> Array:
    """Centre (RAS mm) of the voxel with the highest attention; of equal ones, the nearest to their common centre.

    Two that are equally near are told apart by where they are in the patient, so the storage does not matter.
    """
    values = np.where(np.isfinite(attention.voxels), attention.voxels, -np.inf)
    ijk = np.argwhere(values == values.max())[:, ::-1]
    points = attention.geometry.to_ras(ijk)
    distance = np.linalg.norm(points - points.mean(axis=0), axis=1)
    order = np.lexsort(np.round(np.column_stack([points, distance]), 5).T)
    return points[order[0]]


def attention_colors(scene: Any) -> Any:
    """The scene's ``vtkMRMLColorTableNode`` for attention, made once; it is saved with the scene."""
    for node in nodes_of_class(scene, "vtkMRMLColorTableNode"):
        if node.GetAttribute(COLORS_ATTRIBUTE):
            return node
    node = slicer_module().vtkMRMLColorTableNode()
    node.SetTypeToUser()
    node.SetName(scene.GenerateUniqueName(COLORS_NAME))
    node.SetAttribute(COLORS_ATTRIBUTE, "attention")
    node.SetNumberOfColors(256)
    t = np.linspace(0.0, 1.0, 256)
    for index, rgb in enumerate(inferno(t).tolist()):
        node.SetColor(index, f"{100 * t[index]:.0f}%", *rgb, 1.0)
    node.GetLookupTable().SetTableRange(0, 255)
    added = scene.AddNode(node)
    added.HideFromEditorsOff()
    added.AddDefaultStorageNode()
    added.GetStorageNode().SetDefaultWriteFileExtension("csv")  # a .ctbl file would name the folder it was written in
    return added


def legend_node(node: Any) -> Any:
    """The ``vtkMRMLColorLegendDisplayNode`` of a volume node, or None."""
    displays = (node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes()))
    return next((d for d in displays if d and d.IsA("vtkMRMLColorLegendDisplayNode")), None)


def _add_legend(node: Any, kind: MapKind) -> None:
    logic = getattr(slicer_module(), "vtkSlicerColorLogic", None)
    legend = logic.AddDefaultColorLegendDisplayNode(node) if logic is not None else None
    if legend is not None:
        legend.SetTitleText(kind.name)
        legend.SetNumberOfLabels(3)
        legend.SetLabelFormat("%.2f")
