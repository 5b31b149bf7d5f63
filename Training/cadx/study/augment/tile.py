"""Cells laid out as a square grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def tile(cells: Tensor) -> Tensor:
    """Cells (B, C, k, m, m) to grids (B, C, s m, s m), row by row; as :func:`cadx.prepare.grid.tile`.

    >>> import torch
    >>> tile(torch.arange(4).reshape(1, 1, 4, 1, 1)).tolist()
    [[[[0, 1], [2, 3]]]]
    """
    batch, channels, k, m, _ = cells.shape
    side = round(k**0.5)
    split = cells.reshape(batch, channels, side, side, m, m)
    return split.permute(0, 1, 2, 4, 3, 5).reshape(batch, channels, side * m, side * m)
