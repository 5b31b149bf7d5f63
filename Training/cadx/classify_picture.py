"""PictureClassifier(bundle).classify(case): from a picture, or slices of a volume, to a Result, with the map in place.

Each slice is read by itself; a rule that the result states makes the case's probabilities of theirs.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.explain.display import MapKind
from cadx.explain.maps import map_kind
from cadx.models.bundle import Bundle, BundleSettings
from cadx.network import LoadedBundle, describe_explanation, no_map, versions
from cadx.notices import Notice
from cadx.picture_case import PictureCase, View
from cadx.prepare.picture import prepare_picture, to_picture
from cadx.result import Result
from cadx.volume import Volume

Progress = Callable[[str, float], None]
Rule = Literal["mean", "most-confident", "most-suspicious"]
RULES: tuple[Rule, ...] = get_args(Rule)
PRESUMES = Notice(
    "presumes-finding",
    "This bundle presumes a tumour or other finding: none of its classes means that there is none, so it names one for "
    "every picture.",
)


@dataclass(frozen=True)
class PictureOptions:
    """How to read pictures.

    ``rule``: of several slices, the mean of their probabilities, or those of the slice whose highest one is highest, or
    of the one whose suspicion (all classes but the negative ones) is highest. By default the most suspicious slice's
    where the bundle has a negative class, since a finding on one slice is a finding, and else the mean.
    """

    __pydantic_config__ = {"extra": "forbid"}

    rule: Rule | None = None
    explain: bool = True

    def to_json(self) -> dict[str, object]:
        """As recorded in ``result.json``."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class SliceReading:
    """One picture: what went in, what came out.

    The network is fed :func:`cadx.prepare.picture.prepare_picture` of ``view.picture``. ``probabilities`` are
    (classes,); ``own_map`` (rows, columns) is the map over the picture's own pixels in the unit of its kind
    (:mod:`cadx.explain.display`), or None; ``suspicion`` is as :func:`suspicion` makes it.
    """

    view: View
    probabilities: NDArray[np.floating]
    own_map: NDArray[np.float32] | None
    suspicion: float | None


@dataclass(frozen=True, eq=False)
class PictureReading:
    """A Result with the arrays behind it.

    ``slices`` are by place in the patient (one for a picture), ``shown`` the number among them of the one for pictures.
    ``attention``, the map of whichever kind, lies on the volume's stored grid, zero outside what the model saw; None
    for a picture, or where there is no map.
    """

    result: Result
    case: PictureCase
    slices: tuple[SliceReading, ...]
    shown: int
    attention: Volume | None


