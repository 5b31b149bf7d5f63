"""Weights into a network: from a file, and fitted to another number of channels and another image size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cadx.errors import InputError
from cadx.models.build import ModelSpec, build

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")
CODE = ("Unsupported global", "unsupported GLOBAL", "unrecognized function")
PREFIXES = ("module.", "backbone.", "_orig_mod.", "network.", "model.", "net.")


def filled(spec: ModelSpec, file: Path) -> nn.Module | None:
    """The network with the weights of a safetensors file, fp32, on the CPU; None where they do not fit it.

    Shapes are compared before memory is taken: a network cannot be larger than the file that fills it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = build(spec, device="meta")
    try:
        state = {name: _fp32(tensor) for name, tensor in load_file(file).items()}
        model.load_state_dict(state, assign=True)
        if any(buffer.is_meta for buffer in model.buffers()):
            # what no file holds (such as tables of positions) is made by the constructor
            model = build(spec)
            model.load_state_dict(state)
    except (SafetensorError, RuntimeError):
        return None
    return model


def state_of(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors, npz or PyTorch file by name, floats as fp32; runs no code that it may hold.

    Unwraps what training programs put around them (``{"state_dict": ...}``, names that start with ``module.``).

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, holds program code or no tensors.
    """
    if not file.is_file():
        raise InputError(f"There is no file {file.name} to take weights from; check where it lies.")
    try:
        raw = _read(file)
    except Exception as error:  # each format's reader has its own ways to fail
        if any(sign in str(error) for sign in CODE):
            raise InputError(
                f"{file.name} holds program code beside its weights, which is never run; save its state_dict alone."
            ) from error
        raise InputError(
            f"{file.name} cannot be read as weights (safetensors, pth or npz); get the file anew."
        ) from error
    state = {_bare(str(name)): _fp32(tensor) for name, tensor in _unwrapped(raw).items() if hasattr(tensor, "ndim")}
    if not state:
        raise InputError(f"{file.name} holds no tensors by name; give a file of a network's weights.")
    return state


def adapt_first_kernel(kernel: Tensor, channels: int, how: Literal["timm", "mean", "sum"] = "timm") -> Tensor:
    """First-layer kernel (out, in, ...) to ``channels`` inputs, unchanged where it has as many.

    "timm" repeats the old inputs in turn, scaled so that activations keep their size (one channel: their sum), as
    that library does; "mean" repeats their mean and "sum" their sum, so that with it each channel does what a grey
    image in all old inputs did.
    """
    import torch

    old = kernel.shape[1]
    if old == channels:
        return kernel
    if how == "mean":
        return adapt_patch_kernel(kernel, channels)
    if how == "sum" or channels == 1:
        return _repeated(kernel.sum(dim=1, keepdim=True), channels)
    turns = torch.arange(channels, device=kernel.device) % old
    return kernel[:, turns] * (old / channels)


def adapt_patch_kernel(kernel: Tensor, channels: int) -> Tensor:
    """First-layer kernel (out, in, ...) to ``channels`` inputs: the mean over the old inputs, repeated.

    This is what the IPMN authors' code does; activations grow by channels / in.
    """
    return _repeated(kernel.mean(dim=1, keepdim=True), channels)


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


def _repeated(kernel: Tensor, channels: int) -> Tensor:
    return kernel.expand(-1, channels, *kernel.shape[2:]).contiguous()


def _read(file: Path) -> Any:
    import numpy as np
    import torch
    from safetensors.torch import load_file

    kind = file.suffix.lower()
    if kind == ".safetensors":
        return load_file(file)
    if kind == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return torch.load(file, map_location="cpu", weights_only=True)


def _unwrapped(raw: Any) -> dict[str, Any]:
    while isinstance(raw, dict):
        inner = next((raw[name] for name in WRAPPERS if isinstance(raw.get(name), dict)), None)
        if inner is None:
            return raw
        raw = inner
    return {}


def _bare(name: str) -> str:
    """A parameter's name without what wrapped its network.

    >>> _bare("module.backbone.conv1.weight")
    'conv1.weight'
    """
    while prefix := next((p for p in PREFIXES if name.startswith(p)), None):
        name = name.removeprefix(prefix)
    return name


def _fp32(tensor: Tensor) -> Tensor:
    import torch

    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor
