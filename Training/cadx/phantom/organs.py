"""Liver, gallbladder, spleen, kidneys and the great vessels. Atlas mm, RAS."""

from __future__ import annotations

import numpy as np

from cadx.phantom.canvas import Array32, Box, Canvas, Floats, curve, overlap, rotation, soft, within

Shape = tuple[Box, Array32]


def _jitter(canvas: Canvas, point: tuple[float, float, float], mm: float) -> Floats:
    return np.asarray(point) + canvas.rng.uniform(-mm, mm, 3)


def paint_liver(canvas: Canvas) -> None:
    """Right and left lobe against the wall and the dome, tapering below; fissure, hepatic and portal branches."""
    rng = canvas.rng
    low = rng.uniform(0, 22)
    right = canvas.ellipsoid(_jitter(canvas, (88, 2, 34), 3), (66 + rng.uniform(-3, 3), 88, 84 + low), rotation(rng, 8))
    left = canvas.ellipsoid(
        _jitter(canvas, (26, 62, 58), 4),
        (rng.uniform(62, 92), rng.uniform(30, 40), rng.uniform(40, 54)),
        rotation(rng, 10),
    )
    visceral = canvas.ellipsoid(_jitter(canvas, (16, -6, -22), 4), (58, 74, 66))
    caudate = canvas.ellipsoid(_jitter(canvas, (20, -6, 48), 3), (24, 24, 26))
    parts = [(part, _inside(canvas, part)) for part in (right, left, caudate)]
    box, distance = _union([part for part, _ in parts], [inside for _, inside in parts])
    _carve(distance, box, visceral)
    distance += canvas.noise(box, "coarse", 1.6)
    canvas.fill((box, distance), "liver", 0.03)
    _liver_vessels(canvas, box, distance)


def _inside(canvas: Canvas, part: Shape) -> Array32:
    box, distance = part
    return np.maximum(distance, np.float32(3) - canvas.cavity[box])


def _union(shapes: list[Shape], distances: list[Array32]) -> Shape:
    """Nearest of several distances, each on its shape's box, on the box around all."""
    starts = [min(box[a].start for box, _ in shapes) for a in range(3)]
    stops = [max(box[a].stop for box, _ in shapes) for a in range(3)]
    around = (slice(starts[0], stops[0]), slice(starts[1], stops[1]), slice(starts[2], stops[2]))
    nearest = np.full([s.stop - s.start for s in around], 20, np.float32)
    for (box, _), distance in zip(shapes, distances, strict=True):
        view = nearest[within(box, around)]
        np.minimum(view, distance, out=view)
    return around, nearest


def _carve(distance: Array32, box: Box, cutter: Shape) -> None:
    """Remove a shape from a distance field on another box."""
    common = overlap(box, cutter[0])
    if common is not None:
        view = distance[within(common, box)]
        np.maximum(view, -cutter[1][within(common, cutter[0])], out=view)


def _liver_vessels(canvas: Canvas, box: Box, liver: Array32) -> None:
    """Portal and hepatic veins as branching tubes, kept inside the liver."""
    rng = canvas.rng
    for root, radius in (((26, 4, 22), 4.6), ((22, -18, 84), 4.8)):
        for _ in range(6):
            heading = np.array([rng.uniform(0.35, 1), rng.uniform(-0.8, 0.9), rng.uniform(-0.5, 0.35)])
            if root[2] > 50:
                heading[2] = -abs(heading[2]) - 0.1
            _branch(canvas, box, liver, np.asarray(root, float), heading / np.linalg.norm(heading), radius, 3)