class PictureClassifier(LoadedBundle):
    """A bundle for pictures, ready to read them; ``preparation`` is its preparation. Made as a :class:`LoadedBundle`.

    Raises
    ------
    BundleError
        If the bundle is for volumes with a ROI; else as :class:`LoadedBundle`.
    """

    def __init__(self, bundle: Bundle, requested_device: str = "auto", requested_precision: str = "auto") -> None:
        self.preparation = bundle.pictures
        super().__init__(bundle, requested_device, requested_precision)

    def classify(
        self,
        case: PictureCase,
        options: PictureOptions | None = None,
        *,
        progress: Progress | None = None,
        command: tuple[str, ...] = (),
    ) -> PictureReading:
        """Read and explain a picture, or the chosen slices of a volume.

        Raises
        ------
        InputError
            If nothing that was chosen shows anything, a slice holds values that are no numbers, or the rule needs a
            negative class that the bundle lacks.
        """
        options = options or PictureOptions()
        rule_for(self.bundle.settings, options)
        report = progress or (lambda stage, fraction: None)
        start = time.perf_counter()
        report("prepare", 0.0)
        views = case.views()
        tensors = [prepare_picture(view.picture.pixels, self.preparation) for view in views]
        report("prepare", 1.0)
        ready = time.perf_counter()
        reading = self._read(case, views, tensors, options, report, command)
        done = time.perf_counter()
        timings = {"prepare": ready - start, "classify": done - ready, "total": done - start}
        timings = {stage: round(seconds, 4) for stage, seconds in timings.items()}
        return replace(reading, result=replace(reading.result, timings_s=timings))

    def request_sha256(self, case: PictureCase, options: PictureOptions) -> str:
        """As :func:`picture_request_sha256`."""
        return picture_request_sha256(self.bundle, case, options)

    def _read(
        self,
        case: PictureCase,
        views: list[View],
        tensors: list[NDArray[np.float32]],
        options: PictureOptions,
        report: Progress,
        command: tuple[str, ...],
    ) -> PictureReading:
        kind = map_kind(self.model, self.bundle.settings.explanation) if options.explain else None
        # such a map speaks of one class: with several slices, of the one that the rule gives
        later = kind is not None and kind.of_one_class and len(views) > 1
        steps = len(views) * (2 if later else 1)
        readings, layer = [], ""
        for number, (view, tensor) in enumerate(zip(views, tensors, strict=True)):
            reading, layer = self._read_one(view, tensor, None if later else kind)
            readings.append(reading)
            report("classify", (number + 1) / steps)
        rule = rule_for(self.bundle.settings, options)
        probabilities, shown = ruled([r.probabilities for r in readings], rule, [r.suspicion for r in readings])
        if later:
            for number, (reading, tensor) in enumerate(zip(readings, tensors, strict=True)):
                explained, layer = self._read_one(reading.view, tensor, kind, int(probabilities.argmax()))
                readings[number] = replace(reading, own_map=explained.own_map)
                report("classify", (len(views) + number + 1) / steps)
        if all(r.own_map is None for r in readings):
            kind = None
        elif kind is not None and kind.of_one_class:
            readings = _relative_to_maximum(readings)
        drawn = any(r.own_map is not None for r in readings)
        explanation = describe_explanation(kind, options.explain, layer, drawn, self.bundle.settings.explanation)
        if explanation is not None and kind is not None and kind.of_one_class and drawn:
            explanation["class"] = self.bundle.settings.classes[int(probabilities.argmax())]
        result = self._result(case, options, readings, probabilities, shown, explanation, command)
        return PictureReading(result, case, tuple(readings), shown, _put_back(case, readings) if drawn else None)

    def _read_one(
        self, view: View, tensor: NDArray[np.float32], kind: MapKind | None, class_index: int | None = None
    ) -> tuple[SliceReading, str]:
        """One picture, and the layer that its map is of."""
        found = self.forward(tensor, kind, class_index)
        own_map = None if found.own_map is None else to_picture(found.own_map, self.preparation, view.picture.shape)
        probabilities = self.probabilities(found.logits)
        return SliceReading(view, probabilities, own_map, suspicion(probabilities, self.bundle.settings)), found.layer

    def _result(
        self,
        case: PictureCase,
        options: PictureOptions,
        readings: list[SliceReading],
        probabilities: NDArray[np.floating],
        shown: int,
        explanation: dict[str, str] | None,
        command: tuple[str, ...],
    ) -> Result:
        settings = self.bundle.settings
        presumes = [] if settings.negative else [PRESUMES]
        return Result(
            status="ok",
            task=settings.task,
            label=settings.classes[int(probabilities.argmax())],
            probabilities=self._named(probabilities),
            bundle=self.bundle.identity(),
            inputs=[case.describe()],
            roi={},
            slices=self._describe_slices(case, readings, shown),
            warnings=[*self.standing_notices(), *presumes, *case.notices(), *no_map(explanation)],
            device=self.described_device(),
            precision=self.precision,
            timings_s={},
            versions=versions(),
            request_sha256=picture_request_sha256(self.bundle, case, options),
            command=command,
            options=options.to_json(),
            rule=_describe_rule(case, rule_for(settings, options), readings, shown),
            explanation=explanation,
        )

    def _named(self, probabilities: NDArray[np.floating]) -> dict[str, float]:
        return {name: round(float(p), 6) for name, p in zip(self.bundle.settings.classes, probabilities, strict=True)}

    def _describe_slices(self, case: PictureCase, readings: list[SliceReading], shown: int) -> dict[str, Any]:
        """Of a volume: every slice read; nothing of a picture."""
        if case.stack is None:
            return {}
        table = [self._describe_row(reading) for reading in readings]
        described = {
            "plane": case.stack.plane,
            "first": table[0]["slice"],
            "count": len(table),
            "of": case.stack.count,
            "positions_mm": [row["position_mm"] for row in table],
            "shown": table[shown]["slice"],
            "empty": list(case.empty),
            "faint": list(case.faint),
            "table": table,
        }
        if self.bundle.settings.negative:
            # not by the rounded numbers of the table: the first must be the slice that the rule takes
            ranked = sorted(readings, key=lambda reading: -(reading.suspicion or 0.0))
            described["suspicious"] = [reading.view.index for reading in ranked]
        return described

    def _describe_row(self, reading: SliceReading) -> dict[str, Any]:
        """``slice`` counts from 0 in the volume's own stored order; places are RAS mm."""
        view = reading.view
        assert view.center_ras is not None and view.position_mm is not None
        row = {
            "slice": view.index,
            "position_mm": round(view.position_mm, 3) + 0.0,
            "center_ras": [round(float(v), 3) + 0.0 for v in view.center_ras],
            "label": self.bundle.settings.classes[int(reading.probabilities.argmax())],
            "probabilities": self._named(reading.probabilities),
        }
        return row if reading.suspicion is None else {**row, "suspicion": round(reading.suspicion, 6)}


