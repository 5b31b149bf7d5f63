"""The losses of a round's steps on their way into its record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cadx import device
from cadx.errors import InputError
from cadx.study.recording import Recording

if TYPE_CHECKING:
    from torch import Tensor

READ_EVERY = 64


def require_finite(loss: float) -> float:
    """The same loss.

    Raises
    ------
    InputError
        If it is no longer a number.
    """
    if not math.isfinite(loss):
        raise InputError("The training loss is no longer a number; lower the learning rate or clip the gradient.")
    return loss


def read_late(where: device.Device) -> bool:
    """Whether reading a loss waits for all that the device was given, so that many are to be read at a time."""
    return where.kind == "cuda"


class RoundLosses:
    """Takes losses as numbers, which are recorded at once, or as tensors, which are read every :data:`READ_EVERY`."""

    def __init__(self, recording: Recording, round_: int) -> None:
        self._recording, self._round = recording, round_
        self._waiting: list[tuple[Tensor, int, int, float]] = []
        self._total, self._count = 0.0, 0

    def add(self, loss: float | Tensor, samples: int, step: int, rate: float) -> None:
        """The mean loss of a batch of so many samples, at a learning rate.

        Raises
        ------
        InputError
            If a loss that is read now is no longer a number.
        """
        if isinstance(loss, float):
            self._take(loss, samples, step, rate)
            return
        self._waiting.append((loss, samples, step, rate))
        if len(self._waiting) == READ_EVERY:
            self._read()

    def mean(self) -> float:
        """Over all samples.

        Raises
        ------
        InputError
            If a loss is no longer a number.
        """
        self._read()
        return self._total / max(1, self._count)

    def _read(self) -> None:
        import torch

        waiting, self._waiting = self._waiting, []
        if waiting:
            numbers = torch.stack([loss for loss, *_ in waiting]).tolist()
            for number, (_, samples, step, rate) in zip(numbers, waiting, strict=True):
                self._take(number, samples, step, rate)

    def _take(self, loss: float, samples: int, step: int, rate: float) -> None:
        self._recording.step(step, self._round, require_finite(loss), rate)
        self._total, self._count = self._total + loss * samples, self._count + samples
