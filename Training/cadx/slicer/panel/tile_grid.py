"""What the model is fed, T1 and T2 or one of them, as tiles that can be clicked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from cadx.explain.display import height_text
from cadx.slicer.panel.pixels import LETTER_WIDTH, TEXT_HEIGHT, to_pixmap, write_over
from cadx.slicer.tiles import Tiles

_WIDTH, _SMALLEST = 333, 20
_ROOM_FOR_HEIGHT = 90
_BUTTON_STYLE = (
    "QToolButton { border: 1px solid #555; padding: 0px; background: black; }"
    "QToolButton:focus { border: 1px solid #3daee9; }"
)


class TileGrid:
    """Grids of square tiles, one a channel, beside each other or, enlarged, one above the other.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    clicked
        Called with the tile's number, 0 first, and the name of its channel.
    """

    def __init__(self, parent: Any, clicked: Callable[[int, str], None]) -> None:
        self._clicked = clicked
        self._tiles: Tiles | None = None
        self._titles: list[Any] = []
        self._buttons: list[list[Any]] = []
        layout = qt.QVBoxLayout(parent)
        layout.setContentsMargins(0, 0, 0, 0)
        self._status = qt.QLabel()
        self._status.setWordWrap(True)
        self._frame = qt.QWidget()
        self._grid = qt.QGridLayout(self._frame)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(1)
        self._enlarge = qt.QCheckBox(_("Enlarge"))
        self._enlarge.setToolTip(_("Show the grids one above the other, twice as large."))
        self._enlarge.connect("toggled(bool)", lambda checked: self._arrange())
        layout.addWidget(self._status)
        layout.addWidget(self._frame)
        layout.addWidget(self._enlarge)
        self.clear(_("Choose T1, T2 and a ROI to see the slices that the model is fed."))

    def show(self, tiles: Tiles, status: str) -> None:
        """Draw the tiles; ``status`` is a line above them."""
        before, self._tiles = self._tiles, tiles
        if not self._buttons or len(self._buttons[0]) != tiles.count or self._names() != tiles.channels:
            self._build()
        elif before is None or before is not tiles:
            self._draw()
        self._status.setText(status)
        self._frame.setVisible(True)
        # a single grid takes the width as it is
        self._enlarge.setVisible(len(tiles.channels) > 1)

    def clear(self, status: str) -> None:
        """No tiles, and why."""
        self._tiles = None
        self._status.setText(status)
        self._frame.setVisible(False)
        self._enlarge.setVisible(False)

    @property
    def status(self) -> str:
        """The line above the tiles."""
        return str(self._status.text)

    @property
    def shown(self) -> Tiles | None:
        """What is drawn."""
        return self._tiles

    def enlarge(self, large: bool) -> None:
        """As a user's tick."""
        self._enlarge.setChecked(large)

    def click(self, number: int, channel: int = 0) -> None:
        """As a user's click on a tile."""
        self._buttons[channel][number].click()

    def _names(self) -> tuple[str, ...]:
        return tuple(str(title.text) for title in self._titles)

    def _build(self) -> None:
        """Widgets for as many grids and tiles as the model takes."""
        assert self._tiles is not None
        while self._grid.count():
            self._grid.takeAt(0).widget().deleteLater()
        self._titles = [qt.QLabel(channel) for channel in self._tiles.channels]
        self._buttons = [
            [self._button(number, channel) for number in range(self._tiles.count)] for channel in self._tiles.channels
        ]
        self._arrange()

    def _button(self, number: int, channel: str) -> Any:
        button = qt.QToolButton()
        button.setStyleSheet(_BUTTON_STYLE)
        button.connect("clicked()", lambda: self._clicked(number, channel))
        return button

    def _side(self) -> int:
        return round(len(self._buttons[0]) ** 0.5)

    def _size(self) -> int:
        """Edge of a tile, so that all fit into a narrow panel; enlarged, one grid takes the width."""
        across = self._side() * (1 if self._enlarge.checked else len(self._buttons))
        return max(_SMALLEST, _WIDTH // across - 2)

    def _arrange(self) -> None:
        if not self._buttons:
            return
        large, side, size = bool(self._enlarge.checked), self._side(), self._size()
        for channel, buttons in enumerate(self._buttons):
            left = 0 if large else channel * (side + 1)
            top = channel * (side + 1) if large else 0
            self._grid.addWidget(self._titles[channel], top, left, 1, side)
            for number, button in enumerate(buttons):
                button.setFixedSize(size + 2, size + 2)
                button.setIconSize(qt.QSize(size, size))
                self._grid.addWidget(button, top + 1 + number // side, left + number % side)
        self._grid.setColumnMinimumWidth(side, 0 if large else 6)
        self._grid.setColumnStretch(len(self._buttons) * (side + 1), 1)
        self._draw()

    def _draw(self) -> None:
        if self._tiles is None:
            return
        for channel, buttons in enumerate(self._buttons):
            for number, button in enumerate(buttons):
                button.setIcon(qt.QIcon(self._picture(channel, number)))
                button.setToolTip(self._tip(channel, number))

    def _tip(self, channel: int, number: int) -> str:
        assert self._tiles is not None
        text = _("{channel}, slice {number} of {count}, {height}: click to show it in the views")
        if self._tiles.whole:
            text = _("{channel}, plane {number} of {count} shown, {height}: click to show it in the views")
        elif self._tiles.repeated[number]:
            text = _("{channel}, slice {number} of {count}, {height}, repeated: click to show it in the views")
        return text.format(
            channel=self._tiles.channels[channel],
            number=number + 1,
            count=self._tiles.count,
            height=self._height(number, 1),
        )

    def _height(self, number: int, digits: int) -> str:
        assert self._tiles is not None
        return height_text(float(self._tiles.centres_ras[number][2]), digits)

    def _picture(self, channel: int, number: int) -> Any:
        """The tile with its number and, where there is room, its height; R and L where they are so."""
        assert self._tiles is not None
        size = self._size()
        large = bool(self._enlarge.checked) or size >= _ROOM_FOR_HEIGHT
        pixmap = to_pixmap(self._tiles.pixels[channel, number])
        pixmap = pixmap.scaled(size, size, qt.Qt.IgnoreAspectRatio, qt.Qt.SmoothTransformation)
        caption = f"{number + 1}  {self._height(number, 0)}" if large else str(number + 1)
        if self._tiles.repeated[number]:
            caption += " =" if not large else _(" (repeated)")
        texts = [(0, 0, caption)]
        if self._tiles.radiological and (large or number == 0):
            middle = (size - TEXT_HEIGHT) // 2
            texts += [(0, middle, "R"), (size - LETTER_WIDTH, middle, "L")]
        write_over(pixmap, texts)
        return pixmap
