"""Where a node is filed in the subject hierarchy, which the Data module shows."""

from __future__ import annotations

from typing import Any

from cadx.slicer.runtime import slicer_module


def place_beside(scene: Any, node: Any, reference: Any) -> None:
    """File a node under the same parent as ``reference``: in the application, the DICOM study under its patient.

    Makes items where there are none. Does nothing where a node is None, where the scene has no hierarchy, or where
    ``reference`` is itself filed under ``node``.
    """
    tree = slicer_module().vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if tree is None or node is None or reference is None or node is reference:
        return
    parent = tree.GetItemParent(_item(tree, reference))
    item = _item(tree, node)
    if item not in _with_ancestors(tree, parent):
        tree.SetItemParent(item, parent)


def _item(tree: Any, node: Any) -> int:
    """A node's item; a new one at the top where it has none."""
    return int(tree.GetItemByDataNode(node) or tree.CreateItem(tree.GetSceneItemID(), node))


def _with_ancestors(tree: Any, item: int) -> list[int]:
    found = []
    while item:
        found.append(item)
        item = tree.GetItemParent(item)
    return found
