"""What tells the three classes apart: cyst, wall, mural nodule and main duct. World mm, RAS.

Sizes of low and high risk cysts overlap; what differs is what a reader goes by: a nodule in the lumen, a thick
wall and a dilated main duct (high-risk stigmata and worrisome features of the Fukuoka consensus, Tanaka et al.,
Pancreatology 17:738, 2017).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cadx.geometry import Geometry
from cadx.phantom.canvas import Box, Canvas, Deformation, Floats, Push, rotation, soft
from cadx.phantom.gland import Gland
from cadx.phantom.noise import Array32
from cadx.roi import Roi

NORMAL, LOW, HIGH = CLASSES = ("normal", "low risk", "high risk")


@dataclass(frozen=True)
class Lesion:
    """One cyst, in world mm.

    Parameters
    ----------
    center, radius
        The main chamber.
    radii, turn
        (3,) half axes and (3, 3) their directions.
    buds
        (n, 4) centres and radii of side chambers (the grape of a branch-duct cyst).
    wall
        Wall thickness, mm.
    septa
        (n, 4) unit normals and offsets of planes through the lumen.
    nodule
        (4,) centre and radius of the mural nodule, or None.
    """

    center: Floats
    radius: float
    radii: Floats
    turn: Floats
    buds: Floats
    wall: float
    septa: Floats
    nodule: Floats | None

    @property
    def push(self) -> Push:
        """Mass effect on the neighbours."""
        return Push(self.center, core=0.55 * self.radius, reach=2.6 * self.radius)


@dataclass(frozen=True)
class Window:
    """Where a lesion has to stay: first to last index along K of a grid, and a ROI along its axes."""

    geometry: Geometry
    first: int
    last: int
    roi: Roi

    def overhang(self, center: Floats, radius: float) -> float:
        """How far (mm) a sphere reaches out of the ROI within the slices' plane; at most 0 inside."""
        local = np.abs((center - self.roi.center_ras) @ self.roi.axes)[:2]
        return float((local + radius - self.roi.size_mm[:2] / 2).max())

    def settle(self, center: Floats, radius: float) -> Floats:
        """The centre moved along the slices' normal until the sphere is inside, or centred if it cannot be."""
        k = float(self.geometry.to_ijk(center)[2])
        room = radius / float(self.geometry.spacing[2])
        low, high = self.first + room - 0.4, self.last - room + 0.4
        goal = float(np.clip(k, low, high)) if low <= high else (low + high) / 2
        return center + self.geometry.axes[:, 2] * self.geometry.spacing[2] * (goal - k)


def draw_lesion(
    rng: np.random.Generator, label: str, gland: Gland, deformation: Deformation, window: Window
) -> tuple[Lesion | None, Gland]:
    """The lesion of a class (None for normal) at a random site of the gland, and the gland with its duct."""
    if label == NORMAL:
        return None, gland
    high = label == HIGH
    diameter = rng.uniform(13, 30) if high else rng.uniform(12, 28)
    radius = diameter / 2
    course = deformation.to_world(gland.path[:, :3])
    site, center = _draw_site(rng, course, radius, window)
    turn = rotation(rng, 180)
    lesion = Lesion(
        center=center,
        radius=radius,
        radii=radius * rng.uniform(0.9, 1.05, 3),
        turn=turn,
        buds=_draw_buds(rng, center, radius, window) if rng.random() < (0.35 if high else 0.5) else np.zeros((0, 4)),
        wall=rng.uniform(1.6, 2.4) if high else rng.uniform(0.7, 1.1),
        septa=_draw_septa(rng, center, radius) if rng.random() < (0.45 if high else 0.25) else np.zeros((0, 4)),
        nodule=_draw_nodule(rng, center, radius) if high else None,
    )
    return lesion, _dilated(rng, gland, site, high)


def _draw_site(rng: np.random.Generator, course: Floats, radius: float, window: Window) -> tuple[int, Floats]:
    """A point of the gland whose cyst fits the window; the cyst sits off the centre line by part of its radius."""
    best: tuple[float, int, Floats] | None = None
    for _ in range(40):
        site = int(rng.integers(3, len(course) - 3))
        direction = rng.normal(size=3) * [1, 1, 0.5]
        wanted = course[site] + direction / np.linalg.norm(direction) * radius * rng.uniform(0.15, 0.6)
        center = window.settle(wanted, radius)
        shift = float(np.linalg.norm(center - wanted)) + max(window.overhang(center, radius), 0)
        if best is None or shift < best[0]:
            best = (shift, site, center)
        if shift < 1:
            break
    assert best is not None
    return best[1], best[2]


