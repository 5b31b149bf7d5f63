"""An answer joins its images in their scene: the map, a row in the table of results, and what ties them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cadx.explain.display import ATTENTION, kind_of
from cadx.slicer.hierarchy import place_beside
from cadx.slicer.overlay import attention_to_node
from cadx.slicer.results import CaseNodes, find_stored, find_table, store_result
from cadx.slicer.slices_table import store_slices
from cadx.volume import Volume

if TYPE_CHECKING:
    from cadx.result import Result


def store_answer(nodes: CaseNodes, result: Result, attention: Volume | None, case: str) -> CaseNodes:
    """Keep a result and its map beside its inputs.

    The same nodes graded again under the same name: what was stored is brought up to date. Map and result take their
    place beside the image in the subject hierarchy.

    Parameters
    ----------
    nodes
        The case's inputs, all in one scene.
    attention
        The map on the grid of ``nodes.reference``, RAS mm; None where there is none.
    case
        What to call it in the table; never a patient's name.
    """
    scene, kind, document = nodes.scene, kind_of(result.explanation) or ATTENTION, result.to_json()
    before = find_stored(nodes, case)
    shown = before.attention if before else None
    if attention is not None:
        shown = attention_to_node(scene, attention, f"{kind.name} {case}", kind=kind, node=shown)
        place_beside(scene, shown, nodes.reference)
    elif shown is not None:
        scene.RemoveNode(shown)
        shown = None
    slices = store_slices(scene, document, case, before.slices if before else None)
    place_beside(scene, slices, nodes.reference)
    joined = replace(nodes, attention=shown, slices=slices)
    stored = store_result(joined, document, case=case, table=find_table(scene))
    place_beside(scene, stored.text, nodes.reference)
    return stored
