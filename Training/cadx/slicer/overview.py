"""The overview picture: the images in three planes with the map, ROI and the result, for a radiologist's eye."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadx.explain.display import ATTENTION, kind_of
from cadx.geometry import Array
from cadx.roi import Roi
from cadx.slicer.caption import CAPTION_HEIGHT, draw_caption, draw_mark
from cadx.slicer.drawing import WHITE, Canvas, text_width, write_png
from cadx.slicer.overlay import attended_point
from cadx.slicer.results import CaseNodes
from cadx.slicer.rois import node_to_roi
from cadx.slicer.scene import FOREGROUND_OPACITY
from cadx.slicer.views import ORIENTATIONS, SliceView, slice_camera
from cadx.slicer.volumes import node_to_volume

PANEL = 536
GAP = 8
GUTTER = 64
HEADER = 52
WIDTH = GUTTER + 3 * (PANEL + GAP)
HEIGHT = HEADER + 2 * (PANEL + GAP) + CAPTION_HEIGHT
"""With two images; one takes a row less."""
SURROUNDINGS = 1.5
"""Shown width as a multiple of the ROI's longest side."""
_BAR_LENGTHS_MM = (5, 10, 20, 50, 100)


def draw_overview(nodes: CaseNodes, result: dict[str, Any], path: Path) -> Path:
    """Draw a case of a scene and write it as PNG.

    Parameters
    ----------
    nodes
        Image nodes of one scene; whatever else is visible in that scene is drawn too.
    result
        ``cadx.result/1`` document for the caption.
    path
        PNG file, :data:`WIDTH` x :data:`HEIGHT` pixels with two images.

    Raises
    ------
    InputError
        If a node cannot be used or the file cannot be written.
    """
    return write_png(overview_pixels(nodes, result), path)


def overview_pixels(nodes: CaseNodes, result: dict[str, Any]) -> NDArray[np.uint8]:
    """The picture of :func:`draw_overview`: (rows, WIDTH, 3) uint8."""
    roi, kind = node_to_roi(nodes.roi), kind_of(result.get("explanation")) or ATTENTION
    point = shown_point(nodes, roi)
    bottom = HEADER + len(nodes.images) * (PANEL + GAP)
    canvas = Canvas(WIDTH, bottom + CAPTION_HEIGHT)
    with slice_camera(nodes.scene, PANEL) as camera:
        for row, volume in enumerate(nodes.images.values()):
            for column, orientation in enumerate(ORIENTATIONS):
                view = camera.shoot(
                    orientation,
                    background=volume,
                    foreground=nodes.attention,
                    opacity=FOREGROUND_OPACITY,
                    center_ras=roi.center_ras,
                    point_ras=point,
                    field_of_view_mm=field_of_view(roi),
                )
                _draw_panel(canvas, view, *panel_corner(row, column), point)
    for column, title in enumerate(ORIENTATIONS):
        left, _ = panel_corner(0, column)
        canvas.text(title, left + PANEL / 2, HEADER / 2, 26, across="centre")
    for row, title in enumerate(nodes.images):
        _, top = panel_corner(row, 0)
        canvas.text(title, GUTTER / 2, top + PANEL / 2, 32, bold=True, across="centre")
    draw_caption(
        canvas,
        result,
        left=GUTTER,
        top=bottom,
        column_width=PANEL + GAP,
        point_ras=point,
        scale=None if nodes.attention is None else kind.range(node_to_volume(nodes.attention).voxels),
    )
    return canvas.draw()


def panel_corner(row: int, column: int) -> tuple[int, int]:
    """Column and row in the picture of a panel's top left pixel; row 0 is the first image, column 0 axial."""
    return GUTTER + column * (PANEL + GAP), HEADER + row * (PANEL + GAP)


def field_of_view(roi: Roi) -> float:
    """Shown width and height in mm: the ROI and generous surroundings."""
    return max(SURROUNDINGS * float(np.ptp(roi.corners_ras(), axis=0).max()), 40.0)


def shown_point(nodes: CaseNodes, roi: Roi) -> Array:
    """Where the slices are laid (RAS mm): the most attended point, or the ROI's centre without attention."""
    return roi.center_ras if nodes.attention is None else attended_point(node_to_volume(nodes.attention))


def _draw_panel(canvas: Canvas, view: SliceView, left: int, top: int, point: ArrayLike) -> None:
    canvas.paste(view.pixels, left, top)
    column, row = view.column_row(point)
    if 0 <= column < PANEL and 0 <= row < PANEL:
        draw_mark(canvas, left + column, top + row)
    middle, inset = PANEL / 2, 17
    places = {
        "left": (inset, middle, "centre"),
        "right": (PANEL - inset, middle, "centre"),
        "top": (middle, inset, "centre"),
        "bottom": (middle, PANEL - inset, "centre"),
    }
    for edge, (x, y, across) in places.items():
        canvas.shade(left + x - 15, top + y - 15, 30, 30)
        canvas.text(view.edges[edge], left + x, top + y, 24, bold=True, across=across)
    canvas.shade(left + 1, top + 1, text_width(view.position, 22) + 16, 32)
    canvas.text(view.position, left + 10, top + 17, 21)
    _draw_scale(canvas, view, left + PANEL - 14, top + PANEL - 14)


def _draw_scale(canvas: Canvas, view: SliceView, right: float, bottom: float) -> None:
    shown = PANEL * view.mm_per_pixel
    length = max((mm for mm in _BAR_LENGTHS_MM if mm <= shown / 4), default=_BAR_LENGTHS_MM[0])
    pixels = length / view.mm_per_pixel
    canvas.shade(right - pixels - 6, bottom - 31, pixels + 12, 37)
    canvas.fill(right - pixels, bottom - 3, pixels, 3, WHITE)
    canvas.text(f"{length} mm", right - pixels / 2, bottom - 16, 18, across="centre")
