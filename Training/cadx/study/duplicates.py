"""Images that look alike up to contrast, turn and flip: copies that a hash of the content does not find."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

THUMBNAIL = 32
ROWS, COLUMNS = 512, 2048
MAX_PAIRS = 1_000_000


def thumbnail(image: NDArray[Any]) -> NDArray[np.float32]:
    """A 2-D image (or a coloured one, channels last) averaged over 32 x 32 equal areas.

    Returns
    -------
    NDArray[np.float32]
        (32, 32), in the image's units.
    """
    from PIL import Image

    grey = image[..., :3].mean(axis=2) if image.ndim == 3 else image
    picture = Image.fromarray(np.ascontiguousarray(grey, dtype=np.float32))
    return np.asarray(picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), np.float32)


def near_pairs(
    thumbnails: NDArray[Any], threshold: float, *, progress: Callable[[int, int], None] | None = None
) -> list[tuple[int, int, float]]:
    """Pairs that look alike: correlation of at least ``threshold`` in the best of the 8 turns and flips.

    Memory does not grow with the square of the number. Of more than :data:`MAX_PAIRS` pairs the most alike are kept.

    Parameters
    ----------
    thumbnails
        (N, 32, 32), any scale; one of a single value is like no other.
    threshold
        Least correlation, -1..1.
    progress
        Called with (rows done, rows).

    Returns
    -------
    list of (int, int, float)
        i < j and their correlation, most alike first.
    """
    vectors = _normalised(thumbnails)
    count = len(vectors)
    found: list[tuple[int, int, float]] = []
    for top in range(0, count, ROWS):
        rows = vectors[top : top + ROWS]
        turned = [_flat(_turn(rows, *how)) for how in product(range(4), (False, True))]
        for left in range(top, count, COLUMNS):
            columns = _flat(vectors[left : left + COLUMNS]).T
            best = turned[0] @ columns
            for other in turned[1:]:
                np.maximum(best, other @ columns, out=best)
            found += _above(best, threshold, top, left)
        if len(found) > MAX_PAIRS:
            found = sorted(found, key=_most_alike)[:MAX_PAIRS]
        if progress is not None:
            progress(min(top + ROWS, count), count)
    return sorted(found, key=_most_alike)


def _most_alike(pair: tuple[int, int, float]) -> tuple[float, int, int]:
    return -pair[2], pair[0], pair[1]


def _above(best: NDArray[np.float32], threshold: float, top: int, left: int) -> list[tuple[int, int, float]]:
    """Pairs of one block, each once."""
    i, j = np.nonzero(best >= threshold)
    similarity = np.minimum(best[i, j], 1.0)
    i, j = i + top, j + left
    once = j > i
    return list(zip(i[once].tolist(), j[once].tolist(), similarity[once].tolist(), strict=True))


def _normalised(thumbnails: NDArray[Any]) -> NDArray[np.float32]:
    """Mean 0 and norm 1 each; zeros where there is no contrast."""
    values = np.asarray(thumbnails, np.float64)
    values = values - values.mean(axis=(1, 2), keepdims=True)
    norms = np.sqrt((values**2).sum(axis=(1, 2), keepdims=True))
    return np.divide(values, norms, out=np.zeros_like(values), where=norms > 1e-6).astype(np.float32)


def _turn(images: NDArray[np.float32], quarters: int, flipped: bool) -> NDArray[np.float32]:
    turned = np.rot90(images, quarters, axes=(1, 2))
    return turned[:, :, ::-1] if flipped else turned


def _flat(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(images).reshape(len(images), -1)
