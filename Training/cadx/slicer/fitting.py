"""A box fitted to an organ that is already segmented: what there is to fit to, and the fitting."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.geometry import Array, Geometry
from cadx.roi import DEFAULT_MASK_MARGIN_MM, Roi
from cadx.slicer.rois import set_roi
from cadx.slicer.runtime import nodes_of_class, slicer_module, vtk_module
from cadx.slicer.volumes import node_to_volume, parent_matrix
from cadx.volume import Volume

_ORGAN = re.compile(r"(?<![a-z])pancreas(?![a-z])")
_NEAR_ORGAN = "pancrea"
_PART = re.compile(
    r"(?<![a-z])(ducts?|head|neck|body|tail|uncinate|cysts?|ipmns?|lesions?|masse?s?|tumou?rs?|cancer|"
    r"fat|veins?|arter(y|ies)|nodes?|non|not|without|minus)(?![a-z])"
)


@dataclass(frozen=True)
class FitSource:
    """Something to fit a box to: a segment of a ``vtkMRMLSegmentationNode``, or a ``vtkMRMLLabelMapVolumeNode``.

    ``label`` is for a combo box; ``segment_id`` is None for a label map.
    """

    label: str
    node: Any
    segment_id: str | None = None


def fit_sources(scene: Any) -> list[FitSource]:
    """All segments, then all label maps: first the whole pancreas, then parts of it, then the others in scene order.

    Hidden nodes are left out. What a segment is follows from its name or its terminology's.
    """
    ranked = []
    for node in nodes_of_class(scene, "vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        if segmentation is None or node.GetHideFromEditors():
            continue
        segment_ids = list(segmentation.GetSegmentIDs())
        for segment_id in segment_ids:
            segment = segmentation.GetSegment(segment_id)
            texts = [segment.GetName() or segment_id, _terminology(segment)]
            if len(segment_ids) == 1:  # a file pancreas.seg.nrrd often holds one "Segment_1"
                texts.append(node.GetName() or "")
            ranked.append((_rank(texts), FitSource(f"{texts[0]} ({node.GetName()})", node, segment_id)))
    for node in nodes_of_class(scene, "vtkMRMLLabelMapVolumeNode"):
        if not node.GetHideFromEditors():
            name = node.GetName() or "label map"
            ranked.append((_rank([name]), FitSource(name, node)))
    return [source for _, source in sorted(ranked, key=lambda pair: pair[0])]


def fit_roi(
    roi_node: Any, source: FitSource, *, margin_mm: float = DEFAULT_MASK_MARGIN_MM, reference: Any = None
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
    roi = _surface_box(source, axes, margin_mm) if _is_surface(source) else _mask_box(source, axes, margin_mm)
    set_roi(roi_node, roi)
    return roi


def _rank(texts: list[str]) -> int:
    """0 for the whole pancreas, 1 for what has to do with it, 2 for the rest."""
    lower = [text.lower() for text in texts]
    if not any(_NEAR_ORGAN in text for text in lower):
        return 2
    whole = any(_ORGAN.search(text) for text in lower) and not any(_PART.search(text) for text in lower)
    return 0 if whole else 1


def _terminology(segment: Any) -> str:
    """The meanings in a segment's terminology entry (type, region and their modifiers), without its category.

    An entry reads context~category~type~modifier~context~region~modifier, each code as scheme^code^meaning.
    """
    fields = (segment.GetTerminology() or "").split("~")
    return " ".join(field.split("^")[-1] for field in (*fields[2:4], *fields[5:7]))


def _segment(source: FitSource) -> Any:
    segmentation = source.node.GetSegmentation()
    segment = segmentation.GetSegment(source.segment_id) if segmentation else None
    if segment is None:
        raise InputError(f"The segment {source.label} is not there any more; choose another one.")
    return segment


def _is_surface(source: FitSource) -> bool:
    """Whether a segment has a closed surface and no mask; asked first, as Slicer logs an error for what is missing.

    Raises
    ------
    InputError
        If it has neither, such as a fractional label map.
    """
    if source.segment_id is None:
        return False
    segment, words = _segment(source), slicer_module().vtkSegmentationConverter
    if segment.GetRepresentation(words.GetSegmentationBinaryLabelmapRepresentationName()) is not None:
        return False
    if segment.GetRepresentation(words.GetSegmentationClosedSurfaceRepresentationName()) is not None:
        return True
    raise InputError(
        f"The segment {source.label} has neither a mask nor a surface; make its binary labelmap in the module "
        "Segmentations first."
    )


def _mask_box(source: FitSource, axes: Array | None, margin_mm: float) -> Roi:
    mask = node_to_volume(source.node) if source.segment_id is None else _segment_mask(source)
    if not (mask.voxels > 0).any():
        raise _empty(source)
    return Roi.from_mask(mask, mask.canonical_geometry().axes if axes is None else axes, margin_mm)


def _segment_mask(source: FitSource) -> Volume:
    """A segment as a mask of its own (0 and 1), also where it shares its labelmap with others; world RAS mm."""
    image = slicer_module().vtkOrientedImageData()
    source.node.GetBinaryLabelmapRepresentation(source.segment_id, image)
    scalars = image.GetPointData().GetScalars()
    if scalars is None or not image.GetNumberOfPoints():
        raise _empty(source)
    size = image.GetDimensions()
    voxels = _array(scalars).reshape(size[::-1])
    matrix = vtk_module().vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    first = np.eye(4)
    first[:3, 3] = image.GetExtent()[::2]  # a labelmap is stored cropped, its indices counted from the whole image's
    to_world = parent_matrix(source.node) @ slicer_module().util.arrayFromVTKMatrix(matrix) @ first
    return Volume(voxels, _geometry(size, to_world, source.label), name=source.label)


def _surface_box(source: FitSource, axes: Array | None, margin_mm: float) -> Roi:
    surface = vtk_module().vtkPolyData()
    source.node.GetClosedSurfaceRepresentation(source.segment_id, surface)
    if not surface.GetNumberOfPoints():
        raise _empty(source)
    to_world = parent_matrix(source.node)
    axes = np.eye(3) if axes is None else axes
    points = _array(surface.GetPoints().GetData()).astype(float)
    along = (points @ to_world[:3, :3].T + to_world[:3, 3]) @ axes
    low, high = along.min(axis=0) - margin_mm, along.max(axis=0) + margin_mm
    return Roi(axes @ ((low + high) / 2), high - low, axes, source=source.label)


def _axes(reference: Any) -> Array:
    """(3, 3): a volume node's axes in world RAS, those nearest to R, A, S in that order, as columns."""
    matrix = vtk_module().vtkMatrix4x4()
    reference.GetIJKToRASMatrix(matrix)
    to_world = parent_matrix(reference) @ slicer_module().util.arrayFromVTKMatrix(matrix)
    geometry = _geometry((1, 1, 1), to_world, reference.GetName() or "volume")
    return geometry.reordered(*geometry.canonical_order()).axes


def _geometry(size: tuple[int, int, int], ijk_to_ras: Array, name: str) -> Geometry:
    try:
        return Geometry(size, ijk_to_ras)
    except InputError as error:
        raise error.about(name) from error


def _array(data: Any) -> NDArray[Any]:
    from vtk.util.numpy_support import vtk_to_numpy

    return np.array(vtk_to_numpy(data))


def _empty(source: FitSource) -> InputError:
    return InputError(f"{source.label} is empty, so no box can be fitted to it; choose another one, or draw the box.")
