"""Which slices of a case fill the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def random_windows(slices: Tensor, k: int, generator: Generator, last_starts_never_drawn: int = 0) -> Tensor:
    """(B, k) slice indices: a window drawn evenly among all of a case's, on the CPU.

    ``slices`` (B,) counts each case's slices; cases with fewer than ``k`` repeat their last. With
    ``last_starts_never_drawn`` the topmost windows are left out, as the IPMN authors' code does with two.

    >>> import torch
    >>> random_windows(torch.tensor([4, 2]), 3, torch.Generator().manual_seed(0)).tolist()
    [[0, 1, 2], [0, 1, 1]]
    """
    import torch

    starts = (slices - k + 1 - last_starts_never_drawn).clamp(min=1)
    first = (torch.rand(len(slices), generator=generator) * starts).long()
    return torch.minimum(first[:, None] + torch.arange(k), slices[:, None] - 1)


def central_windows(slices: Tensor, k: int) -> Tensor:
    """(B, k) slice indices of the central window; see :meth:`cadx.prepare.pipeline.Prepared.window`.

    >>> import torch
    >>> central_windows(torch.tensor([12, 9, 7]), 9)[:, 0].tolist()
    [2, 0, 0]
    """
    import torch

    first = torch.where(slices >= k, slices // 2 - k // 2, torch.zeros_like(slices))
    return torch.minimum(first[:, None] + torch.arange(k), slices[:, None] - 1)
