"""The figures of a report, as PNG files: light, printable, told apart without colour too."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx.evaluate import metrics, protocol
from cadx.evaluate.rundata import Fit, Fold, Model, Run
from cadx.evaluate.scored import Scored
from cadx.evaluate.tables import known_centres

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1c2733"
FAINT = "#c9d1d9"
RED = "#a61b1b"
GREY = "#7b8794"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b3a8c", "#8c564b")
DASHES = ("-", "--", ":", "-.")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")
SHADES = "Blues"
DPI = 110
WIDTH = 9.0
MOST_COLUMNS = 3
MOST_PANELS = 9
ROOM_FOR_LEGEND = 1.4
LONGEST_NAME = 26


@dataclass(frozen=True)
class Picture:
    """A figure that was drawn.

    ``kind`` is its name without the page's number; ``alt`` says in words what it shows.

    ``share``: of the page's width that it takes.
    """

    kind: str
    file: str
    title: str
    caption: str
    alt: str
    share: float


Draw = Callable[["Axes", Any], None]


def draw_all(folder: Path, run: Run, scored: Sequence[Scored]) -> list[Picture]:
    """Draw every figure that the run has data for, as PNG files into ``folder``; the same run gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    drawers = (_classes, _centres, _split, _confusion, _roc, _reliability, _losses, _compared, _rates, _range_tests)
    with _plain_style():
        return [picture for drawer in drawers for picture in drawer(folder, run, scored)]


def _classes(folder: Path, run: Run, scored: Sequence[Scored]) -> list[Picture]:
    names = run.study.class_names
    counts = [sum(row["class"] == name for row in run.samples.values()) for name in names]
    if not sum(counts):
        return []
    figure, axes = _single(run, height=0.42 * len(names) + 0.9)
    bars = axes.barh(range(len(names)), counts, color=[_colour(i) for i in range(len(names))], height=0.62)
    labels = [f"{count}  ({count / sum(counts):.0%})" for count in counts]
    axes.bar_label(bars, labels, padding=4, color=INK)
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set(xlabel="images or cases", xlim=(0, 1.18 * max(counts)))
    axes.invert_yaxis()
    _bare(axes)
    shares = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
    return _saved(figure, folder, "classes", "Class distribution", "How many images or cases of each class.", shares)


def _centres(folder: Path, run: Run, scored: Sequence[Scored]) -> list[Picture]:
    centres, names = known_centres(run), run.study.class_names
    if len(centres) < 2:
        return []
    rows = list(run.samples.values())
    table = [[sum(r.get("centre") == c and r["class"] == name for r in rows) for c in centres] for name in names]
    figure, axes = _single(run, height=0.36 * len(centres) + 1.5)
    _stack(axes, table, names, centres)
    axes.set(xlabel="images or cases")
    return _saved(
        figure,
        folder,
        "centres",
        "Class distribution by centre",
        "Where a class comes from few centres only, a model can score by recognising the centre.",
        "; ".join(
            f"{c}: " + ", ".join(f"{n} {table[i][k]}" for i, n in enumerate(names)) for k, c in enumerate(centres)
        ),
    )


def _split(folder: Path, run: Run, scored: Sequence[Scored]) -> list[Picture]:
    names = run.study.class_names
    parts: dict[str, list[str]] = {}
    for fold in run.planned:
        if run.one_split:
            parts |= _parts_of_one_split(fold)
        else:
            parts[f"{fold['name']}, test"] = list(fold.get("test") or [])
    if not parts or not run.samples or run.external:
        return []
    of = {name: row["class"] for name, row in run.samples.items()}
    table = [[sum(of.get(n) == name for n in part) for part in parts.values()] for name in names]
    figure, axes = _single(run, height=0.34 * len(parts) + 1.5)
    _stack(axes, table, names, list(parts))
    axes.set(xlabel="images or cases")
    caption = "Size and classes of each part." if run.one_split else "Size and classes of each test part."
    alt = ", ".join(f"{label} {len(part)}" for label, part in parts.items())
    return _saved(figure, folder, "split", "Training and test parts", caption, alt)


