"""Augmentation in batches on the device: whole batches of tensors, drawn anew for each image.

Parameters come from a CPU generator in a fixed order, so a seed gives the same ones on every device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cadx.study.augment.geometry import Motion, random_motion
from cadx.study.augment.light import random_light
from cadx.study.augment.symmetry import apply_symmetry, draw_symmetries, random_d4, random_symmetry, symmetry_matrices
from cadx.study.augment.through_slices import turn_through_slices
from cadx.study.augment.tile import tile
from cadx.study.augment.window import central_windows, random_windows

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from cadx.study.spec import AugmentationSpec

__all__ = [
    "augment_cells",
    "augment_pictures",
    "central_windows",
    "random_d4",
    "random_light",
    "random_motion",
    "random_symmetry",
    "random_windows",
    "tile",
    "turn_through_slices",
]


def augment_cells(cells: Tensor, spec: AugmentationSpec, generator: Generator, *, masks: int = 0) -> Tensor:
    """Cells (B, C, k, m, m) moved alike in all slices and channels of a case, and lit; 0..1 float.

    The last ``masks`` channels are outlines: they move, but their light stays. Each other channel is lit by itself,
    since T1 and T2 are two acquisitions. What shows from beyond a cell's edge is zero. The window
    (:func:`random_windows`) and :func:`turn_through_slices` come before, on the whole case. A ``spec`` that
    asks nothing returns the same tensor and draws nothing.
    """
    return _lit(_move(cells, spec, generator), spec, generator, masks, each_channel=True)


def augment_pictures(batch: Tensor, spec: AugmentationSpec, generator: Generator, *, masks: int = 0) -> Tensor:
    """Pictures (B, 1 or 3, H, W) of values 0..1, before mean and deviation; all channels move and light up alike.

    The last ``masks`` channels are outlines: they move, but their light stays.

    What shows from beyond the edge is black, as the ground of radiographs and MR images is (torchvision's rotation
    does so too). A grey picture is cheapest with one channel, repeated afterwards. A ``spec`` that asks nothing
    returns the same tensor and draws nothing.
    """
    moved = _move(batch, spec, generator)
    return _lit(moved, spec, generator, masks, each_channel=False)


def _lit(images: Tensor, spec: AugmentationSpec, generator: Generator, masks: int, *, each_channel: bool) -> Tensor:
    """All but the last ``masks`` channels lit."""
    import torch

    if not spec.light:
        return images
    if not masks:
        return random_light(images, spec.light, generator, each_channel=each_channel)
    lit = random_light(images[:, :-masks], spec.light, generator, each_channel=each_channel)
    return torch.cat([lit, images[:, -masks:]], dim=1)


def _move(images: Tensor, spec: AugmentationSpec, generator: Generator) -> Tensor:
    """Flips and quarter turns are exact where nothing else moves, else part of the one resampling."""
    flips = spec.quarter_turns, spec.flip_horizontal, spec.flip_vertical
    motion = Motion(spec.rotation_degrees, spec.shear_degrees, spec.zoom, spec.shift, spec.warp)
    if not any(flips):
        return random_motion(images, motion, generator)
    symmetries = draw_symmetries(len(images), generator, *flips)
    if motion == Motion():
        return apply_symmetry(images, *symmetries)
    return random_motion(images, motion, generator, first=symmetry_matrices(*symmetries))
