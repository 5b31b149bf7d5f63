"""The only room that knows MRML: nodes to volumes and back, overlay, results, scene and overview picture.

Works inside 3D Slicer and, with ``pip install slicer-core``, outside it. Importing this package loads
neither Slicer nor VTK; its functions do when they are called.
"""

from cadx.slicer.case_scene import add_case, case_from_nodes, write_case_scene
from cadx.slicer.classify import classify_nodes
from cadx.slicer.ipmn import IPMNClassifierLogic
from cadx.slicer.logic import GradedCase
from cadx.slicer.overlay import attended_point, attention_to_node
from cadx.slicer.overview import draw_overview
from cadx.slicer.results import CaseNodes, append_row, create_table, find_cases, find_table, store_result
from cadx.slicer.rois import node_to_roi, roi_to_node, set_roi
from cadx.slicer.runtime import nodes_of_class
from cadx.slicer.scene import group_nodes, load_scene, own_scene, save_scene, set_slice_views
from cadx.slicer.tumor import TumorClassifierLogic
from cadx.slicer.volumes import node_to_volume, volume_to_node

__all__ = [
    "CaseNodes",
    "GradedCase",
    "IPMNClassifierLogic",
    "TumorClassifierLogic",
    "add_case",
    "append_row",
    "attended_point",
    "attention_to_node",
    "case_from_nodes",
    "classify_nodes",
    "create_table",
    "draw_overview",
    "find_cases",
    "find_table",
    "group_nodes",
    "load_scene",
    "node_to_roi",
    "node_to_volume",
    "nodes_of_class",
    "own_scene",
    "roi_to_node",
    "save_scene",
    "set_roi",
    "set_slice_views",
    "store_result",
    "volume_to_node",
    "write_case_scene",
]
