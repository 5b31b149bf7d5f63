"""Runs a bundle's preparation in order and knows the way back from the grid to patient space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cadx.case import Case
from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.notices import Notice
from cadx.prepare import area, bias, checks, cube, grid, intensity, register, sample, smooth
from cadx.prepare import standardise as nyul
from cadx.prepare.frame import SliceFrame
from cadx.prepare.intensity import RawCells
from cadx.prepare.register import RigidMotion
from cadx.prepare.spec import CropSpec, GridSpec, PreparationSpec
from cadx.roi import Roi
from cadx.volume import Volume

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Window:
    """Consecutive slices of the ROI that fill one grid; of a cube the planes that are shown.

    ``indices`` count the cells from the most inferior, 0; repeated at the end only where padded.
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
    whole voxels are averaged instead of interpolated. ``whole`` says that all of the ROI is fed at once, as a cube;
    ``lattice`` is where it is read where that is not ``geometry`` itself.
    """

    geometry: Geometry
    box: Roi
    slices: NDArray[np.intp]
    positions_mm: NDArray[np.floating]
    notices: tuple[Notice, ...]
    averaged: bool
    whole: bool = False
    lattice: Geometry | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """All cells of a case and how to get back.

    Parameters
    ----------
    cells
        (channels, slices, rows, columns) float32 in 0..1; every slice of the ROI, inferior to superior. With ``crop``
        a cube over the whole ROI, in the same order; standard scores instead of 0..1 where ``scored``.
    geometry
        Where the cells lie: I = column, J = row, K = slice, RAS mm.
    roi
        The box along the slices' axes, RAS mm.
    onto
        The grid of the reference as it was stored, for overlays.
    spec
        How slices become a grid; of a cube, how its planes are shown.
    positions_mm
        (slices,) position of the reference's slices in the ROI along their superior direction, mm.
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
    crop: CropSpec | None = None
    scored: bool = False

    @property
    def slices(self) -> int:
        """Number of the reference's slices in the ROI."""
        return len(self.positions_mm)

    @cached_property
    def shown(self) -> NDArray[np.float32]:
        """The cells in 0..1, for the eye; standard scores between two percentiles, masked ones black."""
        if not self.scored:
            return self.cells
        filled = self.cells != 0
        low, high = (float(end) for end in np.percentile(self.cells[filled], (0.5, 99.5)))
        # what is there is never quite black, which is for what is not
        shown = np.clip((self.cells - low) / max(high - low, 1e-6), 1 / 255, 1)
        return np.where(filled, shown, 0).astype(np.float32)

    def window(self, first: int | None = None) -> Window:
        """The window that starts at slice ``first`` of the ROI; the central one by default.

        Raises
        ------
        InputError
            If the window does not lie within the ROI's slices.
        """
        if self.crop is None:
            return window_of(self.slices, self.spec.slices, first)
        if first is not None:
            raise InputError("This bundle is fed the whole ROI at once, so there is no first slice to choose.")
        return Window(cube.shown_planes(self.crop.pixels))

    def seen(self, window: Window) -> list[int]:
        """Which of the ROI's slices the network sees of a window, from the most inferior, 0."""
        return sorted(set(window.indices)) if self.crop is None else list(range(self.slices))

    def windows(self) -> list[Window]:
        """Every window, inferior to superior."""
        if self.crop is not None:
            return [self.window()]
        return [self.window(first) for first in range(max(1, self.slices - self.spec.slices + 1))]

    def grid(self, window: Window) -> NDArray[np.float32]:
        """(channels, pixels, pixels): the grid of a window, float32 in 0..1."""
        return grid.tile(self.cells[:, list(window.indices)])

    def tensor(self, window: Window) -> NDArray[np.float32]:
        """What the network is fed: the window's grid, or the cube (channels, pixels, pixels, pixels); float32."""
        return self.grid(window) if self.crop is None else cube.turned(self.cells, self.crop)

    def map_cells(self, own_map: NDArray[np.floating], window: Window) -> NDArray[np.floating]:
        """A map on what the network was fed, (h, w) or (d, h, w), at the window's cells and their own pixels."""
        if self.crop is None:
            return grid.smooth_cells(own_map, self.spec)
        return cube.map_planes(cube.turned(own_map, self.crop), window.indices, self.crop.pixels)

    def to_volume(self, grid_map: NDArray[np.floating], window: Window) -> Volume:
        """A map on what the network was fed, of any resolution that the cells divide, on the reference's grid."""
        if self.crop is not None:
            return cube.map_to_volume(cube.turned(grid_map, self.crop), self.geometry, self.roi, self.onto)
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
        motion = self._motion(corrected, case.roi, register_t2, report)
        report("crop", 0.9)
        onto = case.only(self.spec.channels).reference.geometry
        prepared = self.crop(corrected, case.roi, onto=onto, pad=pad, motion=motion)
        report("crop", 1.0)
        return prepared

    def correct(self, volume: Volume, channel: str) -> Volume:
        """Bias and smoothing on the volume's own grid, in canonical storage, float32."""
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
        layout, values, notices = self._sampled(corrected, roi, pad, motion)
        standardise, scale = self.spec.standardise, self.spec.scale
        percentiles = standardise.percentiles if standardise else ()
        raw = intensity.raw_cells(values, list(corrected.values()), percentiles, scale.method == "volume-zscore-range")
        crop = self.spec.crop
        return Prepared(
            self.cells(raw),
            layout.geometry,
            layout.box,
            onto,
            self.spec.grid if crop is None else GridSpec(cell_pixels=crop.pixels, fit="stretch"),
            layout.positions_mm,
            (*layout.notices, *notices),
            pad,
            motion,
            crop,
            scale.method == "roi-zscore",
        )

    def raw(self, case: Case, percentiles: tuple[float, ...] = nyul.PERCENTILES, *, pad: bool = False) -> RawCells:
        """Cells as training keeps them, with their volumes' landmarks at ``percentiles``.

        :meth:`cells` makes of them what :meth:`run` gives.

        Raises
        ------
        InputError, RefusedError
            As :meth:`run`, but for a ROI in which an image is constant.
        """
        self.check(case, pad=pad)
        corrected = self.correct_all(case.images)
        motion = self._motion(corrected, case.roi)
        _, values, _ = self._sampled(corrected, case.roi, pad, motion)
        return intensity.raw_cells(values, list(corrected.values()), percentiles)

    def cells(self, raw: RawCells) -> NDArray[np.float32]:
        """(channels, slices, rows, columns) float32 as the bundle has them: standardised, scaled, put into their cube.

        Raises
        ------
        InputError
            As :func:`cadx.prepare.intensity.finish`.
        """
        cells = intensity.finish(raw, self.spec.channels, self.spec.standardise, self.spec.scale)
        crop = self.spec.crop
        if crop is None or crop.sampling != "area":
            return cells
        return np.stack([cube.area_cube(channel, crop.pixels) for channel in cells])

    def _motion(
        self, corrected: Mapping[str, Volume], roi: Roi, asked: bool = False, report: Progress | None = None
    ) -> RigidMotion | None:
        """How the second image moves onto the first; None where nobody wants it moved."""
        if not (asked or self.spec.register_ == "rigid") or len(corrected) < 2:
            return None
        if report:
            report("register", 0.8)
        first, second = list(corrected.values())[:2]
        return register.register_rigid(first, second, roi.center_ras)

    def _sampled(
        self, corrected: Mapping[str, Volume], roi: Roi, pad: bool, motion: RigidMotion | None
    ) -> tuple[CellLayout, NDArray[np.float32], list[Notice]]:
        """Where the cells lie, their values in the volumes' units (NaN where there is nothing), and warnings."""
        reference = next(iter(corrected.values())).geometry
        layout = self.layout(reference, roi, pad=pad, name=checks.named(*next(iter(corrected.items()))))
        checks.check_coverage(layout.box, {checks.named(c, v): v.geometry for c, v in corrected.items()})
        onto, crop = layout.lattice or layout.geometry, self.spec.crop
        what = "slices of the ROI" if crop is None else "planes of the crop"
        masked = crop is not None and crop.masked
        valid = grid.inside_roi(layout.box, onto)
        cells = []
        notices: list[Notice] = []
        for channel, volume in corrected.items():
            moving = motion.transform if motion and channel != self.spec.channels[0] else None
            if layout.averaged:
                raw = area.area_cells(volume, reference, layout.box, layout.slices, self.spec.grid, moving)
            else:
                raw = (cube.masked_sample if masked else sample.sample)(volume, onto, moving)
            notices += checks.check_reach(channel, volume, np.isfinite(raw)[:, valid], what)
            if masked:
                notices += checks.check_masked(channel, volume, raw)
            cells.append(np.where(valid & np.isfinite(raw), raw, np.float32(np.nan)))
        return layout, np.stack(cells), notices

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
        frame, channel = SliceFrame.of(reference), self.spec.channels[0]
        box, notices = checks.on_frame(roi, frame, channel)
        notices += checks.check_size(box)
        notices += checks.check_coverage(box, {name: reference})
        slices = frame.slices_in(box)
        notices += frame.notices(channel)
        if self.spec.crop is not None:
            return self._cube_layout(frame, box, slices, notices)
        notices += checks.require_slices(slices, frame, self.spec.grid.slices, pad, name, channel)
        averaged = self.spec.grid.sampling == "area" and frame.own
        if averaged:
            box = area.snapped(box, reference)
        geometry = grid.cell_geometry(frame, box, slices, self.spec.grid)
        return CellLayout(geometry, box, slices, frame.positions_mm()[slices], tuple(notices), averaged)

    def _cube_layout(self, frame: SliceFrame, box: Roi, slices: NDArray[np.intp], notices: list[Notice]) -> CellLayout:
        assert self.spec.crop is not None
        checks.require_two(slices, self.spec.channels[0])
        edge = self.spec.crop.pixels
        lattice = cube.lattice_geometry(frame, box) if self.spec.crop.sampling == "area" else None
        geometry = cube.cube_geometry(frame, box, (edge, edge, edge))
        positions = frame.positions_mm()[slices]
        return CellLayout(geometry, box, slices, positions, tuple(notices), False, whole=True, lattice=lattice)

    def check(self, case: Case, *, pad: bool = False) -> CellLayout:
        """What can be refused before minutes are spent on correction; raises what :meth:`run` raises."""
        case = case.only(self.spec.channels)
        for channel in self.spec.channels:
            checks.require_contrast(case.images[channel], channel)
        name = checks.named(next(iter(case.images)), case.reference)
        layout = self.layout(case.reference.canonical_geometry(), case.roi, pad=pad, name=name)
        checks.check_coverage(
            layout.box, {checks.named(c, case.images[c]): case.images[c].geometry for c in self.spec.channels}
        )
        return layout
