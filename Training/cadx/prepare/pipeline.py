"""Runs a bundle's preparation in order and knows the way back from the grid to patient space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cadx.case import Case
from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.notices import Notice
from cadx.prepare import area, bias, checks, grid, register, sample, smooth
from cadx.prepare import standardise as nyul
from cadx.prepare.frame import SliceFrame
from cadx.prepare.register import RigidMotion
from cadx.prepare.spec import GridSpec, PreparationSpec
from cadx.roi import Roi
from cadx.volume import Volume

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Window:
    """Consecutive slices of the ROI that fill one grid.

    ``indices`` count the ROI's slices from the most inferior, 0; repeated at the end only where padded.
    """

    indices: tuple[int, ...]

    @property
    def first(self) -> int:
        """The most inferior slice."""
        return self.indices[0]


def window_of(slices: int, count: int, first: int | None = None) -> Window:
    """The window of ``count`` slices that starts at slice ``first`` of so many; the central one by default.

    Raises
    ------
    InputError
        If the window does not lie within the slices.
    """
    if slices < count and first in (None, 0):
        return Window(tuple(min(i, slices - 1) for i in range(count)))
    start = slices // 2 - count // 2 if first is None else first
    if not 0 <= start <= slices - count:
        raise InputError(
            f"The window cannot start at slice {start}: the ROI holds {slices} slices, so the start lies between 0 and "
            f"{max(0, slices - count)}."
        )
    return Window(tuple(range(start, start + count)))


@dataclass(frozen=True, eq=False)
class CellLayout:
    """Where the cells of a ROI lie, before any voxel is read.

    ``box`` is the ROI along the slices' axes, ``slices`` the reference's slice indices; ``averaged`` says that
    whole voxels are averaged instead of interpolated.
    """

    geometry: Geometry
    box: Roi
    slices: NDArray[np.intp]
    positions_mm: NDArray[np.floating]
    notices: tuple[Notice, ...]
    averaged: bool


@dataclass(frozen=True, eq=False)
class Prepared:
    """All cells of a case and how to get back.

    Parameters
    ----------
    cells
        (channels, slices, rows, columns) float32 in 0..1; every slice of the ROI, inferior to superior.
    geometry
        Where the cells lie: I = column, J = row, K = slice, RAS mm.
    roi
        The box along the slices' axes, RAS mm.
    onto
        The grid of T1 as it was stored, for overlays.
    positions_mm
        (slices,) position along the stack's superior direction, mm.
    """

    cells: NDArray[np.float32]
    geometry: Geometry
    roi: Roi
    onto: Geometry
    spec: GridSpec
    positions_mm: NDArray[np.floating]
    notices: tuple[Notice, ...] = ()
    pad: bool = False
    motion: RigidMotion | None = None

    @property
    def slices(self) -> int:
        """Number of the ROI's slices."""
        return self.cells.shape[1]

    def window(self, first: int | None = None) -> Window:
        """The window that starts at slice ``first`` of the ROI; the central one by default.

        Raises
        ------
        InputError
            If the window does not lie within the ROI's slices.
        """
        return window_of(self.slices, self.spec.slices, first)

    def windows(self) -> list[Window]:
        """Every window, inferior to superior."""
        return [self.window(first) for first in range(max(1, self.slices - self.spec.slices + 1))]

    def grid(self, window: Window) -> NDArray[np.float32]:
        """(channels, pixels, pixels): the tensor that the model is fed, float32 in 0..1."""
        return grid.tile(self.cells[:, list(window.indices)])

    def to_volume(self, grid_map: NDArray[np.floating], window: Window) -> Volume:
        """A map on the grid, of any resolution that the cells divide, on T1's grid in patient space."""
        cells = grid.untile(grid_map, self.spec.slices)
        indices = np.asarray(window.indices)
        distinct = np.unique(indices)
        merged = np.stack([cells[indices == index].mean(axis=0) for index in distinct])
        matrix = self.geometry.ijk_to_ras.copy()
        matrix[:3, 3] = self.geometry.to_ras([0, 0, distinct[0]])
        columns, rows, _ = self.geometry.size_ijk
        stack = Geometry((columns, rows, len(distinct)), matrix)
        return grid.cells_to_volume(merged, stack, self.roi, self.onto)


