"""Nested cross-validation: inner parts choose, each test part is opened once, and a run that stopped goes on."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx import device
from cadx.errors import InputError, MissingDependencyError
from cadx.evaluate.metrics import classification_metrics
from cadx.io.jsonfile import read_json
from cadx.models.build import build
from cadx.study import folds as splitting
from cadx.study import runfolder
from cadx.study.bundling import Making, make_bundle, training_record
from cadx.study.examples import draw_examples
from cadx.study.folds import Fold
from cadx.study.labelled import Labelled, read_labelled
from cadx.study.opening import OPENING, PREDICTIONS, predictions_table, record_opening
from cadx.study.progress import Reporter, work_of
from cadx.study.recording import DiskFullError
from cadx.study.runfolder import RunIdentity, write_json
from cadx.study.selection import InnerPredictions, select, settings_of
from cadx.study.source import Learnt, Source
from cadx.study.spec import ModelEntry, StudySpec
from cadx.study.task import VALIDATION, WEIGHTS, Task, Workshop, predict_with, run_task
from cadx.study.trainer import rounds_of
from cadx.study.weights import Plan, require_same_weights, require_weights

log = logging.getLogger(__name__)
FAILED, SELECTION, ALL = "failed.json", "selection.json", "all"
MAY_FAIL = (InputError, MissingDependencyError)


@dataclass(frozen=True)
class CrossvalRequest:
    """What to run on what. ``named`` says that the user chose the models, so that one that cannot run is an error."""

    plan: Plan
    data: Path
    out: Path
    named: bool = False
    layout: str = "auto"
    device: str = "auto"
    threads: int | None = None
    workers: int = 1
    cache: Path | None = None
    resume: bool = False
    refit: bool = True
    bundles: bool = True
    checkpoint_every_s: float = 60.0
    command: tuple[str, ...] = ()


def cross_validate(request: CrossvalRequest, report: Reporter) -> list[str]:
    """Run a study, or go on with it; tables and report are made by ``cadx report``.

    Returns the models that could not be run.

    Raises
    ------
    InputError
        If study, cohort, images or settings cannot be used; all that is said before any training starts.
    """
    run = _Run.begin(request, report)
    if request.refit and _unfreezes(run.study):
        report.event("note", "No bundle is trained on all cases: gradual unfreezing needs a validation part.")
    return [name for name in request.plan.models if not run.model(run.study.model(name))]


class _Run:
    """A run in its folder."""

    def __init__(
        self,
        request: CrossvalRequest,
        report: Reporter,
        shop: Workshop,
        classes: NDArray[np.int64],
        folds: list[Fold],
    ) -> None:
        self.study = shop.study
        self._request, self._report, self._shop = request, report, shop
        self._classes, self._folds = classes, folds
        self._folds_sha256 = read_json(request.out / runfolder.FOLDS)["sha256"]
        run = runfolder.read_run(request.out)
        self._synthetic, self._data_sha256 = bool(run["synthetic"]), run["data"]["sha256"]

    @classmethod
    def begin(cls, request: CrossvalRequest, report: Reporter) -> _Run:
        """Everything that can be wrong is found here, before anything is trained."""
        study = request.plan.study
        if not request.resume:
            runfolder.require_new(request.out)
        elif not (request.out / runfolder.RUN).is_file():
            raise InputError(f"{request.out.name} holds no run to go on with; leave --resume out to begin one.")
        where = device.choose(request.device)
        labelled = read_labelled(study, request.data, request.layout)
        cohort = labelled.cohort
        if cohort.layout == "folders" and request.out.resolve().is_relative_to(cohort.folder.resolve()):
            raise InputError(
                f"{request.out.name} lies among the class folders of {cohort.folder.name}; write elsewhere."
            )
        folds = splitting.draw_folds(labelled.units(), study.split, study.seed)
        source = labelled.open(request.cache, request.workers, report.preparing)
        _require_models(request, source)
        report.event("cohort", labelled.text())
        threads = device.threads(request.threads)
        shop = Workshop(study, source, labelled.names, where, threads, request.plan.weights, request.checkpoint_every_s)
        if request.resume:
            identity = RunIdentity(labelled.sha256(source.sha256()), where.kind, threads)
            runfolder.require_same(request.out, study, request.plan.models, identity)
            require_same_weights(request.plan, request.out)
            folds = splitting.from_json(read_json(request.out / runfolder.FOLDS), labelled.names)
        else:
            _write_inputs(request, shop, labelled, folds)
        return cls(request, report, shop, labelled.classes, folds)

    def model(self, entry: ModelEntry) -> bool:
        """All folds of one model; what stops it is its empty cell's reason, and the answer is False."""
        folder = self._request.out / entry.name
        (folder / FAILED).unlink(missing_ok=True)
        rounds, choices = rounds_of(self.study.training), len(settings_of(self.study.selection))
        try:
            require_weights(self._request.plan, entry)
            self._report.begin(work_of(self.study, self._folds, rounds, choices, self._refits))
            for fold in self._folds:
                self._fold(entry, fold)
            if self._refits:
                self._refit(entry)
        except DiskFullError:
            raise
        except MAY_FAIL as error:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / FAILED, {"reason": str(error)})
            self._report.event("failed", f"{entry.name} was not run: {error}", model=entry.name)
            return False
        return True

    @property
    def _refits(self) -> bool:
        return self._request.refit and len(self._folds) > 1 and not _unfreezes(self.study)

    def _fold(self, entry: ModelEntry, fold: Fold) -> None:
        """Inner parts, choice, final weights, and then the test part."""
        folder = self._request.out / entry.name / fold.name
        best = self.study.selection.final == "best"
        for index, settings in enumerate(settings_of(self.study.selection)):
            for inner in fold.inner:
                place = folder / f"settings-{index}" / inner.name
                parts = (inner.training, inner.validation)
                self._task(
                    Task(place, entry, fold.name, inner.name, settings, *parts, keep="best" if best else "nothing")
                )
        if not (folder / SELECTION).is_file():
            write_json(folder / SELECTION, select(self.study, self._candidates(entry, [fold], folder)))
        chosen = read_json(folder / SELECTION)["chosen"]
        if best:
            final = folder / f"settings-{chosen['index']}" / fold.inner[0].name
        else:
            final = folder / "final"
            rounds = int(chosen["round"]) + 1
            self._task(Task(final, entry, fold.name, "final", chosen["settings"], fold.training, None, rounds, "last"))
        self._open(entry, fold, folder, final)

    def _task(self, task: Task) -> None:
        total = rounds_of(self.study.training)
        rounds = task.rounds or total
        if task.done:
            self._report.skip(len(task.training) * total)
            return
        place = " ".join(part for part in (task.entry.name, task.fold, task.inner) if part)
        seen = 0

        def told(line: dict[str, Any]) -> None:
            nonlocal seen
            seen += 1
            self._report.round(place, rounds, len(task.training), line)

        run_task(self._shop, task, told, lambda *steps: self._report.tick(place, len(task.training), *steps))
        self._report.skip(len(task.training) * (total - seen))

    def _candidates(
        self, entry: ModelEntry, folds: Sequence[Fold], folder: Path
    ) -> list[tuple[dict[str, float], list[InnerPredictions]]]:
        """The inner predictions of each choice of settings, files named by their place in ``folder``."""
        model = self._request.out / entry.name
        return [
            (
                settings,
                [
                    InnerPredictions.read(
                        model / fold.name / f"settings-{index}" / part.name / VALIDATION,
                        folder,
                        self._classes[part.validation],
                    )
                    for fold in folds
                    for part in fold.inner
                ],
            )
            for index, settings in enumerate(settings_of(self.study.selection))
        ]

    def _open(self, entry: ModelEntry, fold: Fold, folder: Path, final: Path) -> None:
        """The test part, once; its bundle and its pictures."""
        training = fold.inner[0].training if self.study.selection.final == "best" else fold.training
        learnt = self._shop.source.learn(entry, training)
        temperature = read_json(folder / SELECTION)["temperature"]
        if not (folder / OPENING).is_file():
            samples = self._shop.source.samples(entry, fold.test, learnt)
            logits = predict_with(self._shop, entry, final / WEIGHTS, samples)
            table = predictions_table(
                samples.names, fold.name, self._classes[fold.test], logits, self.study.class_names, temperature
            )
            record_opening(
                self._request.out,
                folder,
                model=entry.name,
                fold=fold.name,
                folds_sha256=self._folds_sha256,
                weights=final / WEIGHTS,
                table=table,
            )
            self._report.event("opened", f"{entry.name} {fold.name}: test part opened.", model=entry.name)
        cases = {"training": len(training), "validation": len(fold.training) - len(training)}
        self._bundle(entry, folder, final, learnt, cases, fold)
        if fold is self._folds[0] and not (folder / "examples" / "examples.json").is_file():
            draw_examples(folder, self._shop, entry, final / WEIGHTS, fold.test, learnt, self._synthetic)

    def _refit(self, entry: ModelEntry) -> None:
        """One model on everything, for as long as the inner parts of all folds chose."""
        model_folder = self._request.out / entry.name
        folder = model_folder / ALL
        folder.mkdir(exist_ok=True)
        if not (folder / SELECTION).is_file():
            write_json(folder / SELECTION, select(self.study, self._candidates(entry, self._folds, model_folder)))
        chosen = read_json(folder / SELECTION)["chosen"]
        everything = np.arange(len(self._classes))
        final = folder / "final"
        rounds = int(chosen["round"]) + 1
        self._task(Task(final, entry, ALL, "final", chosen["settings"], everything, None, rounds, "last"))
        cases = {"training": len(everything), "validation": 0}
        self._bundle(entry, folder, final, self._shop.source.learn(entry, everything), cases, None)

    def _bundle(
        self,
        entry: ModelEntry,
        folder: Path,
        final: Path,
        learnt: Learnt,
        cases: dict[str, int],
        fold: Fold | None,
    ) -> None:
        """Of a fold, or of everything where ``fold`` is None."""
        if not self._request.bundles or (folder / "bundle" / "manifest.json").is_file():
            return
        name = f"{self.study.name}-{entry.name}" + (f"-{fold.name}" if fold else "")
        source = self._shop.source
        making = Making(
            self.study,
            re.sub(r"[^a-z0-9]+", "-", name),
            source.model(entry),
            source.preparation(entry, learnt),
            read_json(folder / SELECTION)["temperature"],
            self._synthetic,
            training_record(
                self.study, final, cases, self._data_sha256, self._hashes(entry, fold), fold=fold.name if fold else None
            ),
            self._figures(entry, fold),
        )
        make_bundle(folder / "bundle", making, final / WEIGHTS)

    def _hashes(self, entry: ModelEntry, fold: Fold | None) -> list[str]:
        """Of the images that train and choose."""
        hashes = self._shop.source.sha256(entry)
        if fold is None:
            return hashes
        known = np.unique(np.concatenate([fold.training, *(inner.validation for inner in fold.inner)]))
        return [hashes[i] for i in known]

    def _figures(self, entry: ModelEntry, fold: Fold | None) -> dict[str, dict[str, Any]]:
        """Of a fold's test part; of all of them together where ``fold`` is None."""
        title = "Test part of this fold" if fold else "Out of fold"
        if self.study.split.leaks:
            title += " (leaks, as its protocol does)"
        else:
            title += " (unseen)" if fold else " (all cases, each by a model that never saw it)"
        classes = self.study.class_names
        truth, shares = [], []
        for one in [fold] if fold else self._folds:
            with (self._request.out / entry.name / one.name / PREDICTIONS).open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream):
                    truth.append(classes.index(row["class"]))
                    shares.append([float(row[f"p:{name}"]) for name in classes])
        return {title: classification_metrics(np.array(truth), np.array(shares), classes)}


def _write_inputs(request: CrossvalRequest, shop: Workshop, labelled: Labelled, folds: list[Fold]) -> None:
    study, hashes = shop.study, shop.source.sha256()
    record = {
        **runfolder.described("crossval", study, request.command, shop.where, shop.threads, study.training.precision),
        **labelled.described(hashes),
        "models": list(request.plan.models),
        "leaks": list(study.split.leaks),
    }
    drawn = splitting.to_json(folds, labelled.names, study.split, study.seed)
    runfolder.write_inputs(
        request.out, study, labelled.cohort, labelled.classes, hashes, shop.source.thumbnails(), drawn, record
    )


def _unfreezes(study: StudySpec) -> bool:
    """Whether training follows a validation part: without one nothing but the head would ever learn."""
    return study.training.transfer.mode == "gradual"


def _require_models(request: CrossvalRequest, source: Source) -> None:
    """A network that cannot be built, or weights that are not there, are known now."""
    for name in request.plan.models:
        entry = request.plan.study.model(name)
        try:
            build(source.model(entry), device="meta")
            require_weights(request.plan, entry)
        except MAY_FAIL as error:
            if request.named:
                raise
            log.info("%s: %s", name, error)
