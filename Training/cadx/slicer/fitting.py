"""A box fitted to an organ that is already segmented: what there is to fit to, and the fitting."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from cadx.errors import InputError
from cadx.geometry import Array
from cadx.roi import DEFAULT_MASK_MARGIN_MM, Roi
from cadx.slicer.rois import set_roi
from cadx.slicer.runtime import slicer_module, vtk_module
from cadx.slicer.segments import (
    MaskSource,
    geometry_of,
    is_surface,
    mask_of,
    mask_sources,
    segment_of,
    surface_points,
)
from cadx.slicer.volumes import parent_matrix

_ORGAN = re.compile(r"(?<![a-z])pancreas(?![a-z])")
_NEAR_ORGAN = "pancrea"
_PART = re.compile(
    r"(?<![a-z])(ducts?|head|neck|body|tail|uncinate|cysts?|ipmns?|lesions?|masse?s?|tumou?rs?|cancer|"
    r"fat|veins?|arter(y|ies)|nodes?|non|not|without|minus)(?![a-z])"
)


def fit_sources(scene: Any) -> list[MaskSource]:
    """All segments, then all label maps: first the whole pancreas, then parts of it, then the others in scene order.

    Hidden nodes are left out. What a segment is follows from its name or its terminology's.
    """
    return sorted(mask_sources(scene), key=lambda source: _rank(_texts(source)))


def fit_roi(
    roi_node: Any, source: MaskSource, *, margin_mm: float = DEFAULT_MASK_MARGIN_MM, reference: Any = None
) -> Roi:
    """Set a ROI node to the box around a segment or label map; linear parent transforms of all nodes are respected.

    Parameters
    ----------
    roi_node
        ``vtkMRMLMarkupsROINode``; it keeps its own parent transform.
    source
        One of :func:`fit_sources`. Of a label map, every voxel above zero counts.
    margin_mm
        Space left on each of the six sides, mm.
    reference
        Volume node along whose axes the box lies (T1); the mask's own axes by default, R, A, S for a surface.

    Returns
    -------
    Roi
        The box, world RAS mm; its axes are those nearest to R, A, S, in that order.

    Raises
    ------
    InputError
        If the segment is gone or empty, the margin is negative, or a transform is not linear or shears. The ROI node
        is left as it was then.
    """
    if not np.isfinite(margin_mm) or margin_mm < 0:
        raise InputError(f"The margin around the mask is {margin_mm} mm; give 0 mm or more.")
    axes = None if reference is None else _axes(reference)
    roi = _surface_box(source, axes, margin_mm) if is_surface(source) else _mask_box(source, axes, margin_mm)
    set_roi(roi_node, roi)
    return roi


def _rank(texts: list[str]) -> int:
    """0 for the whole pancreas, 1 for what has to do with it, 2 for the rest."""
    lower = [text.lower() for text in texts]
    if not any(_NEAR_ORGAN in text for text in lower):
        return 2
    whole = any(_ORGAN.search(text) for text in lower) and not any(_PART.search(text) for text in lower)
    return 0 if whole else 1


def _texts(source: MaskSource) -> list[str]:
    """What says of what a mask is."""
    if source.segment_id is None:
        return [source.label]
    segmentation, segment = source.node.GetSegmentation(), segment_of(source)
    texts = [segment.GetName() or source.segment_id, _terminology(segment)]
    if len(segmentation.GetSegmentIDs()) == 1:  # a file pancreas.seg.nrrd often holds one "Segment_1"
        texts.append(source.node.GetName() or "")
    return texts


def _terminology(segment: Any) -> str:
    """The meanings in a segment's terminology entry (type, region and their modifiers), without its category.

    An entry reads context~category~type~modifier~context~region~modifier, each code as scheme^code^meaning.
    """
    fields = (segment.GetTerminology() or "").split("~")
    return " ".join(field.split("^")[-1] for field in (*fields[2:4], *fields[5:7]))


def _mask_box(source: MaskSource, axes: Array | None, margin_mm: float) -> Roi:
    mask = mask_of(source)
    return Roi.from_mask(mask, mask.canonical_geometry().axes if axes is None else axes, margin_mm)


def _surface_box(source: MaskSource, axes: Array | None, margin_mm: float) -> Roi:
    axes = np.eye(3) if axes is None else axes
    along = surface_points(source) @ axes
    low, high = along.min(axis=0) - margin_mm, along.max(axis=0) + margin_mm
    return Roi(axes @ ((low + high) / 2), high - low, axes, source=source.label)


def _axes(reference: Any) -> Array:
    """(3, 3): a volume node's axes in world RAS, those nearest to R, A, S in that order, as columns."""
    matrix = vtk_module().vtkMatrix4x4()
    reference.GetIJKToRASMatrix(matrix)
    to_world = parent_matrix(reference) @ slicer_module().util.arrayFromVTKMatrix(matrix)
    geometry = geometry_of((1, 1, 1), to_world, reference.GetName() or "volume")
    return geometry.reordered(*geometry.canonical_order()).axes
