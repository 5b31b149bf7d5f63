"""Classifier(bundle).classify(case): from a Case to a Result, with the map in patient space."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata as packages
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from cadx import __version__, device
from cadx.case import Case
from cadx.errors import BundleError, RefusedError
from cadx.explain.rollout import AttentionRecorder, supports_rollout
from cadx.models.bundle import Bundle
from cadx.notices import DEMO_MODEL, Notice
from cadx.prepare.pipeline import Preparation, Prepared, Progress, Window
from cadx.prepare.register import RigidMotion
from cadx.result import Result
from cadx.roi import Roi
from cadx.volume import Volume

if TYPE_CHECKING:
    from torch import Tensor

NO_METHOD = "none"
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

    ``grid`` is (C, H, W) float32 in 0..1; ``grid_map`` (h, w) is attention relative to its mean over the
    patches (1 = average), or None.
    """

    window: Window
    grid: NDArray[np.float32]
    probabilities: NDArray[np.floating]
    grid_map: NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class Reading:
    """A Result with the arrays behind it; ``shown`` is the window for pictures.

    ``attention`` lies on T1's stored grid, zero outside what the model saw; None where not explained.
    """

    result: Result
    prepared: Prepared
    shown: WindowReading
    attention: Volume | None


class Classifier:
    """A bundle ready to grade cases, loaded once; ``model`` is its network, ``preparation`` its preparation.

    Parameters
    ----------
    bundle
        Verified.
    requested_device, requested_precision
        "auto" probes; see :mod:`cadx.device`.

    Raises
    ------
    InputError
        If a device asked for by name does not work.
    MissingDependencyError
        If torch or timm is missing.
    """

    def __init__(self, bundle: Bundle, requested_device: str = "auto", requested_precision: str = "auto") -> None:
        self.bundle = bundle
        self.preparation = Preparation(bundle.preparation)
        self.device = device.choose(requested_device)
        self._asked_precision = requested_precision
        self._fell_back = ""
        try:
            self._load()
        except RuntimeError as error:
            if not device.is_out_of_memory(error):
                raise
            self._fall_back()

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
        explained = options.explain and supports_rollout(self.model)
        readings = []
        for index, window in enumerate(windows):
            readings.append(self._read_window(prepared, window, explained))
            report("classify", (index + 1) / len(windows))
        probabilities = np.mean([r.probabilities for r in readings], axis=0)
        shown = readings[int(np.argmax([r.probabilities[probabilities.argmax()] for r in readings]))]
        attention = _mean_attention(prepared, readings) if explained else None
        result = self._result(case, prepared, options, readings, probabilities, explained, command)
        return Reading(result, prepared, shown, attention)

    def refusal(self, case: Case, error: RefusedError, options: Options, command: tuple[str, ...] = ()) -> Result:
        """The result of a case that must not be graded, with the reason."""
        return Result(
            status="refused",
            task=self.bundle.settings.task,
            label=None,
            probabilities={},
            bundle=self.bundle.identity(),
            inputs=_describe_inputs(case),
            roi=_describe_roi(case.roi),
            slices={"first": None, "count": 0, "positions_mm": []},
            warnings=[*self._standing_notices(), *case.notices()],
            device={"kind": self.device.kind, "name": self.device.name, "reason": self.device.reason},
            precision=self.precision,
            timings_s={},
            versions=versions(),
            request_sha256=request_sha256(self.bundle, case, options),
            command=command,
            options=options.to_json(),
            reason=str(error),
        )

    def _load(self) -> None:
        import torch

        self.model = self.bundle.build_model().to(self.device.torch)
        spec = self.bundle.settings.model
        generator = torch.Generator().manual_seed(0)
        example = torch.rand(1, spec.channels, spec.image_pixels, spec.image_pixels, generator=generator)
        self.precision = device.choose_precision(self.model, example.to(self.device.torch), self._asked_precision)

    def _fall_back(self) -> None:
        """Continue on the CPU, in plain sight."""
        self._fell_back = f"{self.device.kind} ran out of memory"
        self.device = device.Device("cpu", device.describe("cpu"), self._fell_back)
        self._load()

    def _read_window(self, prepared: Prepared, window: Window, explained: bool) -> WindowReading:
        grid = prepared.grid(window)
        try:
            probabilities, grid_map = self._forward(grid, explained)
        except RuntimeError as error:
            if self.device.kind == "cpu" or not device.is_out_of_memory(error):
                raise
            self._fall_back()
            probabilities, grid_map = self._forward(grid, explained)
        return WindowReading(window, grid, probabilities, grid_map)

    def _forward(
        self, grid: NDArray[np.float32], explained: bool
    ) -> tuple[NDArray[np.floating], NDArray[np.float32] | None]:
        import torch

        x = torch.from_numpy(grid)[None].to(self.device.torch)
        with torch.inference_mode(), device.autocast(self.device.kind, self.precision):
            if not explained:
                return _probabilities(self.model(x)), None
            with AttentionRecorder(self.model) as recorder:
                logits = self.model(x)
        row = recorder.rollout()[0].cpu().numpy()
        probabilities = _probabilities(logits)
        side = round(row.size**0.5)
        return probabilities, (row / row.mean()).reshape(side, side)

    def _standing_notices(self) -> list[Notice]:
        """What holds for every case of this classifier; the demonstration comes first, so that nothing cuts it."""
        notices = [DEMO_MODEL] if self.bundle.settings.demo else []
        if self._fell_back:
            notices.append(Notice("device-fallback", f"Ran on the CPU: {self._fell_back}."))
        return notices

    def _result(
        self,
        case: Case,
        prepared: Prepared,
        options: Options,
        readings: list[WindowReading],
        probabilities: NDArray[np.floating],
        explained: bool,
        command: tuple[str, ...],
    ) -> Result:
        classes = self.bundle.settings.classes
        seen = sorted({index for r in readings for index in r.window.indices})
        positions = prepared.positions_mm
        notices = [
            *self._standing_notices(),
            *case.notices(),
            *prepared.notices,
            *_unseen(len(seen), prepared),
            *_moved_far(prepared.motion),
        ]
        return Result(
            status="ok",
            task=self.bundle.settings.task,
            label=classes[int(probabilities.argmax())],
            probabilities={name: round(float(p), 6) for name, p in zip(classes, probabilities, strict=True)},
            bundle=self.bundle.identity(),
            inputs=_describe_inputs(case),
            roi=_describe_roi(prepared.roi),
            slices={
                "first": seen[0],
                "count": len(seen),
                "positions_mm": [round(float(positions[i]), 3) for i in seen],
                "in_roi": prepared.slices,
            },
            warnings=notices,
            device={"kind": self.device.kind, "name": self.device.name, "reason": self.device.reason},
            precision=self.precision,
            timings_s={},
            versions=versions(),
            request_sha256=request_sha256(self.bundle, case, options),
            command=command,
            options=options.to_json(),
            windows=[_describe_window(r, positions, classes) for r in readings] if options.windows == "all" else [],
            registration=_describe_motion(prepared.motion),
            explanation=_describe_explanation(explained, options.explain),
        )


