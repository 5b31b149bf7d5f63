"""Nested cross-validation: inner parts choose, each test part is opened once, and a run that stopped goes on.

Each model goes through three phases: all inner trainings; the choices and the final fits; the test parts. Whatever a
phase trains is handed to an executor as a whole.
"""

from __future__ import annotations

import contextlib
import csv
import logging
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cadx.errors import InputError, MissingDependencyError
from cadx.evaluate.intervals import bootstrap
from cadx.evaluate.metrics import classification_metrics
from cadx.explain.gradcam import require_layers
from cadx.io.jsonfile import read_json
from cadx.models.build import build
from cadx.study import folds as splitting
from cadx.study import runfolder
from cadx.study.bundling import Making, make_bundle, training_record
from cadx.study.examples import draw_examples
from cadx.study.executors.attempts import Attempts
from cadx.study.executors.batched import AtOnce, Grouping
from cadx.study.executors.executor import Executor
from cadx.study.executors.hiring import Workers
from cadx.study.executors.orders import Orders
from cadx.study.folds import Fold
from cadx.study.inner import InnerTrainings, can_share
from cadx.study.labelled import Labelled
from cadx.study.opening import OPENING, PREDICTIONS, predictions_table, record_opening
from cadx.study.progress import Reporter, work_of
from cadx.study.recording import DiskFullError
from cadx.study.runfolder import RunIdentity, write_json
from cadx.study.selection import select
from cadx.study.source import Learnt, Source
from cadx.study.spec import ModelEntry, StudySpec
from cadx.study.task import WEIGHTS, Task, Workshop, predict_with
from cadx.study.trainer import rounds_of
from cadx.study.weights import require_same_weights, require_weights
from cadx.study.workshop import WorkshopPlan

log = logging.getLogger(__name__)
WITH_INTERVAL = ("accuracy", "balanced_accuracy", "auc")
FAILED, SELECTION, ALL = "failed.json", "selection.json", "all"
MAY_FAIL = (InputError, MissingDependencyError)


@dataclass(frozen=True)
class CrossvalRequest:
    """What to run on what. ``named`` says that the user chose the models, so that one that cannot run is an error.

    ``shared`` None trains what serves two outer folds once wherever the study allows it, and a run that goes on as it
    was begun.
    """

    workshop: WorkshopPlan
    out: Path
    named: bool = False
    resume: bool = False
    shared: bool | None = None
    workers: Workers = field(default_factory=Workers)
    folds_at_once: AtOnce | None = None
    refit: bool = True
    bundles: bool = True
    command: tuple[str, ...] = ()


def cross_validate(request: CrossvalRequest, report: Reporter) -> list[str]:
    """Run a study, or go on with it; tables and report are made by ``cadx report``.

    Returns the models that could not be run.

    Raises
    ------
    InputError
        If study, cohort, images or settings cannot be used; all that is said before any training starts.
    CadxError
        If the workers cannot be had, or are lost again and again.
    """
    # workers know no working folder
    request = replace(request, out=request.out.absolute())
    with contextlib.ExitStack() as stack:
        run = _Run.begin(request, report, stack)
        if request.refit and _unfreezes(run.study):
            report.event("note", "No bundle is trained on all cases: gradual unfreezing needs a validation part.")
        return [name for name in request.workshop.plan.models if not run.model(run.study.model(name))]


