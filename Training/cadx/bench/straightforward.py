"""The script that a user would write today: the baseline that ``cadx bench case`` is measured against.

SimpleITK's N4 at full resolution (4 levels of 50 iterations inside an Otsu mask), the same smoothing, a timm model in
fp32, every attention matrix kept and multiplied. Cropping, scaling and tiling are those of the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx.prepare.pipeline import Preparation
from cadx.prepare.smooth import smooth
from cadx.prepare.spec import PreparationSpec
from cadx.roi import Roi
from cadx.volume import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk
    from torch import Tensor, nn

ITERATIONS = [50, 50, 50, 50]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the script finds: logits (classes,), the map (h, w) on the grid, N4's fields and masks (K, J, I) by channel.

    Fields and masks lie on each file's own voxels.
    """

    logits: NDArray[np.floating]
    grid_map: NDArray[np.floating]
    fields: Mapping[str, NDArray[np.floating]]
    masks: Mapping[str, NDArray[np.bool_]]


def grade(files: Mapping[str, Path], roi: Roi, model: nn.Module, spec: PreparationSpec) -> Answer:
    """Files to logits and map. ``spec`` gives smoothing, grid and scale; its bias step is done in full."""
    import SimpleITK as sitk
    import torch

    smoothed, fields, masks = {}, {}, {}
    for channel, file in files.items():
        image = sitk.Cast(sitk.ReadImage(str(file)), sitk.sitkFloat32)
        corrected, fields[channel], masks[channel] = _n4(image)
        volume = Volume.from_sitk(corrected, channel)
        smoothed[channel] = smooth(volume, spec.smooth) if spec.smooth else volume
    plain = Preparation(spec.model_copy(update={"bias": None, "smooth": None}))
    onto = next(iter(smoothed.values())).geometry
    prepared = plain.crop({c: plain.correct(v, c) for c, v in smoothed.items()}, roi, onto=onto)
    x = torch.from_numpy(prepared.grid(prepared.window()))[None]
    with torch.inference_mode():
        logits, attention = forward_keeping_attention(model, x)
        row = rolled_out(attention)
    side = round(row.numel() ** 0.5)
    return Answer(logits[0].numpy(), row.reshape(side, side).numpy(), fields, masks)


def forward_keeping_attention(model: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and each block's attention (B, heads, N, N): fused attention is off, as it hands out no matrix."""
    blocks: Any = model.blocks
    kept: list[Tensor] = []
    handles = []
    before = [block.attn.fused_attn for block in blocks]
    for block in blocks:
        block.attn.fused_attn = False
        handles.append(block.attn.attn_drop.register_forward_hook(lambda module, given, out: kept.append(out)))
    try:
        return model(x), kept
    finally:
        for block, fused, handle in zip(blocks, before, handles, strict=True):
            block.attn.fused_attn = fused
            handle.remove()


def rolled_out(attention: list[Tensor], prefix: int = 1) -> Tensor:
    """(patches,): the class token's row of the whole product (Abnar and Zuidema, 2020, Eq. 1)."""
    import torch

    joint = None
    for layer in attention:
        mean = layer[0].float().mean(dim=0)
        step = 0.5 * (mean + torch.eye(mean.shape[0]))
        joint = step if joint is None else step @ joint
    assert joint is not None
    return joint[0, prefix:]


def _n4(image: sitk.Image) -> tuple[sitk.Image, NDArray[np.floating], NDArray[np.bool_]]:
    import SimpleITK as sitk

    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(ITERATIONS)
    corrected = n4.Execute(image, mask)
    field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)))
    return corrected, field, sitk.GetArrayFromImage(mask) > 0
