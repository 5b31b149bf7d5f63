"""The process that a panel talks to: one JSON request a line in, one JSON event a line out.

``python -m cadx.worker --bundle FOLDER [--device NAME]`` keeps one bundle loaded. Requests (:mod:`cadx.requests`)
are answered in order; every event carries the request's ``id``:

``progress`` (stage, fraction), then one of ``done``, ``result`` (document of ``result.json``) or ``error`` (text,
exit_code). Images and maps pass through the request's folder (:mod:`cadx.io.exchange`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from pydantic import ValidationError

from cadx.case import Case
from cadx.classify import Classifier
from cadx.device import memory
from cadx.errors import CadxError, InputError, RefusedError
from cadx.io.exchange import get_volume, put_volume
from cadx.models.bundle import Bundle
from cadx.prepare.pipeline import Preparation
from cadx.prepare.spec import first_complaint
from cadx.requests import REQUEST, Classify, Describe, Load, Prepare
from cadx.volume import Volume

Emit = Callable[[dict[str, Any]], None]
UNEXPECTED = 1
CORRECTED = "corrected"


class Worker:
    """Answers requests about one bundle; what was corrected for a folder is kept until another folder is named."""

    def __init__(self, bundle: Bundle, device: str, emit: Emit) -> None:
        self.bundle = bundle
        self._device = device
        self._emit = emit
        self._preparation = Preparation(bundle.volumes)
        self._folder: Path | None = None
        self._corrected: dict[str, Volume] = {}

    @cached_property
    def classifier(self) -> Classifier:
        """Loaded at the first use: torch takes seconds."""
        return Classifier(self.bundle, self._device)

    def answer(self, line: str) -> None:
        """Answer one request; every failure becomes an ``error`` event, and the worker goes on."""
        number = None
        try:
            document = json.loads(line)
            number = document.get("id") if isinstance(document, dict) else None
            request = REQUEST.validate_python(document)
            self._do(request)
        except ValidationError as error:
            self._fail(number, f"The request cannot be understood: {first_complaint(error)}", InputError.exit_code)
        except (ValueError, RecursionError):
            self._fail(number, "The request is not JSON; restart the module.", InputError.exit_code)
        except CadxError as error:
            self._fail(number, str(error), error.exit_code)
        except MemoryError:
            self._fail(number, "Memory ran out; use a smaller volume or close other programs.", InputError.exit_code)
        except Exception as error:
            traceback.print_exc()
            text = f"An unexpected {type(error).__name__} stopped the work; the log holds the details."
            self._fail(number, text, UNEXPECTED)

    def _do(self, request: Prepare | Load | Describe | Classify) -> None:
        if isinstance(request, Prepare):
            self._correct(Path(request.folder), request.id)
            self._emit({"id": request.id, "event": "done"})
        elif isinstance(request, Load):
            self._progress(request.id)("load model", 0.0)
            _ = self.classifier
            self._emit({"id": request.id, "event": "done"})
        elif isinstance(request, Describe):
            self._emit({"id": request.id, "event": "done", "device": self._described()})
        else:
            self._classify(request)

    def _correct(self, folder: Path, number: int) -> None:
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
            self._corrected = self._preparation.correct_all(images, self._progress(number))
            for channel, volume in self._corrected.items():
                put_volume(folder, f"{channel}.corrected", volume)
            mark.touch()
        self._folder = folder

    def _classify(self, request: Classify) -> None:
        folder, answers = Path(request.folder), Path(request.answers)
        options, report = request.options, self._progress(request.id)
        images = {channel: get_volume(folder, channel) for channel in self._preparation.spec.channels}
        case = Case(images, request.roi.to_roi(), request.name)
        try:
            self._preparation.check(case, pad=options.pad)
            self._correct(folder, request.id)
            report("load model", 0.0)
            reading = self.classifier.classify(
                case, options, corrected=self._corrected, progress=report, command=request.command
            )
        except RefusedError as error:
            refused = self.classifier.refusal(case, error, options, request.command)
            self._emit({"id": request.id, "event": "result", "document": refused.to_json()})
            return
        np.save(answers / "cells.npy", reading.prepared.cells)
        if reading.attention is not None and reading.shown.grid_map is not None:
            put_volume(answers, "attention", reading.attention)
            np.save(answers / "map.npy", reading.shown.grid_map)
        shown = {
            "window": list(reading.shown.window.indices),
            "probabilities": reading.shown.probabilities.tolist(),
            "explained": reading.attention is not None,
        }
        self._emit({"id": request.id, "event": "result", "document": reading.result.to_json(), "shown": shown})

    def _described(self) -> dict[str, str]:
        device = self.classifier.device
        return {
            "kind": device.kind,
            "name": device.name,
            "memory": memory(device.kind),
            "reason": device.reason,
            "precision": self.classifier.precision,
        }

    def _progress(self, number: int) -> Callable[[str, float], None]:
        return lambda stage, fraction: self._emit(
            {"id": number, "event": "progress", "stage": stage, "fraction": round(fraction, 4)}
        )

    def _fail(self, number: object, text: str, code: int) -> None:
        self._emit({"id": number, "event": "error", "text": text, "exit_code": code})


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m cadx.worker")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    events = _keep_standard_output()
    emit = _writer(events)
    try:
        worker = Worker(Bundle.load(given.bundle), given.device, emit)
    except CadxError as error:
        emit({"id": None, "event": "error", "text": str(error), "exit_code": error.exit_code})
        return error.exit_code
    emit({"id": None, "event": "ready", "bundle": worker.bundle.identity()})
    for line in sys.stdin:
        if line.strip():
            worker.answer(line)
    return 0


def _keep_standard_output() -> TextIO:
    """What libraries print goes to standard error, so that only events are read as events."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _writer(stream: TextIO) -> Emit:
    def emit(event: dict[str, Any]) -> None:
        stream.write(json.dumps(event) + "\n")
        stream.flush()

    return emit


if __name__ == "__main__":
    sys.exit(main())
