"""Grading nodes of a scene: from Slicer's Python console, and on slicer-core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cadx.case import Case
from cadx.errors import InputError
from cadx.slicer.results import CaseNodes, store_map
from cadx.slicer.rois import node_to_roi
from cadx.slicer.storing import store_answer
from cadx.slicer.volumes import node_to_volume

if TYPE_CHECKING:
    from cadx.classify import Classifier, Options, Reading
    from cadx.prepare.pipeline import Progress


def classify_nodes(
    t1_node: Any,
    t2_node: Any,
    roi_node: Any,
    classifier: Classifier,
    *,
    options: Options | None = None,
    case: str = "case",
    progress: Progress | None = None,
) -> tuple[Reading, CaseNodes]:
    """Grade two volume nodes and a ROI node; attention, table row and result join them in their scene.

    Parameters
    ----------
    t1_node, t2_node
        ``vtkMRMLScalarVolumeNode``, or None where the bundle does not use it; parent transforms are respected.
    roi_node
        ``vtkMRMLMarkupsROINode`` of a box, which may be turned.
    case
        What to call it in the table; never a patient's name.

    Raises
    ------
    InputError
        If a node is missing or cannot be used. Nothing is added to the scene then.
    RefusedError
        If the case must not be graded as it stands. Nothing is added to the scene then.
    """
    nodes = used_nodes(t1_node, t2_node, roi_node, classifier.preparation.spec.channels)
    images = {role: node_to_volume(node) for role, node in nodes.images.items()}
    reading = classifier.classify(Case(images, node_to_roi(roi_node), case), options, progress=progress)
    return reading, store_reading(nodes, reading, case)


def used_nodes(t1_node: Any, t2_node: Any, roi_node: Any, channels: Sequence[str]) -> CaseNodes:
    """Of the images those that a bundle with these channels uses.

    Raises
    ------
    InputError
        If one of them is missing.
    """
    given = {"T1": t1_node, "T2": t2_node}
    for channel in channels:
        if given.get(channel) is None:
            raise InputError(f"This model needs {' and '.join(channels)}; choose a {channel} volume.")
    t1, t2 = (given[role] if role in channels else None for role in ("T1", "T2"))
    return CaseNodes(t1, t2, roi_node)


def store_reading(nodes: CaseNodes, reading: Reading, case: str) -> CaseNodes:
    """Add a reading to its images' scene, as :func:`cadx.slicer.storing.store_answer`, with the map on its tiles."""
    stored = store_answer(nodes, reading.result, reading.attention, case)
    store_map(stored, reading.shown.window.indices, reading.shown.grid_map)
    return stored
