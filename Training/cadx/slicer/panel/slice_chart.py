"""A bar a slice, stacked by the classes' probabilities, that can be clicked and dragged over."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

WIDTH = 330
_HEIGHT, _WIDEST_BAR = 84, 28
_MARKER, _ROOM = 7, 9
_PAPER, _PAPER_OUTDATED, _INK, _INK_OUTDATED = "#ffffff", "#f4f4f4", "#1e1e1e", "#8a8a8a"


class SliceChart:
    """The chart; ``widget`` is what belongs into a layout.

    Parameters
    ----------
    chosen
        Called with a bar's number, 0 at the left, when the user presses the left button on it or drags onto it.
    """

    def __init__(self, chosen: Callable[[int], None]) -> None:
        self._chosen = chosen
        self._edges: list[int] = [0]
        self._bars: Any = None
        self._ink = _INK
        self._marked: int | None = None
        self._last: int | None = None
        self.widget = qt.QLabel()
        self.widget.setFixedSize(WIDTH, _HEIGHT + _ROOM)
        self.widget.setToolTip(
            _(
                "One bar a slice; its colours are the classes' probabilities.\n"
                "Click or drag to show a slice in the views; the triangle is below the one shown."
            )
        )
        self._mouse = _LeftButton(self._on_mouse)
        self.widget.installEventFilter(self._mouse)

    def show(self, shares: Sequence[Sequence[float]], colours: Sequence[str], outdated: bool) -> None:
        """Draw the bars.

        Parameters
        ----------
        shares
            (slices, layers) parts of a bar's height from below, 0..1.
        colours
            Of the layers, ``#rrggbb``.
        """
        count = len(shares)
        self._edges = [number * WIDTH // count for number in range(count + 1)]
        self._ink = _INK_OUTDATED if outdated else _INK
        self._marked = None
        self._bars = qt.QPixmap(WIDTH, _HEIGHT + _ROOM)
        self._bars.fill(qt.QColor(_PAPER_OUTDATED if outdated else _PAPER))
        paints = [qt.QColor(greyed(colour) if outdated else colour) for colour in colours]
        painter = qt.QPainter(self._bars)
        for number, parts in enumerate(shares):
            left, width = self._bar(number)
            for paint, (top, height) in zip(paints, layers(parts), strict=True):
                painter.fillRect(left, top, width, height, paint)
        painter.end()
        self._draw()

    def mark(self, number: int | None) -> None:
        """Put the triangle below a bar, or nowhere."""
        if number != self._marked:
            self._marked = number
            self._draw()

    def click(self, number: int) -> None:
        """As a user's click on a bar."""
        self._on_mouse(self.middle(number), True)

    def middle(self, number: int) -> int:
        """Where a bar's middle is, pixels from the left."""
        return (self._edges[number] + self._edges[number + 1]) // 2

    def at(self, x: int) -> int:
        """The bar at a place, or the nearest."""
        return min(max(bisect_right(self._edges, x) - 1, 0), len(self._edges) - 2)

    def _bar(self, number: int) -> tuple[int, int]:
        """Left edge and width of what is drawn: a gap beside it where there is room, never less than a pixel."""
        room = self._edges[number + 1] - self._edges[number]
        width = min(max(room - (room >= 4), 1), _WIDEST_BAR)
        return self._edges[number] + (room - width) // 2, width

    def _draw(self) -> None:
        if self._bars is None:
            return
        pixmap = self._bars.copy()
        if self._marked is not None:
            painter = qt.QPainter(pixmap)
            middle, ink = self.middle(self._marked), qt.QColor(self._ink)
            for row in range(_MARKER):
                painter.fillRect(middle - row, _HEIGHT + _ROOM - _MARKER + row, 2 * row + 1, 1, ink)
            painter.end()
        self.widget.setPixmap(pixmap)

    def _on_mouse(self, x: int, pressed: bool) -> None:
        number = self.at(x)
        if pressed or number != self._last:
            self._last = number
            self._chosen(number)


class _LeftButton(qt.QObject):
    """Tells where the left button is pressed on a widget, and where it is dragged to.

    ``told`` is called with the place in pixels from the left, and whether the button was pressed just now.
    """

    def __init__(self, told: Callable[[int, bool], None]) -> None:
        super().__init__()
        self._told = told
        self._down = False

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """As Qt calls it."""
        kind = event.type()
        if kind in (qt.QEvent.MouseButtonPress, qt.QEvent.MouseButtonDblClick):
            self._down = event.button() == qt.Qt.LeftButton
        elif kind == qt.QEvent.MouseButtonRelease:
            self._down = False
            return False
        elif kind != qt.QEvent.MouseMove:
            return False
        if self._down:
            # Qt 5 has no position, and Qt 6 warns of pos
            place = event.position() if hasattr(event, "position") else event.pos()
            self._told(int(place.x()), kind != qt.QEvent.MouseMove)
        return self._down


def layers(parts: Sequence[float]) -> list[tuple[int, int]]:
    """Top and height in pixels of a bar's layers, the first one lowest; without gaps between them."""
    found, below = [], 0.0
    bottom = _HEIGHT
    for part in parts:
        below += part
        top = _HEIGHT - round(_HEIGHT * min(max(below, 0.0), 1.0))
        found.append((top, bottom - top))
        bottom = top
    return found


def greyed(colour: str) -> str:
    """A colour's lightness, paled."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    grey = round(140 + 100 * (0.299 * red + 0.587 * green + 0.114 * blue) / 255)
    return f"#{grey:02x}{grey:02x}{grey:02x}"
