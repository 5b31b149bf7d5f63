"""A picture put together from pixels and VTK's text, so that no drawing library is needed in Slicer."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.slicer.runtime import vtk_module
from cadx.slicer.views import window_pixels

Color = tuple[int, int, int]
WHITE: Color = (245, 245, 245)
GREY: Color = (160, 165, 170)
_MEAN_LETTER = 0.52
"""Mean width of a letter of VTK's Arial as a part of the font size."""

_SHADE = 0.4


class Canvas:
    """A black picture, (height, width, 3); all positions are (column, row) pixels from the top left."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels: NDArray[np.uint8] = np.zeros((height, width, 3), np.uint8)
        self._texts: list[Any] = []

    def paste(self, pixels: NDArray[np.uint8], column: int, row: int) -> None:
        """Put an array (height, width, 3) with its top left corner here."""
        height, width = pixels.shape[:2]
        self.pixels[row : row + height, column : column + width] = pixels

    def fill(self, column: float, row: float, width: float, height: float, color: Color) -> None:
        """A filled rectangle; what lies outside the picture is cut off."""
        left, top = max(round(column), 0), max(round(row), 0)
        self.pixels[top : max(round(row + height), 0), left : max(round(column + width), 0)] = color

    def shade(self, column: float, row: float, width: float, height: float) -> None:
        """Darken a rectangle, so that text on it can be read."""
        left, top = max(round(column), 0), max(round(row), 0)
        part = self.pixels[top : max(round(row + height), 0), left : max(round(column + width), 0)]
        part[:] = part * _SHADE

    def text(
        self,
        text: str,
        column: float,
        row: float,
        size: int,
        *,
        color: Color = WHITE,
        bold: bool = False,
        across: str = "left",
        along: str = "centre",
    ) -> None:
        """Text whose ``across`` (left, centre, right) and ``along`` (top, centre, bottom) side is at the position."""
        vtk = vtk_module()
        actor = vtk.vtkTextActor()
        actor.SetInput(text)
        actor.SetTextScaleModeToNone()
        look = actor.GetTextProperty()
        look.SetFontFamilyToArial()
        look.SetFontSize(size)
        look.SetColor(*(part / 255 for part in color))
        look.SetBold(bold)
        look.SetShadow(True)
        look.SetShadowOffset(1, -1)
        {"left": look.SetJustificationToLeft, "centre": look.SetJustificationToCentered}.get(
            across, look.SetJustificationToRight
        )()
        {"top": look.SetVerticalJustificationToTop, "centre": look.SetVerticalJustificationToCentered}.get(
            along, look.SetVerticalJustificationToBottom
        )()
        actor.SetPosition(round(column), self.pixels.shape[0] - 1 - round(row))
        self._texts.append(actor)

    def draw(self) -> NDArray[np.uint8]:
        """The finished picture (height, width, 3) uint8."""
        vtk = vtk_module()
        height, width = self.pixels.shape[:2]
        window = vtk.vtkRenderWindow()
        window.SetOffScreenRendering(True)
        window.SetDPI(72)
        window.SetSize(width, height)
        renderer = vtk.vtkRenderer()
        window.AddRenderer(renderer)
        mapper = vtk.vtkImageMapper()
        mapper.SetInputData(image_of(self.pixels))
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        backdrop = vtk.vtkActor2D()
        backdrop.SetMapper(mapper)
        backdrop.GetProperty().SetDisplayLocationToBackground()
        renderer.AddViewProp(backdrop)
        for actor in self._texts:
            renderer.AddViewProp(actor)
        pixels = window_pixels(window)
        renderer.RemoveAllViewProps()
        window.Finalize()
        return pixels


def image_of(pixels: NDArray[np.uint8]) -> Any:
    """A ``vtkImageData`` of an array (height, width, 3), first row at the top."""
    vtk = vtk_module()
    from vtk.util.numpy_support import numpy_to_vtk

    height, width = pixels.shape[:2]
    image = vtk.vtkImageData()
    image.SetDimensions(width, height, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(pixels[::-1]).reshape(-1, 3), deep=True))
    return image


def write_png(pixels: NDArray[np.uint8], path: Path) -> Path:
    """Write a picture (height, width, 3) as PNG, beside its place first.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    vtk = vtk_module()
    beside = path.with_name(f".{path.name}.part")
    writer = vtk.vtkPNGWriter()
    writer.SetInputData(image_of(pixels))
    writer.WriteToMemoryOn()
    writer.Write()
    from vtk.util.numpy_support import vtk_to_numpy

    try:
        beside.write_bytes(vtk_to_numpy(writer.GetResult()).tobytes())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"{path.name} cannot be written; check the folder's space and permissions.") from error
    return path


def text_width(text: str, size: int) -> float:
    """About how many pixels a text is wide."""
    return len(text) * size * _MEAN_LETTER


def wrap(text: str, width: float, size: int) -> list[str]:
    """Break text into lines of about ``width`` pixels at this font size."""
    return textwrap.wrap(text, max(int(width / (size * _MEAN_LETTER)), 8)) or [""]
