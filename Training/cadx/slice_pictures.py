"""Drawings of a picture's reading: it with its map and probabilities, a volume's slices, the profile along them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx.classify_picture import PictureReading, SliceReading
from cadx.explain.display import MapKind, kind_of, percent
from cadx.pictures import (
    HEAT,
    INK,
    LABEL,
    MAX_OPACITY,
    MOST_CLASSES,
    PAPER,
    caption,
    draw_shares,
    foot_inches,
    new_figure,
)
from cadx.planes import PLANES, position_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

TILE, TEXT, HEAD = 1.9, 0.36, 0.95
COLUMNS, MOST_TILES = 6, 30
# more than a page shows; a drawing of every pixel of a large radiograph takes gigabytes
MOST_PIXELS = 1024
AXIS_WORDS = ("left to right", "posterior to anterior", "inferior to superior")


def draw_overlay(path: Path, reading: PictureReading) -> None:
    """``overlay.png``: the picture, the same with the map, and the probabilities; of a volume the shown slice."""
    shown, kind = reading.slices[reading.shown], kind_of(reading.result.explanation)
    mapped = kind is not None and shown.own_map is not None
    foot = 0.25 + foot_inches(reading.result)
    shares = _ranked(shown, tuple(reading.result.probabilities))
    picture, bars = 4.4, 0.5 + 0.28 * len(shares)
    below = bars + 0.35 if mapped else 0.0
    width, height = picture * 2 + 1.3, HEAD + 0.3 + picture + below + foot
    figure = new_figure(width, height)
    bottom = (foot + below) / height
    for column in range(2 if mapped else 1):
        left = (0.15 + column * (picture + 0.1)) / width
        axes = figure.add_axes((left, bottom, picture / width, picture / height))
        _show(axes, reading, shown, kind if column else None)
        title = _title(reading, shown) if column == 0 or kind is None else f"with {kind.word}{_of_class(reading)}"
        axes.set_title(title, color=INK, fontsize=11, parse_math=False)
    if mapped and kind is not None:
        place = ((0.25 + 2 * (picture + 0.1)) / width, bottom, 0.13 / width, picture / height)
        _bar(figure, place, kind, reading)
    # beside the picture where there is no map
    left, low = (1.8, foot + 0.1) if mapped else (picture + 2.0, foot + (picture - bars) / 2)
    axes = figure.add_axes((left / width, low / height, (width - left - 0.5) / width, (bars - 0.2) / height))
    _show_shares(axes, shares)
    if (reading.result.rule or {}).get("name") == "mean":
        axes.set_title(f"slice {shown.view.index} alone", color=INK, fontsize=10, loc="left")
    _caption(figure, reading)
    figure.savefig(path, facecolor=PAPER)


def draw_slices(path: Path, reading: PictureReading) -> None:
    """``slices.png``: the slices by place in the patient, each below with its map; of many, evenly chosen ones."""
    kind = kind_of(reading.result.explanation)
    tiles = _chosen(reading)
    columns = min(COLUMNS, max(4, len(tiles)))
    rows, layers = -(-len(tiles) // columns), 2 if kind is not None else 1
    foot = 0.25 + foot_inches(reading.result)
    block = layers * TILE + TEXT
    width, height = columns * TILE + 1.2, HEAD + 0.3 + rows * block + foot
    figure = new_figure(width, height)
    for number, one in enumerate(tiles):
        row, column = divmod(number, columns)
        left, top = 0.1 + column * TILE, height - HEAD - 0.3 - row * block - TEXT
        for layer in range(layers):
            place = (left / width, (top - (layer + 1) * TILE) / height, 0.97 * TILE / width, 0.97 * TILE / height)
            axes = figure.add_axes(place)
            _show(axes, reading, one, kind if layer else None, small=True)
            if layer and one.own_map is None:
                axes.text(
                    0.5, 0.02, "no map: 0 everywhere", color=LABEL, fontsize=7, ha="center", transform=axes.transAxes
                )
        if one is reading.slices[reading.shown]:
            figure.add_artist(
                _frame(left / width, (top - layers * TILE) / height, TILE / width, layers * TILE / height)
            )
        text = f"{_place(reading, one)}\n{_answer(reading, one)}"
        figure.text(left / width, (top + 0.02) / height, text, color=LABEL, fontsize=7.5, va="bottom", parse_math=False)
    if kind is not None:
        tall = min(rows, 2) * block - TEXT
        place = (1 - 0.95 / width, (height - HEAD - 0.3 - TEXT - tall) / height, 0.13 / width, tall / height)
        _bar(figure, place, kind, reading)
    if len(tiles) < len(reading.slices):
        note = f"{len(tiles)} of {len(reading.slices)} slices"
        figure.text(0.97, 1 - (HEAD - 0.05) / height, note, color=INK, fontsize=10, ha="right", va="center")
    _caption(figure, reading)
    figure.savefig(path, facecolor=PAPER)


def draw_slice_profile(path: Path, reading: PictureReading) -> None:
    """``profile.png``: probability of each class against the slices' places."""
    table = reading.result.slices["table"]
    words = AXIS_WORDS[PLANES.index(reading.result.slices["plane"])]
    places = [row["position_mm"] for row in table]
    draw_shares(path, reading.result, places, [row["probabilities"] for row in table], f"slice, {words} (mm)")


