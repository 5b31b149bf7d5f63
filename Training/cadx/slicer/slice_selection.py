"""Which slices of a volume are meant: the one in view, or those that a segment touches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cadx.errors import InputError
from cadx.geometry import Array, Geometry
from cadx.slicer.runtime import nodes_of_class
from cadx.slicer.segments import MaskSource, is_surface, mask_of, surface_points
from cadx.slicer.views import direction_letter
from cadx.volume import Volume

if TYPE_CHECKING:
    from cadx.prepare.stack import Stack

_LETTERS = ("RL", "AP", "SI")
_NO_STEP = 1e-4


def slice_view(scene: Any, axis: int) -> Any:
    """The slice view (``vtkMRMLSliceNode``) that looks along one of the patient's axes 0, 1, 2 (R, A, S); or None.

    One that the layout shows comes before one that it does not.
    """
    views = nodes_of_class(scene, "vtkMRMLSliceNode")
    along = [view for view in views if direction_letter(_to_ras(view)[:3, 2]) in _LETTERS[axis]]
    return next((view for view in along if view.IsMappedInLayout()), along[0] if along else None)


def slice_in_view(scene: Any, stack: Stack) -> int | None:
    """Stored number of the slice nearest to where its view is; None outside the volume, or where there is no view."""
    view = slice_view(scene, stack.axis)
    if view is None:
        return None
    (place,) = _places(stack, _to_ras(view)[None, :3, 3])
    index = int(np.floor(place + 0.5))
    return index if 0 <= index < stack.count else None


def go_to_slice(scene: Any, image: Any, stack: Stack, index: int) -> None:
    """Bring the view of the stack's plane to a slice, turned into the very plane that it was acquired in."""
    view = slice_view(scene, stack.axis)
    if view is not None:
        view.RotateToVolumePlane(image)
        view.JumpSliceByOffsetting(*stack.center_ras(index).tolist())


def slice_alone(stack: Stack, index: int) -> Volume:
    """One slice as a volume in its place: its voxels are a view of the stack's."""
    volume, stored = stack.volume, _stored(stack)
    first, size = np.eye(4), list(volume.geometry.size_ijk)
    first[stored, 3], size[stored] = index, 1
    voxels = np.moveaxis(np.moveaxis(volume.voxels, 2 - stored, 0)[index : index + 1], 0, 2 - stored)
    return Volume(voxels, Geometry((size[0], size[1], size[2]), volume.geometry.ijk_to_ras @ first), volume.name)


def touched_slices(stack: Stack, source: MaskSource) -> tuple[int, ...]:
    """Stored numbers of the slices that a segment or label map reaches into, by place in the patient.

    A voxel of the mask touches the slices whose middles it covers, at least the nearest one.

    Raises
    ------
    InputError
        If the mask is empty, cannot be used, or lies outside the volume.
    """
    if is_surface(source):
        ends = _places(stack, surface_points(source))
        low, high = np.array([ends.min()]), np.array([ends.max()])
        reach = 0.5
    else:
        mask = mask_of(source)
        corners = _places(stack, mask.geometry.to_ras(np.vstack([np.zeros((1, 3)), np.eye(3)])))
        steps = np.abs(corners[1:] - corners[0])
        # along an edge that lies within the slices one voxel tells as much as all
        within = tuple(2 - edge for edge in range(3) if steps[edge] * mask.geometry.size_ijk[edge] < _NO_STEP)
        ijk = np.argwhere((mask.voxels > 0).any(axis=within, keepdims=True))[:, ::-1]
        places = np.unique(np.round(_places(stack, mask.geometry.to_ras(ijk)), 3))
        reach = max(0.5, float(steps.max()) / 2)
        low = high = places
    found: set[int] = set()
    for first, last in zip(np.floor(low - reach + 1e-6), np.floor(high + reach - 1e-6), strict=True):
        found.update(range(max(0, int(first) + 1), min(stack.count - 1, int(last)) + 1))
    if not found:
        raise InputError(f"{source.label} touches no slice of {stack.volume.name}; choose another segment or volume.")
    return stack.ordered(found)


def _places(stack: Stack, points_ras: Array) -> Array:
    """(n,) where points (n, 3) lie along the stack, in stored slice numbers."""
    return np.asarray(stack.volume.geometry.to_ijk(points_ras)[:, _stored(stack)])


def _stored(stack: Stack) -> int:
    """Which of the stored axes I, J, K the stack's slices are counted along."""
    return stack.volume.geometry.canonical_order()[0][stack.axis]


def _to_ras(view: Any) -> Array:
    matrix = view.GetSliceToRAS()
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
