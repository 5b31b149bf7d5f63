"""A volume node and a Volume: the same voxels (K, J, I) and IJK-to-RAS matrix, both ways."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.geometry import Array, Geometry
from cadx.roi import Roi
from cadx.slicer.runtime import nodes_of_class, slicer_module, vtk_module
from cadx.volume import Volume

_SCALAR_CLASSES = ("vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode")
_SURROUNDINGS = 1.5
_KEPT_VOLUMES = 4
_FRAME_OF_REFERENCE_TAG = "0020,0052"


def node_to_volume(node: Any) -> Volume:
    """Copy a scalar or label-map volume node; a linear parent transform is applied to the geometry, not the voxels.

    Parameters
    ----------
    node
        ``vtkMRMLScalarVolumeNode`` or ``vtkMRMLLabelMapVolumeNode``.

    Returns
    -------
    Volume
        Voxels (K, J, I) as stored, geometry in RAS mm (world), and patient ID and frame
        of reference where the node came from DICOM.

    Raises
    ------
    InputError
        If the node is missing, has no voxels, is not scalar, or stands under a non-linear or shearing transform.
    """
    seen = view_of_node(node)
    return replace(
        seen,
        voxels=np.array(seen.voxels),
        patient_id=_patient_id(node),
        frame_of_reference=_frame_of_reference(node),
    )


def view_of_node(node: Any) -> Volume:
    """As :func:`node_to_volume`, for a look at once: the voxels are the node's own, and only place and name are told.

    Raises
    ------
    InputError
        As for :func:`node_to_volume`.
    """
    _require_scalar(node)
    voxels = slicer_module().util.arrayFromVolume(node)
    return Volume(voxels, geometry_of_node(node), name=node.GetName() or "volume")


def geometry_of_node(node: Any) -> Geometry:
    """Size and IJK-to-RAS matrix (world, mm) of a volume node that has voxels, a linear parent transform applied.

    Raises
    ------
    InputError
        If the transform is not linear, or shears.
    """
    try:
        return Geometry(node.GetImageData().GetDimensions(), parent_matrix(node) @ _ijk_to_ras(node))
    except InputError as error:
        raise InputError(f"{node.GetName() or 'volume'}: {error}") from error


def volume_to_node(
    scene: Any, volume: Volume, name: str | None = None, *, shown_range: tuple[float, float] | None = None
) -> Any:
    """Add a ``vtkMRMLScalarVolumeNode`` that shows in grey, with a fixed window.

    Parameters
    ----------
    scene
        ``vtkMRMLScene`` that receives the node.
    volume
        Voxels (K, J, I) and geometry (RAS mm).
    name
        Node name; the volume's own name by default.
    shown_range
        Intensities drawn black and white; the 1st and 99.5th percentile by default.
    """
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name or volume.name)
    # before the voxels: Slicer would look through them all for a window of its own
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    display.InterpolateOn()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*(shown_range or robust_range(volume.voxels)))
    fill_volume_node(node, volume)
    return node


def fill_volume_node(node: Any, volume: Volume) -> None:
    """Give a volume node the voxels (K, J, I) and the geometry (RAS mm) of a Volume."""
    util = slicer_module().util
    util.updateVolumeFromArray(node, _storable(volume.voxels))
    node.SetIJKToRASMatrix(util.vtkMatrixFromArray(np.array(volume.geometry.ijk_to_ras)))


class VolumeReader:
    """Reads volume nodes, and keeps what it read until the node changes: a ROI moves more often than an image."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[object, ...], Volume]] = {}

    def read(self, node: Any) -> Volume:
        """As :func:`node_to_volume`, which also says what it raises."""
        known = hasattr(node, "GetClassName") and node.GetClassName() in _SCALAR_CLASSES
        image = node.GetImageData() if known else None
        if image is None:
            return node_to_volume(node)
        place = (parent_matrix(node) @ _ijk_to_ras(node)).tobytes()
        stamp = (image.GetMTime(), place, node.GetName(), node.GetAttribute("DICOM.instanceUIDs"))
        kept = self._kept.get(node.GetID())
        if kept is None or kept[0] != stamp:
            self._make_room()
            kept = self._kept[node.GetID()] = stamp, node_to_volume(node)
        return kept[1]

    def forget(self) -> None:
        """Keep nothing: the scene is going."""
        self._kept = {}

    def _make_room(self) -> None:
        while len(self._kept) >= _KEPT_VOLUMES:
            del self._kept[next(iter(self._kept))]


