"""Classifier(bundle).classify(case): from a Case to a Result, with the map in patient space."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cadx.case import Case
from cadx.errors import RefusedError
from cadx.explain.display import MapKind
from cadx.explain.maps import map_kind
from cadx.models.bundle import Bundle
from cadx.network import EMPTY_MAP, LoadedBundle, describe_explanation, no_map, versions
from cadx.notices import Notice
from cadx.prepare.grid import fitted_map
from cadx.prepare.pipeline import Preparation, Prepared, Progress, Window
from cadx.prepare.register import RigidMotion
from cadx.result import Result
from cadx.roi import Roi
from cadx.volume import Volume

__all__ = ["EMPTY_MAP", "Classifier", "Options", "Reading", "WindowReading", "request_sha256", "versions"]
FAR_MM, FAR_DEGREES = 10.0, 5.0
Windows = Literal["central", "all"]


@dataclass(frozen=True)
class Options:
    """How to read one case.

    ``start`` is the window's first slice, counted from the ROI's most inferior one (0); None takes the
    central window. ``windows="all"`` grades every window and averages their probabilities.
    """

    __pydantic_config__ = {"extra": "forbid"}

    start: int | None = None
    windows: Windows = "central"
    explain: bool = True
    register: bool = False
    pad: bool = False

    def to_json(self) -> dict[str, object]:
        """As recorded in ``result.json``."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class WindowReading:
    """One window: what went in, what came out.

    ``tensor`` is what the network was fed, (C, H, W) or (C, D, H, W) float32; ``grid_map`` (h, w) or (d, h, w) is the
    map over it in the unit of its kind (:mod:`cadx.explain.display`), or None.
    """

    window: Window
    tensor: NDArray[np.float32]
    probabilities: NDArray[np.floating]
    grid_map: NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class Reading:
    """A Result with the arrays behind it; ``shown`` is the window for pictures.

    ``attention``, the map of whichever kind, lies on the reference's stored grid, zero outside what the model saw; None
    where there is no map.
    """

    result: Result
    prepared: Prepared
    shown: WindowReading
    attention: Volume | None


