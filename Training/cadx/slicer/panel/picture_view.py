"""One picture as the model is fed it."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt
from numpy.typing import NDArray

from cadx.slicer.panel.pixels import LETTER_WIDTH, TEXT_HEIGHT, to_pixmap, write_over

_SIZE = 224


class PictureView:
    """A square picture with a line above it.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    """

    def __init__(self, parent: Any) -> None:
        layout = qt.QVBoxLayout(parent)
        layout.setContentsMargins(0, 0, 0, 0)
        self.shown: NDArray[np.uint8] | None = None
        self._status, self._picture = qt.QLabel(), qt.QLabel()
        self._status.setWordWrap(True)
        self._picture.setAlignment(qt.Qt.AlignCenter)
        layout.addWidget(self._status)
        layout.addWidget(self._picture)
        self.clear("")

    def show(
        self, pixels: NDArray[np.uint8], status: str, caption: str = "", edges: tuple[str, str] = ("", "")
    ) -> None:
        """Draw pixels (rows, columns, 3).

        Parameters
        ----------
        status
            A line above.
        caption
            In the picture's corner.
        edges
            Patient's directions at the left and the right edge, such as R and L.
        """
        self.shown = pixels
        pixmap = to_pixmap(pixels).scaled(_SIZE, _SIZE, qt.Qt.IgnoreAspectRatio, qt.Qt.SmoothTransformation)
        middle = (_SIZE - TEXT_HEIGHT) // 2
        texts = [(0, 0, caption), (0, middle, edges[0]), (_SIZE - LETTER_WIDTH, middle, edges[1])]
        write_over(pixmap, [text for text in texts if text[2]])
        self._picture.setPixmap(pixmap)
        self._picture.setVisible(True)
        self._status.setText(status)

    def clear(self, status: str) -> None:
        """No picture, and why."""
        self.shown = None
        self._picture.setVisible(False)
        self._status.setText(status)

    @property
    def status(self) -> str:
        """The line above the picture."""
        return str(self._status.text)
