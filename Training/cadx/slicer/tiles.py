"""The grid as tiles to look at: what the model is fed, and the map over it, as pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadx.explain.display import LOWEST_SHOWN, display_range
from cadx.geometry import Array
from cadx.slicer.overlay import inferno

if TYPE_CHECKING:
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
    """

    channels: tuple[str, ...]
    pixels: NDArray[np.uint8]
    centres_ras: Array
    repeated: tuple[bool, ...]
    radiological: bool

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
    threshold: float = LOWEST_SHOWN,
    opacity: float = 0.5,
) -> Tiles:
    """Tiles of a window, with a map on the grid (h, w) laid over them where there is one.

    ``threshold`` is the part of the map's scale (:func:`cadx.explain.display.display_range`) below which it is not
    drawn, ``opacity`` how dense it is drawn; both 0..1.
    """
    from cadx.prepare.grid import cell_centres

    indices = list(window.indices)
    grey = np.round(prepared.cells[:, indices] * 255)
    colours = np.repeat(grey[..., None], 3, axis=-1)
    if grid_map is not None:
        colours = _blended(colours, grid_map, prepared, threshold, opacity)
    return Tiles(
        channels,
        colours.astype(np.uint8),
        cell_centres(prepared.geometry)[indices],
        tuple(index in indices[:place] for place, index in enumerate(indices)),
        prepared.spec.orientation == "radiological",
    )


def legend_pixels(width: int = 200, height: int = 12) -> NDArray[np.uint8]:
    """(height, width, 3) uint8: the colours from the lower to the upper end of a scale."""
    row = np.round(inferno(np.linspace(0.0, 1.0, width)) * 255).astype(np.uint8)
    return np.repeat(row[None], height, axis=0)


def _blended(
    colours: NDArray[np.floating], grid_map: NDArray[np.floating], prepared: Prepared, threshold: float, opacity: float
) -> NDArray[np.floating]:
    from cadx.prepare.grid import smooth_cells

    low, high = display_range(grid_map)
    t = (smooth_cells(grid_map, prepared.spec) - low) / (high - low)
    drawn = (t >= threshold) & (t > 0) & (colours.max(axis=(0, -1)) > 0)
    heat = inferno(np.clip(t, 0, 1).ravel()).reshape(*t.shape, 3) * 255
    alpha = np.where(drawn, opacity, 0.0)[..., None]
    return np.round(colours * (1 - alpha) + heat * alpha)