class Classifier(LoadedBundle):
    """A bundle for volumes, ready to grade cases; ``preparation`` is its preparation. Made as a :class:`LoadedBundle`.

    Raises
    ------
    BundleError
        If the bundle is for pictures; else as :class:`LoadedBundle`.
    """

    def __init__(self, bundle: Bundle, requested_device: str = "auto", requested_precision: str = "auto") -> None:
        self.preparation = Preparation(bundle.volumes)
        super().__init__(bundle, requested_device, requested_precision)

    def classify(
        self,
        case: Case,
        options: Options | None = None,
        *,
        corrected: Mapping[str, Volume] | None = None,
        progress: Progress | None = None,
        command: tuple[str, ...] = (),
    ) -> Reading:
        """Prepare, grade and explain one case.

        ``corrected`` are its images as :meth:`Preparation.correct_all` made them before, so that only the ROI's part
        is left to do.

        Raises
        ------
        InputError
            If the case cannot be read as the bundle needs it.
        RefusedError
            If it must not be graded as it stands.
        """
        options = options or Options()
        case = case.only(self.preparation.spec.channels)
        report = progress or (lambda stage, fraction: None)
        start = time.perf_counter()
        prepare = self.preparation.run if corrected is None else partial(self.preparation.finish, corrected=corrected)
        prepared = prepare(case, register_t2=options.register, pad=options.pad, progress=progress)
        ready = time.perf_counter()
        report("classify", 0.0)
        reading = self.read(case, prepared, options, progress=progress, command=command)
        done = time.perf_counter()
        timings = {"prepare": ready - start, "classify": done - ready, "total": done - start}
        timings = {stage: round(seconds, 4) for stage, seconds in timings.items()}
        return replace(reading, result=replace(reading.result, timings_s=timings))

    def read(
        self,
        case: Case,
        prepared: Prepared,
        options: Options,
        *,
        progress: Progress | None = None,
        command: tuple[str, ...] = (),
    ) -> Reading:
        """Grade a prepared case."""
        report = progress or (lambda stage, fraction: None)
        windows = prepared.windows() if options.windows == "all" else [prepared.window(options.start)]
        kind = map_kind(self.model, self.bundle.settings.explanation) if options.explain else None
        # such a map speaks of one class: with several windows, of the one that all of them together say
        later = kind is not None and kind.of_one_class and len(windows) > 1
        readings, layer = [], ""
        for index, window in enumerate(windows):
            reading, layer = self._read_window(prepared, window, None if later else kind)
            readings.append(reading)
            report("classify", (index + 1) / len(windows))
        probabilities = np.mean([r.probabilities for r in readings], axis=0)
        if kind is not None and later:
            readings, layer = self._explained_later(prepared, readings, kind, int(probabilities.argmax()))
        if any(r.grid_map is None for r in readings):
            kind = None
        elif kind is not None and kind.of_one_class:
            readings = _relative_to_maximum(readings)
        shown = readings[int(np.argmax([r.probabilities[probabilities.argmax()] for r in readings]))]
        attention = _mean_map(prepared, readings) if shown.grid_map is not None else None
        explanation = describe_explanation(
            kind, options.explain, layer, attention is not None, self.bundle.settings.explanation
        )
        result = self._result(case, prepared, options, readings, probabilities, explanation, command)
        return Reading(result, prepared, shown, attention)

    def refusal(self, case: Case, error: RefusedError, options: Options, command: tuple[str, ...] = ()) -> Result:
        """The result of a case that must not be graded, with the reason."""
        case = case.only(self.preparation.spec.channels)
        return Result(
            status="refused",
            task=self.bundle.settings.task,
            label=None,
            probabilities={},
            bundle=self.bundle.identity(),
            inputs=[volume.describe(role) for role, volume in case.images.items()],
            roi=_describe_roi(case.roi),
            slices={"first": None, "count": 0, "positions_mm": []},
            warnings=[*self.standing_notices(), *case.notices()],
            device=self.described_device(),
            precision=self.precision,
            timings_s={},
            versions=versions(),
            request_sha256=request_sha256(self.bundle, case, options),
            command=command,
            options=options.to_json(),
            reason=str(error),
        )

    def request_sha256(self, case: Case, options: Options) -> str:
        """Hash of all that the case's result follows from."""
        return request_sha256(self.bundle, case, options)

    def _explained_later(
        self, prepared: Prepared, readings: list[WindowReading], kind: MapKind, class_index: int
    ) -> tuple[list[WindowReading], str]:
        """The same windows with maps for one class, and the layer that these are of."""
        pairs = [self._read_window(prepared, reading.window, kind, class_index) for reading in readings]
        explained = [replace(r, grid_map=own.grid_map) for r, (own, _) in zip(readings, pairs, strict=True)]
        return explained, pairs[0][1]

    def _read_window(
        self, prepared: Prepared, window: Window, kind: MapKind | None, class_index: int | None = None
    ) -> tuple[WindowReading, str]:
        """One window, and the layer that its map is of."""
        tensor = prepared.tensor(window)
        found = self.forward(tensor, kind, class_index)
        own_map = found.own_map
        if own_map is not None and own_map.ndim == 2:
            own_map = fitted_map(own_map, prepared.spec)
        return WindowReading(window, tensor, self.probabilities(found.logits), own_map), found.layer

    def _result(
        self,
        case: Case,
        prepared: Prepared,
        options: Options,
        readings: list[WindowReading],
        probabilities: NDArray[np.floating],
        explanation: dict[str, str] | None,
        command: tuple[str, ...],
    ) -> Result:
        classes = self.bundle.settings.classes
        seen = sorted({index for r in readings for index in prepared.seen(r.window)})
        positions = prepared.positions_mm
        notices = [
            *self.standing_notices(),
            *case.notices(),
            *prepared.notices,
            *_unseen(len(seen), prepared),
            *_moved_far(prepared.motion),
            *no_map(explanation),
        ]
        return Result(
            status="ok",
            task=self.bundle.settings.task,
            label=classes[int(probabilities.argmax())],
            probabilities={name: round(float(p), 6) for name, p in zip(classes, probabilities, strict=True)},
            bundle=self.bundle.identity(),
            inputs=[volume.describe(role) for role, volume in case.images.items()],
            roi=_describe_roi(prepared.roi),
            slices={
                "first": seen[0],
                "count": len(seen),
                "positions_mm": [round(float(positions[i]), 3) for i in seen],
                "in_roi": prepared.slices,
            },
            warnings=notices,
            device=self.described_device(),
            precision=self.precision,
            timings_s={},
            versions=versions(),
            request_sha256=request_sha256(self.bundle, case, options),
            command=command,
            options=options.to_json(),
            windows=_describe_windows(readings, prepared, classes) if options.windows == "all" else [],
            registration=_describe_motion(prepared.motion),
            explanation=explanation,
        )


