"""Brightness and contrast of values in 0..1, as fastai changes them: on the scale of log odds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cadx.study.beside import beside

if TYPE_CHECKING:
    from torch import Generator, Tensor

# the largest change that still leaves something to see
LARGEST = 0.9
SMALLEST_VALUE = 1e-6


def random_light(images: Tensor, strength: float, generator: Generator, *, each_channel: bool = False) -> Tensor:
    """Images (B, C, ...) of values 0..1, brighter or darker and of more or less contrast; black and white stay so.

    Mid grey 0.5 becomes 0.5 (1 - strength) to 0.5 (1 + strength); log odds are multiplied by 1 - strength to
    1 / (1 - strength). ``each_channel`` draws for each channel by itself. At zero strength the same tensor comes back
    and nothing is drawn.

    >>> import torch
    >>> grey = torch.full((1, 1, 2, 2), 0.5)
    >>> 0.4 <= random_light(grey, 0.2, torch.Generator()).mean().item() <= 0.6
    True
    """
    import torch

    if not strength:
        return images
    strength = min(strength, LARGEST)
    shape = (len(images), images.shape[1] if each_channel else 1)
    draws = torch.rand(2, *shape, generator=generator, dtype=torch.float64) * 2 - 1
    brightness = torch.logit(0.5 * (1 + strength * draws[0]))
    contrast = (1 - strength) ** draws[1]
    return apply_light(images, brightness, contrast)


def apply_light(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Log odds of ``images`` (B, C, ...) times ``contrast``, plus ``brightness``, each (B, C) or (B, 1).

    >>> import torch
    >>> apply_light(torch.tensor([[[0.0, 0.5, 1.0]]]), torch.zeros(1, 1), torch.ones(1, 1)).round(decimals=3).tolist()
    [[[0.0, 0.5, 1.0]]]
    """
    import torch

    shape = (*brightness.shape, *[1] * (images.ndim - 2))
    odds, factor = (beside(n, images, images.dtype).reshape(shape) for n in (brightness, contrast))
    return torch.logit(images, eps=SMALLEST_VALUE).mul_(factor).add_(odds).sigmoid_()