def _draw_buds(rng: np.random.Generator, center: Floats, radius: float, window: Window) -> Floats:
    buds = []
    for _ in range(rng.integers(1, 4)):
        direction = rng.normal(size=3) * [1, 1, 0.5]
        size = radius * rng.uniform(0.35, 0.6)
        spot = center + direction / np.linalg.norm(direction) * (radius * 0.75 + size * 0.45)
        buds.append([*window.settle(spot, size), size])
    return np.array(buds)


def _draw_septa(rng: np.random.Generator, center: Floats, radius: float) -> Floats:
    normal = rng.normal(size=(rng.integers(1, 3), 3)) * [1, 1, 0.4]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return np.column_stack([normal, normal @ center + rng.uniform(-0.4, 0.4, len(normal)) * radius])


def _draw_nodule(rng: np.random.Generator, center: Floats, radius: float) -> Floats:
    """5 to 10 mm, about a quarter to a half of the cyst's diameter, attached to the wall near the middle slices."""
    largest = float(np.clip(radius * 1.05, 5.5, 10))
    size = rng.uniform(min(max(5.0, 0.55 * radius), largest - 0.5), largest) / 2
    direction = rng.normal(size=3) * [1, 1, 0.15]
    direction /= np.linalg.norm(direction)
    return np.array([*(center + direction * (radius * 0.93 - 1.8 - 0.65 * size)), size])


def _dilated(rng: np.random.Generator, gland: Gland, site: int, high: bool) -> Gland:
    """The duct beside a cyst: at most 3.5 mm in low risk; 6 to 11 mm and winding upstream of a high risk one."""
    if not high:
        return replace(gland, duct_mm=np.minimum(gland.duct_mm * rng.uniform(1.0, 1.6), 3.5))
    rows = np.arange(len(gland.path))
    start = min(site - 4, len(rows) - 18)  # a lesion of the tail widens the duct before it, too
    wide = rng.uniform(6, 11)
    rise = 1 / (1 + np.exp(-(rows - start) / 1.2))
    beads = 1 + 0.12 * np.sin(rows * rng.uniform(0.5, 0.9))
    fade = np.interp(rows, [len(rows) - 8, len(rows) - 1], [1, 0.6])
    duct = gland.duct_mm + rise * (wide * beads * fade - gland.duct_mm)
    path = gland.path.copy()
    path[:, 3] = np.maximum(path[:, 3] * (1 - 0.12 * rise), duct / 2 + 2.2)
    winding = gland.duct_offset * (1 + rise[:, None] * rng.uniform(0.8, 1.8))
    return replace(gland, path=path, duct_mm=duct, duct_offset=winding)


def paint_lesion(canvas: Canvas, lesion: Lesion) -> tuple[Box, Array32]:
    """Wall, fluid, septa and nodule; returns the share of cyst (wall and nodule included) in the voxels around."""
    reach = lesion.radius * 2.2 + 4
    box = canvas.box(lesion.center - reach, lesion.center + reach)
    distance = _outer_distance(canvas, lesion, box)
    cover = soft(distance)
    canvas.paint(box, cover, "cyst wall")
    lumen = distance + np.float32(lesion.wall)
    for septum in lesion.septa:
        plane = sum(g * np.float32(n) for g, n in zip(canvas.grid(box), septum[:3], strict=True)) - np.float32(
            septum[3]
        )
        lumen = np.maximum(lumen, 0.55 - np.abs(plane))
    canvas.paint(box, soft(lumen), "cyst fluid")
    if lesion.nodule is not None:
        nodule = _ball(canvas, box, lesion.nodule[:3], lesion.nodule[3]) + canvas.noise(box, "fine", 0.5)
        canvas.paint(box, soft(np.maximum(nodule, distance)), "nodule", 1 + canvas.noise(box, "fine", 0.06))
    return box, cover


def _outer_distance(canvas: Canvas, lesion: Lesion, box: Box) -> Array32:
    offsets = [g - np.float32(c) for g, c in zip(canvas.grid(box), lesion.center, strict=True)]
    turn = lesion.turn.astype(np.float32)
    local = [sum(offsets[b] * turn[b, a] for b in range(3)) / np.float32(lesion.radii[a]) for a in range(3)]
    norm = np.sqrt(local[0] ** 2 + local[1] ** 2 + local[2] ** 2)
    distance = (norm - 1) * np.float32(lesion.radii.mean())
    for bud in lesion.buds:
        distance = np.minimum(distance, _ball(canvas, box, bud[:3], bud[3]))
    return distance + canvas.noise(box, "mid", 0.3)


def _ball(canvas: Canvas, box: Box, center: Floats, radius: float) -> Array32:
    x, y, z = (g - np.float32(c) for g, c in zip(canvas.grid(box), center, strict=True))
    return np.sqrt(x**2 + y**2 + z**2) - np.float32(radius)
