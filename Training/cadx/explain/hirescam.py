"""HiResCAM (Draelos and Carin, arXiv:2011.08891), and its sharpening by earlier layers; for images and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cadx.explain.gradcam import Score, weighted_sum

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
    mean over places (Eq. 4), so that a map of a layer before the last keeps its aim. For each layer of ``sharpened_by``
    in turn, each earlier and no coarser, the map is enlarged linearly to that layer's grid and multiplied by the size
    of each place's contribution there: the last layer says where the evidence is, the earlier ones where within.
    Guided Grad-CAM (Selvaraju et al., ICCV 2017, Section 3.2) multiplies a coarse map by a fine one likewise.
    """
    coarse, logits, found = contributions(model, x, class_index, layer, score)
    own_map = coarse.relu()
    for finer in sharpened_by:
        own_map = sharpened(own_map, contributions(model, x, class_index, finer, score)[0])
    return own_map, logits, " x ".join((found, *sharpened_by))


def contributions(
    model: nn.Module, x: Tensor, class_index: int | Sequence[int] | None, layer: str | None, score: Score
) -> tuple[Tensor, Tensor, str]:
    """Features times gradient, summed over features: for the class where positive, against it where negative.

    Shapes, parameters and errors are those of :func:`cadx.explain.gradcam.gradcam`.
    """
    return weighted_sum(model, x, class_index, layer, score, lambda maps, slopes: maps * slopes)


def sharpened(coarse: Tensor, fine: Tensor) -> Tensor:
    """A map (B, h, w) or (B, d, h, w) on the grid of the finer one, times the finer one's absolute values.

    >>> import torch
    >>> sharpened(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, -1.0, 1.0, 1.0]]]))
    tensor([[[1.0000, 0.7500, 0.2500, 0.0000]]])
    """
    from torch.nn.functional import interpolate

    mode = "trilinear" if fine.ndim == 4 else "bilinear"
    return interpolate(coarse[:, None], fine.shape[1:], mode=mode, align_corners=False)[:, 0] * fine.abs()
