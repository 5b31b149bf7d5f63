"""Stomach, duodenum, colon, small bowel and the fat they hang in. Atlas mm, RAS.

Their fluid is the natural confounder of a cyst: every patient, whatever the class, gets a random amount of it.
"""

from __future__ import annotations

import numpy as np

from cadx.phantom.canvas import Canvas, Floats, curve, soft


def paint_fat_strands(canvas: Canvas) -> None:
    """Fine mesenteric vessels in the cavity's fat: short winding tubes about the mesenteric root."""
    rng = canvas.rng
    count = int(rng.uniform(60, 100))
    for _ in range(count):
        start = np.array([rng.uniform(-85, 75), rng.uniform(-10, 75), rng.uniform(-75, 30)])
        heading = rng.normal(size=3) * [1.0, 1.0, 0.7]
        steps = np.cumsum(heading / np.linalg.norm(heading) * 9 + rng.normal(0, 4.0, (5, 3)), axis=0)
        world = canvas.to_world(curve(start + steps, 5))
        box, distance = canvas.tube(world, rng.uniform(0.8, 2.0))
        canvas.paint(box, soft(np.maximum(distance, 4 - canvas.cavity[box])), "blood")
    for _ in range(6):
        spot = [rng.uniform(-30, 40), rng.uniform(-5, 40), rng.uniform(-60, 30)]
        canvas.fill(canvas.ellipsoid(spot, rng.uniform(2.0, 4.5, 3)), "muscle")


def _hollow(
    canvas: Canvas, atlas: Floats, radii: Floats, wall: float, contents: str, fold: float, level: float | None
) -> None:
    """A tube of gut: wall, folded lining, contents, and gas above ``level`` (atlas y) where given."""
    world = canvas.to_world(atlas)
    box, distance = canvas.tube(world, radii, margin=4)
    distance = np.maximum(distance + canvas.noise(box, "mid", 0.9), 1 - canvas.cavity[box])
    canvas.paint(box, soft(distance), "gut wall", 1 + canvas.noise(box, "fine", 0.06))
    lumen = distance + np.float32(wall)
    if fold:
        lumen = lumen + np.clip(canvas.noise(box, "fine", fold) - 0.2 * fold, 0, None)
    cover = soft(lumen)
    canvas.paint(box, cover, contents, 1 + canvas.noise(box, "mid", 0.08 if contents != "stool" else 0.3))
    if level is not None:
        above = soft((np.float32(level) - canvas.atlas[1][box]) * np.float32(0.75))
        canvas.paint(box, cover * above, "gas")


def paint_stomach(canvas: Canvas) -> None:
    """Fundus behind the spleen's front, body to the front, antrum across the midline; fluid, food or empty."""
    rng = canvas.rng
    full = rng.choice([0.55, 0.8, 1.0, 1.12], p=[0.25, 0.3, 0.3, 0.15])
    points = np.array(
        [
            [-62, -22, 92, 28],
            [-64, -2, 72, 33],
            [-62, 28, 48, 31],
            [-48, 50, 24, 26],
            [-22, 62, 4, 20],
            [6, 60, -2, 15],
            [28, 48, 2, 10],
        ],
        dtype=float,
    )
    points[1:-1, :3] += rng.uniform(-6, 6, (5, 3))
    points[:, 3] *= np.interp(np.arange(7), [0, 5, 6], [full, max(full, 0.75), 0.9])
    path = curve(points, 6)
    contents = str(rng.choice(["gut fluid", "chyme", "chyme", "gut fluid", "stool"]))
    level = path[:, 1].max() + rng.uniform(-16, 14)
    _hollow(canvas, path[:, :3], path[:, 3], rng.uniform(3.0, 4.5), contents, rng.uniform(1.5, 4.0), level)


