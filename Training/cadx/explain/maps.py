"""One way to a map for every kind of network: rollout where it is defined, Grad-CAM where there are feature maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.explain.display import ATTENTION, GRADCAM, MapKind
from cadx.explain.rollout import AttentionRecorder, supports_rollout

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Explained:
    """One forward pass with its map.

    Parameters
    ----------
    logits
        (1, classes).
    own_map
        (h, w) or (d, h, w) float32 over what the network was fed, of the network's own resolution: attention relative
        to its mean over the patches (1 = average); Grad-CAM as it comes, 0 or more. None where there is none.
    layer
        Whose feature maps were weighted; empty for rollout.
    """

    logits: Tensor
    own_map: NDArray[np.float32] | None
    layer: str = ""


def map_kind(model: nn.Module) -> MapKind:
    """Which map is made of a network."""
    return ATTENTION if supports_rollout(model) else GRADCAM


def explain(model: nn.Module, x: Tensor, kind: MapKind, class_index: int | None = None) -> Explained:
    """Logits and map of one sample (1, C, H, W) or (1, C, D, H, W) from the same pass.

    ``class_index`` is the class that Grad-CAM speaks of; by default the most probable one. There is no map where a
    network keeps no places in its layers.
    """
    import torch

    if kind is ATTENTION:
        with torch.inference_mode(), AttentionRecorder(model) as recorder:
            logits = model(x)
            row = recorder.rollout()[0].cpu().numpy()
        side = round(row.size**0.5)
        return Explained(logits, (row / row.mean()).reshape(side, side))
    from cadx.explain.gradcam import gradcam

    try:
        own_map, logits, layer = gradcam(model, x, class_index=class_index)
    except InputError:
        with torch.inference_mode():
            return Explained(model(x), None)
    return Explained(logits.detach(), own_map[0].detach().float().cpu().numpy(), layer)