class _Run:
    """A run in its folder."""

    def __init__(
        self,
        request: CrossvalRequest,
        report: Reporter,
        shop: Workshop,
        executor: Executor,
        labelled: Labelled,
        folds: list[Fold],
    ) -> None:
        self.study = shop.study
        self._request, self._report, self._shop = request, report, shop
        self._executor = executor
        self._classes, self._groups, self._folds = labelled.classes, labelled.groups, folds
        self._folds_sha256 = read_json(request.out / runfolder.FOLDS)["sha256"]
        run = runfolder.read_run(request.out)
        self._synthetic, self._data_sha256 = bool(run["synthetic"]), run["data"]["sha256"]
        self._shared = runfolder.is_shared(run)

    @classmethod
    def begin(cls, request: CrossvalRequest, report: Reporter, stack: contextlib.ExitStack) -> _Run:
        """Everything that can be wrong is found here, before anything is trained; ``stack`` lets the workers go."""
        request.workers.require()
        plan = request.workshop.plan
        study = plan.study
        if not request.resume:
            runfolder.require_new(request.out)
        elif not (request.out / runfolder.RUN).is_file():
            raise InputError(f"{request.out.name} holds no run to go on with; leave --resume out to begin one.")
        labelled = request.workshop.read()
        cohort = labelled.cohort
        if cohort.layout == "folders" and request.out.resolve().is_relative_to(cohort.folder.resolve()):
            raise InputError(
                f"{request.out.name} lies among the class folders of {cohort.folder.name}; write elsewhere."
            )
        folds = splitting.draw_folds(labelled.units(), study.split, study.seed)
        _require_sharing(request, folds)
        shop = request.workshop.open(labelled, report.preparing)
        _require_models(request, shop.source)
        report.event("cohort", labelled.text())
        data_sha256 = labelled.sha256(shop.source.sha256())
        if request.resume:
            runfolder.require_same(
                request.out, study, plan.models, RunIdentity(data_sha256, shop.where.kind, shop.threads)
            )
            require_same_weights(plan, request.out)
            folds = splitting.from_json(read_json(request.out / runfolder.FOLDS), labelled.names)
        orders = Orders.of(request.workshop, shop, request.out, data_sha256)
        begun = runfolder.read_run(request.out) if request.resume else None
        grouping = Grouping.of(request.folds_at_once, begun, shop.where.kind, request.workers)
        executor = stack.enter_context(grouping.executor(request.workers, orders, shop, report))
        if request.resume:
            Attempts(orders.run).settle()
            _note_executor(request.out, executor)
        else:
            _write_inputs(request, shop, labelled, folds, executor, grouping)
        return cls(request, report, shop, executor, labelled, folds)

    def model(self, entry: ModelEntry) -> bool:
        """All folds of one model; what stops it is its empty cell's reason, and the answer is False."""
        folder = self._request.out / entry.name
        (folder / FAILED).unlink(missing_ok=True)
        try:
            require_weights(self._request.workshop.plan, entry)
            self._phases(entry)
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

    def _phases(self, entry: ModelEntry) -> None:
        """Inner trainings; choices and final fits; test parts. ``None`` among the folds is the fit on everything."""
        # prepared here, so that no two workers prepare the same
        self._shop.source.sha256(entry)
        inner = InnerTrainings(self._request.out / entry.name, entry, self.study, self._folds, self._shared)
        tasks = inner.tasks()
        per_round = sum(len(task.training) for task in tasks)
        self._report.begin(work_of(self.study, self._folds, rounds_of(self.study.training), per_round, self._refits))
        self._executor.run(tasks)
        # the fit on everything reads the books of all folds, so it comes after each fold's own choice
        fits = [*self._folds, *([None] if self._refits else [])]
        for fold in fits:
            self._select(inner, fold)
        self._executor.run([task for fold in fits if (task := self._refit(entry, fold)) is not None])
        for fold in self._folds:
            self._open(entry, fold)
        if self._refits:
            self._bundle_of_everything(entry)

    def _folder(self, entry: ModelEntry, fold: Fold | None) -> Path:
        return self._request.out / entry.name / (fold.name if fold else ALL)

    def _select(self, inner: InnerTrainings, fold: Fold | None) -> None:
        """Freeze a choice: a fold's from its own inner parts, that of everything from those of all folds."""
        folder = self._folder(inner.entry, fold)
        if (folder / SELECTION).is_file():
            return
        folder.mkdir(parents=True, exist_ok=True)
        named_from = inner.folder if inner.shared or not fold else folder
        candidates = inner.candidates([fold] if fold else self._folds, named_from, self._classes)
        write_json(folder / SELECTION, select(self.study, candidates))

    def _final(self, entry: ModelEntry, fold: Fold | None) -> Path:
        """The folder of the weights that a choice led to."""
        folder = self._folder(entry, fold)
        if not fold or self.study.selection.final == "refit":
            return folder / "final"
        return folder / f"settings-{read_json(folder / SELECTION)['chosen']['index']}" / fold.inner[0].name

    def _refit(self, entry: ModelEntry, fold: Fold | None) -> Task | None:
        """The training anew for as long as was chosen; None where the best weights were kept."""
        if fold and self.study.selection.final == "best":
            return None
        chosen = read_json(self._folder(entry, fold) / SELECTION)["chosen"]
        training = fold.training if fold else np.arange(len(self._classes))
        return Task(
            self._final(entry, fold),
            entry,
            fold.name if fold else ALL,
            "final",
            chosen["settings"],
            training,
            None,
            int(chosen["round"]) + 1,
            "last",
        )

    def _open(self, entry: ModelEntry, fold: Fold) -> None:
        """The test part, once; its bundle and its pictures."""
        folder, final = self._folder(entry, fold), self._final(entry, fold)
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

    def _bundle_of_everything(self, entry: ModelEntry) -> None:
        everything = np.arange(len(self._classes))
        cases = {"training": len(everything), "validation": 0}
        learnt = self._shop.source.learn(entry, everything)
        self._bundle(entry, self._folder(entry, None), self._final(entry, None), learnt, cases, None)

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
            entry.explanation,
            training_record(
                self.study,
                final,
                cases,
                self._data_sha256,
                self._hashes(entry, fold),
                fold=fold.name if fold else None,
                patients=len({self._groups[i] for i in (fold.training if fold else range(len(self._groups)))}),
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
        group_of = dict(zip(self._shop.names, self._groups, strict=True))
        truth, shares, groups = [], [], []
        for one in [fold] if fold else self._folds:
            with (self._request.out / entry.name / one.name / PREDICTIONS).open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream):
                    truth.append(classes.index(row["class"]))
                    groups.append(group_of[row["name"]])
                    shares.append([float(row[f"p:{name}"]) for name in classes])
        figures = classification_metrics(np.array(truth), np.array(shares), classes)
        ends = bootstrap(np.array(truth), np.array(shares), groups)
        intervals = {key: [round(end, 4) for end in ends[key] or ()] for key in WITH_INTERVAL if ends[key]}
        return {title: {**figures, "intervals": intervals}}


