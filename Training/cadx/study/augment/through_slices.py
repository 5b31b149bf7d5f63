"""The turn that the IPMN authors' code makes: about an axis in the slices' plane, so that slices mix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cadx.study.beside import beside

if TYPE_CHECKING:
    from torch import Generator, Tensor


def turn_through_slices(cells: Tensor, generator: Generator, slices: Tensor | None = None) -> Tensor:
    """A whole case (C, S, rows, columns), or several (B, C, S, rows, columns), turned by any angle.

    In the plane of columns and slices: the authors' cells have rows along R and columns along A (grid orientation
    "authors"), so this is the turn about the R axis that MONAI's ``RandRotate(range_x=pi, prob=1)`` makes, in voxels
    whatever their size in mm, with the edge's values beyond the edge. ``slices`` (B,) counts each case's own where
    those behind are padding, before and after; it and the angle are on the CPU.

    >>> import torch
    >>> turn_through_slices(torch.rand(2, 11, 8, 8), torch.Generator()).shape
    torch.Size([2, 11, 8, 8])
    """
    import torch

    if cells.ndim == 4:
        return turn_through_slices(cells[None], generator)[0]
    if slices is None:
        slices = torch.full((len(cells),), cells.shape[2])
    angles = (torch.rand(len(cells), generator=generator, dtype=torch.float64) * 2 - 1) * math.pi
    return turned_by(cells, slices, angles)


def turned_by(cells: Tensor, slices: Tensor, angles: Tensor) -> Tensor:
    """Cases (B, C, S, rows, columns) turned by ``angles`` (B,) in radians, about the middle of their own slices.

    >>> import torch
    >>> cells = torch.rand(1, 1, 9, 4, 4)
    >>> torch.allclose(turned_by(cells, torch.tensor([9]), torch.zeros(1)), cells, atol=1e-5)
    True
    """
    import torch
    from torch.nn.functional import grid_sample

    batch, channels, most, rows, columns = cells.shape
    own, cosine, sine = (
        beside(n, cells, cells.dtype)[:, None, None] for n in (slices, torch.cos(angles), torch.sin(angles))
    )
    column = torch.arange(columns, device=cells.device).to(cells.dtype) - (columns - 1) / 2
    level = torch.arange(most, device=cells.device).to(cells.dtype)[:, None] - (own - 1) / 2
    from_column = cosine * column - sine * level + (columns - 1) / 2
    from_level = (sine * column + cosine * level + (own - 1) / 2).clamp(min=0).minimum(own - 1)
    places = torch.stack([(2 * from_column + 1) / columns - 1, (2 * from_level + 1) / most - 1], dim=-1)
    images = cells.transpose(2, 3).reshape(batch, channels * rows, most, columns)
    turned = grid_sample(images, places, mode="bilinear", padding_mode="border", align_corners=False)
    return turned.reshape(batch, channels, rows, most, columns).transpose(2, 3)
