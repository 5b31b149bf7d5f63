"""The pancreas with its duct, the common bile duct, and the veins it lies on. Atlas mm, RAS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cadx.phantom.canvas import Array32, Box, Canvas, Floats, curve, soft


@dataclass(frozen=True)
class Gland:
    """Course and calibre of a pancreas, from head (row 0) to tail.

    Parameters
    ----------
    path
        (n, 4) atlas points with the gland's radius, mm.
    duct_offset
        (n, 3) how far the main duct runs off the centre, mm.
    duct_mm
        (n,) inner diameter of the main duct, mm.
    fat
        Share of fat between the lobules, 0..0.5.
    lobes
        Depth of the lobulation, mm.
    """

    path: Floats
    duct_offset: Floats
    duct_mm: Floats
    fat: float
    lobes: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Gland:
        """A pancreas without disease: a duct of 1 to 2.5 mm, little to much fat."""
        points = np.array(
            [
                [22, -4, -36, 9],
                [32, 0, -22, 14],
                [31, 6, -8, 13.5],
                [17, 17, -1, 10],
                [1, 24, 3, 8.5],
                [-18, 25, 7, 9.5],
                [-40, 15, 12, 10],
                [-63, -4, 20, 10.5],
                [-82, -22, 27, 8.5],
            ],
            dtype=float,
        )
        points[:, :3] += rng.uniform(-3, 3, points[:, :3].shape)
        points[:, 2] += (points[:, 0] < 0) * points[:, 0] * rng.uniform(-0.22, 0.18)
        points[:, 0] *= rng.uniform(0.84, 1.0)
        points[:, 1] += np.interp(points[:, 0], [-80, -30, 0, 40], [rng.uniform(-8, 8), rng.uniform(-5, 5), 0, 0])
        points[:, 3] *= rng.uniform(0.82, 1.14) * rng.uniform(0.9, 1.1, len(points))
        path = curve(points, 3.0, smooth=2.4)
        turns = np.linspace(0, rng.uniform(5, 9) * np.pi, len(path))
        wiggle = np.stack([0 * turns, np.sin(turns), np.sin(turns * 0.7 + rng.uniform(0, 6))], axis=1)
        return cls(
            path=path,
            duct_offset=wiggle * rng.uniform(0.6, 1.4),
            duct_mm=np.full(len(path), rng.uniform(1.0, 2.5)) * np.linspace(1.15, 0.6, len(path)),
            fat=rng.uniform(0.02, 0.4),
            lobes=rng.uniform(0.8, 2.2),
        )


def gland_cover(canvas: Canvas, gland: Gland) -> tuple[Box, Array32]:
    """Share of pancreas in the voxels around it."""
    box, distance = canvas.tube(canvas.to_world(gland.path[:, :3]), gland.path[:, 3], margin=6)
    distance += canvas.noise(box, "fine", gland.lobes * 0.65) + canvas.noise(box, "mid", gland.lobes * 0.7)
    return box, soft(distance)


def paint_gland(canvas: Canvas, gland: Gland) -> tuple[Box, Array32]:
    """Lobulated parenchyma with fat in its clefts; returns its cover."""
    box, cover = gland_cover(canvas, gland)
    canvas.paint(box, cover, "pancreas", 1 + canvas.noise(box, "fine", 0.06))
    clefts = np.clip((canvas.noise(box, "fine", 1.0) - np.float32(1.5 - 2.2 * gland.fat)) * 1.2, 0, 0.85)
    canvas.paint(box, cover * clefts, "fat")
    return box, cover


def paint_ducts(canvas: Canvas, gland: Gland) -> None:
    """Main pancreatic duct along the gland."""
    world = canvas.to_world(gland.path[:, :3] + gland.duct_offset)[3:-2]
    radius = gland.duct_mm[3:-2] / 2
    wide = float(radius.max()) > 2
    box, distance = canvas.tube(world, radius)
    if wide:
        canvas.paint(box, soft(distance - 0.8), "gut wall")
    canvas.paint(box, soft(distance), "cyst fluid")


def paint_bile_duct(canvas: Canvas) -> None:
    """Common hepatic to common bile duct, through the head to the duodenum: bright on T2, as a duct is."""
    rng = canvas.rng
    points = np.array([[34, 8, 34], [34, 4, 16], [33, -2, -2], [34, -3, -16], [42, -2, -28]], float)
    points[1:] += rng.uniform(-2, 2, (4, 3))
    box, distance = canvas.tube(canvas.to_world(curve(points, 4)), rng.uniform(2.0, 4.2))
    canvas.paint(box, soft(distance - 0.8), "gut wall")
    canvas.paint(box, soft(distance), "bile")


def paint_veins(canvas: Canvas, gland: Gland) -> None:
    """Splenic vein behind body and tail, superior mesenteric vein behind the neck, portal vein to the hilum."""
    rng = canvas.rng
    half = gland.path[gland.path[:, 0] < 4]
    behind = half[:, :3] - np.stack([0 * half[:, 3], half[:, 3] + 1.0, 0 * half[:, 3] - 1], axis=1)
    meet = behind[0]
    splenic = np.vstack([[meet], behind[::5], behind[-1] + [-8, -4, 4]])
    canvas.fill(canvas.tube(canvas.to_world(curve(splenic, 5)), rng.uniform(3.2, 4.6)), "blood")
    mesenteric = np.array([meet + [3, 4, -100], meet + [4, 3, -45], meet + [4, 0, -14], meet + [2, 0, 0]])
    canvas.fill(canvas.tube(canvas.to_world(curve(mesenteric, 7)), rng.uniform(4.5, 6)), "blood")
    portal = np.array([meet, meet + [8, -2, 10], [22, 2, 20], [32, 4, 28]])
    canvas.fill(canvas.tube(canvas.to_world(curve(portal, 5)), rng.uniform(5, 7)), "blood")