def _write_inputs(
    request: CrossvalRequest,
    shop: Workshop,
    labelled: Labelled,
    folds: list[Fold],
    executor: Executor,
    grouping: Grouping,
) -> None:
    study, hashes = shop.study, shop.source.sha256()
    record = {
        **runfolder.described("crossval", study, request.command, shop.where, shop.threads, study.training.precision),
        **labelled.described(hashes),
        "models": list(request.workshop.plan.models),
        "leaks": list(study.split.leaks),
        "shared": can_share(study, folds) if request.shared is None else request.shared,
        **grouping.described(),
        "ran": [executor.record],
    }
    drawn = splitting.to_json(folds, labelled.names, study.split, study.seed)
    runfolder.write_inputs(
        request.out, study, labelled.cohort, labelled.classes, hashes, shop.source.thumbnails(), drawn, record
    )


def _note_executor(out: Path, executor: Executor) -> None:
    """How trainings run is no part of what a run is: one may go on in another way, and says so."""
    document = runfolder.read_run(out)
    ran = document.get("ran", [])
    if executor.record not in ran[-1:]:
        write_json(out / runfolder.RUN, {**document, "ran": [*ran, executor.record]})


def _unfreezes(study: StudySpec) -> bool:
    """Whether training follows a validation part: without one nothing but the head would ever learn."""
    return study.training.transfer.mode == "gradual"


def _require_sharing(request: CrossvalRequest, folds: list[Fold]) -> None:
    """Trainings are shared where the study allows it, and in a run that goes on as they were when it was begun."""
    if request.resume:
        begun = runfolder.is_shared(runfolder.read_run(request.out))
        if request.shared not in (None, begun):
            raise InputError(
                f"{request.out.name} was begun with {'--shared' if begun else '--no-shared'}; resume as it was begun."
            )
    elif request.shared and not can_share(request.workshop.study, folds):
        raise InputError(
            "--shared needs inner folds that are the other outer folds, a refit and trainings of a fixed length "
            "(no training.patience); change the study, or leave --shared out."
        )


def _require_models(request: CrossvalRequest, source: Source) -> None:
    """A network that cannot be built, or weights that are not there, are known now."""
    plan = request.workshop.plan
    for name in plan.models:
        entry = plan.study.model(name)
        try:
            require_layers(build(source.model(entry), device="meta"), entry.explanation.layers)
            require_weights(plan, entry)
        except MAY_FAIL as error:
            if request.named:
                raise
            log.info("%s: %s", name, error)
