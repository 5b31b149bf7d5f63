"""Inputs with mean 0 and variance 1 while training, folded into the first layer afterwards.

A bundle takes cells in 0..1. A patch embedding learns faster from centred inputs; since it neither pads nor
overlaps, the normalisation can be moved into its kernel exactly, so the bundle needs no further step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from cadx.study.trainer import CellTensor

KERNEL, BIAS = "patch_embed.proj.weight", "patch_embed.proj.bias"


class InputNormalisation:
    """Per-channel mean and standard deviation of the training cells, applied by a hook while training.

    Does nothing for a model whose first layer is no patch embedding.
    """

    def __init__(self, model: Any, cases: CellTensor) -> None:
        import torch

        values = cases.cells.float()
        self._mean = values.mean(dim=(0, 2, 3, 4))
        self._std = values.std(dim=(0, 2, 3, 4)).clamp(min=1e-3)
        projection = getattr(getattr(model, "patch_embed", None), "proj", None)
        self.active = isinstance(projection, torch.nn.Conv2d) and projection.kernel_size == projection.stride
        self._handle = model.patch_embed.register_forward_pre_hook(self._apply) if self.active else None

    def remove(self) -> None:
        """Leave the model as it was."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def fold(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights that take cells in 0..1 and give what the normalised model gave."""
        if not self.active:
            return state
        kernel = state[KERNEL].double() / self._std.double()[None, :, None, None]
        shift = (kernel * self._mean.double()[None, :, None, None]).sum(dim=(1, 2, 3))
        bias = state[BIAS].double() - shift
        return {**state, KERNEL: kernel.to(state[KERNEL].dtype), BIAS: bias.to(state[BIAS].dtype)}

    def _apply(self, module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        grids = inputs[0]
        mean = self._mean.to(grids.device)[None, :, None, None]
        return ((grids - mean) / self._std.to(grids.device)[None, :, None, None], *inputs[1:])
