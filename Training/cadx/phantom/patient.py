"""One phantom patient: anatomy, lesion, two scans, masks and ROI, from (seed, index) alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.phantom import bowel, gland, organs, torso
from cadx.phantom.acquisition import Scan, acquire, draw_scans, sample
from cadx.phantom.canvas import Box, Canvas, Deformation, Floats
from cadx.phantom.lesions import CLASSES, Lesion, Window, draw_lesion, paint_lesion
from cadx.phantom.noise import Array32
from cadx.phantom.tissue import Protocol, signals
from cadx.roi import Roi
from cadx.volume import Volume

ROI_SLICES = 9
_STREAMS = ("build", "deformation", "gland", "roi", "lesion", "protocol", "scans", "paint", "noise")


@dataclass(frozen=True, eq=False)
class PhantomPatient:
    """A patient made of arithmetic; everything in RAS mm, voxels (K, J, I).

    Parameters
    ----------
    t1, t2
        int16 volumes on their own grids; T2 has moved by 1 to 3 mm and about a degree.
    pancreas, cyst
        uint8 masks on T1's grid; the pancreas includes duct and cyst, the cyst its wall and nodule (all zero
        for ``normal``).
    roi
        Box along T1's axes around the pancreas, nine T1 slices thick, drawn independently of the label.
    label
        One of ``CLASSES``.
    facts
        What the cohort table tells beside the label: ``cyst_mm``, ``duct_mm``, ``nodule_mm`` (0 where absent).
    """

    t1: Volume
    t2: Volume
    pancreas: Volume
    cyst: Volume
    roi: Roi
    label: str
    facts: dict[str, float] = field(default_factory=dict)


def balanced_label(seed: int, index: int) -> str:
    """The class of a patient: every block of three indices holds each class once, in an order from the seed."""
    order = np.random.default_rng(np.random.SeedSequence([seed, index // 3, 3])).permutation(3)
    return CLASSES[order[index % 3]]


def make_patient(seed: int, index: int, label: str | None = None) -> PhantomPatient:
    """A patient that depends on (seed, index) and the label alone, bit for bit.

    Parameters
    ----------
    seed, index
        Not negative; the cohort and the patient's place in it.
    label
        One of ``CLASSES``, or None for the balanced draw of :func:`balanced_label`. The same (seed, index) with
        another label is the same patient with another lesion.

    Raises
    ------
    InputError
        If the seed or index is negative or the label is unknown.
    """
    if seed < 0 or index < 0:
        raise InputError(f"The phantom's seed {seed} or index {index} is negative; give 0 or more.")
    if label is None:
        label = balanced_label(seed, index)
    if label not in CLASSES:
        raise InputError(f"The phantom label '{label}' is unknown; give one of {', '.join(CLASSES)}.")
    children = np.random.SeedSequence([seed, index]).spawn(len(_STREAMS))
    streams = {name: np.random.default_rng(child) for name, child in zip(_STREAMS, children, strict=True)}
    return _assemble(streams, label)


def _assemble(streams: dict[str, np.random.Generator], label: str) -> PhantomPatient:
    build = torso.Build.draw(streams["build"])
    deformation = Deformation.draw(streams["deformation"])
    healthy = gland.Gland.draw(streams["gland"])
    t1_scan, t2_scan = draw_scans(streams["scans"], *_field_of_view(build, deformation))
    roi, window = draw_roi(streams["roi"], t1_scan.geometry, deformation.to_world(healthy.path[:, :3]))
    lesion, course = draw_lesion(streams["lesion"], label, healthy, deformation, window)
    table = signals(streams["protocol"], Protocol.draw(streams["protocol"]))
    push = None if lesion is None else lesion.push
    canvas = Canvas(deformation, table, streams["paint"], push)
    pancreas, cyst = _paint(canvas, build, course, lesion)
    noise = streams["noise"]
    return PhantomPatient(
        t1=Volume(acquire(canvas, canvas.images[0], t1_scan, noise), t1_scan.geometry, "t1"),
        t2=Volume(acquire(canvas, canvas.images[1], t2_scan, noise), t2_scan.geometry, "t2"),
        pancreas=_mask(canvas, [pancreas, cyst], t1_scan, "pancreas"),
        cyst=_mask(canvas, [cyst], t1_scan, "cyst"),
        roi=roi,
        label=label,
        facts=_facts(lesion, course),
    )


def _facts(lesion: Lesion | None, course: gland.Gland) -> dict[str, float]:
    nodule = 0.0 if lesion is None or lesion.nodule is None else 2 * float(lesion.nodule[3])
    return {
        "cyst_mm": 0.0 if lesion is None else round(2 * lesion.radius, 1),
        "duct_mm": round(float(course.duct_mm.max()), 1),
        "nodule_mm": round(nodule, 1),
    }


def _field_of_view(build: torso.Build, deformation: Deformation) -> tuple[Floats, Floats]:
    wanted = 2 * np.array([build.width, build.depth]) * deformation.scale[:2] + 16
    return np.array([0.0, 2.0, 4.0]), np.clip(wanted, [330, 255], [380, 300])


def draw_roi(rng: np.random.Generator, geometry: Geometry, course: Floats) -> tuple[Roi, Window]:
    """A jittered box of nine slices about the pancreas: what one window of the paper's grid holds.

    ``course`` is the gland's centre line before any lesion (n, 3), so that no lesion moves the box.
    """
    count = ROI_SLICES
    middle = (course.min(axis=0) + course.max(axis=0)) / 2 + rng.uniform([-7, -6, -5], [7, 6, 5])
    first = round(float(geometry.to_ijk(middle)[2]) - (count - 1) / 2)
    first = int(np.clip(first, 0, geometry.size_ijk[2] - count))
    center_ijk = geometry.to_ijk(middle)
    center_ijk[2] = first + (count - 1) / 2 + rng.uniform(-0.3, 0.3)
    order, signs = geometry.canonical_order()
    axes = geometry.reordered(order, signs).axes
    size = np.array([rng.uniform(114, 140), rng.uniform(76, 100), count * geometry.spacing[2]])
    roi = Roi(geometry.to_ras(center_ijk), size, axes, source="phantom")
    return roi, Window(geometry, first, first + count - 1, roi)


def _paint(
    canvas: Canvas, build: torso.Build, course: gland.Gland, lesion: Lesion | None
) -> tuple[tuple[Box, Array32], tuple[Box, Array32] | None]:
    """Everything, from the skin inwards; later shapes cover earlier ones."""
    torso.paint_wall(canvas, build)
    torso.paint_ribs(canvas, build)
    torso.paint_spine(canvas, build)
    bowel.paint_fat_strands(canvas)
    organs.paint_spleen(canvas)
    organs.paint_liver(canvas)
    organs.paint_liver_cysts(canvas)
    organs.paint_kidneys(canvas)
    organs.paint_adrenals(canvas)
    organs.paint_great_vessels(canvas)
    bowel.paint_colon(canvas)
    bowel.paint_small_bowel(canvas, build.visceral, course.path)
    bowel.paint_stomach(canvas)
    organs.paint_gallbladder(canvas)
    torso.paint_lungs(canvas)
    bowel.paint_duodenum(canvas)
    gland.paint_veins(canvas, course)
    pancreas = gland.paint_gland(canvas, course)
    gland.paint_bile_duct(canvas)
    gland.paint_ducts(canvas, course)
    return pancreas, None if lesion is None else paint_lesion(canvas, lesion)


def _mask(canvas: Canvas, parts: list[tuple[Box, Array32] | None], scan: Scan, name: str) -> Volume:
    """Voxels of a scan more than half covered by any of the parts."""
    cover = np.zeros(canvas.shape, np.float32)
    for part in parts:
        if part is not None:
            np.maximum(cover[part[0]], part[1], out=cover[part[0]])
    voxels = sample(canvas, cover, scan) > 0.5
    return Volume(voxels.astype(np.uint8), scan.geometry, name)
