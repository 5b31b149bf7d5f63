"""Pixels for Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import qt
from numpy.typing import NDArray

TEXT_HEIGHT, LETTER_WIDTH = 13, 9
"""Of what :func:`write_over` writes, pixels."""


def to_pixmap(pixels: NDArray[np.uint8]) -> Any:
    """(rows, columns, 3) uint8 as a ``QPixmap``; PPM is what Qt reads without decoding."""
    rows, columns = pixels.shape[:2]
    data = b"P6 %d %d 255\n" % (columns, rows) + np.ascontiguousarray(pixels).tobytes()
    pixmap = qt.QPixmap()
    pixmap.loadFromData(data, "PPM")
    return pixmap


def write_over(pixmap: Any, texts: Sequence[tuple[int, int, str]]) -> None:
    """Write texts on a shade, each with the left and the top of it in pixels."""
    painter = qt.QPainter(pixmap)
    font = painter.font()
    font.setPixelSize(10)
    painter.setFont(font)
    painter.setPen(qt.QColor("#9fd0ff"))
    for left, top, text in texts:
        painter.fillRect(left, top, LETTER_WIDTH * (1 + len(text)) * 2 // 3, TEXT_HEIGHT, qt.QColor(0, 0, 0, 150))
        painter.drawText(left + 2, top + TEXT_HEIGHT - 3, text)
    painter.end()
