"""Slices drawn off screen by Slicer's own slice logic and markups display, as arrays of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadx.geometry import Array
from cadx.slicer.runtime import require_drawing, slicer_module, vtk_module
from cadx.slicer.scene import application_logic

ORIENTATIONS = ("Axial", "Coronal", "Sagittal")
_LAYOUT_NAME = "cadxOffScreen"
_LETTERS = ("RL", "AP", "SI")
_WORDS = (("Right", "Left"), ("Anterior", "Posterior"), ("Superior", "Inferior"))


@dataclass(frozen=True)
class SliceView:
    """One drawn slice.

    Parameters
    ----------
    pixels
        (height, width, 3) uint8, first row at the top.
    xy_to_ras
        (4, 4) from pixels (x to the right, y **up**, first pixel 0, 0) to RAS mm.
    """

    pixels: NDArray[np.uint8]
    xy_to_ras: Array

    def column_row(self, ras: ArrayLike) -> tuple[float, float]:
        """Where a point (RAS mm) falls, perpendicular to the slice: column and row from the top left."""
        x, y = (np.linalg.inv(self.xy_to_ras) @ [*np.asarray(ras, dtype=float), 1.0])[:2]
        return float(x), self.pixels.shape[0] - 1 - float(y)

    @property
    def mm_per_pixel(self) -> float:
        """Size of a pixel in mm."""
        return float(np.linalg.norm(self.xy_to_ras[:3, 0]))

    @property
    def edges(self) -> dict[str, str]:
        """Patient direction (R, L, A, P, S or I) at the view's left, right, top and bottom edge."""
        right, up = self.xy_to_ras[:3, 0], self.xy_to_ras[:3, 1]
        return {
            "left": direction_letter(-right),
            "right": direction_letter(right),
            "top": direction_letter(up),
            "bottom": direction_letter(-up),
        }

    @property
    def position(self) -> str:
        """Where the slice lies along its normal, such as ``Superior 22.1 mm``."""
        axis = int(np.argmax(np.abs(self.xy_to_ras[:3, 2])))
        mm = float(self.xy_to_ras[axis, 3])
        return f"{_WORDS[axis][0 if mm >= 0 else 1]} {abs(mm):.1f} mm"


def direction_letter(direction: ArrayLike) -> str:
    """R, L, A, P, S or I, whichever is nearest to a direction in RAS.

    >>> direction_letter([-0.9, 0.1, 0.2])
    'L'
    """
    vector = np.asarray(direction, dtype=float)
    axis = int(np.argmax(np.abs(vector)))
    return _LETTERS[axis][0 if vector[axis] > 0 else 1]


def position_text(axis: int, mm: float) -> str:
    """A coordinate with its letter instead of a sign.

    >>> position_text(0, -12.34)
    'L 12.3 mm'
    """
    return f"{_LETTERS[axis][0 if mm >= 0 else 1]} {abs(mm):.1f} mm"


class SliceCamera:
    """Draws slices of one scene; made by :func:`slice_camera`."""

    def __init__(self, scene: Any, size: int) -> None:
        slicer, vtk = slicer_module(), vtk_module()
        if vtk.vtkMapper.GetResolveCoincidentTopology() == vtk.VTK_RESOLVE_OFF:
            vtk.vtkMapper.SetResolveCoincidentTopologyToPolygonOffset()  # what Slicer's widgets expect
        self._size = size
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(True)
        self._window.SetNumberOfLayers(2)
        self._window.SetSize(size, size)
        renderer = vtk.vtkRenderer()
        renderer.GetActiveCamera().ParallelProjectionOn()
        self._window.AddRenderer(renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        image = vtk.vtkActor2D()
        image.SetMapper(self._mapper)
        image.GetProperty().SetDisplayLocationToBackground()
        renderer.AddViewProp(image)  # before the markups, or they blend on black
        self._logic = slicer.vtkMRMLSliceLogic()
        application = application_logic(scene)
        self._logic.SetMRMLApplicationLogic(application)
        self._logic.SetMRMLScene(scene)
        self._node = self._logic.AddSliceNode(_LAYOUT_NAME)
        self._logic.ResizeSliceNode(size, size)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.SetRenderer(renderer)
        manager = slicer.vtkMRMLMarkupsDisplayableManager()
        manager.SetMRMLApplicationLogic(application)
        self._group.AddDisplayableManager(manager)
        self._group.SetMRMLDisplayableNode(self._node)

    def shoot(
        self,
        orientation: str,
        *,
        background: Any,
        foreground: Any = None,
        opacity: float = 0.5,
        center_ras: ArrayLike,
        point_ras: ArrayLike,
        field_of_view_mm: float,
    ) -> SliceView:
        """Draw one slice.

        Parameters
        ----------
        orientation
            Axial, Coronal or Sagittal (radiological: the patient's right on the left).
        background, foreground
            Volume nodes; ``foreground`` may be None.
        opacity
            Of the foreground, on top of its colours' own.
        center_ras
            (3,) RAS mm in the middle of the view.
        point_ras
            (3,) RAS mm through which the slice is laid.
        field_of_view_mm
            Width and height shown.
        """
        node, layers = self._node, self._logic.GetSliceCompositeNode()
        layers.SetBackgroundVolumeID(background.GetID())
        layers.SetForegroundVolumeID(foreground.GetID() if foreground else None)
        layers.SetForegroundOpacity(opacity)
        node.SetOrientation(orientation)
        node.SetFieldOfView(field_of_view_mm, field_of_view_mm, node.GetFieldOfView()[2])
        node.JumpSliceByCentering(*(float(v) for v in np.asarray(center_ras)))
        node.JumpSliceByOffsetting(*(float(v) for v in np.asarray(point_ras)))
        self._logic.UpdatePipeline()
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        matrix = np.array(slicer_module().util.arrayFromVTKMatrix(node.GetXYToRAS()))
        return SliceView(window_pixels(self._window), matrix)

    def close(self) -> None:
        """Take the nodes that were made for drawing out of the scene."""
        scene = self._node.GetScene()
        made = [self._node, self._logic.GetSliceCompositeNode(), self._logic.GetSliceDisplayNode()]
        self._mapper.SetInputConnection(None)
        self._group.SetMRMLDisplayableNode(None)
        self._group.SetRenderer(None)
        self._logic.DeleteSliceModel()
        self._logic.SetMRMLScene(None)
        for node in made:
            if scene and node and scene.IsNodePresent(node):
                scene.RemoveNode(node)
        self._window.Finalize()


@contextmanager
def slice_camera(scene: Any, size: int) -> Iterator[SliceCamera]:
    """A :class:`SliceCamera` of ``size`` x ``size`` pixels; the scene has the same nodes afterwards as before."""
    require_drawing()
    camera = SliceCamera(scene, size)
    try:
        yield camera
    finally:
        camera.close()


def window_pixels(window: Any) -> NDArray[np.uint8]:
    """Draw a window and read it: (height, width, 3) uint8, first row at the top."""
    vtk = vtk_module()
    from vtk.util.numpy_support import vtk_to_numpy

    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ShouldRerenderOff()
    grab.ReadFrontBufferOff()
    grab.SetInputBufferTypeToRGB()
    grab.Update()
    image = grab.GetOutput()
    width, height, _ = image.GetDimensions()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, 3)
    return np.ascontiguousarray(pixels[::-1])
