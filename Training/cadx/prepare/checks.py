"""What of a case is refused, and what is warned of, while it is prepared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError, RefusedError
from cadx.geometry import Geometry
from cadx.notices import Notice
from cadx.prepare.frame import SliceFrame
from cadx.roi import Roi
from cadx.volume import Volume

MIN_COVERAGE = 0.5
SMALLEST_PLAUSIBLE_MM, LARGEST_PLAUSIBLE_MM = 20.0, 300.0
MIN_SLICE_COVERAGE = 0.9
MAX_SILENT_GROWTH = 1.25
MIN_MASKED = 0.2
MAX_MAGNITUDE = 1e9


def named(channel: str, volume: Volume) -> str:
    """What messages call an image: its role and its file or node."""
    return f"{channel} ({volume.name})"


def require_contrast(volume: Volume, channel: str) -> None:
    """Refuse voxels that are not finite, beyond any scanner's, or all of one value."""
    low, high = float(volume.voxels.min()), float(volume.voxels.max())
    # a minimum or maximum is NaN where any voxel is
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{named(channel, volume)} holds voxels that are not finite numbers; export it again.")
    if max(-low, high) > MAX_MAGNITUDE:
        raise InputError(f"{named(channel, volume)} holds voxels beyond {MAX_MAGNITUDE:g}; export it again.")
    if np.float32(low) == np.float32(high):
        raise InputError(f"{named(channel, volume)} has the same value in every voxel; choose another image.")


def on_frame(roi: Roi, frame: SliceFrame, channel: str = "T1") -> tuple[Roi, list[Notice]]:
    """The ROI's bounding box along the slices' axes, and a warning where that changed it much."""
    box = roi.on_axes(frame.axes)
    growth = float(np.prod(box.size_mm) / np.prod(roi.size_mm))
    turned = roi.tilt_degrees(np.eye(3)) > 0.1 and roi.tilt_degrees(frame.axes) > 0.1
    if not turned and growth <= MAX_SILENT_GROWTH:
        return box, []
    size = " x ".join(f"{v:.0f}" for v in box.size_mm)
    text = (
        f"The ROI is turned {roi.tilt_degrees(frame.axes):.1f} degrees against the {channel} slices; its bounding box "
        f"along {channel}'s axes, {size} mm, was used."
    )
    return box, [Notice("roi-bounding-box", text)]


def check_size(box: Roi) -> list[Notice]:
    """Warn of a box that no organ fits into, or that holds half a body."""
    width, height = (float(edge) for edge in box.size_mm[:2])
    if min(width, height) >= SMALLEST_PLAUSIBLE_MM and max(width, height) <= LARGEST_PLAUSIBLE_MM:
        return []
    return [
        Notice("roi-size", f"The ROI is {width:.0f} x {height:.0f} mm in the slices; check that it fits the organ.")
    ]


def check_coverage(box: Roi, geometries: Mapping[str, Geometry]) -> list[Notice]:
    """Refuse a ROI that an image misses or mostly misses; warn where it reaches well beyond it."""
    notices = []
    lattice = np.array(list(product((np.arange(16) + 0.5) / 16 - 0.5, repeat=3)))
    points = box.center_ras + (lattice * box.size_mm) @ box.axes.T
    for channel, geometry in geometries.items():
        covered = float(geometry.contains(points).mean())
        if covered == 0:
            raise InputError(f"The ROI lies outside {channel}; place it inside the image (mm, RAS).")
        if covered < MIN_COVERAGE:
            raise InputError(f"{channel} covers only {covered:.0%} of the ROI; move the ROI or give another volume.")
        if covered < MIN_SLICE_COVERAGE:
            text = f"The ROI reaches beyond {channel}, which covers {covered:.0%} of it; the rest was not seen."
            notices.append(Notice("roi-beyond-image", text))
    return notices


def check_masked(channel: str, volume: Volume, raw: NDArray[np.floating]) -> list[Notice]:
    """Warn where a network that knows masked images alone is given the organ's surroundings."""
    if (raw == 0).mean() >= MIN_MASKED:
        return []
    text = (
        f"This model was trained on images in which all but the pancreas is black, and {named(channel, volume)} shows "
        "its surroundings; mask the image first, or expect little of the grade."
    )
    return [Notice("not-masked", text)]


def check_reach(
    channel: str, volume: Volume, reached: NDArray[np.bool_], what: str = "slices of the ROI"
) -> list[Notice]:
    """Warn where a channel leaves slices (slices, pixels) mostly empty; refuse where it misses half of the ROI."""
    if reached.mean() < MIN_COVERAGE:
        raise InputError(
            f"{named(channel, volume)} covers only {reached.mean():.0%} of the ROI; move the ROI or choose another."
        )
    empty = int((reached.mean(axis=1) < MIN_SLICE_COVERAGE).sum())
    if not empty:
        return []
    text = f"{channel} does not reach all of {empty} of {len(reached)} {what}; what is missing is black."
    return [Notice("not-covered", text)]


def require_two(slices: NDArray[np.intp], channel: str) -> None:
    """Refuse a ROI that no cube can be cut from."""
    if len(slices) < 2:
        raise RefusedError(
            f"The ROI holds {len(slices)} slices of {channel} and a crop needs 2 or more; enlarge it along the slices."
        )


def require_slices(
    slices: NDArray[np.intp], frame: SliceFrame, k: int, pad: bool, name: str, channel: str = "T1"
) -> list[Notice]:
    """Refuse too few slices, or warn where they are padded."""
    n = len(slices)
    if n >= k:
        return []
    if frame.count < k and not pad:
        raise InputError(
            f"{name} holds only {frame.count} slices and the grid needs {k}, so no ROI is tall enough; give a "
            "volume with more slices, or let the last slice be repeated (padding)."
        )
    if n == 0:
        raise RefusedError(
            f"The ROI holds no slice of {channel} and the grid needs {k}; enlarge it by {_more(k, frame)} mm along the "
            "slices."
        )
    if not pad:
        raise RefusedError(
            f"The ROI holds {n} slices of {channel} and the grid needs {k}; enlarge it by {_more(k - n, frame)} mm "
            "along the slices, or let the last slice be repeated (padding)."
        )
    return [Notice("padded", f"The ROI holds {n} slices and the grid needs {k}; the last one was repeated.")]


def _more(slices: int, frame: SliceFrame) -> int:
    """Whole millimetres that surely hold so many more slices."""
    return math.ceil(slices * frame.spacing_mm - 1e-6)