def _chosen(reading: PictureReading) -> list[SliceReading]:
    """At most so many slices, the shown one among them."""
    count = len(reading.slices)
    numbers = {int(n) for n in np.rint(np.linspace(0, count - 1, min(count, MOST_TILES)))}
    if reading.shown not in numbers:
        numbers.remove(min(numbers, key=lambda n: abs(n - reading.shown)))
        numbers.add(reading.shown)
    return [reading.slices[n] for n in sorted(numbers)]


def _caption(figure: Figure, reading: PictureReading) -> None:
    """With the rule that makes one answer of several slices."""
    caption(figure, reading.result)
    text = (reading.result.rule or {}).get("text", "")
    figure.text(0.03, 1 - (HEAD - 0.22) / figure.get_figheight(), text, color=INK, fontsize=10, va="center")


def _show(axes: Axes, reading: PictureReading, one: SliceReading, kind: MapKind | None, *, small: bool = False) -> None:
    pixels = _reduced(one.view.picture.pixels)
    smooth = "antialiased" if small else "bilinear"
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation=smooth, aspect=_aspect(reading))
    if kind is not None and one.own_map is not None:
        low, high = _scale(reading, kind)
        own_map = _reduced(one.own_map)
        alpha = np.clip((own_map - low) / (high - low), 0, 1) * MAX_OPACITY
        # on the network's square the background is as good as any other place
        axes.imshow(
            own_map, cmap=HEAT, vmin=low, vmax=high, alpha=alpha, interpolation="nearest", aspect=_aspect(reading)
        )
    stack = reading.case.stack
    if stack is not None:
        shade = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.6, "pad": 1.5}
        for letter, where, side in zip(stack.edges, (0.015, 0.985), ("left", "right"), strict=True):
            size = 6.5 if small else 10
            axes.text(where, 0.5, letter, color=INK, fontsize=size, ha=side, bbox=shade, transform=axes.transAxes)
    axes.set_axis_off()


def _reduced(values: NDArray[Any]) -> NDArray[Any]:
    """(rows, columns) or (rows, columns, 3) by means of whole blocks, so that no side is much beyond what is shown."""
    from PIL import Image

    factor = -(-max(values.shape[:2]) // MOST_PIXELS)
    return values if factor == 1 else np.asarray(Image.fromarray(values).reduce(factor))


def _aspect(reading: PictureReading) -> float:
    """Height of a pixel in widths."""
    stack = reading.case.stack
    if stack is None:
        return 1.0
    across, up = np.delete(stack.volume.canonical_geometry().spacing, stack.axis)
    return float(up / across)


def _scale(reading: PictureReading, kind: MapKind) -> tuple[float, float]:
    return kind.range(np.concatenate([r.own_map.ravel() for r in reading.slices if r.own_map is not None]))


def _bar(figure: Figure, place: tuple[float, float, float, float], kind: MapKind, reading: PictureReading) -> None:
    drawn = _mappable(*_scale(reading, kind))
    bar = figure.colorbar(drawn, cax=figure.add_axes(place))
    spoken_for = _of_class(reading)
    bar.set_label(f"{kind.scale},{spoken_for}" if spoken_for else kind.scale, color=INK, parse_math=False)
    bar.ax.tick_params(colors=INK)


def _mappable(low: float, high: float) -> ScalarMappable:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(norm=Normalize(low, high), cmap=HEAT)


def _frame(left: float, bottom: float, width: float, height: float):  # type: ignore[no-untyped-def]
    from matplotlib.patches import Rectangle

    return Rectangle((left, bottom), width, height, fill=False, edgecolor=LABEL, linewidth=1.5)


def _ranked(one: SliceReading, names: tuple[str, ...]) -> list[tuple[str, float]]:
    """Class and probability in the bundle's order; of many classes the most probable ones."""
    pairs: list[tuple[str, float]] = [(n, float(p)) for n, p in zip(names, one.probabilities, strict=True)]
    return pairs if len(pairs) <= MOST_CLASSES else sorted(pairs, key=lambda pair: -pair[1])[:MOST_CLASSES]


def _show_shares(axes: Axes, shares: list[tuple[str, float]]) -> None:
    places = np.arange(len(shares))[::-1]
    values: NDArray[np.float64] = np.array([share for _, share in shares])
    axes.barh(places, values, color=LABEL, height=0.62)
    for place, value in zip(places, values, strict=True):
        axes.text(value + 0.01, place, f"{value:.1%}", color=INK, fontsize=10, va="center")
    axes.set(xlim=(0, 1.08), ylim=(-0.6, len(shares) - 0.4), facecolor=PAPER)
    axes.set_yticks(places, [name if len(name) < 24 else f"{name[:22]}..." for name, _ in shares])
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    axes.tick_params(colors=INK, length=0)
    axes.set_xticks([])
    axes.set_frame_on(False)


def _of_class(reading: PictureReading) -> str:
    """Such a map of an answer without a finding shows what speaks for none."""
    name = str((reading.result.explanation or {}).get("class", ""))
    return f" for {name if len(name) < 24 else f'{name[:22]}...'}" if name else ""


def _title(reading: PictureReading, one: SliceReading) -> str:
    return str(reading.result.inputs[0]["source"])[-48:] if reading.case.stack is None else _place(reading, one)


def _place(reading: PictureReading, one: SliceReading) -> str:
    stack = reading.case.stack
    if stack is None or one.view.position_mm is None:
        return ""
    return f"slice {one.view.index}, {position_text(stack.plane, one.view.position_mm)}"


def _answer(reading: PictureReading, one: SliceReading) -> str:
    name = tuple(reading.result.probabilities)[int(one.probabilities.argmax())]
    return f"{name[:20]} {percent(float(one.probabilities.max()))}"
