"""Grading in a worker process: prepared ahead, answered without waiting, cancelled at once.

The panel's and the console's way from a Case to a Reading; torch never loads into the process that asks.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cadx.case import Case
from cadx.classify import Options, Reading, WindowReading
from cadx.desks import ATTENTION, CORRECTED, MAP
from cadx.errors import InputError, RefusedError
from cadx.io.exchange import get_volume, put_volume
from cadx.job import Job, Pending, WorkerProcess
from cadx.models.bundle import Bundle
from cadx.prepare.pipeline import CellLayout, Preparation, Prepared, Window
from cadx.requests import Classify, Describe, Load, Prepare, Read, RoiData
from cadx.result import Result
from cadx.volume import Volume

ProgressCall = Callable[[str, float], None]
Made = TypeVar("Made")
KEPT_CASES = 2


class Background:
    """One bundle, one device, one worker at a time; started when first needed, started again after it was ended.

    Parameters
    ----------
    bundle
        Verified.
    device
        As :mod:`cadx.device` names them.
    python
        Interpreter for the worker (in Slicer, PythonSlicer).
    """

    def __init__(self, bundle: Bundle, device: str, python: str) -> None:
        self.bundle = bundle
        self.device = device
        self._python = python
        self._scratch = Path(tempfile.mkdtemp(prefix="cadx-background-"))
        # images must not stay behind, whatever ends the program
        weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        self._cases, self._answers = self._scratch / "cases", self._scratch / "answers"
        for folder in (self._cases, self._answers):
            folder.mkdir()
        self._held: list[tuple[Path, Job]] = []
        self._worker: WorkerProcess | None = None
        self._last_log = ""

    def load(self, progress: ProgressCall | None = None) -> Job:
        """Load the model in the background, so that the first answer does not wait for it."""
        return Job(self._running(), Load(id=0).model_dump(mode="json"), progress)

    def describe(self) -> Pending[dict[str, str]]:
        """The device that was chosen: kind, name, reason and precision."""
        job = Job(self._running(), Describe(id=0).model_dump(mode="json"))
        return Pending(job, lambda answer: dict(answer["device"]))

    def end(self) -> None:
        """End the worker, if there is one, with all its children; what was prepared is kept."""
        if self._worker is not None:
            self._worker.end()
            self._last_log = self._worker.log()
            self._worker = None

    def close(self) -> None:
        """End the worker and remove what was prepared."""
        self.end()
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def worker_id(self) -> int | None:
        """Number of the worker's process, which leads its group; None where none runs."""
        return self._worker.child.process.pid if self._worker is not None and self._worker.alive else None

    def log(self) -> str:
        """What the worker, or the last one, wrote for developers."""
        return self._worker.log() if self._worker is not None else self._last_log

    def _running(self) -> WorkerProcess:
        if self._worker is None or not self._worker.alive:
            self.end()
            self._worker = WorkerProcess(["--bundle", str(self.bundle.folder), "--device", self.device], self._python)
        return self._worker

    def _ask(
        self, request: Classify | Read, make: Callable[[dict[str, Any], Path], Made], progress: ProgressCall | None
    ) -> Pending[Made]:
        """Hand a request over; ``make`` puts its answer together from the event and the folder of its answers."""
        job = Job(self._running(), request.model_dump(mode="json"), progress)
        self._held.append((Path(request.folder), job))
        return Pending(job, lambda answer: self._taken(job, answer, Path(request.answers), make))

    def _taken(
        self, job: Job, answer: dict[str, Any], answers: Path, make: Callable[[dict[str, Any], Path], Made]
    ) -> Made:
        """The answer as the classifier itself would have returned it; what held its files is let go."""
        try:
            return make(answer, answers)
        except OSError as error:
            raise InputError("The classifier was closed before the result was taken; classify again.") from error
        finally:
            self._held = [held for held in self._held if held[1] is not job]
            shutil.rmtree(answers, ignore_errors=True)

    def _new_answers(self) -> Path:
        """A folder for the files of one answer."""
        return Path(tempfile.mkdtemp(dir=self._answers))

    def _folder_of(self, content: str, put: Callable[[Path], None]) -> Path:
        """Where images cross over, named by their content: what lies there already is found again, else ``put``."""
        folder = self._cases / hashlib.sha256(content.encode()).hexdigest()[:32]
        if not folder.is_dir():
            self._make_room()
            stage = Path(tempfile.mkdtemp(dir=self._scratch))
            put(stage)
            stage.rename(folder)
        return folder

    def _make_room(self) -> None:
        """Forget the oldest images that nobody waits for."""
        self._held = [(folder, job) for folder, job in self._held if job.error is None]
        held = {folder for folder, _ in self._held}
        folders = sorted(self._cases.iterdir(), key=lambda path: path.stat().st_mtime)
        spare = [folder for folder in folders if folder not in held]
        for folder in spare[: max(0, len(folders) - KEPT_CASES + 1)]:
            shutil.rmtree(folder, ignore_errors=True)


