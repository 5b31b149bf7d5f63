"""Pictures of right and wrong test cases with what the model looked at: the map that the study names for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx import DISCLAIMER
from cadx.explain.display import MapKind
from cadx.explain.maps import explain, map_kind
from cadx.study.runfolder import write_json
from cadx.study.samples import Samples
from cadx.study.source import Learnt
from cadx.study.spec import ModelEntry
from cadx.study.task import Workshop, kept_model
from cadx.study.trainer import predict
from cadx.trust.temperature import softmax

if TYPE_CHECKING:
    from torch import Tensor, nn

RIGHT, WRONG = 2, 2
FOLDER, LIST = "examples", "examples.json"
PAPER, INK, GOOD, BAD = "#ffffff", "#222222", "#1a7f37", "#b3261e"


def draw_examples(
    folder: Path,
    shop: Workshop,
    entry: ModelEntry,
    weights: Path,
    test: NDArray[np.intp],
    learnt: Learnt,
    synthetic: bool,
) -> None:
    """Draw the surest right and the surest wrong cases of an opened test part into ``folder/examples``.

    Raises
    ------
    InputError
        If the weights are damaged.
    """
    model = kept_model(shop, entry, weights)
    samples = shop.source.samples(entry, test, learnt)
    logits = predict(model, samples, shop.where)
    truth = samples.labels.numpy()
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    described = []
    for number, index in enumerate(_chosen(logits, truth)):
        file = f"example-{number}.png"
        described.append(_draw(place / file, model, shop, entry, samples, index, logits, synthetic))
    write_json(place / LIST, described)


def _chosen(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> list[int]:
    """Indices of the surest right cases, of several classes, then of the surest wrong ones."""
    sure = softmax(logits).max(axis=1)
    right = logits.argmax(1) == truth
    found: list[int] = []
    for wanted, count in ((True, RIGHT), (False, WRONG)):
        order = [int(i) for i in np.argsort(-sure, kind="stable") if right[i] == wanted]
        first = {int(truth[i]): i for i in reversed(order)}
        varied = sorted(first.values(), key=order.index)
        found += (varied + [i for i in order if i not in varied])[:count]
    return found


def _draw(
    path: Path,
    model: nn.Module,
    shop: Workshop,
    entry: ModelEntry,
    samples: Samples,
    index: int,
    logits: NDArray[np.floating],
    synthetic: bool,
) -> dict[str, Any]:
    import torch

    classes = shop.study.class_names
    graded, true = int(logits[index].argmax()), int(samples.labels[index])
    inputs = samples.batch(torch.tensor([index]))
    kind = map_kind(model, entry.explanation)
    found = explain(model, inputs.to(shop.where.torch), kind, graded, entry.explanation)
    share = float(softmax(logits[index : index + 1])[0, graded])
    right = graded == true
    title = f"{classes[true]}, graded {classes[graded]} ({share:.0%})"
    foot = f"{entry.title}, {kind.word}. " + ("Synthetic phantom. " if synthetic else "") + DISCLAIMER
    one_picture = shop.study.input.kind == "picture"
    words = (title, foot, GOOD if right else BAD)
    names = _names(shop, entry)
    _paint(path, list(zip(names, _planes(inputs[0]), strict=False)), found.own_map, kind, words, one_picture)
    return {
        "file": path.name,
        "name": samples.names[index],
        "class": classes[true],
        "predicted": classes[graded],
        "right": right,
        "method": kind.name,
    }


def _names(shop: Workshop, entry: ModelEntry) -> list[str]:
    """What each plane of :func:`_planes` is called."""
    return list(entry.channels or shop.study.channels) if shop.study.input.kind == "volumes" else ["as fed"]


def _planes(inputs: Tensor) -> list[NDArray[np.floating]]:
    """What to show of one input: each channel of a grid, a picture once, the middle slice of a cube; 0..1."""
    values = inputs.float().numpy()
    if values.ndim == 4:
        values = values[:, values.shape[1] // 2]
    if len(values) == 3:
        values = values[1:2]
    low, high = values.min(axis=(1, 2), keepdims=True), values.max(axis=(1, 2), keepdims=True)
    return list((values - low) / np.maximum(high - low, 1e-6))


def _paint(
    path: Path,
    planes: list[tuple[str, NDArray[np.floating]]],
    own_map: NDArray[np.floating] | None,
    kind: MapKind,
    words: tuple[str, str, str],
    one_picture: bool,
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = len(planes) + 1
    title, foot, colour = words
    figure = Figure(figsize=(3.0 * columns, 3.75), dpi=80, facecolor=PAPER)
    FigureCanvasAgg(figure)
    for column in range(columns):
        axes = figure.add_axes((column / columns + 0.004, 0.09, 1 / columns - 0.008, 0.8))
        name, shown = planes[min(column, len(planes) - 1)]
        axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
        if column == len(planes) and own_map is not None:
            _overlay(axes, own_map, shown.shape, kind, one_picture)
        axes.set_axis_off()
        caption = f"{name} with {kind.word}" if column == len(planes) else name
        axes.text(0.02, 0.98, caption, color="#9fd0ff", fontsize=8, va="top", transform=axes.transAxes)
    figure.text(0.01, 0.985, title, color=colour, fontsize=10, va="top", weight="bold", parse_math=False)
    figure.text(0.01, 0.02, foot, color=INK, fontsize=7, parse_math=False)
    figure.savefig(path, metadata={"Software": None})


def _overlay(
    axes: Any, own_map: NDArray[np.floating], shape: tuple[int, ...], kind: MapKind, one_picture: bool
) -> None:
    flat = own_map[own_map.shape[0] // 2] if own_map.ndim == 3 else own_map
    if not kind.relative_to_average and flat.max() > 0:
        flat = flat / flat.max()
    low, high = kind.range(flat)
    alpha = np.clip((flat - low) / (high - low), 0, 1) * 0.65
    box = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    # a grid's cells are other slices, so nothing is smoothed across their borders
    smooth = "bilinear" if one_picture else "nearest"
    axes.imshow(flat, cmap="inferno", vmin=low, vmax=high, alpha=alpha, extent=box, interpolation=smooth)
