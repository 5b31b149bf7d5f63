"""Nodes filed beside the image they belong to."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import slicer

from cadx.slicer import hierarchy, volume_to_node
from cadx.slicer.hierarchy import place_beside

from slicer_samples import volume


def tree_of(scene):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def study(scene, *nodes):
    """File nodes under a study under a patient, and return the study's item."""
    tree = tree_of(scene)
    patient = tree.CreateSubjectItem(tree.GetSceneItemID(), "somebody")
    item = tree.CreateStudyItem(patient, "study")
    for node in nodes:
        tree.CreateItem(item, node)
    return item


def image(scene, name="T1"):
    return volume_to_node(scene, volume(np.eye(3)), name)


def parent_of(scene, node):
    tree = tree_of(scene)
    return tree.GetItemParent(tree.GetItemByDataNode(node))


def test_a_new_node_joins_the_study(scene):
    t1, roi = image(scene), scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    item = study(scene, t1)
    place_beside(scene, roi, t1)
    assert parent_of(scene, roi) == item


def test_a_node_that_is_filed_elsewhere_moves(scene):
    t1, attention = image(scene), image(scene, "Attention")
    item = study(scene, t1)
    tree_of(scene).CreateItem(tree_of(scene).GetSceneItemID(), attention)
    before = tree_of(scene).GetNumberOfItems()
    place_beside(scene, attention, t1)
    place_beside(scene, attention, t1)
    assert parent_of(scene, attention) == item
    assert tree_of(scene).GetNumberOfItems() == before


def test_items_are_made_where_there_are_none(scene):
    t1, attention = image(scene), image(scene, "Attention")
    place_beside(scene, attention, t1)
    top = tree_of(scene).GetSceneItemID()
    assert parent_of(scene, t1) == parent_of(scene, attention) == top


def test_a_node_is_never_filed_under_itself(scene, capfd):
    t1, transform = image(scene), scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    tree = tree_of(scene)
    above = tree.CreateItem(tree.GetSceneItemID(), transform)
    tree.CreateItem(above, t1)
    place_beside(scene, transform, t1)
    place_beside(scene, t1, t1)
    assert capfd.readouterr().err == ""  # Slicer refuses too, but with an error in its log
    assert parent_of(scene, t1) == above
    assert parent_of(scene, transform) == tree.GetSceneItemID()


def test_nothing_happens_without_a_node_or_a_hierarchy(scene, monkeypatch):
    t1 = image(scene)
    place_beside(scene, None, t1)
    place_beside(scene, t1, None)
    none = SimpleNamespace(vtkMRMLSubjectHierarchyNode=SimpleNamespace(GetSubjectHierarchyNode=lambda scene: None))
    monkeypatch.setattr(hierarchy, "slicer_module", lambda: none)
    place_beside(scene, t1, image(scene, "T2"))