def _branch(
    canvas: Canvas, box: Box, liver: Array32, start: Floats, heading: Floats, radius: float, depth: int
) -> None:
    rng = canvas.rng
    length = rng.uniform(22, 38)
    bend = rng.normal(0, 0.25, 3)
    points = np.array([start, start + heading * length / 2, start + (heading + bend) * length])
    path = canvas.to_world(curve(points, 7))
    part, distance = canvas.tube(path, np.linspace(radius, radius * 0.72, len(path)))
    common = overlap(part, box)
    if common is not None:
        inside = np.maximum(distance[within(common, part)], liver[within(common, box)] + 3)
        canvas.paint(common, soft(inside), "blood")
    if depth > 1 and radius > 1.6:
        for _ in range(2):
            turn = heading + rng.normal(0, 0.55, 3)
            _branch(canvas, box, liver, points[-1], turn / np.linalg.norm(turn), radius * 0.7, depth - 1)


def paint_gallbladder(canvas: Canvas) -> None:
    """Pear under the liver's right lobe; bile sometimes layered, darker below."""
    rng = canvas.rng
    if rng.random() < 0.12:
        return
    fundus = _jitter(canvas, (62, 58, -26), 7)
    neck = _jitter(canvas, (42, 24, 4), 4)
    radius = rng.uniform(8, 15)
    points = curve(np.array([neck, (neck + fundus) / 2 + rng.normal(0, 3, 3), fundus]), 5)
    world = canvas.to_world(points)
    radii = np.interp(np.linspace(0, 1, len(world)), [0, 0.3, 0.8, 1], [3, radius * 0.8, radius, radius * 0.8])
    box, distance = canvas.tube(world, radii)
    canvas.paint(box, soft(distance), "gut wall")
    sludge = np.clip((canvas.to_world(points).mean(axis=0)[1] - canvas.grid(box)[1]) / 6, 0, 1) * rng.uniform(0, 0.8)
    canvas.paint(box, soft(distance + 1.8), "bile", (1 - 0.4 * sludge).astype(np.float32))


def paint_spleen(canvas: Canvas) -> None:
    """Crescent against the left posterior wall."""
    rng = canvas.rng
    size = rng.uniform(0.85, 1.15)
    box, distance = canvas.ellipsoid(
        _jitter(canvas, (-104, -34, 40), 5), np.array([34, 50, 48]) * size, rotation(rng, 20)
    )
    distance = np.maximum(distance, np.float32(3.5) - canvas.cavity[box])
    _carve(distance, box, canvas.ellipsoid(_jitter(canvas, (-66, -2, 36), 5), (34, 40, 60)))
    distance += canvas.noise(box, "coarse", 1.5)
    canvas.fill((box, distance), "spleen", 0.04)


def paint_kidneys(canvas: Canvas) -> None:
    """Cortex, pyramids, sinus fat and renal pelvis; now and then a small cortical cyst."""
    for side, z in ((1, -34.0), (-1, -20.0)):
        _paint_kidney(canvas, side, z)


def _paint_kidney(canvas: Canvas, side: int, z: float) -> None:
    rng = canvas.rng
    center = _jitter(canvas, (64 * side, -44, z), 4)
    turn = rotation(rng, 12)
    radii = np.array([28, 24, 52]) * rng.uniform(0.9, 1.08)
    box, distance = canvas.ellipsoid(center, radii, turn)
    distance += canvas.noise(box, "coarse", 1.3)
    hilum = center + np.array([-side * 27.0, 9.0, 0.0])
    sinus = canvas.ellipsoid(hilum + [side * 8, -2, 0], (17, 10, 27))
    _carve(distance, box, canvas.ellipsoid(hilum, (10, 11, 22)))
    canvas.paint(box, soft(distance - 5 - canvas.noise(box, "coarse", 2.5)), "fat")
    canvas.fill((box, distance), "cortex", 0.05)
    pyramids = np.maximum(distance + 6.5, canvas.noise(box, "mid", 2.2) - 1.2)
    canvas.paint(box, soft(pyramids) * np.float32(0.9), "medulla")
    fat_box, fat = sinus
    fat = fat + canvas.noise(fat_box, "fine", 1.8)
    canvas.paint(fat_box, soft(fat), "fat")
    pelvis = curve(np.array([hilum + [side * 10, -3, 12], hilum + [side * 3, 0, 0], hilum + [-side * 4, 3, -14]]), 4)
    canvas.fill(canvas.tube(canvas.to_world(pelvis), rng.uniform(1.5, 3.6)), "urine")
    vein = curve(np.array([hilum, hilum * [0.6, 1, 1] + [0, 6, 2], [side * 4 + 6, -18, z + 12]]), 6)
    canvas.fill(canvas.tube(canvas.to_world(vein), 3.6), "blood")
    if rng.random() < 0.3:
        direction = rng.normal(size=3) * [1, 1, 0.6] + [side, 0, 0]
        spot = center + direction / np.linalg.norm(direction) * radii * 0.9
        canvas.fill(canvas.ellipsoid(spot, np.full(3, rng.uniform(4, 11))), "cyst fluid")


