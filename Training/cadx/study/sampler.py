"""The order of samples: a new permutation each epoch, cut into batches; goes on where it was left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor


def batches_of(count: int, batch: int) -> int:
    """How many batches an epoch of so many samples has.

    >>> batches_of(8, 4), batches_of(9, 4), batches_of(10, 4)
    (2, 2, 3)
    """
    lone = count % batch == 1 and count > batch > 1
    return math.ceil(count / batch) - lone


class Sampler:
    """Batches without end. A last batch of one sample joins the one before: batch normalisation needs two.

    Parameters
    ----------
    count
        Number of samples.
    batch
        Samples a batch.
    generator
        Draws the permutations.
    """

    def __init__(self, count: int, batch: int, generator: Generator) -> None:
        self._count, self._batch, self._generator = count, batch, generator
        self._waiting: list[Tensor] = []
        self.batches = batches_of(count, batch)

    def next(self) -> Tensor:
        """(B,) indices."""
        import torch

        if not self._waiting:
            parts = list(torch.randperm(self._count, generator=self._generator).split(self._batch))
            if len(parts) > self.batches:
                parts[-2:] = [torch.cat(parts[-2:])]
            self._waiting = parts
        return self._waiting.pop(0)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"waiting": list(self._waiting)}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._waiting = list(state["waiting"])
