"""Pictures of a reading: the slices that the model saw, the map over them, the profile along the slices."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadx.classify import Reading
from cadx.explain.display import MapKind, height_text, kind_of
from cadx.prepare.grid import cell_centres, tile
from cadx.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

INK = "#e8e8e8"
PAPER = "#111111"
LABEL = "#9fd0ff"
WARNING = "#ffb454"
HEAT = "inferno"
MAX_OPACITY = 0.65
MOST_CLASSES = 6


def draw_grid(path: Path, reading: Reading, channels: tuple[str, ...]) -> None:
    """``grid.png``: each channel's grid, or planes of its cube, and the same with the map; cells carry their height."""
    grid_map, kind = reading.shown.grid_map, kind_of(reading.result.explanation)
    rows = 1 if grid_map is None or kind is None else 2
    foot = 0.15 + foot_inches(reading.result)
    width, height = 6.0 * len(channels) + 1.0, 6.15 * rows + 0.95 + foot
    figure = new_figure(width, height)
    grids = figure.add_gridspec(
        rows,
        len(channels),
        left=0.02,
        right=1 - 1.0 / width,
        bottom=foot / height,
        top=1 - 0.95 / height,
        wspace=0.03,
        hspace=0.07,
    )
    for column, name in enumerate(channels):
        for row in range(rows):
            axes = figure.add_subplot(grids[row, column])
            _show_cells(axes, column, reading)
            title = name if row == 0 or kind is None else f"{name} with {kind.word}"
            axes.set_title(title, color=INK, fontsize=13, parse_math=False)
            if row == 1 and grid_map is not None and kind is not None:
                drawn = _overlay(axes, grid_map, kind, reading)
    if rows == 2 and kind is not None:
        bar = figure.colorbar(drawn, cax=figure.add_axes((1 - 0.85 / width, foot / height, 0.018, 5.6 / height)))
        bar.set_label(kind.scale, color=INK)
        bar.ax.tick_params(colors=INK)
    caption(figure, reading.result)
    figure.savefig(path, facecolor=PAPER)


def draw_profile(path: Path, reading: Reading) -> None:
    """``profile.png``: probability of each class against the height of the window's middle slice."""
    windows = reading.result.windows
    heights = [float(np.mean(w["positions_mm"])) for w in windows]
    shares = [w["probabilities"] for w in windows]
    draw_shares(path, reading.result, heights, shares, "middle of the window, inferior to superior (mm)")


def draw_shares(
    path: Path, result: Result, places: Sequence[float], shares: Sequence[Mapping[str, float]], label: str
) -> None:
    """The probability of each class (of the first few, where there are many) against places in mm."""
    foot = foot_inches(result)
    height = 4.6 + foot
    figure = new_figure(9, height)
    axes = figure.add_axes((0.08, (foot + 0.55) / height, 0.89, 3.2 / height), facecolor=PAPER)
    names = sorted(result.probabilities, key=lambda name: -result.probabilities[name])[:MOST_CLASSES]
    for name in (name for name in result.probabilities if name in names):
        axes.plot(places, [share[name] for share in shares], marker="o", label=name)
    axes.set(xlabel=label, ylabel="probability", ylim=(-0.02, 1.02))
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.tick_params(colors=INK)
    axes.grid(alpha=0.2)
    for text in axes.legend(facecolor=PAPER, labelcolor=INK, framealpha=0.6).get_texts():
        text.set_parse_math(False)
    caption(figure, result)
    figure.savefig(path, facecolor=PAPER)


def foot_inches(result: Result) -> float:
    """Room for the warnings and the disclaimer; a long sentence takes two lines."""
    return 0.3 + 0.22 * (2 * len(result.warnings) + 1)


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    return figure


def caption(figure: Figure, result: Result) -> None:
    """Label, probabilities and bundle at the top; warnings and the disclaimer at the foot."""
    ranked = sorted(result.probabilities.items(), key=lambda item: -item[1])
    few = result.probabilities.items() if len(ranked) <= MOST_CLASSES else ranked[:MOST_CLASSES]
    shares = "    ".join(f"{name} {p:.1%}" for name, p in few)
    bundle = f"{result.bundle['name']} {result.bundle['version']}"
    height = figure.get_figheight()
    figure.text(
        0.03, 1 - 0.2 / height, f"{result.label}", color=INK, fontsize=17, va="top", weight="bold", parse_math=False
    )
    figure.text(
        0.97, 1 - 0.2 / height, f"{shares}\n{bundle}", color=INK, fontsize=11, va="top", ha="right", parse_math=False
    )
    width = int(figure.get_figwidth() * 11)
    lines = [line for notice in result.warnings for line in textwrap.wrap(notice.text, width)]
    text = "\n".join([*lines, result.disclaimer])
    figure.text(0.03, 0.1 / height, text, color=WARNING, fontsize=11, va="bottom", linespacing=1.3, parse_math=False)


def _show_cells(axes: Axes, channel: int, reading: Reading) -> None:
    """Each cell is drawn by itself, so that no interpolation runs across slices."""
    prepared = reading.prepared
    cells = prepared.shown[channel, list(reading.shown.window.indices)]
    side, size = prepared.spec.side, prepared.spec.cell_pixels
    heights = cell_centres(prepared.geometry)[:, 2]
    for number, index in enumerate(reading.shown.window.indices):
        left, top = (number % side) * size, (number // side) * size
        box = (left, left + size, top + size, top)
        axes.imshow(cells[number], cmap="gray", vmin=0, vmax=1, extent=box, interpolation="bilinear")
        height = f"{number + 1}  {height_text(float(heights[index]), 0)}"
        axes.text(left + 2, top + 2, height, color=LABEL, fontsize=8, va="top")
    for line in range(size, side * size, size):
        axes.axhline(line, color="#444444", linewidth=0.8)
        axes.axvline(line, color="#444444", linewidth=0.8)
    pixels = side * size
    if prepared.spec.orientation == "radiological":
        shade = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.6, "pad": 1.5}
        axes.text(2, pixels / 2, "R", color=INK, fontsize=9, va="center", bbox=shade)
        axes.text(pixels - 2, pixels / 2, "L", color=INK, fontsize=9, va="center", ha="right", bbox=shade)
    axes.set(xlim=(0, pixels), ylim=(pixels, 0))
    axes.set_axis_off()


def _overlay(axes: Axes, grid_map: NDArray[np.float32], kind: MapKind, reading: Reading) -> ScalarMappable:
    """The map, smooth within each cell, opaque where it is high, absent where nothing was seen."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    prepared, window = reading.prepared, reading.shown.window
    pixels = prepared.spec.pixels
    smooth = tile(prepared.map_cells(grid_map, window))
    low, high = kind.range(grid_map)
    alpha = np.clip((smooth - low) / (high - low), 0, 1) * MAX_OPACITY
    alpha[tile(prepared.shown[:, list(window.indices)]).max(axis=0) == 0] = 0
    box = (0, pixels, pixels, 0)
    axes.imshow(smooth, cmap=HEAT, vmin=low, vmax=high, alpha=alpha, extent=box, interpolation="nearest")
    return ScalarMappable(norm=Normalize(low, high), cmap=HEAT)
