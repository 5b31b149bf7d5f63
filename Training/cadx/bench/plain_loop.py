"""The straightforward training loop: the baseline that ``cadx bench training`` is measured against.

A sample at a time through dictionary transforms of MONAI or transforms of torchvision, torch's DataLoader, fp32, and
``torch.optim.Adam`` as it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx import device

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.data import DataLoader

    from cadx.study.spec import AugmentationSpec

SLICES = 9


def train_epoch(model: nn.Module, batches: Iterable[Any], optimiser: Any, where: device.Device) -> list[float]:
    """The loss of every step; ``batches`` gives dictionaries of ``image`` (B, C, H, W) and ``label`` (B,)."""
    from torch.nn.functional import cross_entropy

    model.train()
    losses = []
    for batch in batches:
        optimiser.zero_grad()
        loss = cross_entropy(model(batch["image"].to(where.torch)), batch["label"].to(where.torch))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def evaluate(model: nn.Module, batches: Iterable[Any], where: device.Device) -> NDArray[np.float32]:
    """(N, classes) logits."""
    import torch

    model.eval()
    with torch.no_grad():
        return np.concatenate([model(batch["image"].to(where.torch)).cpu().numpy() for batch in batches])


def volume_loader(
    cells: Sequence[NDArray[np.float32]], labels: Sequence[int], batch: int, *, training: bool
) -> DataLoader[Any]:
    """Cells (C, S, m, m) of each case, held in memory, to grids (B, C, 3 m, 3 m) through MONAI's transforms.

    In training a random window, flip and quarter turn; else the central window.
    """
    from monai.data import Dataset
    from monai.transforms import (
        CenterSpatialCropd,
        Compose,
        EnsureChannelFirstd,
        Lambdad,
        RandFlipd,
        RandRotate90d,
        RandSpatialCropd,
        ScaleIntensityRanged,
        ToTensord,
    )
    from torch.utils.data import DataLoader

    keys, window = ["image"], (SLICES, -1, -1)
    drawn = [
        RandSpatialCropd(keys, roi_size=window, random_size=False),
        RandFlipd(keys, prob=0.5, spatial_axis=2),
        RandRotate90d(keys, prob=0.75, max_k=3, spatial_axes=(1, 2)),
    ]
    steps = [
        EnsureChannelFirstd(keys, channel_dim=0),
        *(drawn if training else [CenterSpatialCropd(keys, roi_size=window)]),
        ScaleIntensityRanged(keys, a_min=0, a_max=1, b_min=0, b_max=1, clip=True),
        Lambdad(keys, tiled),
        ToTensord([*keys, "label"]),
    ]
    cases = [{"image": case, "label": label} for case, label in zip(cells, labels, strict=True)]
    return DataLoader(Dataset(cases, Compose(steps)), batch_size=batch, shuffle=training)


def tiled(cells: Tensor) -> Tensor:
    """Nine cells (C, 9, m, m) to a grid (C, 3 m, 3 m)."""
    import torch

    return torch.cat([torch.cat(list(cells[:, row : row + 3].unbind(1)), dim=-1) for row in (0, 3, 6)], dim=-2)


def picture_loader(
    files: Sequence[Path], labels: Sequence[int], batch: int, pixels: int, asked: AugmentationSpec, *, workers: int
) -> DataLoader[Any]:
    """PNG files to pictures (B, 3, pixels, pixels) through torchvision's transforms, moved and lit as ``asked``."""
    from torch.utils.data import DataLoader
    from torchvision import transforms

    from cadx.prepare.picture import IMAGENET_MEAN, IMAGENET_STD

    shear = asked.shear_degrees
    steps = transforms.Compose(
        [
            transforms.Resize((pixels, pixels)),
            transforms.RandomHorizontalFlip(asked.flip_horizontal),
            transforms.RandomAffine(
                asked.rotation_degrees,
                translate=(asked.shift, asked.shift),
                scale=(1 / (1 + asked.zoom), 1 + asked.zoom),
                shear=(-shear, shear),
                interpolation=transforms.InterpolationMode.BILINEAR,
            ),
            # torchvision moves a corner by up to half of this share of the edge, and here every picture is warped
            transforms.RandomPerspective(2 * asked.warp, p=1.0),
            transforms.ColorJitter(brightness=asked.light, contrast=asked.light),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    files_read: Any = _PictureFiles(files, labels, steps)
    return DataLoader(
        files_read,
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


class _PictureFiles:
    """As torch's tutorials have it: open, convert, transform."""

    def __init__(self, files: Sequence[Path], labels: Sequence[int], steps: Any) -> None:
        self._files, self._labels, self._steps = files, labels, steps

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        from PIL import Image

        with Image.open(self._files[index]) as picture:
            return {"image": self._steps(picture.convert("RGB")), "label": self._labels[index]}
