"""Body wall, lung bases, spine and muscles: everything around the abdominal cavity. Atlas mm, RAS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cadx.phantom.canvas import Array32, Box, Canvas, Floats, curve, soft

EVERYWHERE: Box = (slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class Build:
    """A patient's build: half width and depth of the torso, fat and muscle thickness, all mm."""

    width: float
    depth: float
    fat: float
    muscle: float
    visceral: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Build:
        """From lean to heavy: subcutaneous fat of 8 to 26 mm, the torso grows with it."""
        fat = rng.uniform(8, 26)
        return cls(
            width=rng.uniform(136, 144) + 0.85 * fat,
            depth=rng.uniform(98, 104) + 0.65 * fat,
            fat=fat,
            muscle=rng.uniform(8, 12),
            visceral=rng.uniform(0, 1),
        )


def body_depth(canvas: Canvas, build: Build) -> Array32:
    """Depth below the skin in mm (negative outside): between an ellipse and a squarer, flat-backed oval."""
    x, y, _ = canvas.atlas
    u, v = x * np.float32(1 / build.width), (y - np.float32(3)) * np.float32(1 / build.depth)
    u *= u
    v *= v
    radius = np.sqrt(x * x + (y - np.float32(3)) ** 2) + np.float32(1e-3)
    norm = np.float32(0.5) * (np.sqrt(u + v) + np.sqrt(np.sqrt(u * u + v * v))) + np.float32(1e-4)
    depth = radius / norm - radius
    gx, gy = canvas.axes[0][None, :], canvas.axes[1][:, None]
    furrow = 7 * np.exp(-((gx / 16) ** 2)) * (gy < 0) * np.clip(-gy / 60, 0, 1)
    return depth - furrow.astype(np.float32)


def paint_wall(canvas: Canvas, build: Build) -> None:
    """Skin, subcutaneous fat, the muscular wall and the cavity's fat; sets the canvas' ``cavity``."""
    depth = body_depth(canvas, build)
    rng = canvas.rng
    x, y = canvas.axes[0][None, :] / build.width, canvas.axes[1][:, None] / build.depth
    lobes = np.sin(3 * np.arctan2(y, x) + rng.uniform(0, 6.3)) * rng.uniform(0, 0.2)
    fat = build.fat * (0.78 + 0.25 * np.clip(-y, 0, 1) + 0.25 * np.abs(x) ** 3 + lobes)
    rectus = np.exp(-(((np.abs(canvas.axes[0][None, :]) - 34) / 24) ** 2)) * (y > 0)
    linea = np.exp(-((canvas.axes[0][None, :] / 5) ** 2)) * (y > 0.3)
    wall = build.muscle * (1 + 0.35 * rectus - 0.4 * linea + 0.5 * (y < -0.45))
    canvas.paint(EVERYWHERE, soft(-depth), "skin")
    depth -= np.float32(2)
    canvas.paint(EVERYWHERE, soft(-depth), "fat")
    depth -= fat.astype(np.float32)
    _paint_layers(canvas, depth, wall.astype(np.float32))
    depth -= wall.astype(np.float32)
    canvas.paint(EVERYWHERE, soft(-depth), "fat")
    canvas.cavity = depth


def _paint_layers(canvas: Canvas, depth: Array32, wall: Array32) -> None:
    """The flank's three muscle sheets with thin fat between them: a ripple across the wall's thickness."""
    cover = soft(-depth) * (depth < wall + 2)
    flank = np.clip(np.abs(canvas.axes[0]) / 60 - 0.8, 0, 1)[None, None, :]
    ripple = np.clip(np.cos(depth * (6 * np.pi / wall)) - 0.55, 0, 1) * (0.9 * flank)
    canvas.paint(EVERYWHERE, cover, "muscle")
    canvas.paint(EVERYWHERE, cover * ripple.astype(np.float32), "fat")


def paint_ribs(canvas: Canvas, build: Build) -> None:
    """Lower ribs in the wall, sloping down to the front: dark rim, brighter marrow."""
    rng = canvas.rng
    inset = build.fat * 0.95 + build.muscle * 0.62
    for side in (-1, 1):
        start = rng.uniform(-12, 12)
        for n in range(5):
            angle = (
                np.radians(np.linspace(248, 175 - 14 * n, 12))
                if side < 0
                else np.radians(np.linspace(-68, 5 + 14 * n, 12))
            )
            top = start - 42 + 27 * n
            z = top - np.linspace(0, 34, 12)
            a, b = build.width - inset, build.depth - inset
            points = np.stack([a * np.cos(angle), 3 + b * np.sin(angle), z], axis=1)
            world = canvas.to_world(curve(points, 9))
            box, distance = canvas.tube(world, 5.2)
            canvas.paint(box, soft(distance), "bone")
            canvas.paint(box, soft(distance + 1.8), "marrow")


