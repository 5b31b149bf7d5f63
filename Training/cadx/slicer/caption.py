"""The strip below the overview: grade, probabilities, what the colours mean, warnings and the disclaimer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cadx import DISCLAIMER
from cadx.explain.display import ATTENTION, LOWEST_SHOWN, MapKind, kind_of, percent
from cadx.slicer.drawing import GREY, WHITE, Canvas, Color, wrap
from cadx.slicer.overlay import inferno
from cadx.slicer.rois import OUTLINE_COLOR
from cadx.slicer.views import position_text

CAPTION_HEIGHT = 312
AMBER: Color = (255, 190, 70)
_BAR: Color = (110, 170, 225)
_BAR_BEST: Color = (245, 245, 245)
_BAR_FLOOR: Color = (45, 48, 52)
_MOST_CLASSES = 5
_MOST_WARNING_LINES = 3


def draw_caption(
    canvas: Canvas,
    result: dict[str, Any],
    *,
    left: int,
    top: int,
    column_width: int,
    point_ras: ArrayLike,
    scale: tuple[float, float] | None,
) -> None:
    """Draw three columns (grade, probabilities, legend) and below them warnings and disclaimer.

    Parameters
    ----------
    result
        ``cadx.result/1`` document; what it lacks is left out.
    left, top, column_width
        Pixels.
    point_ras
        (3,) RAS mm, the point that the slices go through.
    scale
        Ends of the map's colour scale, in the unit of its kind; None without an overlay.
    """
    _draw_grade(canvas, result, left, top, column_width)
    _draw_probabilities(canvas, result, left + column_width, top, column_width - 40)
    kind = kind_of(result.get("explanation")) or ATTENTION
    _draw_legend(canvas, left + 2 * column_width, top, column_width - 24, np.asarray(point_ras), scale, kind)
    _draw_notes(canvas, result, left, top + 190, 3 * column_width - 24)


def _draw_grade(canvas: Canvas, result: dict[str, Any], left: int, top: int, width: int) -> None:
    label = result.get("label")
    task = str(result.get("task") or "").upper()
    canvas.text(f"{task} grade".strip(), left, top + 28, 20, color=GREY)
    lines = wrap(str(label) if label else "not graded", width - 30, 40)[:2]
    for index, line in enumerate(lines):
        canvas.text(line, left, top + 72 + 44 * index, 40, bold=True, color=WHITE if label else AMBER)
    bundle = result.get("bundle") or {}
    names = [str(bundle[key]) for key in ("name", "version") if bundle.get(key)]
    if names:
        canvas.text(f"Model {' '.join(names)}", left, top + 158, 19, color=GREY)


def _draw_probabilities(canvas: Canvas, result: dict[str, Any], left: int, top: int, width: int) -> None:
    canvas.text("Probability", left, top + 28, 20, color=GREY)
    probabilities = {str(name): float(p) for name, p in (result.get("probabilities") or {}).items()}
    if not probabilities:
        canvas.text("none: the case was not graded", left, top + 64, 20, color=AMBER)
        return
    shown = list(probabilities.items())
    if len(shown) > _MOST_CLASSES:
        shown = sorted(shown, key=lambda item: -item[1])[:_MOST_CLASSES]
    names, numbers = 170, 70
    step = min(36, 130 // len(shown))
    for index, (name, probability) in enumerate(shown):
        row = top + 64 + step * index
        best = name == result.get("label")
        size = next((size for size in (22, 19, 16) if len(wrap(name, names - 10, size)) == 1), 16)
        canvas.text(wrap(name, names - 10, size)[0], left, row, size, bold=best)
        room = width - names - numbers
        canvas.fill(left + names, row - 7, room, 14, _BAR_FLOOR)
        canvas.fill(left + names, row - 7, room * min(max(probability, 0.0), 1.0), 14, _BAR_BEST if best else _BAR)
        canvas.text(percent(probability), left + width, row, 22, bold=best, across="right")


def _draw_legend(
    canvas: Canvas, left: int, top: int, width: int, point: Any, scale: tuple[float, float] | None, kind: MapKind
) -> None:
    title = kind.scale[0].upper() + kind.scale[1:]
    canvas.text(title if scale else "No map", left, top + 28, 20, color=GREY)
    if scale:
        colors = np.round(255 * inferno(np.linspace(0.0, 1.0, width))).astype(np.uint8)
        colors[: round(LOWEST_SHOWN * width)] = _BAR_FLOOR
        canvas.paste(np.broadcast_to(colors, (18, width, 3)), left, top + 50)
        canvas.text("not drawn", left, top + 86, 18, color=GREY)
        lowest = scale[0] + LOWEST_SHOWN * (scale[1] - scale[0])
        canvas.text(kind.number(lowest), left + LOWEST_SHOWN * width, top + 86, 18, color=GREY, across="centre")
        canvas.text(kind.number(scale[1]), left + width, top + 86, 18, color=GREY, across="right")
    place = ", ".join(position_text(axis, float(mm)).removesuffix(" mm") for axis, mm in enumerate(point))
    draw_mark(canvas, left + 10, top + 121, free=3, stroke=6)
    what = f"highest {kind.word}" if scale else "centre of the ROI"
    canvas.text(f"{what}:  {place} mm", left + 30, top + 120, 19)
    outline: Color = tuple(round(255 * part) for part in OUTLINE_COLOR)  # type: ignore[assignment]
    for row, height in ((top + 147, 2), (top + 161, 2)):
        canvas.fill(left, row, 16, height, outline)
    for column in (left, left + 14):
        canvas.fill(column, top + 147, 2, 16, outline)
    canvas.text("region of interest", left + 30, top + 155, 19)


def _draw_notes(canvas: Canvas, result: dict[str, Any], left: int, top: int, width: int) -> None:
    lines: list[str] = []
    for warning in result.get("warnings") or []:
        lines += wrap(str(warning.get("text", "")), width, 21)
    if len(lines) > _MOST_WARNING_LINES:
        lines = [*lines[: _MOST_WARNING_LINES - 1], "More warnings are in result.json."]
    for index, line in enumerate(lines):
        canvas.text(line, left, top + 14 + 27 * index, 21, color=AMBER)
    canvas.text(str(result.get("disclaimer") or DISCLAIMER), left, top + 99, 22, bold=True)


def draw_mark(canvas: Canvas, column: float, row: float, *, free: int = 9, stroke: int = 15) -> None:
    """Four short strokes around a point, which itself stays free to be seen; white on black, for any background."""
    for border, color in ((1, (0, 0, 0)), (0, WHITE)):
        wide, thick = stroke + 2 * border, 2 + 2 * border
        for start in (free, -free - stroke):
            canvas.fill(column + start - border, row - 1 - border, wide, thick, color)
            canvas.fill(column - 1 - border, row + start - border, thick, wide, color)
