"""The subject hierarchy gets an item for every node that the Data module shows, as the application's plugins do."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

SHOWN = (
    "vtkMRMLVolumeNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLModelNode",
    "vtkMRMLTransformNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
)


class SubjectHierarchy:
    """Follows one scene."""

    def __init__(self, scene: Any) -> None:
        self.scene = scene
        scene.AddObserver(scene.NodeAddedEvent, self._on_added)
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._on_leaves)
        scene.AddObserver(scene.EndImportEvent, self._on_imported)
        scene.AddObserver(scene.EndCloseEvent, lambda *_: self.node())
        self.node()

    def node(self) -> Any:
        """The scene's subject hierarchy node; made if there is none."""
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_added(self, scene: Any, event: str, node: Any) -> None:
        if not scene.IsImporting():  # the file may bring the item itself
            self._add(node)

    def _on_imported(self, *_: Any) -> None:
        self.node()
        for index in range(self.scene.GetNumberOfNodes()):
            self._add(self.scene.GetNthNode(index))

    def _add(self, node: Any) -> None:
        if node is None or node.GetHideFromEditors() or not any(node.IsA(name) for name in SHOWN):
            return
        tree = self.node()
        if not tree.GetItemByDataNode(node):
            tree.CreateItem(tree.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_leaves(self, scene: Any, event: str, node: Any) -> None:
        if scene.IsClosing() or not any(node.IsA(name) for name in SHOWN):
            return
        tree = self.node()
        item = tree.GetItemByDataNode(node)
        if item:
            tree.RemoveItem(item, False, False)