def request_sha256(bundle: Bundle, case: Case, options: Options) -> str:
    """Hash of all that a result follows from: bundle, the images that it uses, ROI and options."""
    case = case.only(bundle.volumes.channels)
    request = {
        "bundle": bundle.sha256,
        "images": {role: volume.sha256() for role, volume in case.images.items()},
        "roi": np.round(case.roi.corners_ras(), 3).tolist(),
        "options": options.to_json(),
    }
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _relative_to_maximum(readings: list[WindowReading]) -> list[WindowReading]:
    """Maps of one class of all windows on one scale, 0..1; no map where it is 0 everywhere."""
    highest = max((float(r.grid_map.max()) for r in readings if r.grid_map is not None), default=0.0)
    if not highest > 0:
        return [replace(r, grid_map=None) for r in readings]
    return [replace(r, grid_map=None if r.grid_map is None else r.grid_map / highest) for r in readings]


def _mean_map(prepared: Prepared, readings: list[WindowReading]) -> Volume:
    """The map on the reference's grid, averaged over the windows that saw a voxel."""
    total = np.zeros(prepared.onto.size_ijk[::-1], dtype=np.float32)
    count = np.zeros_like(total)
    for reading in readings:
        assert reading.grid_map is not None
        total += prepared.to_volume(reading.grid_map, reading.window).voxels
        if len(readings) > 1:
            count += prepared.to_volume(np.ones_like(reading.grid_map), reading.window).voxels > 0
    return Volume(total / np.maximum(count, 1), prepared.onto, "map")


def _unseen(seen: int, prepared: Prepared) -> list[Notice]:
    missed = prepared.slices - seen
    if not missed:
        return []
    text = f"{missed} of {prepared.slices} slices of the ROI were not seen; move the window or grade all windows."
    return [Notice("slices-not-seen", text)]


def _moved_far(motion: RigidMotion | None) -> list[Notice]:
    if motion is None or (motion.translation_mm <= FAR_MM and motion.rotation_degrees <= FAR_DEGREES):
        return []
    text = (
        f"Registration moved T2 by {motion.translation_mm:.0f} mm and {motion.rotation_degrees:.0f} degrees, which is "
        "much; check that T1 and T2 lie on each other."
    )
    return [Notice("moved-far", text)]


def _describe_roi(roi: Roi) -> dict[str, object]:
    return {
        "center_ras": np.round(roi.center_ras, 3).tolist(),
        "size_mm": np.round(roi.size_mm, 3).tolist(),
        "axes": np.round(roi.axes.T, 6).tolist(),
    }


def _describe_windows(
    readings: list[WindowReading], prepared: Prepared, classes: tuple[str, ...]
) -> list[dict[str, object]]:
    """Each window's slices and probabilities; a cube is no window."""
    if prepared.crop is not None:
        return []
    return [
        {
            "first": reading.window.first,
            "positions_mm": [round(float(prepared.positions_mm[i]), 3) for i in reading.window.indices],
            "probabilities": {n: round(float(p), 6) for n, p in zip(classes, reading.probabilities, strict=True)},
        }
        for reading in readings
    ]


def _describe_motion(motion: RigidMotion | None) -> dict[str, float] | None:
    if motion is None:
        return None
    return {
        "translation_mm": round(motion.translation_mm, 2),
        "rotation_degrees": round(motion.rotation_degrees, 2),
    }
