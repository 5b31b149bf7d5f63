"""The fine grid on which a patient is painted, its smooth deformation, and the shapes' signed distances.

Two spaces: *world* is RAS mm, the patient as scanned; *atlas* is the same patient before the smooth random
deformation, in mm about the pancreatic neck (x Right, y Anterior, z Superior). Organs are described in the
atlas. Arrays are (K, J, I) float32 with I, J, K along R, A, S.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from cadx.phantom.noise import VOXEL_MM, Array32, texture

Box = tuple[slice, slice, slice]
Floats = NDArray[np.float64]

HALF_EXTENT_MM = (174.0, 130.0, 98.0)
SOFT_MM = 1.5  # width of the ramp that antialiases an edge


@dataclass
class Deformation:
    """World to atlas: ``(world + sum of sine products) / scale``, smooth and free of folds."""

    scale: Floats
    amplitude: Floats  # (modes, 3) mm
    wave: Floats  # (modes, 3) rad per mm along R, A, S
    phase: Floats  # (modes, 3)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Deformation:
        """Long waves move whole organs by several mm, short ones bend their outlines."""
        lengths = np.array([260.0, 200.0, 130.0, 90.0, 60.0])
        amplitude = np.array([5.0, 4.5, 3.0, 2.2, 1.3])
        modes = len(lengths)
        return cls(
            scale=rng.uniform(0.93, 1.07) * rng.uniform([0.95, 0.94, 0.94], [1.05, 1.06, 1.06]),
            amplitude=amplitude[:, None] * rng.normal(0, 1, (modes, 3)).clip(-1.8, 1.8),
            wave=2 * np.pi / lengths[:, None] * rng.uniform(0.6, 1.15, (modes, 3)),
            phase=rng.uniform(0, 2 * np.pi, (modes, 3)),
        )

    def fields(self, axes: list[Array32]) -> list[Array32]:
        """Atlas coordinates (x, y, z), each (K, J, I), of the grid with these R, A, S coordinates in mm."""
        waves = [np.sin(self.wave[:, a, None] * axes[a] + self.phase[:, a, None]).astype(np.float32) for a in range(3)]
        plane = waves[1][:, :, None] * waves[0][:, None, :]
        shapes = ((1, 1, -1), (1, -1, 1), (-1, 1, 1))
        out = []
        for a in range(3):
            weights = (waves[2] * self.amplitude[:, a, None].astype(np.float32)).T
            moved = (weights @ plane.reshape(len(plane), -1)).reshape(-1, *plane.shape[1:])
            moved += axes[a].reshape(shapes[a])
            moved /= np.float32(self.scale[a])
            out.append(moved)
        return out

    def to_world(self, atlas: ArrayLike) -> Floats:
        """World positions of atlas points (n, 3), by fixed-point iteration."""
        target = np.asarray(atlas, dtype=float) * self.scale
        world = target.copy()
        for _ in range(8):
            waves = np.sin(self.wave * world[:, None, :] + self.phase).prod(axis=2)
            world = target - waves @ self.amplitude
        return world


@dataclass
class Push:
    """Mass effect: tissue around a centre (world) gives way to a growth of some radius."""

    center: Floats
    core: float
    reach: float

    def outward(self, world: Floats) -> Floats:
        """Where points (n, 3) end up."""
        offset = world - self.center
        distance = np.linalg.norm(offset, axis=1, keepdims=True)
        moved = self.core + distance * (self.reach - self.core) / self.reach
        factor = np.where(distance < self.reach, moved / np.maximum(distance, 1e-3), 1.0)
        return self.center + offset * np.minimum(factor, 50.0)


@dataclass
class Canvas:
    """Two signal images (T1-weighted, T2-weighted) on one fine grid, painted shape over shape."""

    deformation: Deformation
    signals: dict[str, tuple[float, float]]
    rng: np.random.Generator
    push: Push | None = None
    axes: list[Array32] = field(init=False)
    atlas: list[Array32] = field(init=False)
    images: list[Array32] = field(init=False)
    cavity: Array32 = field(init=False)  # depth inside the abdominal cavity, mm; set by the body wall

    def __post_init__(self) -> None:
        steps = VOXEL_MM[::-1]
        counts = [2 * round(half / step) + 1 for half, step in zip(HALF_EXTENT_MM, steps, strict=True)]
        self.axes = [((np.arange(n) - n // 2) * step).astype(np.float32) for n, step in zip(counts, steps, strict=True)]
        self.atlas = self.deformation.fields(self.axes)
        self.images = [np.zeros(counts[::-1], np.float32) for _ in range(2)]
        if self.push is not None:
            self._give_way(self.push)

    def _give_way(self, push: Push) -> None:
        """Shift the atlas coordinates around a growth, so that its neighbours are moved, not overwritten."""
        box = self.box(push.center - push.reach, push.center + push.reach)
        offsets = [grid - np.float32(c) for grid, c in zip(self.grid(box), push.center, strict=True)]
        distance = np.sqrt(offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2) + 1e-3
        source = np.clip(distance - push.core, 0, None) * (push.reach / (push.reach - push.core))
        change = np.where(distance < push.reach, source / distance - 1, 0).astype(np.float32)
        for a in range(3):
            self.atlas[a][box] += offsets[a] * change / np.float32(self.deformation.scale[a])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, J, I)."""
        return (len(self.axes[2]), len(self.axes[1]), len(self.axes[0]))

    def box(self, low: ArrayLike, high: ArrayLike) -> Box:
        """Slices (K, J, I) of the voxels between two world corners; empty where outside the canvas."""
        starts = [int(np.searchsorted(x, v)) for x, v in zip(self.axes, np.asarray(low, dtype=float), strict=True)]
        stops = [
            int(np.searchsorted(x, v, side="right"))
            for x, v in zip(self.axes, np.asarray(high, dtype=float), strict=True)
        ]
        return (slice(starts[2], stops[2]), slice(starts[1], stops[1]), slice(starts[0], stops[0]))

    def grid(self, box: Box) -> tuple[Array32, Array32, Array32]:
        """World x, y, z of a box's voxels, shaped to broadcast."""
        k, j, i = box
        return self.axes[0][i][None, None, :], self.axes[1][j][None, :, None], self.axes[2][k][:, None, None]

    def to_world(self, atlas: ArrayLike) -> Floats:
        """World positions of atlas points (n, 3), mass effect included."""
        world = self.deformation.to_world(atlas)
        return world if self.push is None else self.push.outward(world)

    def noise(self, box: Box, scale: str, amplitude: float) -> Array32:
        """Correlated noise over a box; see :func:`cadx.phantom.noise.texture`."""
        shape = tuple(len(range(*s.indices(n))) for s, n in zip(box, self.shape, strict=True))
        return texture(self.rng, scale, shape) * np.float32(amplitude)

    def ellipsoid(self, center: ArrayLike, radii: ArrayLike, turn: Floats | None = None) -> tuple[Box, Array32]:
        """Signed distance (mm, about; negative inside) of an atlas ellipsoid, its axes the columns of ``turn``."""
        centre, radius = np.asarray(center, dtype=float), np.asarray(radii, dtype=float)
        half = radius if turn is None else np.sqrt((np.asarray(turn) ** 2) @ radius**2)
        middle = self.to_world(centre[None])[0]
        half = half * self.deformation.scale * 1.3 + 5
        box = self.box(middle - half, middle + half)
        local = [a[box] - np.float32(c) for a, c in zip(self.atlas, centre, strict=True)]
        if turn is not None:
            matrix = np.asarray(turn, dtype=np.float32)
            local = [sum(local[b] * matrix[b, a] for b in range(3)) for a in range(3)]
        scaled = [value / np.float32(r) for value, r in zip(local, radius, strict=True)]
        norm = np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2)
        gradient = np.sqrt(
            sum((value / np.float32(r)) ** 2 for value, r in zip(scaled, radius, strict=True))
        ) + np.float32(1e-4)
        return box, norm * (norm - 1) / gradient

    def tube(self, world: Floats, radii: ArrayLike, margin: float = 3.0) -> tuple[Box, Array32]:
        """Signed distance (mm) of a chain of round segments through world points (n, 3) with radii (n,) in mm."""
        radius = np.broadcast_to(np.asarray(radii, dtype=float), len(world))
        reach = float(radius.max()) + margin
        box = self.box(world.min(axis=0) - reach, world.max(axis=0) + reach)
        k, j, i = box
        out = np.full((k.stop - k.start, j.stop - j.start, i.stop - i.start), reach, np.float32)
        for n in range(len(world) - 1):
            wide = max(radius[n], radius[n + 1]) + margin
            pair = world[n : n + 2]
            part = self.box(pair.min(axis=0) - wide, pair.max(axis=0) + wide)
            view = out[within(part, box)]
            if view.size:
                np.minimum(view, self._segment(part, pair, radius[n : n + 2]), out=view)
        return box, out

    def _segment(self, box: Box, ends: Floats, radii: Floats) -> Array32:
        """Signed distance to one segment whose radius runs linearly from end to end."""
        x, y, z = (g - np.float32(c) for g, c in zip(self.grid(box), ends[0], strict=True))
        axis = (ends[1] - ends[0]).astype(np.float32)
        length2 = np.float32(max(float(axis @ axis), 1e-6))
        dot = x * axis[0] + y * axis[1] + z * axis[2]
        t = np.clip(dot / length2, 0, 1)
        squared = (x * x + y * y + z * z) - t * (2 * dot - t * length2)
        return np.sqrt(np.maximum(squared, 0)) - (np.float32(radii[0]) + t * np.float32(radii[1] - radii[0]))

    def paint(self, box: Box, cover: Array32, tissue: str, contrast: Array32 | None = None) -> None:
        """Blend a tissue over a box; ``cover`` 0..1 is its share of each voxel, ``contrast`` scales its signal."""
        for image, signal in zip(self.images, self.signals[tissue], strict=True):
            view = image[box]
            value = np.float32(signal) if contrast is None else np.float32(signal) * contrast
            view += cover * (value - view)

    def fill(self, shape: tuple[Box, Array32], tissue: str, mottle: float = 0.0) -> Array32:
        """Paint a shape with a tissue, its signal mottled by this relative amplitude; returns the cover."""
        box, distance = shape
        cover = soft(distance)
        contrast = None if not mottle else 1 + self.noise(box, "mid", mottle)
        self.paint(box, cover, tissue, contrast)
        return cover


