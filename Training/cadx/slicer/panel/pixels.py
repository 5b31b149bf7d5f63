"""Pixels for Qt."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt
from numpy.typing import NDArray


def to_pixmap(pixels: NDArray[np.uint8]) -> Any:
    """(rows, columns, 3) uint8 as a ``QPixmap``; PPM is what Qt reads without decoding."""
    rows, columns = pixels.shape[:2]
    data = b"P6 %d %d 255\n" % (columns, rows) + np.ascontiguousarray(pixels).tobytes()
    pixmap = qt.QPixmap()
    pixmap.loadFromData(data, "PPM")
    return pixmap
