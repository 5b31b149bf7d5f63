"""What all parts of ``cadx bench training`` share: where they run, how often, and whether the sizes are real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadx import device
from cadx.bench.inputs import PAPERS_NETWORK
from cadx.models.build import ModelSpec, build
from cadx.study.presets import read_study
from cadx.study.spec import StudySpec

if TYPE_CHECKING:
    from torch import nn

TINY_TRANSFORMER = {"depth": 2, "embed_dim": 48, "num_heads": 3}


def _silent(text: str) -> None:
    pass


@dataclass(frozen=True)
class Setting:
    """``scratch`` is a folder that goes afterwards; ``tiny`` makes all so small that the numbers mean nothing."""

    where: device.Device
    repeats: int
    scratch: Path
    note: Callable[[str], None] = lambda text: None
    tiny: bool = False

    @property
    def study(self) -> StudySpec:
        """The study of volumes whose training is measured: ``ipmn``, as it ships."""
        return read_study("ipmn")

    @property
    def pixels(self) -> int:
        """Edge of a cell: the grid is three times as wide."""
        return 16 if self.tiny else 64

    @property
    def quiet(self) -> Setting:
        """The same for another process: it tells nobody anything."""
        return replace(self, note=_silent)

    def transformer(self, place: str | None = None) -> nn.Module:
        """The paper's network with fresh weights, always the same, on ``place`` or the CPU."""
        import torch

        torch.manual_seed(0)
        options: dict[str, Any] = TINY_TRANSFORMER if self.tiny else {}
        spec = ModelSpec(
            architecture=PAPERS_NETWORK, channels=2, classes=3, image_pixels=3 * self.pixels, options=options
        )
        return build(spec, place or "cpu")

    def finished(self) -> None:
        """Wait until the device has done all that it was given."""
        import torch

        if self.where.kind == "cuda":
            torch.cuda.synchronize()
