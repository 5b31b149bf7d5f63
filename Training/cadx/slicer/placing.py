"""Drawing a ROI with the mouse: Slicer's place mode, switched by its selection and interaction nodes."""

from __future__ import annotations

from typing import Any

from cadx.slicer.rois import show_outline

_ROI_CLASS = "vtkMRMLMarkupsROINode"


def start_placing(scene: Any, roi: Any = None, name: str = "Pancreas") -> Any:
    """Let the next two clicks in a slice view span a ROI; returns the ROI node, a new one if none is given."""
    if roi is None:
        roi = new_roi(scene, name)
    roi.RemoveAllControlPoints()
    selection, interaction = _switches(scene)
    if selection is None or interaction is None:
        return roi
    selection.SetReferenceActivePlaceNodeClassName(_ROI_CLASS)
    selection.SetActivePlaceNodeID(roi.GetID())
    interaction.SetPlaceModePersistence(False)
    interaction.SwitchToSinglePlaceMode()
    return roi


def new_roi(scene: Any, name: str = "Pancreas") -> Any:
    """Add a ROI node that is not placed yet, drawn as a thin outline."""
    roi = scene.AddNewNodeByClass(_ROI_CLASS, scene.GenerateUniqueName(name))
    show_outline(roi)
    return roi


def stop_placing(scene: Any) -> None:
    """Back to looking."""
    _, interaction = _switches(scene)
    if interaction is not None:
        interaction.SwitchToViewTransformMode()


def is_placing(scene: Any, roi: Any) -> bool:
    """Whether clicks go to this ROI now."""
    selection, interaction = _switches(scene)
    if roi is None or selection is None or interaction is None:
        return False
    placing = interaction.GetCurrentInteractionMode() == interaction.Place
    return bool(placing and selection.GetActivePlaceNodeID() == roi.GetID())


def is_placed(roi: Any) -> bool:
    """Whether a ROI has been drawn."""
    return roi is not None and roi.GetNumberOfControlPoints() > 0 and min(roi.GetSize()) > 0


def interaction_node(scene: Any) -> Any:
    """Where a change of the mouse's mode is announced; None where the scene has none."""
    return _switches(scene)[1]


def _switches(scene: Any) -> tuple[Any, Any]:
    return (
        scene.GetNodeByID("vtkMRMLSelectionNodeSingleton") or scene.GetFirstNodeByClass("vtkMRMLSelectionNode"),
        scene.GetNodeByID("vtkMRMLInteractionNodeSingleton") or scene.GetFirstNodeByClass("vtkMRMLInteractionNode"),
    )
