"""Correlated noise for textures and lobulated contours, cut from a fixed periodic bank."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array32 = NDArray[np.float32]

# Standard deviation of the smoothing Gaussian in mm; the bank's voxels are those of the canvas.
SCALES_MM = {"fine": 2.2, "mid": 5.0, "coarse": 12.0}
BANK_SHAPE = (64, 128, 128)
VOXEL_MM = (2.0, 1.3, 1.3)


@cache
def _bank(scale: str) -> Array32:
    """(K, J, I) periodic Gaussian noise of zero mean and unit deviation, the same in every process."""
    rng = np.random.default_rng(list(SCALES_MM).index(scale))
    white = rng.standard_normal(BANK_SHAPE, dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, [SCALES_MM[scale] / mm for mm in VOXEL_MM], mode="wrap")
    smooth -= smooth.mean()
    smooth /= smooth.std()
    smooth.setflags(write=False)
    return smooth


def texture(rng: np.random.Generator, scale: str, shape: tuple[int, ...]) -> Array32:
    """Correlated noise (K, J, I) of unit deviation, cut at a random place from the bank.

    Parameters
    ----------
    rng
        Only the place in the bank is drawn from it (three integers).
    scale
        ``fine``, ``mid`` or ``coarse``: see :data:`SCALES_MM`.
    shape
        Size (K, J, I) in canvas voxels; larger than the bank repeats it.
    """
    block = _bank(scale)
    for axis, (count, size) in enumerate(zip(shape, BANK_SHAPE, strict=True)):
        start = int(rng.integers(size))
        block = block.take(np.arange(start, start + count) % size, axis=axis)
    return block