def paint_duodenum(canvas: Canvas) -> None:
    """The C around the pancreatic head, then to the left below it; collapsed to fluid-filled."""
    rng = canvas.rng
    points = np.array(
        [
            [30, 46, 2, 9],
            [42, 34, 6, 11],
            [51, 14, 0, 10],
            [53, 2, -18, 11],
            [50, -4, -38, 11],
            [34, -4, -54, 10],
            [10, -1, -58, 9],
            [-16, 4, -54, 9],
            [-30, 16, -40, 10],
        ],
        dtype=float,
    )
    points[:, :3] += rng.uniform(-3, 3, points[:, :3].shape)
    points[:, 3] *= rng.uniform(0.75, 1.2) * rng.uniform(0.85, 1.2, len(points))
    path = curve(points, 5, smooth=1.3)
    contents = str(rng.choice(["gut fluid", "gut fluid", "chyme"]))
    level = path[:, 1].max() - rng.uniform(0, 14) if rng.random() < 0.4 else None
    _hollow(canvas, path[:, :3], path[:, 3], rng.uniform(2.2, 3.6), contents, rng.uniform(1.5, 4.5), level)


def paint_small_bowel(canvas: Canvas, visceral: float, pancreas: Floats) -> None:
    """Jejunal loops left of and below the pancreas, a few of them fluid-filled, whatever the class.

    ``pancreas`` is its path with radius (n, 4), atlas mm: a loop may touch it but not run through it.
    """
    rng = canvas.rng
    for _ in range(int(rng.uniform(22, 30) - 14 * visceral)):
        start = np.array([rng.uniform(-92, 75), rng.uniform(14, 68), rng.uniform(-100, -30)])
        if rng.random() < 0.3:
            start = np.array([rng.uniform(-85, -35), rng.uniform(12, 50), rng.uniform(-35, 0)])
        turns = rng.normal(0, 1, (5, 3)) * [1, 0.7, 0.55]
        path = curve(start + np.cumsum(turns / np.linalg.norm(turns, axis=1, keepdims=True) * 20, axis=0), 5)
        radius = rng.uniform(7, 11.5) * rng.uniform(0.85, 1.1, len(path))
        apart = np.linalg.norm(path[:, None] - pancreas[None, :, :3], axis=2) - pancreas[:, 3]
        free = apart.min(axis=1) > radius.max() + 2
        first = int(np.argmin(free)) if not free.all() else len(path)  # ends where it would enter the gland
        if first < 3:
            continue
        path, radius = path[:first], radius[:first]
        contents = str(rng.choice(["gut fluid", "chyme", "chyme"]))
        level = path[:, 1].max() - rng.uniform(-4, 8) if rng.random() < 0.25 else None
        _hollow(canvas, path, radius, rng.uniform(1.8, 3.2), contents, rng.uniform(1.0, 5.0), level)


def paint_colon(canvas: Canvas) -> None:
    """Ascending, transverse and descending colon with haustra, stool and gas."""
    rng = canvas.rng
    drop = rng.uniform(-45, -5)
    points = np.array(
        [
            [108, -16, -120, 22],
            [106, -10, -60, 21],
            [98, 26, -42, 19],
            [60, 66, drop - 22, 17],
            [10, 84, drop - 26, 16],
            [-45, 80, drop - 12, 16],
            [-92, 52, drop + 14, 16],
            [-112, 16, 14, 17],
            [-116, -6, -10, 15],
            [-112, -16, -60, 14],
            [-108, -18, -120, 14],
        ],
        dtype=float,
    )
    points[:, :3] += rng.uniform(-5, 5, points[:, :3].shape)
    path = curve(points, 6)
    haustra = 1 + 0.16 * np.sin(np.arange(len(path)) * 6 / 26 * 2 * np.pi + rng.uniform(0, 6))
    radii = path[:, 3] * haustra * rng.uniform(0.75, 1.15)
    for part in np.array_split(np.arange(len(path)), 4):
        rows = np.r_[part, min(part[-1] + 1, len(path) - 1)]
        level = float(path[rows, 1].max() + rng.uniform(-18, 16))
        contents = str(rng.choice(["stool", "stool", "stool", "chyme"]))
        _hollow(canvas, path[rows, :3], radii[rows], 2.6, contents, 2.0, level)