def paint_liver_cysts(canvas: Canvas) -> None:
    """A few patients have one to three small simple cysts in the liver."""
    rng = canvas.rng
    for _ in range(rng.integers(1, 4) if rng.random() < 0.25 else 0):
        spot = np.array([rng.uniform(70, 115), rng.uniform(-25, 40), rng.uniform(0, 65)])
        canvas.fill(canvas.ellipsoid(spot, np.full(3, rng.uniform(3, 8))), "cyst fluid")


def paint_great_vessels(canvas: Canvas) -> None:
    """Aorta with celiac trunk and superior mesenteric artery, inferior vena cava, crura."""
    rng = canvas.rng
    side = -9 + rng.uniform(-4, 4)
    for x, y in ((side - 9, -22), (side + 12, -24)):
        crus = curve(np.array([[x, y - 4, -20], [x, y, 40], [x * 1.3, y + 4, 95]]), 10)
        canvas.fill(canvas.tube(canvas.to_world(crus), 4.2), "muscle")
    aorta = curve(np.array([[side + 2, -20, -125], [side, -17, -40], [side, -17, 30], [side - 3, -22, 125]]), 10)
    _vessel(canvas, aorta, rng.uniform(8, 10.5), wall=1.2)
    cava = np.array([[24, -22, -125], [23, -20, -40], [23, -17, 20], [25, -12, 70], [24, -8, 125]], float)
    box, distance = canvas.ellipsoid((23, -20, -30), (rng.uniform(10, 14), rng.uniform(6, 10), 400))
    distance = np.maximum(distance, canvas.atlas[2][box] - 25)
    canvas.fill((box, distance), "blood")
    canvas.fill(canvas.tube(canvas.to_world(curve(cava[2:], 8)), rng.uniform(9, 11)), "blood")
    mesenteric = np.array([[side, -8, 6], [-7, 1, -2], [-5, 4, -25], [-3, 8, -60], [2, 14, -100]], float)
    _vessel(canvas, curve(mesenteric, 7), 3.4, wall=0.6)
    celiac = np.array([[side, -8, 22], [-4, 4, 26], [10, 8, 27], [22, 10, 22]], float)
    _vessel(canvas, curve(celiac, 5), 2.6, wall=0.5)


def _vessel(canvas: Canvas, atlas: Floats, radius: float, wall: float) -> None:
    box, distance = canvas.tube(canvas.to_world(atlas), radius)
    canvas.paint(box, soft(distance), "gut wall")
    canvas.paint(box, soft(distance + wall), "blood")


def paint_adrenals(canvas: Canvas) -> None:
    """Two thin limbs above and in front of each kidney."""
    for side, apex in ((1, (36, -26, 30)), (-1, (-34, -22, 24))):
        top = _jitter(canvas, apex, 3)
        for spread in (-7, 5):
            limb = np.array([top, top + [side * 4, -9, -6], top + [side * 4 + spread, -20, -15]])
            box, distance = canvas.tube(canvas.to_world(curve(limb, 4)), 2.0)
            canvas.paint(box, soft(distance), "muscle")
