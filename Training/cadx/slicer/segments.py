"""What is drawn over images, segments and label maps, as masks and points in world RAS mm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.geometry import Array, Geometry
from cadx.slicer.runtime import nodes_of_class, slicer_module, vtk_module
from cadx.slicer.volumes import node_to_volume, parent_matrix
from cadx.volume import Volume


@dataclass(frozen=True)
class MaskSource:
    """A segment of a ``vtkMRMLSegmentationNode``, or a ``vtkMRMLLabelMapVolumeNode``.

    ``label`` is for a combo box; ``segment_id`` is None for a label map.
    """

    label: str
    node: Any
    segment_id: str | None = None


def mask_sources(scene: Any) -> list[MaskSource]:
    """All segments, then all label maps, in scene order; hidden nodes are left out."""
    found = []
    for node in nodes_of_class(scene, "vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        if segmentation is None or node.GetHideFromEditors():
            continue
        for segment_id in segmentation.GetSegmentIDs():
            name = segmentation.GetSegment(segment_id).GetName() or segment_id
            found.append(MaskSource(f"{name} ({node.GetName()})", node, segment_id))
    for node in nodes_of_class(scene, "vtkMRMLLabelMapVolumeNode"):
        if not node.GetHideFromEditors():
            found.append(MaskSource(node.GetName() or "label map", node))
    return found


def segment_of(source: MaskSource) -> Any:
    """The ``vtkSegment``.

    Raises
    ------
    InputError
        If it is gone.
    """
    segmentation = source.node.GetSegmentation()
    segment = segmentation.GetSegment(source.segment_id) if segmentation else None
    if segment is None:
        raise InputError(f"The segment {source.label} is not there any more; choose another one.")
    return segment


def is_surface(source: MaskSource) -> bool:
    """Whether a segment has a closed surface and no mask; asked first, as Slicer logs an error for what is missing.

    Raises
    ------
    InputError
        If it has neither, such as a fractional label map.
    """
    if source.segment_id is None:
        return False
    segment, words = segment_of(source), slicer_module().vtkSegmentationConverter
    if segment.GetRepresentation(words.GetSegmentationBinaryLabelmapRepresentationName()) is not None:
        return False
    if segment.GetRepresentation(words.GetSegmentationClosedSurfaceRepresentationName()) is not None:
        return True
    raise InputError(
        f"The segment {source.label} has neither a mask nor a surface; make its binary labelmap in the module "
        "Segmentations first."
    )


def mask_of(source: MaskSource) -> Volume:
    """The mask of a segment or label map, above zero where it is; world RAS mm.

    Raises
    ------
    InputError
        If it is empty, gone, or stands under a transform that is not linear or shears.
    """
    mask = node_to_volume(source.node) if source.segment_id is None else _segment_mask(source)
    if not (mask.voxels > 0).any():
        raise _empty(source)
    return mask


def mask_stamp(source: MaskSource) -> tuple[object, ...]:
    """What changes whenever the mask of a segment or label map, or its place, does.

    Raises
    ------
    InputError
        If it is gone, or stands under a transform that is not linear.
    """
    node, words = source.node, slicer_module().vtkSegmentationConverter
    place = parent_matrix(node).tobytes()
    if source.segment_id is None:
        image = node.GetImageData()
        return (node.GetID(), node.GetMTime(), None if image is None else image.GetMTime(), place)
    segment = segment_of(source)
    names = (
        words.GetSegmentationBinaryLabelmapRepresentationName(),
        words.GetSegmentationClosedSurfaceRepresentationName(),
    )
    held = (segment.GetRepresentation(name) for name in names)
    times = tuple(None if one is None else one.GetMTime() for one in held)
    return (node.GetID(), source.segment_id, segment.GetLabelValue(), times, place)


def surface_points(source: MaskSource) -> Array:
    """(n, 3) points of a segment's closed surface, world RAS mm.

    Raises
    ------
    InputError
        If there are none.
    """
    surface = vtk_module().vtkPolyData()
    source.node.GetClosedSurfaceRepresentation(source.segment_id, surface)
    if not surface.GetNumberOfPoints():
        raise _empty(source)
    to_world = parent_matrix(source.node)
    points = _array(surface.GetPoints().GetData()).astype(float)
    return np.asarray(points @ to_world[:3, :3].T + to_world[:3, 3])


def _segment_mask(source: MaskSource) -> Volume:
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
    return Volume(voxels, geometry_of(size, to_world, source.label), name=source.label)


def geometry_of(size: tuple[int, int, int], ijk_to_ras: Array, name: str) -> Geometry:
    """A geometry; what is wrong with it names its node."""
    try:
        return Geometry(size, ijk_to_ras)
    except InputError as error:
        raise error.about(name) from error


def _array(data: Any) -> NDArray[Any]:
    from vtk.util.numpy_support import vtk_to_numpy

    return np.array(vtk_to_numpy(data))


def _empty(source: MaskSource) -> InputError:
    return InputError(f"{source.label} is empty, so there is nothing to go by; choose another one.")