@dataclass(frozen=True)
class Preparation:
    """The preparation of a bundle, ready to run.

    ``correct`` is the costly part and depends on one volume alone; ``crop`` answers at once when only the
    ROI has moved.
    """

    spec: PreparationSpec = field(default_factory=PreparationSpec)

    def run(
        self, case: Case, *, register_t2: bool = False, pad: bool = False, progress: Progress | None = None
    ) -> Prepared:
        """Every step on one case.

        Raises
        ------
        InputError
            If a channel is missing, an image is constant or the ROI lies outside it.
        RefusedError
            If the ROI holds too few slices and ``pad`` is not set.
        """
        self.check(case, pad=pad)
        corrected = self.correct_all(case.images, progress)
        return self.finish(case, corrected, register_t2=register_t2, pad=pad, progress=progress)

    def correct_all(self, images: Mapping[str, Volume], progress: Progress | None = None) -> dict[str, Volume]:
        """:meth:`correct` for every channel; it depends on the images alone, so a new ROI needs no new one."""
        report = progress or (lambda stage, fraction: None)
        corrected = {}
        for index, channel in enumerate(self.spec.channels):
            report(f"correct {channel}", index / len(self.spec.channels))
            corrected[channel] = self.correct(images[channel], channel)
        return corrected

    def finish(
        self,
        case: Case,
        corrected: Mapping[str, Volume],
        *,
        register_t2: bool = False,
        pad: bool = False,
        progress: Progress | None = None,
    ) -> Prepared:
        """Registration, where asked for, and the cells of a case whose images were corrected before."""
        report = progress or (lambda stage, fraction: None)
        motion = None
        if (register_t2 or self.spec.register_ == "rigid") and len(corrected) > 1:
            report("register", 0.8)
            first, second = list(corrected.values())[:2]
            motion = register.register_rigid(first, second, case.roi.center_ras)
        report("crop", 0.9)
        prepared = self.crop(corrected, case.roi, onto=case.reference.geometry, pad=pad, motion=motion)
        report("crop", 1.0)
        return prepared

    def correct(self, volume: Volume, channel: str) -> Volume:
        """Bias, smoothing and standardisation on the volume's own grid, in canonical storage, float32."""
        checks.require_contrast(volume, channel)
        volume = volume.canonical()
        volume = volume.with_voxels(volume.voxels.astype(np.float32))
        try:
            if self.spec.bias:
                volume = bias.correct_bias(volume, self.spec.bias)
            if self.spec.smooth:
                volume = smooth.smooth(volume, self.spec.smooth)
        except RuntimeError as error:
            raise InputError(
                f"{checks.named(channel, volume)} cannot be corrected or smoothed; it may be too small or nearly "
                "empty, choose another image."
            ) from error
        if self.spec.standardise:
            volume = nyul.standardise(volume, self.spec.standardise, channel)
        if self.spec.grid.in_plane_pixels:
            volume = sample.resize_in_plane(volume, self.spec.grid.in_plane_pixels)
        return volume

    def crop(
        self,
        corrected: Mapping[str, Volume],
        roi: Roi,
        *,
        onto: Geometry,
        pad: bool = False,
        motion: RigidMotion | None = None,
    ) -> Prepared:
        """Cells of a ROI from corrected volumes (canonical storage; the first is the reference)."""
        reference = next(iter(corrected.values())).geometry
        layout = self.layout(reference, roi, pad=pad, name=checks.named(*next(iter(corrected.items()))))
        checks.check_coverage(layout.box, {checks.named(c, v): v.geometry for c, v in corrected.items()})
        box, geometry = layout.box, layout.geometry
        valid = grid.inside_roi(box, geometry)
        cells = []
        notices = list(layout.notices)
        for channel, volume in corrected.items():
            moving = motion.transform if motion and channel != self.spec.channels[0] else None
            if layout.averaged:
                raw = area.area_cells(volume, reference, box, layout.slices, self.spec.grid, moving)
            else:
                raw = sample.sample(volume, geometry, moving)
            notices += checks.check_reach(channel, volume, np.isfinite(raw)[:, valid])
            cells.append(self._scaled(raw, valid, volume))
        return Prepared(
            np.stack(cells),
            geometry,
            box,
            onto,
            self.spec.grid,
            layout.positions_mm,
            tuple(notices),
            pad,
            motion,
        )

    def layout(self, reference: Geometry, roi: Roi, *, pad: bool = False, name: str = "T1") -> CellLayout:
        """Where the cells of a ROI lie; needs the reference's canonical geometry only, no voxel.

        ``name`` is what messages call the reference.

        Raises
        ------
        InputError
            If the ROI lies outside the reference, or mostly so, or the reference itself holds too few slices.
        RefusedError
            If the ROI holds too few slices and ``pad`` is not set.
        """
        frame = SliceFrame.of(reference)
        box, notices = checks.on_frame(roi, frame)
        notices += checks.check_size(box)
        notices += checks.check_coverage(box, {name: reference})
        slices = frame.slices_in(box)
        notices += frame.notices("T1") + checks.require_slices(slices, frame, self.spec.grid.slices, pad, name)
        averaged = self.spec.grid.sampling == "area" and frame.own
        if averaged:
            box = area.snapped(box, reference)
        geometry = grid.cell_geometry(frame, box, slices, self.spec.grid)
        return CellLayout(geometry, box, slices, frame.positions_mm()[slices], tuple(notices), averaged)

    def check(self, case: Case, *, pad: bool = False) -> CellLayout:
        """What can be refused before minutes are spent on correction; raises what :meth:`run` raises."""
        missing = [c for c in self.spec.channels if c not in case.images]
        if missing:
            raise InputError(f"{case.name}: this bundle needs {' and '.join(missing)}; give that volume too.")
        for channel in self.spec.channels:
            checks.require_contrast(case.images[channel], channel)
        name = checks.named(next(iter(case.images)), case.reference)
        layout = self.layout(case.reference.canonical_geometry(), case.roi, pad=pad, name=name)
        checks.check_coverage(
            layout.box, {checks.named(c, case.images[c]): case.images[c].geometry for c in self.spec.channels}
        )
        return layout

    def _scaled(self, raw: NDArray[np.float32], valid: NDArray[np.bool_], volume: Volume) -> NDArray[np.float32]:
        """To 0..1 by the bundle's rule; padding and what the volume does not reach are 0."""
        scale = self.spec.scale
        inside = valid[None] & np.isfinite(raw)
        if scale.method == "volume-zscore-range":
            # the z-score cancels in the range that follows it
            low, high = float(np.nanmin(volume.voxels)), float(np.nanmax(volume.voxels))
        else:
            ends = (0.0, 100.0) if scale.method == "roi-range" else (scale.low, scale.high)
            low, high = (float(v) for v in np.percentile(raw[inside], ends))
        if not high > low:
            raise InputError(f"{volume.name} is constant inside the ROI; choose another image or move the ROI.")
        cells = np.clip((raw - low) / (high - low), 0, 1)
        return np.where(inside, cells, 0).astype(np.float32)
