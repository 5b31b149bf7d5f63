"""What a worker does with a request that it understood: one desk for each kind of bundle."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from cadx.case import Case
from cadx.classify import Classifier
from cadx.classify_picture import PictureClassifier, PictureReading
from cadx.device import memory
from cadx.errors import InputError, RefusedError
from cadx.io.exchange import get_source, get_volume, put_volume
from cadx.models.bundle import Bundle
from cadx.network import LoadedBundle
from cadx.picture_case import PictureCase
from cadx.prepare.picture import Picture, PictureSpec
from cadx.prepare.pipeline import Preparation
from cadx.requests import Classify, Describe, Load, Prepare, Read, Request
from cadx.volume import Volume

Report = Callable[[str, float], None]
Answer = dict[str, Any]
Duty = Callable[[Any, Report], Answer]
Reader = TypeVar("Reader", bound=LoadedBundle)
CORRECTED = "corrected"
MAP, PROBABILITIES, ATTENTION = "map.npy", "probabilities.npy", "attention"


class Desk(Generic[Reader]):
    """Answers requests about one bundle; this is what every kind of bundle is asked for.

    Parameters
    ----------
    bundle
        Verified.
    make
        Makes the classifier at the first use, since torch takes seconds.
    serves
        What the bundle is for, in words.
    duties
        What is done with the requests of its own kind.
    """

    def __init__(
        self, bundle: Bundle, make: Callable[[], Reader], serves: str, duties: dict[type[Request], Duty]
    ) -> None:
        self.bundle = bundle
        self._make = make
        self._serves = serves
        self._duties: dict[type[Request], Duty] = {Load: self._load, Describe: self._describe, **duties}

    @cached_property
    def classifier(self) -> Reader:
        """Loaded at the first use."""
        return self._make()

    def answer(self, request: Request, report: Report) -> Answer:
        """The event that answers a request, all but its ``id``.

        Raises
        ------
        CadxError
            If it cannot be done; :class:`InputError` if it is for the other kind of bundle.
        """
        duty = self._duties.get(type(request))
        if duty is None:
            raise InputError(
                f"{self.bundle.folder.name} is a bundle for {self._serves} and cannot do '{request.do}'; choose a "
                "bundle of the other kind."
            )
        return duty(request, report)

    def _load(self, request: Load, report: Report) -> Answer:
        report("load model", 0.0)
        _ = self.classifier
        return {"event": "done"}

    def _describe(self, request: Describe, report: Report) -> Answer:
        device = self.classifier.device
        described = {
            "kind": device.kind,
            "name": device.name,
            "memory": memory(device.kind),
            "reason": device.reason,
            "precision": self.classifier.precision,
        }
        return {"event": "done", "device": described}


class VolumeDesk(Desk[Classifier]):
    """Of a bundle for volumes with a ROI; what was corrected for a folder is kept until another folder is named."""

    def __init__(self, bundle: Bundle, device: str) -> None:
        duties: dict[type[Request], Duty] = {Prepare: self._prepare, Classify: self._classify}
        super().__init__(bundle, lambda: Classifier(bundle, device), "volumes with a ROI", duties)
        self._preparation = Preparation(bundle.volumes)
        self._folder: Path | None = None
        self._corrected: dict[str, Volume] = {}

    def _prepare(self, request: Prepare, report: Report) -> Answer:
        self._correct(Path(request.folder), report)
        return {"event": "done"}

    def _correct(self, folder: Path, report: Report) -> None:
        """Correct the folder's images and leave the result beside them, unless that was done before."""
        channels = self._preparation.spec.channels
        mark = folder / CORRECTED
        if folder == self._folder:
            return
        if mark.is_file():
            # an earlier worker got so far before it was ended
            self._corrected = {channel: get_volume(folder, f"{channel}.corrected") for channel in channels}
        else:
            images = {channel: get_volume(folder, channel) for channel in channels}
            self._corrected = self._preparation.correct_all(images, report)
            for channel, volume in self._corrected.items():
                put_volume(folder, f"{channel}.corrected", volume)
            mark.touch()
        self._folder = folder

    def _classify(self, request: Classify, report: Report) -> Answer:
        folder, answers, options = Path(request.folder), Path(request.answers), request.options
        images = {channel: get_volume(folder, channel) for channel in self._preparation.spec.channels}
        case = Case(images, request.roi.to_roi(), request.name)
        try:
            self._preparation.check(case, pad=options.pad)
            self._correct(folder, report)
            report("load model", 0.0)
            reading = self.classifier.classify(
                case, options, corrected=self._corrected, progress=report, command=request.command
            )
        except RefusedError as error:
            refused = self.classifier.refusal(case, error, options, request.command)
            return {"event": "result", "document": refused.to_json()}
        np.save(answers / "cells.npy", reading.prepared.cells)
        if reading.attention is not None and reading.shown.grid_map is not None:
            put_volume(answers, ATTENTION, reading.attention)
            np.save(answers / MAP, reading.shown.grid_map)
        shown = {
            "window": list(reading.shown.window.indices),
            "probabilities": reading.shown.probabilities.tolist(),
            "explained": reading.attention is not None,
        }
        return {"event": "result", "document": reading.result.to_json(), "shown": shown}


class PictureDesk(Desk[PictureClassifier]):
    """Of a bundle for pictures; what lies in a folder is kept until another folder is named, with its hash."""

    def __init__(self, bundle: Bundle, device: str) -> None:
        super().__init__(bundle, lambda: PictureClassifier(bundle, device), "pictures", {Read: self._read})
        self._folder: Path | None = None
        self._source: Picture | Volume | None = None

    def _read(self, request: Read, report: Report) -> Answer:
        case = PictureCase(self._found(Path(request.folder)), request.slices, request.name, request.plane)
        case.require_visible()
        report("load model", 0.0)
        reading = self.classifier.classify(case, request.options, progress=report, command=request.command)
        _leave(Path(request.answers), reading)
        mapped = [place for place, one in enumerate(reading.slices) if one.own_map is not None]
        document = reading.result.to_json()
        return {"event": "result", "document": document, "shown": {"place": reading.shown, "mapped": mapped}}

    def _found(self, folder: Path) -> Picture | Volume:
        if folder != self._folder or self._source is None:
            source = get_source(folder)
            # in memory: the folder may be removed while this is kept
            self._source = source if isinstance(source, Picture) else source.with_voxels(np.array(source.voxels))
            self._folder = folder
        return self._source


def desk_for(bundle: Bundle, device: str) -> VolumeDesk | PictureDesk:
    """The desk of a bundle's kind."""
    return (PictureDesk if isinstance(bundle.preparation, PictureSpec) else VolumeDesk)(bundle, device)


def _leave(answers: Path, reading: PictureReading) -> None:
    """The arrays of a reading; the maps of slices all lie in that of the volume."""
    np.save(answers / PROBABILITIES, np.stack([one.probabilities for one in reading.slices]))
    own_map = reading.slices[0].own_map
    if reading.attention is not None:
        put_volume(answers, ATTENTION, reading.attention)
    elif own_map is not None:
        np.save(answers / MAP, own_map)
