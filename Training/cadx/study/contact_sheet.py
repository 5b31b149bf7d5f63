"""A page that shows what is in a cohort: a few images of every class, as a person would look at them."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadx import DISCLAIMER
from cadx.errors import InputError
from cadx.io.files import read_volume
from cadx.roi import Roi
from cadx.study.check import CohortReport
from cadx.study.cohort import Sample, read_sample_roi
from cadx.study.layouts.draft import IMAGE
from cadx.study.layouts.reading import read_any_picture
from cadx.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PAPER, LABEL, WARNING, BOX = "#e8e8e8", "#111111", "#9fd0ff", "#ffb454", "#ffd23f"
COLUMNS, LEAST_COLUMNS = 6, 4
MAX_ROWS = 24
TILE, LEFT, TOP, FOOT, TITLE = 1.9, 1.75, 0.95, 0.55, 0.24
LONGEST = 26


def draw_contact_sheet(path: Path, report: CohortReport) -> None:
    """Draw the sheet as PNG: a row a class and role, volumes at the middle of their ROI with its box."""
    rows = _rows(report)
    columns = max([len(chosen) for _, _, chosen in rows] + [LEAST_COLUMNS])
    # bodies are wider than they are deep
    tile = TILE if report.roles == (IMAGE,) else 0.8 * TILE
    width, height = LEFT + columns * TILE, TOP + FOOT + len(rows) * (tile + TITLE)
    figure = _figure(width, height)
    for number, (name, role, chosen) in enumerate(rows):
        top = TOP + number * (tile + TITLE) + TITLE
        _row_title(figure, report, name, role, 1 - (top + tile / 2) / height)
        for column, sample in enumerate(chosen):
            left, bottom = LEFT + column * TILE, height - top - tile
            place = (left / width, bottom / height, (TILE - 0.08) / width, (tile - 0.04) / height)
            _draw(figure.add_axes(place), sample, role)
    _title(figure, report, shown=len({name for name, _, _ in rows}))
    figure.savefig(path, facecolor=PAPER)


def _rows(report: CohortReport) -> list[tuple[str, str, list[Sample]]]:
    """Class, role and samples of every row: spread over the class, a group once where there are enough."""
    rows = []
    for name in report.classes():
        own = [
            sample
            for sample, of, usable in zip(report.cohort.samples, report.of_class, report.usable, strict=True)
            if of == name and usable
        ]
        firsts = list({sample.group: sample for sample in reversed(own)}.values())[::-1]
        chosen = _spread(firsts if len(firsts) >= COLUMNS else own)
        rows += [(name, role, chosen) for role in report.roles]
    return rows[:MAX_ROWS]


def _spread(samples: list[Sample]) -> list[Sample]:
    count = min(COLUMNS, len(samples))
    return [samples[(2 * i + 1) * len(samples) // (2 * count)] for i in range(count)]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    return figure


def _title(figure: Figure, report: CohortReport, shown: int) -> None:
    height = figure.get_figheight()
    cohort = report.cohort
    kind = "Synthetic phantoms, no patients" if cohort.synthetic else cohort.folder.resolve().name
    what = "images" if report.roles == (IMAGE,) else "cases"
    groups = len(report.groups())
    line = f"{len(cohort.samples)} {what} of {groups} patients or groups, {len(report.classes())} classes"
    if shown < len(report.classes()):
        line += f", {shown} of them shown"
    below = report.verdict()
    if report.roles != (IMAGE,):
        below += "; slices through the middle of the ROI (box), seen from the feet"
    for place, text, size, colour in (
        (0.18, kind, 15, WARNING if cohort.synthetic else INK),
        (0.5, line, 10, INK),
        (0.7, below, 10, INK),
    ):
        figure.text(
            0.15 / figure.get_figwidth(),
            1 - place / height,
            text,
            color=colour,
            fontsize=size,
            va="top",
            parse_math=False,
        )
    figure.text(
        0.15 / figure.get_figwidth(),
        0.16 / height,
        DISCLAIMER,
        color=WARNING,
        fontsize=10,
        va="bottom",
        parse_math=False,
    )


def _row_title(figure: Figure, report: CohortReport, name: str, role: str, height: float) -> None:
    samples, groups = report.classes()[name]
    what = ("image" if role == IMAGE else "case") + ("" if samples == 1 else "s")
    lines = [*textwrap.wrap(name, 17)[:3], f"{samples} {what}", *([f"{groups} groups"] if groups < samples else [])]
    text = "\n".join(lines if role == IMAGE else [*lines, role])
    figure.text(
        0.15 / figure.get_figwidth(),
        height,
        text,
        color=LABEL,
        fontsize=11,
        va="center",
        linespacing=1.4,
        parse_math=False,
    )


def _draw(axes: Axes, sample: Sample, role: str) -> None:
    axes.set_axis_off()
    name = sample.name if len(sample.name) <= LONGEST else f"…{sample.name[-LONGEST:]}"
    axes.set_title(name, color=INK, fontsize=7, pad=2, parse_math=False)
    try:
        if role == IMAGE:
            _draw_picture(axes, sample)
        else:
            _draw_slice(axes, sample, role)
    except InputError as error:
        text = "\n".join(textwrap.wrap(str(error), 28))
        axes.text(0.5, 0.5, text, color=WARNING, fontsize=6, ha="center", va="center", transform=axes.transAxes)


def _draw_picture(axes: Axes, sample: Sample) -> None:
    axes.imshow(read_any_picture(sample.images[IMAGE]).pixels, cmap="gray", vmin=0, vmax=255)


def _draw_slice(axes: Axes, sample: Sample, role: str) -> None:
    """The slice through the ROI's middle, the patient's right to the left, front up, true to scale."""
    images = {r: read_volume(path, r) for r, path in sample.images.items()}
    roi = read_sample_roi(sample, images)
    volume = images[role].canonical()
    size, spacing = volume.geometry.size_ijk, volume.geometry.spacing
    index = int(np.clip(np.rint(volume.geometry.to_ijk(roi.center_ras)[2]), 0, size[2] - 1))
    low, high = np.percentile(volume.voxels[index], (1, 99.5))
    place = (-0.5 * spacing[0], (size[0] - 0.5) * spacing[0], -0.5 * spacing[1], (size[1] - 0.5) * spacing[1])
    axes.imshow(volume.voxels[index], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), origin="lower", extent=place)
    if sample.roi:
        _draw_box(axes, _outline(roi, volume))
    axes.invert_xaxis()
    shade = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 1.0}
    axes.text(0.02, 0.9, "R", color=LABEL, fontsize=7, va="center", bbox=shade, transform=axes.transAxes)


def _outline(roi: Roi, volume: Volume) -> NDArray[np.floating]:
    """(low, high) of the ROI along I and J in mm from the first voxel."""
    corners = volume.geometry.to_ijk(roi.corners_ras())[:, :2] * volume.geometry.spacing[:2]
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def _draw_box(axes: Axes, outline: NDArray[np.floating]) -> None:
    from matplotlib.patches import Rectangle

    (left, bottom), (width, height) = outline[0], outline[1] - outline[0]
    axes.add_patch(Rectangle((left, bottom), width, height, fill=False, edgecolor=BOX, linewidth=1.0))
