"""Phantom heads: thick axial slices like contrast-enhanced T1, with a bright tumour or none, made of arithmetic alone.

For sample data and tests: scalp, skull, brain, ventricles and noise, all drawn from the seed. No real image is in them,
and what a model says of them means nothing on a patient.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cadx.dataset import MARKER, synthetic_marker
from cadx.errors import InputError
from cadx.geometry import Array, Geometry
from cadx.io.atomic import staged_folder
from cadx.io.files import write_volume
from cadx.prepare.stack import Stack
from cadx.volume import Volume

TUMOUR, NONE = "tumour", "no tumour"
TABLE = "cases.csv"
COLUMNS = ("case", "image", "label", "patient", "head")
SIZE, SPACING_MM = (84, 100, 12), (2.2, 2.2, 9.0)
# about 1 cm2: with less, a slice of a tumour's edge is an example of neither class
CLEAR_PIXELS = 20
# a tumour is no brighter than the scalp: scaled from minimum to maximum, a slice's contrast gives no class away
SCALP, SKULL, BRAIN, WHITE, FLUID, ENHANCED = 640.0, 60.0, 300.0, 380.0, 110.0, 600.0
NOISE = 18.0


@dataclass(frozen=True, eq=False)
class HeadPhantom:
    """A head; ``volume`` int16 and ``tumour`` uint8 (all zero where there is none) on one grid."""

    volume: Volume
    tumour: Volume
    label: str

    @property
    def best_slice(self) -> int:
        """Stored number of the slice with most tumour, or of the middle one."""
        counts = self.tumour.voxels.sum(axis=(1, 2))
        return int(counts.argmax()) if counts.any() else len(counts) // 2

    def label_of(self, index: int) -> str | None:
        """Whether a slice (stored number) shows tumour; None where it shows too little to be called either."""
        pixels = int(self.tumour.voxels[index].sum())
        if 0 < pixels < CLEAR_PIXELS:
            return None
        return TUMOUR if pixels else NONE


def make_head(seed: int, index: int = 0, tumour: bool | None = None) -> HeadPhantom:
    """A head that depends on (seed, index) and ``tumour`` alone; by default every second one has a tumour."""
    tumour = index % 2 == 0 if tumour is None else tumour
    rng = np.random.default_rng(np.random.SeedSequence([seed, index, 6]))
    geometry = _geometry(rng)
    points = _points(geometry)
    head = np.array([rng.uniform(68, 76), rng.uniform(86, 95), rng.uniform(84, 92)])
    # below the middle a head narrows into the neck, which these slices leave out
    low = np.array([0.0, 0.0, -14.0])
    out = _radius(points - low, head)
    image = np.zeros(points.shape[:-1])
    image[out < 1] = SCALP
    image[out < 0.93] = SKULL
    brain = out < 0.86
    image[brain] = BRAIN
    folds = np.sin(points @ rng.uniform(0.15, 0.3, 3)) + np.sin(points @ rng.uniform(-0.3, 0.3, 3))
    image[brain & (_radius(points - low, head * 0.68) + 0.06 * folds < 1)] = WHITE
    for side in (-1, 1):
        place = np.array([side * rng.uniform(11, 15), rng.uniform(-8, 6), rng.uniform(0, 8)])
        image[_radius(points - place, np.array([rng.uniform(6, 9), rng.uniform(24, 32), 22.0])) < 1] = FLUID
    mask = np.zeros(image.shape, dtype=bool)
    if tumour:
        size = rng.uniform(12, 20, 3) * (1, 1, 1.1)
        angle = rng.uniform(0, 2 * np.pi)
        place = np.array([40 * np.cos(angle), 52 * np.sin(angle), rng.uniform(-10, 22)])
        away = _radius(points - place, size) + 0.05 * folds
        image[brain & (away < 1.35)] = 0.75 * BRAIN
        mask = brain & (away < 1)
        image[mask] = ENHANCED
    nose = points - np.array([0.0, head[1], -22.0])
    image[(out >= 1) & (_radius(nose, np.array([9.0, 15.0, 16.0])) < 1)] = SCALP
    noise = rng.normal(0, NOISE, (2, *image.shape))
    image = np.hypot(image * rng.uniform(0.9, 1.1) + noise[0], noise[1])
    return HeadPhantom(
        Volume(np.rint(image).astype(np.int16), geometry, f"phantom-head-{index}"),
        Volume(mask.astype(np.uint8), geometry, "tumour"),
        TUMOUR if tumour else NONE,
    )


def write_heads(out: Path, heads: int, seed: int, *, every_slice: bool = False) -> Path:
    """Write heads as volumes and slices as PNG, ``cases.csv`` and ``dataset.json``, which marks them as synthetic.

    Parameters
    ----------
    out
        New or empty folder.
    heads, seed
        How many, and which: head ``n`` is ``make_head(seed, n)``.
    every_slice
        Every slice with a label of its own instead of one a head, the best (:meth:`HeadPhantom.label_of`); slices with
        a sliver of tumour are left out. The column ``patient`` says which belong together, ``slice`` the stored number.

    Returns
    -------
    Path
        Of the table, which ``cadx batch`` and ``cadx train`` take.

    Raises
    ------
    InputError
        If ``heads`` is below 1, or ``out`` is not new or empty, or cannot be written.
    """
    from PIL import Image

    if heads < 1:
        raise InputError("At least one head must be asked for; give a number of 1 or more.")
    with staged_folder(out) as stage:
        rows: list[tuple[object, ...]] = []
        for index in range(heads):
            made, name = make_head(seed, index), f"head-{index:04d}"
            stack = Stack.of(made.volume)
            write_volume(stage / f"{name}.nii.gz", made.volume)
            for number, label in _examples(made) if every_slice else [(made.best_slice, made.label)]:
                case = f"{name}-{number:02d}" if every_slice else name
                Image.fromarray(stack.picture(number).pixels).save(stage / f"{case}.png")
                rows.append((case, f"{case}.png", label, name, f"{name}.nii.gz", number))
        columns = (*COLUMNS, "slice") if every_slice else COLUMNS
        with (stage / TABLE).open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerows([columns, *(row[: len(columns)] for row in rows)])
        marker = synthetic_marker("cadx.phantom.head", seed, heads)
        (stage / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    return out / TABLE


def _examples(made: HeadPhantom) -> Iterator[tuple[int, str]]:
    """Stored number and label of every slice that shows something and is an example of a class."""
    for number, values in enumerate(made.volume.voxels):
        label = made.label_of(number)
        if label is not None and values.min() < values.max():
            yield number, label


def _geometry(rng: np.random.Generator) -> Geometry:
    """Slightly oblique, as a technician places it."""
    angle = np.deg2rad(rng.uniform(-8, 8))
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    middle = tilt @ (np.array(SPACING_MM) * (np.array(SIZE) - 1) / 2)
    return Geometry.from_axes(SIZE, SPACING_MM, tilt, np.array([0.0, 0.0, 16.0]) - middle)


def _points(geometry: Geometry) -> Array:
    """(K, J, I, 3) RAS of every voxel's centre."""
    k, j, i = np.indices(geometry.size_ijk[::-1])
    return geometry.to_ras(np.stack([i, j, k], axis=-1))


def _radius(points: Array, half_axes: Array) -> Array:
    """1 on the ellipsoid's surface."""
    return np.sqrt(((points / half_axes) ** 2).sum(axis=-1))
