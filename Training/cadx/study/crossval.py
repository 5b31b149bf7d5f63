"""Nested cross-validation: inner parts choose, each test part is opened once, and a run that stopped goes on."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx import device
from cadx.classify import versions
from cadx.errors import InputError, MissingDependencyError
from cadx.io.jsonfile import read_json
from cadx.models.build import build
from cadx.study import folds as splitting
from cadx.study import runfolder
from cadx.study.bundling import Making, make_bundle
from cadx.study.cohort import Cohort, assign_classes, without_labels
from cadx.study.examples import draw_examples
from cadx.study.folds import Fold, Units
from cadx.study.layouts import read_cohort
from cadx.study.opening import OPENING, predictions_table, record_opening
from cadx.study.presets import study_sha256
from cadx.study.progress import Reporter, work_of
from cadx.study.recording import DiskFullError
from cadx.study.runfolder import RunIdentity, write_json
from cadx.study.selection import InnerPredictions, array_sha256, select, settings_of
from cadx.study.source import Learnt, Source, open_source
from cadx.study.spec import ModelEntry, StudySpec
from cadx.study.task import DONE, VALIDATION, WEIGHTS, Task, Workshop, predict_with, run_task
from cadx.study.trainer import rounds_of
from cadx.study.weights import Plan, complaint

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


def cross_validate(request: CrossvalRequest, report: Reporter) -> Path:
    """Run a study, or go on with it; returns the run's folder. Tables and report are made by ``cadx report``.

    Raises
    ------
    InputError
        If study, cohort, images or settings cannot be used; all that is said before any training starts.
    """
    run = _Run.begin(request, report)
    for name in request.plan.models:
        run.model(run.study.model(name))
    return request.out


def labelled(study: StudySpec, data: Path, layout: str) -> tuple[Cohort, NDArray[np.int64], dict[str, list[str]]]:
    """The cohort of a study: its samples, their classes, and which labels went into which class.

    Raises
    ------
    InputError
        If it is empty, or a label or a file is missing.
    """
    cohort = without_labels(read_cohort(data, study.channels, layout=layout), study.excluded_labels)
    classes, merged = assign_classes(cohort, study.classes, study.label_of)
    present = set(classes.tolist())
    absent = next((c.name for i, c in enumerate(study.classes) if i not in present), None)
    if absent is not None:
        raise InputError(
            f"{data.name or data} holds no case of the class '{absent}'; check its labels and the study's."
        )
    return cohort, classes, merged


def units_of(study: StudySpec, cohort: Cohort, classes: NDArray[np.integer]) -> Units:
    """What a split needs to know."""
    samples = cohort.samples
    return Units(
        [one.name for one in samples],
        [one.group for one in samples],
        [one.centre for one in samples],
        classes,
        study.class_names,
        [{key.casefold(): value for key, value in one.covariates.items()} for one in samples],
    )


class _Run:
    """A run in its folder."""

    def __init__(
        self, request: CrossvalRequest, report: Reporter, shop: Workshop, folds: list[Fold], folds_sha256: str
    ) -> None:
        self.study = shop.study
        self._request, self._report, self._shop = request, report, shop
        self._folds, self._folds_sha256 = folds, folds_sha256
        self._synthetic = bool(runfolder.read_run(request.out)["synthetic"])
        self._labels = self._labels_of()

    @classmethod
    def begin(cls, request: CrossvalRequest, report: Reporter) -> _Run:
        """Everything that can be wrong is found here, before anything is trained."""
        study = request.plan.study
        if not request.resume:
            runfolder.require_new(request.out)
        elif not (request.out / runfolder.RUN).is_file():
            raise InputError(f"{request.out.name} holds no run to go on with; leave --resume out to begin one.")
        where = device.choose(request.device)
        cohort, classes, merged = labelled(study, request.data, request.layout)
        units = units_of(study, cohort, classes)
        folds = splitting.draw_folds(units, study.split, study.seed)
        cache = request.cache or cohort.folder / ".cells"
        source = open_source(study, cohort, classes, cache, workers=request.workers, progress=report.preparing)
        _require_models(request, source)
        report.event("cohort", _cohort_text(cohort, study, classes))
        hashes = source.sha256()
        groups = [one.group for one in cohort.samples]
        sha256 = runfolder.data_sha256(hashes, classes, runfolder.pseudonyms(groups))
        threads = request.threads or _threads()
        document = splitting.to_json(folds, units.names, study.split, study.seed)
        if request.resume:
            runfolder.require_same(request.out, study, request.plan.models, RunIdentity(sha256, where.kind, threads))
            kept = read_json(request.out / runfolder.FOLDS)
            folds, document = splitting.from_json(kept, units.names), kept
        else:
            record = _record(request, cohort, merged, where, threads, sha256, len(set(groups)))
            runfolder.write_inputs(request.out, study, cohort, classes, hashes, source.thumbnails(), document, record)
        shop = Workshop(
            study, source, tuple(units.names), where, threads, request.plan.weights, request.checkpoint_every_s
        )
        return cls(request, report, shop, folds, document["sha256"])

    def model(self, entry: ModelEntry) -> None:
        """All folds of one model; what stops it is its empty cell's reason."""
        folder = self._request.out / entry.name
        (folder / FAILED).unlink(missing_ok=True)
        wrong = complaint(self._request.plan, entry)
        try:
            if wrong:
                raise InputError(wrong)
            self._report.begin(
                work_of(
                    self.study,
                    self._folds,
                    rounds_of(self.study.training),
                    len(settings_of(self.study.selection)),
                    self._refits,
                )
            )
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

    @property
    def _refits(self) -> bool:
        return self._request.refit and len(self._folds) > 1

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
            write_json(folder / SELECTION, select(self.study, self._candidates(folder, [fold], entry, "")))
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

        run_task(self._shop, task, told, lambda seen, wanted: self._report.tick(place, seen, wanted))
        self._report.skip(len(task.training) * (total - seen))

    def _candidates(
        self, folder: Path, folds: Sequence[Fold], entry: ModelEntry, prefix: str
    ) -> list[tuple[dict[str, float], list[InnerPredictions]]]:
        """The inner predictions of each choice of settings; test predictions lie elsewhere and later."""
        found = []
        for index, settings in enumerate(settings_of(self.study.selection)):
            inner = []
            for fold in folds:
                for part in fold.inner:
                    file = f"{prefix and fold.name + '/'}settings-{index}/{part.name}/{VALIDATION}"
                    path = folder / file
                    inner.append(
                        InnerPredictions(file, array_sha256(path), np.load(path), self._labels[part.validation])
                    )
            found.append((settings, inner))
        return found

    def _labels_of(self) -> NDArray[np.int64]:
        import csv

        names = list(self.study.class_names)
        with (self._request.out / runfolder.SAMPLES).open(encoding="utf-8", newline="") as stream:
            return np.array([names.index(row["class"]) for row in csv.DictReader(stream)])

    def _learnt(self, entry: ModelEntry, training: NDArray[np.intp]) -> Learnt:
        return self._shop.source.learn(entry, training)

    def _open(self, entry: ModelEntry, fold: Fold, folder: Path, final: Path) -> None:
        """The test part, once; its bundle and its pictures."""
        training = fold.inner[0].training if self.study.selection.final == "best" else fold.training
        learnt = self._learnt(entry, training)
        temperature = read_json(folder / SELECTION)["temperature"]
        if not (folder / OPENING).is_file():
            samples = self._shop.source.samples(entry, fold.test, learnt)
            logits = predict_with(self._shop, entry, final / WEIGHTS, samples)
            table = predictions_table(
                samples.names, fold.name, self._labels[fold.test], logits, self.study.class_names, temperature
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
        self._bundle(entry, folder, final, learnt, temperature, f"{entry.name}-{fold.name}", cases, fold)
        if fold is self._folds[0] and not (folder / "examples" / "examples.json").is_file():
            draw_examples(folder, self._shop, entry, final / WEIGHTS, fold.test, learnt, self._synthetic)

    def _refit(self, entry: ModelEntry) -> None:
        """One model on everything, for as long as the inner parts of all folds chose."""
        model_folder = self._request.out / entry.name
        folder = model_folder / ALL
        folder.mkdir(exist_ok=True)
        if not (folder / SELECTION).is_file():
            write_json(
                folder / SELECTION, select(self.study, self._candidates(model_folder, self._folds, entry, "all"))
            )
        selection = read_json(folder / SELECTION)
        chosen = selection["chosen"]
        everything = np.arange(len(self._labels))
        final = folder / "final"
        rounds = int(chosen["round"]) + 1
        self._task(Task(final, entry, ALL, "final", chosen["settings"], everything, None, rounds, "last"))
        cases = {"training": len(everything), "validation": 0}
        learnt = self._learnt(entry, everything)
        self._bundle(entry, folder, final, learnt, selection["temperature"], entry.name, cases, None)

    def _bundle(
        self,
        entry: ModelEntry,
        folder: Path,
        final: Path,
        learnt: Learnt,
        temperature: float | None,
        name: str,
        cases: dict[str, int],
        fold: Fold | None,
    ) -> None:
        if not self._request.bundles or (folder / "bundle" / "manifest.json").is_file():
            return
        run = runfolder.read_run(self._request.out)
        done = read_json(final / DONE)
        training = {
            "cases": cases,
            "study": self.study.name,
            "preset": self.study.preset,
            "study_sha256": study_sha256(self.study),
            "data_sha256": run["data"]["sha256"],
            "fold": fold.name if fold else None,
            "rounds": done["rounds"],
            "training": self.study.training.model_dump(mode="json"),
            "weights": read_json(final / "task.json")["weights"],
            "device": run["device"],
            "threads": run["threads"],
            "versions": run["versions"],
        }
        figures = _figures(folder, self.study.class_names) if fold else self._out_of_fold(entry)
        source = self._shop.source
        making = Making(
            self.study,
            re.sub(r"[^a-z0-9]+", "-", f"{self.study.name}-{name}"),
            source.model(entry),
            source.preparation(entry, learnt),
            temperature,
            self._synthetic,
            training,
            figures,
        )
        make_bundle(folder / "bundle", making, final / WEIGHTS)

    def _out_of_fold(self, entry: ModelEntry) -> dict[str, dict[str, Any]]:
        folders = [self._request.out / entry.name / fold.name for fold in self._folds]
        return _figures_of(
            folders, self.study.class_names, "Out of fold (all cases, each by a model that never saw it)"
        )


def _figures(folder: Path, classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    return _figures_of([folder], classes, "Test part of this fold (unseen)")


def _figures_of(folders: Sequence[Path], classes: tuple[str, ...], title: str) -> dict[str, dict[str, Any]]:
    import csv

    from cadx.evaluate.metrics import classification_metrics

    truth, shares = [], []
    for folder in folders:
        with (folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                truth.append(classes.index(row["class"]))
                shares.append([float(row[f"p:{name}"]) for name in classes])
    return {title: classification_metrics(np.array(truth), np.array(shares), classes)}


def _require_models(request: CrossvalRequest, source: Source) -> None:
    """A network that cannot be built, or weights that are not there, are known now."""
    for name in request.plan.models:
        entry = request.plan.study.model(name)
        try:
            build(source.model(entry), device="meta")
            wrong = complaint(request.plan, entry)
            if wrong:
                raise InputError(wrong)
        except MAY_FAIL as error:
            if request.named:
                raise
            log.info("%s: %s", name, error)


def _cohort_text(cohort: Cohort, study: StudySpec, classes: NDArray[np.integer]) -> str:
    counts = np.bincount(classes, minlength=len(study.classes))
    told = ", ".join(f"{name} {count}" for name, count in zip(study.class_names, counts, strict=True))
    groups = len({one.group for one in cohort.samples})
    kind = "synthetic phantoms" if cohort.synthetic else "samples"
    return f"{len(cohort.samples)} {kind} of {groups} patients or groups: {told}."


def _record(
    request: CrossvalRequest,
    cohort: Cohort,
    merged: dict[str, list[str]],
    where: device.Device,
    threads: int,
    sha256: str,
    groups: int,
) -> dict[str, Any]:
    study = request.plan.study
    return {
        "kind": "crossval",
        "command": list(request.command),
        "versions": versions(),
        "seed": study.seed,
        "device": {"kind": where.kind, "name": where.name},
        "precision": study.training.precision,
        "threads": threads,
        "data": {"layout": cohort.layout, "samples": len(cohort.samples), "groups": groups, "sha256": sha256},
        "synthetic": cohort.synthetic,
        "merged_labels": {name: labels for name, labels in merged.items() if len(labels) > 1},
        "notes": list(cohort.notes),
        "models": list(request.plan.models),
        "study_sha256": study_sha256(study),
        "leaks": list(study.split.leaks),
    }


def _threads() -> int:
    import torch

    return int(torch.get_num_threads())