def picture_request_sha256(bundle: Bundle, case: PictureCase, options: PictureOptions) -> str:
    """Hash of all that a result follows from: bundle, image, plane, slices and options."""
    request = {"bundle": bundle.sha256, **case.identity(), "options": options.to_json()}
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def suspicion(probabilities: NDArray[np.floating], settings: BundleSettings) -> float | None:
    """Probability of all classes but the negative ones; None where the bundle has none."""
    if not settings.negative:
        return None
    positive = [p for name, p in zip(settings.classes, probabilities, strict=True) if name not in settings.negative]
    return float(np.sum(positive))


def rule_for(settings: BundleSettings, options: PictureOptions) -> Rule:
    """The rule that makes one answer of several slices.

    Raises
    ------
    InputError
        If slices are to be ranked by suspicion and the bundle has no negative class.
    """
    if options.rule is None:
        return "most-suspicious" if settings.negative else "mean"
    if options.rule == "most-suspicious" and not settings.negative:
        raise InputError(
            f"No class of {settings.name} means that there is no finding, so no slice is the most suspicious; take the "
            "rule mean or most-confident."
        )
    return options.rule


def ruled(
    probabilities: Sequence[NDArray[np.floating]], rule: Rule, suspicions: Sequence[float | None] = ()
) -> tuple[NDArray[np.floating], int]:
    """The case's probabilities (classes,) of those of its slices, and the number of the slice to show.

    >>> slices = [np.array([0.9, 0.1]), np.array([0.2, 0.8])]
    >>> ruled(slices, "mean"), ruled(slices[::-1], "most-confident")
    ((array([0.55, 0.45]), 0), (array([0.9, 0.1]), 1))
    """
    if rule != "mean":
        suspicious = [share or 0.0 for share in suspicions]
        ranks = [float(p.max()) for p in probabilities] if rule == "most-confident" else suspicious
        shown = int(np.argmax(ranks))
        return probabilities[shown], shown
    mean = np.mean(probabilities, axis=0)
    return mean, int(np.argmax([p[mean.argmax()] for p in probabilities]))


def _describe_rule(case: PictureCase, rule: Rule, readings: list[SliceReading], shown: int) -> dict[str, str] | None:
    if case.stack is None:
        return None
    number = readings[shown].view.index
    if len(readings) == 1:
        return {"name": "chosen-slice", "text": f"The probabilities are those of slice {number} alone."}
    if rule == "mean":
        return {"name": rule, "text": f"The probabilities are the mean over {len(readings)} slices."}
    which = rule.replace("-", " ")
    text = f"The probabilities are those of slice {number}, the {which} of {len(readings)} slices."
    return {"name": rule, "text": text}


def _relative_to_maximum(readings: list[SliceReading]) -> list[SliceReading]:
    """Maps of one class of all slices on one scale, 0..1; no map over a slice where it is 0 everywhere."""
    highest = max((float(r.own_map.max()) for r in readings if r.own_map is not None), default=0.0)
    return [
        replace(r, own_map=None if r.own_map is None or not r.own_map.max() > 0 else r.own_map / highest)
        for r in readings
    ]


def _put_back(case: PictureCase, readings: list[SliceReading]) -> Volume | None:
    """The maps on the volume's stored grid; None for a picture."""
    if case.stack is None:
        return None
    maps = {r.view.index: r.own_map for r in readings if r.view.index is not None and r.own_map is not None}
    return case.stack.put_back(maps)
