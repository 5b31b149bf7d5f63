"""Rotation, shear, zoom, shift and perspective warp as one homography and one resampling a batch."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from cadx.study.beside import beside

if TYPE_CHECKING:
    from torch import Generator, Tensor

# beyond this two neighbouring corners and the one between can fall into a line, and the plane folds over
LARGEST_WARP = 0.24
CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))


@dataclass(frozen=True)
class Motion:
    """How far images move at most, either way; see :class:`cadx.study.spec.AugmentationSpec`."""

    rotation_degrees: float = 0.0
    shear_degrees: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    warp: float = 0.0


def random_motion(images: Tensor, motion: Motion, generator: Generator, first: Tensor | None = None) -> Tensor:
    """Images (B, ..., H, W) float32 moved and resampled once, linearly; zero beyond the edge.

    Everything of an image moves alike. ``first`` (B, 3, 3): homographies that the images go through before. Where
    ``motion`` asks nothing the same tensor comes back and nothing is drawn.

    >>> import torch
    >>> images = torch.rand(2, 1, 8, 8)
    >>> random_motion(images, Motion(), torch.Generator()) is images
    True
    >>> random_motion(images, Motion(rotation_degrees=20, zoom=0.1), torch.Generator()).shape
    torch.Size([2, 1, 8, 8])
    """
    if not any(astuple(motion)):
        return images
    height, width = images.shape[-2:]
    homographies = draw_homographies(len(images), motion, generator, aspect=width / height)
    if first is not None:
        homographies = first @ homographies
    return resample(images.flatten(1, -3), homographies).reshape(images.shape)


def draw_homographies(count: int, motion: Motion, generator: Generator, aspect: float = 1.0) -> Tensor:
    """(count, 3, 3) float64: from a place in the result to one in the image, both -1..1 from edge to edge.

    ``aspect``: width over height; turning and shearing keep the picture's proportions. Thirteen numbers are drawn an
    image, whatever is asked, so that one kind of motion does not change the others' draws.

    Raises
    ------
    ValueError
        If ``motion.warp`` is so large that an image could fold over.
    """
    import torch

    if motion.warp > LARGEST_WARP:
        raise ValueError(f"a warp of {motion.warp} can fold the image over; take at most {LARGEST_WARP}")
    draws = torch.rand(count, 13, generator=generator, dtype=torch.float64) * 2 - 1
    angle = draws[:, 0] * math.radians(motion.rotation_degrees)
    shear = torch.tan(draws[:, 1] * math.radians(motion.shear_degrees))
    zoom = (1 + motion.zoom) ** draws[:, 2]
    # a share of the edge is twice as much where the edge is 2 long
    shift, corners = 2 * motion.shift * draws[:, 3:5], 2 * motion.warp * draws[:, 5:].reshape(count, 4, 2)
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    out = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    out[:, 0, 0], out[:, 0, 1] = cosine, (cosine * shear - sine) / aspect
    out[:, 1, 0], out[:, 1, 1] = sine * aspect, sine * shear + cosine
    out[:, :2, 2] = shift
    return out @ _perspective(corners) if motion.warp else out


def _perspective(corners: Tensor) -> Tensor:
    """(B, 3, 3) homographies that take the square's corners to where ``corners`` (B, 4, 2) moves them."""
    import torch

    x, y = torch.tensor(CORNERS, dtype=torch.float64).T.expand(len(corners), 2, 4).unbind(1)
    u, v = x + corners[..., 0], y + corners[..., 1]
    one, none = torch.ones_like(x), torch.zeros_like(x)
    across = torch.stack([x, y, one, none, none, none, -u * x, -u * y], dim=2)
    down = torch.stack([none, none, none, x, y, one, -v * x, -v * y], dim=2)
    solved = torch.linalg.solve(torch.cat([across, down], dim=1), torch.cat([u, v], dim=1))
    return torch.cat([solved, one[:, :1]], dim=1).reshape(-1, 3, 3)


def resample(images: Tensor, homographies: Tensor) -> Tensor:
    """Images (B, C, H, W) as seen through ``homographies`` (B, 3, 3), linearly; zero beyond the edge.

    >>> import torch
    >>> images = torch.rand(1, 1, 4, 4)
    >>> torch.allclose(resample(images, torch.eye(3)[None]), images, atol=1e-6)
    True
    """
    from torch.nn.functional import grid_sample

    flat = bool((homographies[:, 2, :2] == 0).all())
    height, width = images.shape[-2:]
    places = _places(beside(homographies, images, images.dtype), height, width, flat)
    return grid_sample(images, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def _places(homographies: Tensor, height: int, width: int, flat: bool) -> Tensor:
    """(B, H, W, 2) of where each pixel of the result comes from; ``flat``: without perspective."""
    rows = homographies[:, :2] if flat else homographies
    x, y = (_middles(n, homographies) for n in (width, height))
    along = rows[:, :, 0, None, None] * x
    across = rows[:, :, 1, None, None] * y[:, None] + rows[:, :, 2, None, None]
    # a plane for each number, not pairs side by side: six times faster to fill
    planes = along + across
    if not flat:
        planes[:, :2].div_(planes[:, 2:])
    return planes[:, :2].permute(0, 2, 3, 1)


def _middles(count: int, like: Tensor) -> Tensor:
    """(count,) middles of the pixels along an edge from -1 to 1."""
    import torch

    return (2 * torch.arange(count, device=like.device, dtype=like.dtype) + 1) / count - 1