def _parts_of_one_split(fold: dict[str, Any]) -> dict[str, list[str]]:
    inner = fold.get("inner") or []
    test, training = list(fold.get("test") or []), list(fold.get("training") or [])
    if len(inner) == 1 and set(inner[0].get("validation") or []) != set(test):
        learnt = list(inner[0].get("training") or [])
        return {"training": learnt, "validation": list(inner[0].get("validation") or []), "test": test}
    return {"training": training, "test": test}


def _confusion(folder: Path, run: Run, scored: Sequence[Scored]) -> list[Picture]:
    names = [_short(name, 14) for name in run.study.class_names]

    def draw(axes: Axes, one: Scored) -> None:
        shares = one.confusion / np.maximum(one.confusion.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
        for (i, j), count in np.ndenumerate(one.confusion):
            ink = "white" if shares[i, j] > 0.55 else INK
            size = 9 if len(names) <= 5 else 6
            axes.text(j, i, f"{count}\n{shares[i, j]:.0%}", ha="center", va="center", color=ink, fontsize=size)
        axes.set_xticks(
            range(len(names)), names, rotation=30 if len(names) > 2 else 0, ha="right" if len(names) > 2 else "center"
        )
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="graded as", ylabel="truth")

    alt = "; ".join(f"{one.title}: {one.confusion.tolist()}" for one in scored)
    return _panels(
        folder, run, "confusion", "Confusion matrices", "Counts, and shares of the true class.", alt, scored, draw, 3.1
    )


def _roc(folder: Path, run: Run, scored: Sequence[Scored]) -> list[Picture]:
    from sklearn.metrics import roc_curve

    names = run.study.class_names

    def draw(axes: Axes, one: Scored) -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for c, line in enumerate(one.by_class):
            if line["auc"] is None:
                continue
            truth, p = one.predictions.truth == c, one.predictions.probabilities[:, c]
            false, right, _ = roc_curve(truth, p, drop_intermediate=True)
            axes.plot(false, right, label=f"{_short(names[c], 16)}  {line['auc']:.3f}", **_line(c))
        axes.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        _legend(axes, "lower right", title="AUROC")

    caption = "Each class against the rest, all test predictions pooled."
    alt = "; ".join(
        f"{one.title}: AUROC " + ", ".join(f"{x['class']} {x['auc']}" for x in one.by_class) for one in scored
    )
    return _panels(folder, run, "roc", "ROC curves", caption, alt, scored, draw, 3.0)


