"""Augmentation on the device: window start and the eight symmetries of the square (D4), per case."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def random_windows(slices: Tensor, k: int, generator: Generator) -> Tensor:
    """(B, k) slice indices: a window drawn evenly among all of a case's.

    ``slices`` (B,) counts each case's slices; cases with fewer than ``k`` repeat their last.
    """
    import torch

    starts = (slices - k).clamp(min=0)
    first = (torch.rand(len(slices), generator=generator) * (starts + 1)).long()
    return torch.minimum(first[:, None] + torch.arange(k), slices[:, None] - 1)


def central_windows(slices: Tensor, k: int) -> Tensor:
    """(B, k) slice indices of the central window; see :meth:`cadx.prepare.pipeline.Prepared.window`."""
    import torch

    first = torch.where(slices >= k, slices // 2 - k // 2, torch.zeros_like(slices))
    return torch.minimum(first[:, None] + torch.arange(k), slices[:, None] - 1)


def random_d4(cells: Tensor, generator: Generator) -> Tensor:
    """Cells (B, C, k, m, m) turned by quarter turns and flipped; the same for all slices of a case."""
    import torch

    draws = torch.randint(8, (len(cells),), generator=generator)
    out = torch.empty_like(cells)
    for symmetry in range(8):
        chosen = draws == symmetry
        if chosen.any():
            turned = torch.rot90(cells[chosen], symmetry % 4, dims=(-2, -1))
            out[chosen] = turned.flip(-1) if symmetry >= 4 else turned
    return out


def random_affine(cells: Tensor, strength: float, generator: Generator) -> Tensor:
    """Cells (B, C, k, m, m) shifted, scaled and turned in plane; the same for all slices and channels of a case.

    At ``strength`` 1 by up to 15 degrees, 10 % in size and 10 % of the cell's edge; zero beyond the edge.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    batch, channels, k, m, _ = cells.shape
    draws = (torch.rand(batch, 4, generator=generator) * 2 - 1) * strength
    angle, scale = draws[:, 0] * math.radians(15), 1 + 0.1 * draws[:, 1]
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    shift = 0.2 * draws[:, 2:]
    theta = torch.stack(
        [torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)], dim=1
    )
    grid = affine_grid(theta, [batch, channels * k, m, m], align_corners=False)
    moved = grid_sample(cells.reshape(batch, channels * k, m, m), grid, align_corners=False)
    return moved.reshape(cells.shape)


def tile(cells: Tensor) -> Tensor:
    """Cells (B, C, k, m, m) to grids (B, C, s m, s m), row by row; as :func:`cadx.prepare.grid.tile`."""
    batch, channels, k, m, _ = cells.shape
    side = round(k**0.5)
    split = cells.reshape(batch, channels, side, side, m, m)
    return split.permute(0, 1, 2, 4, 3, 5).reshape(batch, channels, side * m, side * m)