def robust_range(voxels: NDArray[np.generic]) -> tuple[float, float]:
    """1st and 99.5th percentile of the finite values; never an empty range."""
    values = np.asarray(voxels, dtype=float).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1.0, 99.5)))
    return (low, high) if high > low else (low, low + 1.0)


def range_around(volume: Volume, roi: Roi) -> tuple[float, float]:
    """:func:`robust_range` of the voxels in and around the ROI, so that fat and skin do not set the contrast."""
    half = np.ptp(roi.corners_ras(), axis=0) / 2 * _SURROUNDINGS
    box = Roi(roi.center_ras, 2 * half).corners_ras()
    ijk = volume.geometry.to_ijk(box)
    size = np.asarray(volume.geometry.size_ijk)
    first = np.clip(np.floor(ijk.min(axis=0)).astype(int), 0, size)
    last = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 1, 0, size)
    part = volume.voxels[first[2] : last[2], first[1] : last[1], first[0] : last[0]]
    return robust_range(part if part.size else volume.voxels)


def parent_matrix(node: Any) -> Array:
    """(4, 4) matrix of a node's parent transform to world RAS; identity without one.

    Raises
    ------
    InputError
        If the transform is not linear.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise InputError(f"{node.GetName()} stands under a non-linear transform; harden it first.")
    matrix = vtk_module().vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return np.array(slicer_module().util.arrayFromVTKMatrix(matrix))


def _require_scalar(node: Any) -> None:
    if node is None:
        raise InputError("No volume is selected; choose one.")
    if not hasattr(node, "GetClassName"):
        raise InputError(f"{type(node).__name__} is no node; give a volume node of the scene.")
    name = node.GetName() or "volume"
    image = node.GetImageData() if node.GetClassName() in _SCALAR_CLASSES else None
    if node.GetClassName() not in _SCALAR_CLASSES or (image and image.GetNumberOfScalarComponents() > 1):
        raise InputError(f"{name} is not a scalar volume; choose a grey-scale image.")
    if image is None or image.GetNumberOfPoints() == 0:
        raise InputError(f"{name} has no voxels; load the image again.")


def _ijk_to_ras(node: Any) -> Array:
    matrix = vtk_module().vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array(slicer_module().util.arrayFromVTKMatrix(matrix))


def _storable(voxels: NDArray[np.generic]) -> NDArray[np.generic]:
    """The same numbers in a type that Slicer can draw and save (no bool, half float or 64-bit integer)."""
    if voxels.dtype == bool:
        return voxels.astype(np.uint8)
    if voxels.dtype == np.float16:
        return voxels.astype(np.float32)
    if voxels.dtype.kind in "iu" and voxels.dtype.itemsize == 8:
        fits = not voxels.size or np.abs(voxels.astype(float)).max() <= np.iinfo(np.int32).max
        return voxels.astype(np.int32 if fits else np.float64)
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)


def _patient_id(node: Any) -> str | None:
    """DICOM patient ID from the subject hierarchy, where the application filed the node under a patient."""
    scene = node.GetScene()
    trees = nodes_of_class(scene, "vtkMRMLSubjectHierarchyNode") if scene else []
    item = trees[0].GetItemByDataNode(node) if trees else 0
    if not item:
        return None
    words = slicer_module().vtkMRMLSubjectHierarchyConstants
    patient = trees[0].GetItemAncestorAtLevel(item, words.GetDICOMLevelPatient())
    return (trees[0].GetItemUID(patient, words.GetDICOMUIDName()) or None) if patient else None


def _frame_of_reference(node: Any) -> str | None:
    """Frame of reference UID of a node that the application loaded from its DICOM database."""
    database = getattr(slicer_module(), "dicomDatabase", None)
    instances = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    if database is None or not instances:
        return None
    return database.instanceValue(instances[0], _FRAME_OF_REFERENCE_TAG) or None