def _reliability(folder: Path, run: Run, scored: Sequence[Scored]) -> list[Picture]:
    def draw(axes: Axes, one: Scored) -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        after, truth = one.predictions.probabilities, one.predictions.truth
        if one.uncalibrated:
            label = f"before  {one.uncalibrated['ece']:.3f}"
            _reliability_line(axes, truth, one.predictions.uncalibrated, label, GREY, "s", "--")
        label = ("after  " if one.uncalibrated else "") + f"{one.pooled['ece']:.3f}"
        _reliability_line(axes, truth, after, label, COLOURS[0], "o", "-")
        axes.set(xlabel="highest probability", ylabel="share right", xlim=(0, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        _legend(axes, "upper left", title="calibration error")

    tail = ", before and after temperature scaling" if any(one.uncalibrated for one in scored) else ""
    caption = (
        f"Share graded right against the highest probability, {metrics.BINS} bins{tail}; larger marks: more cases."
    )
    alt = "; ".join(f"{one.title}: calibration error {one.pooled['ece']:.3f}" for one in scored)
    return _panels(folder, run, "reliability", "Reliability of the probabilities", caption, alt, scored, draw, 3.0)


def _reliability_line(
    axes: Axes,
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    label: str,
    colour: str,
    marker: str,
    dash: str,
) -> None:
    found = metrics.reliability(truth, probabilities)
    sizes = 8 + 90 * found["cases"] / found["cases"].max()
    axes.plot(found["confidence"], found["right"], dash, color=colour, linewidth=1.2, label=label)
    axes.scatter(found["confidence"], found["right"], s=sizes, color=colour, marker=marker, alpha=0.75, linewidths=0)


def _losses(folder: Path, run: Run, scored: Sequence[Scored]) -> list[Picture]:
    models = [model for model in run.models if _curves(model, "loss")]

    def draw(axes: Axes, model: Model) -> None:
        for key, label, colour, dash in (
            ("loss", "training", COLOURS[1], "--"),
            ("validation_loss", "validation", COLOURS[0], "-"),
        ):
            curves = _curves(model, key)
            for curve in curves if len(curves) > 1 else []:
                axes.plot(_lengths(run, curve), curve, color=colour, linewidth=0.6, alpha=0.45)
            if curves:
                mean = _mean_curve(curves)
                axes.plot(_lengths(run, mean), mean, dash, color=colour, linewidth=2.2, label=label, marker=_dot(mean))
        chosen = [protocol.looked_at(run, fold) for fold in model.folds if fold.chosen]
        for number, where in enumerate(chosen):
            axes.axvline(where, color=GREY, linewidth=0.7, linestyle=":", label="" if number else "chosen")
        axes.set(xlabel=protocol.unit(run), ylabel="loss", ylim=_loss_limits(axes, ROOM_FOR_LEGEND))
        _whole_numbers(axes)
        _legend(axes, "upper right")

    validation = "the test part" if run.study.split.inner.kind == "test" else "the inner validation parts"
    caption = (
        f"Loss on the training part and on {validation} with the chosen settings. "
        "Thin: each outer fold, averaged over its inner parts; thick: their mean; dotted: the chosen length of each."
    )
    alt = _curves_alt(run, models)
    return _panels(folder, run, "losses", "Training and validation loss", caption, alt, models, draw, 2.7)


def _compared(folder: Path, run: Run, scored: Sequence[Scored]) -> list[Picture]:
    models = [model for model in run.models if _curves(model, "validation_loss")]
    if len(models) < 2:
        return []
    figure, axes = _single(run, height=3.6 + 0.17 * max(0, len(models) - 14))
    for number, model in enumerate(models):
        mean = _mean_curve(_curves(model, "validation_loss"))
        axes.plot(_lengths(run, mean), mean, label=_short(model.entry.title), marker=_dot(mean), **_line(number))
    axes.set(xlabel=protocol.unit(run), ylabel="validation loss", ylim=_loss_limits(axes))
    _whole_numbers(axes)
    axes.grid(alpha=0.25)
    columns = 1 if len(models) <= 14 else 2
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False, ncols=columns)
    caption = "Mean validation loss of each model: which falls sooner, and which deeper."
    return _saved(figure, folder, "validation-loss", "Validation loss of all models", caption, _curves_alt(run, models))


def _rates(folder: Path, run: Run, scored: Sequence[Scored]) -> list[Picture]:
    drawn = [(model, steps) for model in run.models if len(steps := _rate_steps(model)) > 1]
    if not drawn:
        return []
    figure, axes = _single(run, height=3.0)
    alike: dict[tuple[tuple[float, ...], tuple[float, ...]], list[str]] = {}
    for model, steps in drawn:
        curve = tuple(one["step"] for one in steps), tuple(one["learning_rate"] for one in steps)
        alike.setdefault(curve, []).append(_short(model.entry.title))
    for number, (curve, titles) in enumerate(alike.items()):
        label = "\n".join(titles) if len(alike) > 1 else "all models"
        axes.plot(*curve, label=label, **_line(number))
    axes.set(xlabel="optimiser step", ylabel="learning rate", ylim=(0, None))
    _whole_numbers(axes)
    axes.ticklabel_format(axis="y", style="plain")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(alpha=0.25)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
    caption = "Learning rate in the first training of each model."
    alt = "; ".join(f"{m.entry.title}: highest {max(s['learning_rate'] for s in steps):g}" for m, steps in drawn)
    return _saved(figure, folder, "learning-rate", "Learning rate", caption, alt)


def _range_tests(folder: Path, run: Run, scored: Sequence[Scored]) -> list[Picture]:
    models = [model for model in run.models if _range_fits(model)]

    def draw(axes: Axes, model: Model) -> None:
        for number, fit in enumerate(_range_fits(model)):
            test = fit.range_test
            axes.plot(test["learning_rates"], test["losses"], color=COLOURS[0], linewidth=1, alpha=0.6)
            if test.get("chosen"):
                label = "" if number else "chosen"
                axes.axvline(test["chosen"], color=COLOURS[1], linewidth=1, linestyle="--", label=label)
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.set_xticks([10.0**power for power in range(-9, 3, 2)])
        axes.xaxis.set_major_formatter(lambda value, _: f"1e{round(np.log10(value))}")
        axes.set_xlim(min(test["learning_rates"]), max(test["learning_rates"]))
        axes.minorticks_off()
        _legend(axes, "best")

    caption = "Loss while the rate rises, one line a training; dashed: the rate taken, where the loss falls steepest."
    alt = "; ".join(
        f"{model.entry.title}: chosen {', '.join(str(f.range_test.get('chosen')) for f in _range_fits(model))}"
        for model in models
    )
    return _panels(folder, run, "range-test", "Learning-rate range test", caption, alt, models, draw, 2.7)


def _curves(model: Model, key: str) -> list[NDArray[np.float64]]:
    """One curve an outer fold: the mean over its inner parts, over the rounds that all of them reached."""
    return [curve for fold in model.folds if len(curve := _fold_curve(fold, key))]


def _fold_curve(fold: Fold, key: str) -> NDArray[np.float64]:
    curves = [[one.get(key) for one in fit.rounds] for fit in fold.inner]
    known = [np.array(curve, np.float64) for curve in curves if curve and None not in curve]
    return _mean_curve(known) if known else np.zeros(0)


def _mean_curve(curves: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    shortest = min(len(curve) for curve in curves)
    return np.mean([curve[:shortest] for curve in curves], axis=0)


def _lengths(run: Run, curve: Sequence[float] | NDArray[np.float64]) -> list[int]:
    return [protocol.length(run, index) for index in range(len(curve))]


def _curves_alt(run: Run, models: Sequence[Model]) -> str:
    found = []
    for model in models:
        curves = _curves(model, "validation_loss")
        if curves:
            mean = _mean_curve(curves)
            best = int(np.nanargmin(mean)) if np.isfinite(mean).any() else 0
            found.append(
                f"{model.entry.title}: lowest {mean[best]:.3f} at {protocol.unit(run)} {protocol.length(run, best)}"
            )
    return "Validation loss. " + "; ".join(found)


def _rate_steps(model: Model) -> list[dict[str, Any]]:
    """Steps of the first training that logged any."""
    for fold in model.folds:
        for fit in fold.fits:
            steps = [one for one in fit.steps() if "step" in one and one.get("learning_rate") is not None]
            if steps:
                return steps
    return []


def _range_fits(model: Model) -> list[Fit]:
    fits = [fit for fold in model.folds for fit in fold.inner]
    return [fit for fit in fits if fit.range_test.get("learning_rates") and fit.range_test.get("losses")]


def _loss_limits(axes: Axes, room: float = 1.05) -> tuple[float, float]:
    """From 0 to the highest value, but to at most twice what nearly all stay below: a first spike hides nothing."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.get_lines()])
    values = values[np.isfinite(values)]
    if not len(values) or values.max() <= 0:
        return 0.0, 1.0
    return 0.0, room * float(min(values.max(), 2 * np.quantile(values, 0.95)))


@contextmanager
def _plain_style() -> Iterator[None]:
    """The same look whatever the user's own settings are; text is never taken for mathematics."""
    import matplotlib.style

    settings = {
        "text.parse_math": False,
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "hatch.linewidth": 0.5,
    }
    with matplotlib.style.context(["default", settings]):
        yield


def _figure(run: Run, width: float, height: float) -> Figure:
    """A figure of so many inches with the run's statements below, the disclaimer last."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    *others, disclaimer = run.statements
    texts = [part for sentence in others for part in textwrap.wrap(sentence, int(width * 15.5))]
    foot = 0.16 * len(texts) + 0.28
    whole = height + foot
    figure = Figure(figsize=(width, whole), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    layout: Any = figure.get_layout_engine()
    layout.set(rect=(0, foot / whole, 1, height / whole), w_pad=0.06, h_pad=0.06)
    style: Any = {"fontsize": 7.5, "va": "bottom", "linespacing": 1.25}
    figure.text(0.01, 0.22 / whole, "\n".join(texts), color=GREY, **style)
    figure.text(0.01, 0.05 / whole, disclaimer, color=RED, weight="bold", **style)
    return figure


def _single(run: Run, height: float) -> tuple[Figure, Axes]:
    figure = _figure(run, WIDTH, height)
    return figure, figure.add_subplot()


def _panels(
    folder: Path,
    run: Run,
    kind: str,
    title: str,
    caption: str,
    alt: str,
    items: Sequence[Any],
    draw: Draw,
    height: float,
) -> list[Picture]:
    """One axes a model, side by side, in as many figures as fill a page each."""
    found: list[Picture] = []
    for start in range(0, len(items), MOST_PANELS):
        part = items[start : start + MOST_PANELS]
        columns = 2 if len(part) == 4 else min(len(part), MOST_COLUMNS)
        rows = -(-len(part) // columns)
        figure = _figure(run, WIDTH * max(columns, 1.6) / MOST_COLUMNS, height * rows + 0.2)
        for number, item in enumerate(part):
            axes = figure.add_subplot(rows, columns, number + 1)
            draw(axes, item)
            model = item.model if isinstance(item, Scored) else item
            axes.set_title(_short(model.entry.title, 34), fontsize=10, weight="bold", loc="left")
        page = "" if len(items) <= MOST_PANELS else f"-{start // MOST_PANELS + 1}"
        found += _saved(figure, folder, kind, title, caption, alt, page)
    return found


def _saved(
    figure: Figure, folder: Path, kind: str, title: str, caption: str, alt: str, page: str = ""
) -> list[Picture]:
    name = f"{kind}{page}.png"
    figure.savefig(folder / name, facecolor="white", metadata={"Software": None})
    share = round(figure.get_figwidth() / WIDTH, 3)
    return [Picture(kind, name, title + (f" ({page[1:]})" if page else ""), caption, alt, share)]


def _stack(axes: Axes, table: Sequence[Sequence[int]], names: Sequence[str], rows: Sequence[str]) -> None:
    """Horizontal bars, one a row, made of the classes' counts."""
    left = np.zeros(len(rows))
    most = max((sum(column) for column in zip(*table, strict=True)), default=1) or 1
    for number, (name, counts) in enumerate(zip(names, table, strict=True)):
        look: Any = {"color": _colour(number), "hatch": HATCHES[number % len(HATCHES)], "edgecolor": "white"}
        bars = axes.barh(range(len(rows)), counts, left=left, height=0.66, label=_short(name), linewidth=0.6, **look)
        labels = [str(count) if count > 0.035 * most else "" for count in counts]
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85}
        axes.bar_label(bars, labels, label_type="center", fontsize=8, color=INK, bbox=box)
        left += np.array(counts)
    axes.set_yticks(range(len(rows)), [_short(row) for row in rows])
    axes.invert_yaxis()
    _bare(axes)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=min(len(names), 4), frameon=False, fontsize=9)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)


def _legend(axes: Axes, place: Any, title: str = "") -> None:
    if axes.get_legend_handles_labels()[0]:
        legend = axes.legend(
            loc=place, fontsize=7.5, frameon=True, framealpha=0.85, edgecolor="none", title=title or None
        )
        legend.get_title().set_fontsize(7.5)


def _line(number: int) -> dict[str, Any]:
    """Colour and dashes of the nth line; no two of the first 32 are alike."""
    dash = DASHES[(number + number // len(COLOURS)) % len(DASHES)]
    return {"color": _colour(number), "linestyle": dash, "linewidth": 1.6}


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _short(text: str, longest: int = LONGEST_NAME) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _whole_numbers(axes: Axes) -> None:
    """No half epochs on the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _dot(curve: NDArray[np.floating]) -> str | None:
    """A curve of one point would not be seen."""
    return "o" if len(curve) == 1 else None
