"""What the model is fed, to look at: slices of the grid, planes of the cube or a picture, with the map over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadx.explain.display import ATTENTION, LOWEST_SHOWN, MapKind
from cadx.geometry import Array
from cadx.slicer.overlay import inferno

if TYPE_CHECKING:
    from cadx.prepare.picture import PictureSpec
    from cadx.prepare.pipeline import Prepared, Window


@dataclass(frozen=True, eq=False)
class Tiles:
    """Cells of a window.

    Parameters
    ----------
    channels
        Names of the images, such as ("T1", "T2").
    pixels
        (channels, tiles, rows, columns, 3) uint8.
    centres_ras
        (tiles, 3) where each cell's middle lies, RAS mm.
    repeated
        (tiles,) whether a slice was shown before, where the ROI holds too few.
    radiological
        Whether the patient's right is on the left and anterior up.
    whole
        Whether they are planes of one cube over the whole ROI.
    """

    channels: tuple[str, ...]
    pixels: NDArray[np.uint8]
    centres_ras: Array
    repeated: tuple[bool, ...]
    radiological: bool
    whole: bool = False

    @property
    def count(self) -> int:
        """Tiles in a grid."""
        return int(self.pixels.shape[1])


def window_tiles(
    prepared: Prepared,
    window: Window,
    channels: tuple[str, ...],
    grid_map: NDArray[np.floating] | None = None,
    *,
    kind: MapKind | None = None,
    threshold: float = LOWEST_SHOWN,
    opacity: float = 0.5,
) -> Tiles:
    """Tiles of a window, with a map on the grid (h, w) or the cube (d, h, w) laid over them where there is one.

    ``threshold`` is the part of the scale of the map's ``kind`` below which it is not drawn, ``opacity`` how dense it
    is drawn; both 0..1.
    """
    from cadx.prepare.grid import cell_centres

    indices = list(window.indices)
    grey = np.round(prepared.shown[:, indices] * 255)
    colours = np.repeat(grey[..., None], 3, axis=-1)
    if grid_map is not None:
        low, high = (kind or ATTENTION).range(grid_map)
        strength = (prepared.map_cells(grid_map, window) - low) / (high - low)
        colours = _blended(colours, strength, threshold, opacity)
    return Tiles(
        channels,
        colours.astype(np.uint8),
        cell_centres(prepared.geometry)[indices],
        tuple(index in indices[:place] for place, index in enumerate(indices)),
        prepared.spec.orientation == "radiological",
        prepared.crop is not None,
    )


def fed_picture(
    pixels: NDArray[np.uint8],
    spec: PictureSpec,
    own_map: NDArray[np.floating] | None = None,
    *,
    scale: tuple[float, float] = (0.0, 1.0),
    threshold: float = LOWEST_SHOWN,
    opacity: float = 0.5,
) -> NDArray[np.uint8]:
    """A picture as the network is fed it, (pixels, pixels, 3) uint8, with a map over it where there is one.

    Parameters
    ----------
    pixels
        Of a :class:`cadx.prepare.picture.Picture`.
    own_map
        (rows, columns) over the picture's own pixels; ``scale`` are the ends of its colours in its own unit.
    threshold, opacity
        As for :func:`window_tiles`.
    """
    from cadx.prepare.picture import resize_picture, to_square

    fed = np.moveaxis(resize_picture(pixels, spec), 0, -1)
    colours = np.broadcast_to(fed, (*fed.shape[:2], 3)).astype(float)
    if own_map is not None:
        low, high = scale
        strength = (to_square(own_map, spec) - low) / (high - low)
        colours = _blended(colours[None, None], strength[None], threshold, opacity)[0, 0]
    return colours.astype(np.uint8)


def legend_pixels(width: int = 200, height: int = 12) -> NDArray[np.uint8]:
    """(height, width, 3) uint8: the colours from the lower to the upper end of a scale."""
    row = np.round(inferno(np.linspace(0.0, 1.0, width)) * 255).astype(np.uint8)
    return np.repeat(row[None], height, axis=0)


def _blended(
    colours: NDArray[np.floating], t: NDArray[np.floating], threshold: float, opacity: float
) -> NDArray[np.floating]:
    """Colours (channels, tiles, rows, columns, 3) with a map (tiles, rows, columns) over them, 0..1 on its scale."""
    drawn = (t >= threshold) & (t > 0) & (colours.max(axis=(0, -1)) > 0)
    heat = inferno(np.clip(t, 0, 1).ravel()).reshape(*t.shape, 3) * 255
    alpha = np.where(drawn, opacity, 0.0)[..., None]
    return np.round(colours * (1 - alpha) + heat * alpha)
