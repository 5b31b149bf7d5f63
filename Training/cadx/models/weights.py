"""Weights into a network: from a file, and fitted to another number of channels and another image size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cadx.models.build import ModelSpec, build

if TYPE_CHECKING:
    from torch import Tensor, nn


def filled(spec: ModelSpec, file: Path) -> nn.Module | None:
    """The network with the weights of a safetensors file, fp32, on the CPU; None where they do not fit it.

    Shapes are compared before memory is taken: a network cannot be larger than the file that fills it.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = build(spec, device="meta")
    try:
        state = {name: tensor.to(torch.float32) for name, tensor in load_file(file).items()}
        model.load_state_dict(state, assign=True)
        if any(buffer.is_meta for buffer in model.buffers()):
            # what no file holds (such as tables of positions) is made by the constructor
            model = build(spec)
            model.load_state_dict(state)
    except (SafetensorError, RuntimeError):
        return None
    return model


def adapt_patch_kernel(kernel: Tensor, channels: int) -> Tensor:
    """First-layer kernel (out, in, h, w) to ``channels`` inputs: the mean over the old inputs, repeated.

    This is what the IPMN authors' code does; activations grow by channels / in.
    """
    return kernel.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1).contiguous()


def resize_position_embedding(
    embedding: Tensor, side: int, method: Literal["aligned-bilinear", "bicubic"] = "bicubic", prefix_tokens: int = 1
) -> Tensor:
    """Position embedding (1, prefix + n^2, width) to a grid of ``side`` x ``side`` patches.

    ``aligned-bilinear`` is the authors' (bilinear, corners aligned); ``bicubic`` with antialiasing is
    timm's. Prefix tokens (class token, registers) stay as they are. Computed in float64.
    """
    import torch
    from torch.nn.functional import interpolate

    prefix, grid = embedding[:, :prefix_tokens], embedding[:, prefix_tokens:]
    old = round(grid.shape[1] ** 0.5)
    image = grid.double().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    if method == "aligned-bilinear":
        image = interpolate(image, size=(side, side), mode="bilinear", align_corners=True)
    else:
        image = interpolate(image, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    resized = image.permute(0, 2, 3, 1).reshape(1, side * side, -1).to(embedding.dtype)
    return torch.cat([prefix, resized], dim=1)


def kernel_from_hwio(kernel: Tensor) -> Tensor:
    """TensorFlow or JAX layout (h, w, in, out) to PyTorch's (out, in, h, w)."""
    return kernel.permute(3, 2, 0, 1).contiguous()
