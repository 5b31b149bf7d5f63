"""One way to a map for every kind of network: rollout where it is defined, else of feature maps, or as was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.explain.display import ATTENTION, GRADCAM, HIRESCAM, MapKind
from cadx.explain.rollout import AttentionRecorder, supports_rollout
from cadx.explain.spec import USUAL, ExplanationSpec

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
        to its mean over the patches (1 = average); the others as they come, 0 or more. None where there is none.
    layer
        Whose feature maps were weighted; empty for rollout.
    """

    logits: Tensor
    own_map: NDArray[np.float32] | None
    layer: str = ""


def map_kind(model: nn.Module, spec: ExplanationSpec = USUAL) -> MapKind:
    """Which map is made of a network."""
    if spec.method == "auto":
        return ATTENTION if supports_rollout(model) else GRADCAM
    return {"grad-cam": GRADCAM, "hirescam": HIRESCAM}[spec.method]


def explain(
    model: nn.Module,
    x: Tensor,
    kind: MapKind,
    class_index: int | None = None,
    spec: ExplanationSpec = USUAL,
) -> Explained:
    """Logits and map of one sample (1, C, H, W) or (1, C, D, H, W), from the same pass.

    ``class_index`` is the class that a map of feature maps speaks of; by default the most probable one. There is no map
    where a network keeps no places in its layers.

    Raises
    ------
    InputError
        If it has no layer of the name that ``spec`` gives, or that layer no places.
    """
    import torch

    if kind is ATTENTION:
        with torch.inference_mode(), AttentionRecorder(model) as recorder:
            logits = model(x)
            row = recorder.rollout()[0].cpu().numpy()
        side = round(row.size**0.5)
        return Explained(logits, (row / row.mean()).reshape(side, side))
    from cadx.explain import gradcam
    from cadx.explain.hirescam import hirescam

    try:
        if kind is HIRESCAM:
            own_map, logits, layer = hirescam(model, x, class_index, spec.layer, spec.score, spec.sharpened_by)
        else:
            own_map, logits, layer = gradcam.gradcam(model, x, class_index, spec.layer, spec.score)
    except InputError:
        if spec.layers:
            raise
        with torch.inference_mode():
            return Explained(model(x), None)
    return Explained(logits.detach(), own_map[0].detach().float().cpu().numpy(), layer)
