"""From nodes to a case and from a result to files: ``overview.png`` and ``scene.mrb``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from cadx.errors import MissingDependencyError
from cadx.explain.display import ATTENTION, MapKind, kind_of
from cadx.roi import Roi
from cadx.slicer.overlay import attention_to_node
from cadx.slicer.overview import draw_overview, field_of_view, shown_point
from cadx.slicer.results import CaseNodes, store_result
from cadx.slicer.rois import node_to_roi, roi_to_node
from cadx.slicer.scene import group_nodes, own_scene, save_scene, set_slice_views
from cadx.slicer.volumes import node_to_volume, range_around, volume_to_node
from cadx.volume import Volume

log = logging.getLogger(__name__)
OVERVIEW_NAME = "overview.png"
SCENE_NAME = "scene.mrb"


def case_from_nodes(t1_node: Any, t2_node: Any, roi_node: Any) -> tuple[Volume, Volume, Roi]:
    """T1, T2 and ROI of three nodes, in world RAS mm.

    Raises
    ------
    InputError
        If a node is missing or cannot be used; the message names it.
    """
    return node_to_volume(t1_node), node_to_volume(t2_node), node_to_roi(roi_node)


def add_case(
    scene: Any,
    *,
    t1: Volume | None,
    t2: Volume | None,
    roi: Roi,
    attention: Volume | None = None,
    kind: MapKind = ATTENTION,
) -> CaseNodes:
    """Add a case's images to a scene, with contrast set for the tissue around the ROI.

    Parameters
    ----------
    scene
        ``vtkMRMLScene``.
    t1, t2, attention
        Volumes on any grids, RAS mm; one of the images and ``attention`` may be None.
    roi
        Box, RAS mm.
    kind
        What ``attention`` is.
    """
    return CaseNodes(
        t1=_image_node(scene, t1, "T1", roi),
        t2=_image_node(scene, t2, "T2", roi),
        roi=roi_to_node(scene, roi, "ROI"),
        attention=attention_to_node(scene, attention, kind=kind) if attention is not None else None,
    )


def _image_node(scene: Any, volume: Volume | None, name: str, roi: Roi) -> Any:
    return volume_to_node(scene, volume, name, shown_range=range_around(volume, roi)) if volume is not None else None


def write_case_scene(
    folder: Path, *, t1: Volume | None, t2: Volume | None, roi: Roi, attention: Volume | None, result: dict[str, Any]
) -> list[Path]:
    """Write a classified case as ``overview.png`` and ``scene.mrb``, from a scene of its own.

    Parameters
    ----------
    folder
        Where to write; made if missing.
    t1, t2
        Images, RAS mm; one may be None.
    roi
        Box, RAS mm.
    attention
        The map on any grid, RAS mm; None where there is none.
    result
        ``cadx.result/1`` document; it says what kind of map it is.

    Returns
    -------
    list of Path
        The scene and, where there is something to draw with, the picture. Nodes have plain names (T1, T2, ROI,
        ...), so no patient's name gets in.

    Raises
    ------
    MissingDependencyError
        Outside Slicer without slicer-core.
    InputError
        If a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with own_scene() as scene:
        kind = kind_of(result.get("explanation")) or ATTENTION
        nodes = store_result(add_case(scene, t1=t1, t2=t2, roi=roi, attention=attention, kind=kind), result)
        set_slice_views(
            scene,
            background=nodes.reference,
            foreground=nodes.attention,
            point_ras=shown_point(nodes, roi),
            field_of_view_mm=field_of_view(roi),
        )
        group_nodes(scene, "SlicerCADx case", [*vars(nodes).values()])
        written = [save_scene(scene, folder / SCENE_NAME)]
        try:
            written.append(draw_overview(nodes, result, folder / OVERVIEW_NAME))
        except MissingDependencyError as error:
            log.warning("No %s: %s", OVERVIEW_NAME, error)
        return written