def paint_spine(canvas: Canvas, build: Build) -> None:
    """Vertebral bodies and discs, canal with fluid and cord, posterior arch, paraspinal and psoas muscles."""
    rng = canvas.rng
    _paint_muscles(canvas, build.muscle)
    column = np.array([[0, -47, z] for z in (-130, -60, 0, 60, 130)], float)
    box, distance = canvas.tube(canvas.to_world(curve(column, 15)), 21.0)
    distance = np.maximum(distance, -canvas.atlas[1][box] - np.float32(62))
    cover = soft(distance)
    canvas.paint(box, cover, "bone")
    marrow = soft(distance + 1.6)
    canvas.paint(box, marrow, "marrow", 1 + canvas.noise(box, "mid", 0.07))
    gap = np.abs((canvas.atlas[2][box] + np.float32(rng.uniform(0, 33))) % np.float32(33) - np.float32(16.5))
    canvas.paint(box, marrow * soft(gap - 4.5), "disc")
    _paint_canal(canvas)


def _paint_muscles(canvas: Canvas, wall: float) -> None:
    size = canvas.rng.uniform(0.88, 1.08)
    for side in (-1, 1):
        for center, radii, mottle in (
            ((30 * side, -82, 0), (29, 23, 400), 0.12),
            ((62 * side, -74, -30), (22, 13, 95), 0.1),
            ((33 * side, -52, -72), (16, 17, 80), 0.06),
        ):
            box, distance = canvas.ellipsoid(center, np.array(radii) * size)
            distance = np.maximum(
                distance, -canvas.cavity[box] - np.float32(1.5 * wall)
            )  # not into the fat below the skin
            distance += canvas.noise(box, "mid", 1.2)
            cover = soft(distance)
            canvas.paint(box, cover, "muscle")
            streaks = np.clip(canvas.noise(box, "fine", 1.0) - 1.1, 0, 1) * cover
            canvas.paint(box, streaks * (mottle * 6), "fat")


def _paint_canal(canvas: Canvas) -> None:
    """Posterior arch by vertebra, epidural fat, fluid, cord and roots."""

    def spine(y: float) -> Floats:
        return canvas.to_world(curve(np.array([[0, y, z] for z in (-130, -60, 0, 60, 130)], float), 15))

    for side in (-1, 1):
        arch = np.array([[13 * side, -60, z] for z in (-130, 0, 130)], float)
        box, distance = canvas.tube(canvas.to_world(curve(arch, 15)), 6)
        beads = np.abs(canvas.atlas[2][box] % np.float32(33) - np.float32(16)) - 10
        canvas.paint(box, soft(np.maximum(distance, beads)), "bone")
    box, distance = canvas.tube(spine(-84), 4.5)
    distance = np.maximum(distance, np.abs(canvas.atlas[2][box] % np.float32(33) - np.float32(16)) - 9)
    canvas.paint(box, soft(distance), "bone")
    canvas.paint(box, soft(distance + 1.5), "marrow")
    canvas.fill(canvas.tube(spine(-73), 9.5), "fat")
    for x in (-3.5, 3.5):
        canvas.fill(canvas.tube(spine(-70) + [x, 0, 0], 6.5), "csf")
    canvas.fill(canvas.tube(spine(-71.5), 5.2), "cord")
    for x in (-4, 4):
        canvas.fill(canvas.tube(spine(-73) + [x, 0, 0], 1.6), "cord")


def paint_lungs(canvas: Canvas) -> None:
    """Lung bases: the part of the cavity above the diaphragm's dome."""
    rng = canvas.rng
    top = rng.uniform(82, 96)
    x, y, z = canvas.atlas
    k = slice(int(np.searchsorted(canvas.axes[2], 0.0)), None)
    box = (k, slice(None), slice(None))
    dome = np.sqrt(
        (x[box] / np.float32(150)) ** 2
        + ((y[box] - np.float32(22)) / np.float32(120)) ** 2
        + (np.maximum(z[box], 0) / np.float32(top)) ** 2
    )
    beyond = (1 - dome) * np.float32(100)
    cover = soft(beyond) * soft(-canvas.cavity[box])
    canvas.paint(box, cover, "muscle")
    canvas.paint(box, soft(beyond + 2.5) * soft(-canvas.cavity[box] + 1), "lung", 1 + canvas.noise(box, "fine", 0.35))
