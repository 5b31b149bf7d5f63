"""Reading pictures, and slices of volumes, in a worker process; what comes back is what the classifier itself gives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.background import Background, ProgressCall, copied
from cadx.classify_picture import (
    PictureOptions,
    PictureReading,
    SliceReading,
    picture_request_sha256,
    rule_for,
    suspicion,
)
from cadx.desks import ATTENTION, MAP, PROBABILITIES
from cadx.io.exchange import get_volume, put_source
from cadx.job import Pending
from cadx.models.bundle import Bundle
from cadx.picture_case import PictureCase
from cadx.prepare.picture import Picture
from cadx.prepare.stack import Stack
from cadx.requests import Read
from cadx.result import Result
from cadx.volume import Volume


class BackgroundPictureClassifier(Background):
    """Reads pictures and slices in a worker process.

    Parameters
    ----------
    bundle
        Folder of a bundle; verified here, so that a bad one is known before anything starts.
    device
        As :mod:`cadx.device` names them.
    python
        Interpreter for the worker (in Slicer, PythonSlicer).

    Raises
    ------
    BundleError
        If the bundle cannot be used, or is one for volumes with a ROI.
    """

    def __init__(self, bundle: Path, device: str = "auto", python: str = sys.executable) -> None:
        loaded = Bundle.load(bundle)
        _ = loaded.pictures
        super().__init__(loaded, device, python)

    def check(self, case: PictureCase, options: PictureOptions) -> None:
        """What would stop the case from being read, before anything is computed; milliseconds.

        Raises
        ------
        InputError
            If nothing that was chosen shows anything, or the rule does not go with the bundle.
        """
        rule_for(self.bundle.settings, options)
        case.require_visible()

    def classify(
        self,
        case: PictureCase,
        options: PictureOptions | None = None,
        *,
        progress: ProgressCall | None = None,
        command: tuple[str, ...] = (),
    ) -> Pending[PictureReading]:
        """Read and explain a picture, or the chosen slices of a volume, in the background.

        Raises
        ------
        InputError
            At once, where the case cannot be read as it stands.
        """
        options = options or PictureOptions()
        self.check(case, options)
        request = Read(
            id=0,
            folder=str(self._folder(case)),
            answers=str(self._new_answers()),
            slices=None if case.slices is None else tuple(int(index) for index in case.slices),
            plane=case.plane,
            options=options,
            name=case.name,
            command=command,
        )
        return self._ask(request, lambda answer, answers: self._reading(case, answer, answers), progress)

    def request_sha256(self, case: PictureCase, options: PictureOptions) -> str:
        """The ``request_sha256`` that a result of this case has: whether one still fits."""
        return picture_request_sha256(self.bundle, case, options)

    def _folder(self, case: PictureCase) -> Path:
        """Where the case's pixels cross over; other slices or another plane find them there."""
        return self._folder_of(_content(case.source), lambda folder: put_source(folder, case.source))

    def _reading(self, case: PictureCase, answer: dict[str, Any], answers: Path) -> PictureReading:
        """Put together from the worker's answer and its files."""
        result, shown = Result.from_json(answer["document"]), answer["shown"]
        probabilities = np.load(answers / PROBABILITIES)
        # the worker has looked which slices are empty
        numbers = [row["slice"] for row in result.slices["table"]] if result.slices else [None]
        attention, maps = _maps(case, numbers, shown["mapped"], answers)
        slices = tuple(
            SliceReading(case.view(number), shares, maps.get(place), suspicion(shares, self.bundle.settings))
            for place, (number, shares) in enumerate(zip(numbers, probabilities, strict=True))
        )
        return PictureReading(result, case, slices, shown["place"], attention)


def _content(source: Picture | Volume) -> str:
    """All that crosses over, in a text."""
    if isinstance(source, Picture):
        return f"picture {source.sha256} {source.name}"
    place = source.geometry.ijk_to_ras.tolist()
    return f"volume {source.sha256()} {source.voxels.dtype.str} {place} {source.name} {source.oriented}"


def _maps(
    case: PictureCase, numbers: list[Any], mapped: list[int], answers: Path
) -> tuple[Volume | None, dict[int, NDArray[np.float32]]]:
    """The map of a volume, and those over pictures by their place among the slices that were read."""
    if not mapped:
        return None, {}
    if case.stack is None:
        return None, {0: np.load(answers / MAP)}
    attention = copied(get_volume(answers, ATTENTION))
    stack = Stack(attention, case.stack.axis)
    return attention, {place: stack.values(numbers[place]) for place in mapped}