class BackgroundClassifier(Background):
    """Grades volumes with a ROI in a worker process.

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
        If the bundle cannot be used, or is one for pictures.
    """

    def __init__(self, bundle: Path, device: str = "auto", python: str = sys.executable) -> None:
        loaded = Bundle.load(bundle)
        self._preparation = Preparation(loaded.volumes)
        super().__init__(loaded, device, python)

    def check(self, case: Case, *, pad: bool = False) -> CellLayout:
        """Where the cells of this case will lie, or what would stop it, before anything is computed; milliseconds.

        Raises
        ------
        InputError, RefusedError
            As :meth:`cadx.prepare.pipeline.Preparation.check`.
        """
        return self._preparation.check(case, pad=pad)

    def prepare(self, case: Case, progress: ProgressCall | None = None) -> Job | None:
        """Correct the case's images in the background; None where that was done before."""
        folder = self._folder(self._used(case))
        if (folder / CORRECTED).is_file():
            return None
        return Job(self._running(), Prepare(id=0, folder=str(folder)).model_dump(mode="json"), progress)

    def prepared(self, case: Case, *, pad: bool = False) -> Prepared | None:
        """The cells for the ROI as it stands now, within milliseconds; None until the images were prepared.

        Raises
        ------
        InputError, RefusedError
            If the ROI cannot be used.
        """
        case = self._used(case)
        folder = self._folder(case)
        if not (folder / CORRECTED).is_file():
            return None
        channels = self._preparation.spec.channels
        corrected = {channel: get_volume(folder, f"{channel}.corrected") for channel in channels}
        return self._preparation.crop(corrected, case.roi, onto=case.reference.geometry, pad=pad)

    def classify(
        self,
        case: Case,
        options: Options | None = None,
        *,
        progress: ProgressCall | None = None,
        command: tuple[str, ...] = (),
    ) -> Pending[Reading]:
        """Grade a case in the background.

        Raises
        ------
        InputError, RefusedError
            At once, where the case cannot be graded as it stands.
        """
        options = options or Options()
        case = self._used(case)
        self.check(case, pad=options.pad)
        folder = self._folder(case)
        request = Classify(
            id=0,
            folder=str(folder),
            answers=str(self._new_answers()),
            roi=RoiData.of(case.roi),
            options=options,
            name=case.name,
            command=command,
        )
        return self._ask(request, lambda answer, answers: self._reading(case, options, answer, answers), progress)

    def _used(self, case: Case) -> Case:
        return case.only(self._preparation.spec.channels)

    def _folder(self, case: Case) -> Path:
        """Where the case's images cross over; a new ROI finds what was prepared."""
        content = "".join(volume.sha256() for volume in case.images.values())
        storage = "".join(str(volume.geometry.ijk_to_ras.tolist()) for volume in case.images.values())

        def put(folder: Path) -> None:
            for channel, volume in case.images.items():
                put_volume(folder, channel, volume)

        return self._folder_of(content + storage, put)

    def _reading(self, case: Case, options: Options, answer: dict[str, Any], answers: Path) -> Reading:
        """Put together from the worker's answer and its files."""
        result = Result.from_json(answer["document"])
        if result.status == "refused":
            raise RefusedError(str(result.reason))
        if not answers.is_dir():
            raise FileNotFoundError(answers)
        here = self.prepared(case, pad=options.pad)
        assert here is not None
        cells = replace(here, cells=np.load(answers / "cells.npy"))
        shown = answer["shown"]
        window = Window(tuple(shown["window"]))
        explained = shown["explained"]
        return Reading(
            result=result,
            prepared=cells,
            shown=WindowReading(
                window,
                cells.tensor(window),
                np.array(shown["probabilities"]),
                np.load(answers / MAP) if explained else None,
            ),
            attention=copied(get_volume(answers, ATTENTION)) if explained else None,
        )


def copied(volume: Volume) -> Volume:
    """Its voxels in memory: the next answer overwrites the file."""
    return volume.with_voxels(np.array(volume.voxels))