def overlap(one: Box, other: Box) -> Box | None:
    """The voxels that two boxes share, None where they do not meet."""
    starts = [max(a.start, b.start) for a, b in zip(one, other, strict=True)]
    stops = [min(a.stop, b.stop) for a, b in zip(one, other, strict=True)]
    if any(stop <= start for start, stop in zip(starts, stops, strict=True)):
        return None
    return (slice(starts[0], stops[0]), slice(starts[1], stops[1]), slice(starts[2], stops[2]))


def within(part: Box, box: Box) -> Box:
    """The indices of a part of a box, counted from the box's corner."""
    k, j, i = (slice(s.start - b.start, s.stop - b.start) for s, b in zip(part, box, strict=True))
    return (k, j, i)


def soft(distance: Array32) -> Array32:
    """Share of a voxel inside a surface, from its signed distance in mm (negative inside)."""
    return np.clip(np.float32(0.5) - distance / np.float32(SOFT_MM), 0, 1)


def curve(points: ArrayLike, step_mm: float = 4.0, smooth: float = 1.6) -> Floats:
    """Points (n, d) joined by a smooth curve, about ``step_mm`` apart along the first three columns."""
    points = np.asarray(points, dtype=float)
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points[:, :3], axis=0), axis=1))]
    count = max(int(along[-1] / step_mm) + 1, 3)
    at = np.linspace(0, along[-1], count)
    dense = np.stack([np.interp(at, along, column) for column in points.T], axis=1)
    bent = ndimage.gaussian_filter1d(dense, smooth, axis=0, mode="nearest")
    bent[[0, -1]] = dense[[0, -1]]
    return bent


def rotation(rng: np.random.Generator, degrees: float) -> Floats:
    """Random rotation (3, 3) about a random axis by up to this angle."""
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    angle = np.radians(rng.uniform(-degrees, degrees))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
