"""Inputs with mean 0 and variance 1 while training, folded into the first layer afterwards.

A bundle takes cells in 0..1. A patch embedding learns faster from centred inputs; since it neither pads nor
overlaps, the normalisation can be moved into its kernel exactly, so the bundle needs no further step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cadx.models.parts import first_layers
from cadx.study.beside import beside

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cadx.study.samples import VolumeSamples


class InputNormalisation:
    """Per-channel mean and standard deviation of the training cells, applied by hooks while training.

    Does nothing for a network whose first layer is no patch embedding. With late fusion each branch's first layer sees
    the channel of its number.
    """

    def __init__(self, model: nn.Module, cases: VolumeSamples) -> None:
        from torch import nn

        layers = {name: model.get_submodule(name) for name in first_layers(model)}
        cuts = [isinstance(m, nn.Conv2d) and m.kernel_size == m.stride and m.bias is not None for m in layers.values()]
        self.active = all(cuts)
        self._seen: dict[str, slice] = {}
        self._handles: list[Any] = []
        if not self.active:
            return
        self._mean, self._std = _moments(cases)
        for number, (name, layer) in enumerate(layers.items()):
            self._seen[name] = slice(None) if len(layers) == 1 else slice(number, number + 1)
            self._handles.append(layer.register_forward_pre_hook(self._hook(self._seen[name])))

    def learnt(self) -> dict[str, list[float]] | None:
        """What was learnt on the training part: mean and deviation a channel; None where nothing is applied."""
        return {"mean": self._mean.tolist(), "std": self._std.tolist()} if self.active else None

    def applied(self, images: Tensor, channels: slice = slice(None)) -> Tensor:
        """Images (B, C, H, W) of these channels, normalised; as they are where nothing is applied."""
        if not self.active:
            return images
        mean, std = (beside(n[channels], images)[None, :, None, None] for n in (self._mean, self._std))
        return (images - mean) / std

    def remove(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def fold(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights that take cells in 0..1 and give what the normalised model gave."""
        folded = dict(state)
        for name, channels in self._seen.items():
            kernel, bias = state[f"{name}.weight"], state[f"{name}.bias"]
            scaled = kernel.double() / self._std[channels].double()[None, :, None, None]
            shift = (scaled * self._mean[channels].double()[None, :, None, None]).sum(dim=(1, 2, 3))
            folded[f"{name}.weight"] = scaled.to(kernel.dtype)
            folded[f"{name}.bias"] = (bias.double() - shift).to(bias.dtype)
        return folded

    def _hook(self, channels: slice) -> Any:
        def apply(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (self.applied(inputs[0], channels), *inputs[1:])

        return apply


def _moments(cases: VolumeSamples) -> tuple[Tensor, Tensor]:
    """(C,) mean and standard deviation over each case's own slices.

    What pads a case is left out: its length is that of the longest case of all, which may be in no training part.
    """
    import torch

    count, sums = 0, torch.zeros(2, cases.cells.shape[1], dtype=torch.float64, device=cases.cells.device)
    for case, slices in zip(cases.cells, cases.slices.tolist(), strict=True):
        own = case[:, :slices].double()
        count += own[0].numel()
        sums += torch.stack([own, own.square()]).sum(dim=(2, 3, 4))
    mean, square = sums.cpu() / count
    return mean.float(), (square - mean.square()).clamp(min=1e-6).sqrt().float()