def request_sha256(bundle: Bundle, case: Case, options: Options) -> str:
    """Hash of all that a result follows from: bundle, images, ROI and options."""
    request = {
        "bundle": bundle.sha256,
        "images": {role: volume.sha256() for role, volume in case.images.items()},
        "roi": np.round(case.roi.corners_ras(), 3).tolist(),
        "options": options.to_json(),
    }
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """The versions that a run depends on."""
    found = {"cadx": __version__, "python": platform.python_version()}
    for package in ("torch", "timm", "numpy", "SimpleITK"):
        try:
            found[package] = packages.version(package)
        except packages.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _probabilities(logits: Tensor) -> NDArray[np.floating]:
    probabilities = logits.double().softmax(-1)[0].cpu().numpy()
    if not np.isfinite(probabilities).all():
        raise BundleError("The bundle's network gives no finite number for this case; get the bundle anew.")
    return probabilities


def _mean_attention(prepared: Prepared, readings: list[WindowReading]) -> Volume:
    """Attention on T1's grid, averaged over the windows that saw a voxel."""
    total = np.zeros(prepared.onto.size_ijk[::-1], dtype=np.float32)
    count = np.zeros_like(total)
    for reading in readings:
        assert reading.grid_map is not None
        values = prepared.to_volume(reading.grid_map, reading.window).voxels
        total += values
        count += values > 0
    return Volume(total / np.maximum(count, 1), prepared.onto, "attention")


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


def _describe_inputs(case: Case) -> list[dict[str, object]]:
    return [
        {
            "role": role,
            "source": volume.name,
            "size": list(volume.geometry.size_ijk),
            "spacing": [round(float(s), 4) for s in volume.geometry.spacing],
            "sha256": volume.sha256(),
        }
        for role, volume in case.images.items()
    ]


def _describe_roi(roi: Roi) -> dict[str, object]:
    return {
        "center_ras": np.round(roi.center_ras, 3).tolist(),
        "size_mm": np.round(roi.size_mm, 3).tolist(),
        "axes": np.round(roi.axes.T, 6).tolist(),
    }


def _describe_window(
    reading: WindowReading, positions: NDArray[np.floating], classes: tuple[str, ...]
) -> dict[str, object]:
    return {
        "first": reading.window.first,
        "positions_mm": [round(float(positions[i]), 3) for i in reading.window.indices],
        "probabilities": {n: round(float(p), 6) for n, p in zip(classes, reading.probabilities, strict=True)},
    }


def _describe_motion(motion: RigidMotion | None) -> dict[str, float] | None:
    if motion is None:
        return None
    return {
        "translation_mm": round(motion.translation_mm, 2),
        "rotation_degrees": round(motion.rotation_degrees, 2),
    }


def _describe_explanation(explained: bool, wanted: bool) -> dict[str, str] | None:
    if not wanted:
        return None
    if not explained:
        return {
            "method": NO_METHOD,
            "text": "This model has no class token, so attention rollout is not defined for it.",
        }
    return {
        "method": "attention rollout (Abnar and Zuidema, 2020)",
        "unit": "relative to the average patch (1 = average)",
        "text": "Where information could flow from into the decision; it does not show that a region caused the grade.",
    }
