"""HiResCAM (Draelos and Carin, arXiv:2011.08891), and its sharpening by earlier layers; for images and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cadx.errors import InputError
from cadx.explain.gradcam import Score, weighted_sums

if TYPE_CHECKING:
    from torch import Tensor, nn


def hirescam(
    model: nn.Module,
    x: Tensor,
    class_index: int | Sequence[int] | None = None,
    layer: str | None = None,
    score: Score = "logit",
    sharpened_by: Sequence[str] = (),
) -> tuple[Tensor, Tensor, str]:
    """What in a feature map speaks for a class, place by place.

    As :func:`cadx.explain.gradcam.gradcam`, but each place is weighted by the gradient there instead of the gradient's
    mean over places; of the last features before a pooled linear layer that is CAM, as its authors prove. For each
    layer of ``sharpened_by`` in turn, each earlier and no coarser, the map is enlarged linearly to that grid and
    multiplied by the size of each place's contribution there: the last layer says where the evidence is, the earlier
    ones where within. Guided Grad-CAM (Selvaraju et al., ICCV 2017) multiplies a coarse map by a fine one likewise.
    """
    (coarse, *finer), logits, names = contributions(model, x, class_index, (layer, *sharpened_by), score)
    own_map = coarse.relu()
    for fine, name in zip(finer, names[1:], strict=True):
        if any(own > other for own, other in zip(own_map.shape, fine.shape, strict=True)):
            raise InputError(
                f"The layer '{name}' is coarser than the map that it is to sharpen; name earlier ones last."
            )
        own_map = sharpened(own_map, fine)
    return own_map, logits, " x ".join(names)


def contributions(
    model: nn.Module, x: Tensor, class_index: int | Sequence[int] | None, layers: Sequence[str | None], score: Score
) -> tuple[list[Tensor], Tensor, list[str]]:
    """Of each layer features times gradient, summed over features: for the class where positive, against it where not.

    Shapes, parameters and errors are those of :func:`cadx.explain.gradcam.gradcam`.
    """
    return weighted_sums(model, x, class_index, layers, score, lambda maps, slopes: maps * slopes)


def sharpened(coarse: Tensor, fine: Tensor) -> Tensor:
    """A map (B, h, w) or (B, d, h, w) on the grid of the finer one, times the finer one's absolute values.

    These are relative to the largest of their sample, so that maps of several slices keep their scale.

    >>> import torch
    >>> sharpened(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[2.0, -2.0, 1.0, 1.0]]]))
    tensor([[[1.0000, 0.7500, 0.1250, 0.0000]]])
    """
    import torch
    from torch.nn.functional import interpolate

    mode = "trilinear" if fine.ndim == 4 else "bilinear"
    large = interpolate(coarse[:, None], fine.shape[1:], mode=mode, align_corners=False)[:, 0]
    size = fine.abs()
    largest = size.amax(dim=tuple(range(1, size.ndim)), keepdim=True)
    return large * size / largest.clamp_min(torch.finfo(size.dtype).tiny)
