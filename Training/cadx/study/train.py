"""``cadx train``: one cohort, one patient-level split, one model, one bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx import device
from cadx.classify import versions
from cadx.errors import InputError
from cadx.evaluate.metrics import classification_metrics
from cadx.io.jsonfile import read_json
from cadx.models.build import build
from cadx.models.bundle import WEIGHTS as BUNDLE_WEIGHTS
from cadx.models.bundle import Bundle
from cadx.models.write_bundle import require_replaceable_bundle
from cadx.prepare.picture import IMAGENET_MEAN, PictureSpec
from cadx.study import runfolder
from cadx.study.bundling import Making, make_bundle, settings_of
from cadx.study.cohort import Cohort
from cadx.study.crossval import labelled, units_of
from cadx.study.folds import holdout
from cadx.study.presets import study_sha256
from cadx.study.progress import Reporter
from cadx.study.selection import InnerPredictions, array_sha256, select
from cadx.study.source import Learnt, Source, open_source
from cadx.study.spec import ModelEntry, StudySpec
from cadx.study.task import DONE, VALIDATION, WEIGHTS, Task, Workshop, predict_with, run_task
from cadx.study.trainer import rounds_of
from cadx.study.weights import Plan, complaint
from cadx.trust.temperature import softmax

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class TrainRequest:
    """What to train on what; ``test`` is a cohort opened once, after the weights are chosen.

    ``base`` is a bundle to go on from: its network, preparation, classes and weights. ``record`` keeps the training's
    own folder (curves, checkpoints), from which it goes on when it is run again.
    """

    plan: Plan
    data: Path
    out: Path
    name: str
    base: Bundle | None = None
    test: Path | None = None
    record: Path | None = None
    layout: str = "auto"
    device: str = "auto"
    threads: int | None = None
    workers: int = 1
    cache: Path | None = None
    command: tuple[str, ...] = ()


def train_bundle(request: TrainRequest, report: Reporter) -> tuple[Bundle, dict[str, dict[str, Any]]]:
    """Prepare, train, evaluate, write the bundle; returns it with its figures.

    Raises
    ------
    InputError
        If the cohort, a case or a setting cannot be used.
    """
    require_replaceable_bundle(request.out)
    study = single(request.plan.study)
    entry = study.model(request.plan.models[0])
    where = device.choose(request.device)
    cohort, classes, _ = labelled(study, request.data, request.layout)
    test = labelled(study, request.test, request.layout) if request.test else None
    training, validation = holdout(units_of(study, cohort, classes), study.split.inner.share, study.seed)
    source = _source(request, study, cohort, classes, report)
    # what the bundle could not be made of is known before anything is trained
    build(source.model(entry), device="meta")
    making = _making(request, study, entry, source, Learnt(()), cohort.synthetic)
    settings_of(making)
    wrong = complaint(request.plan, entry)
    if wrong:
        raise InputError(wrong)
    report.event(
        "cohort",
        f"{len(classes)} cases: {len(training)} for training, {len(validation)} for choosing the epoch, by patient.",
    )
    hashes = source.sha256()
    names = tuple(one.name for one in cohort.samples)
    shop = Workshop(study, source, names, where, request.threads or _threads(), request.plan.weights)
    with _folder(request) as folder:
        temperature = _fit(shop, entry, folder, training, validation, classes, report)
        learnt = source.learn(entry, training)
        weights = folder / WEIGHTS
        figures = {}
        parts: dict[str, tuple[Source, Indices, NDArray[np.integer]]] = {
            "Validation (chose the epoch)": (source, validation, classes)
        }
        if test is not None:
            unseen = _source(replace(request, data=request.test or request.data), study, test[0], test[1], report)
            parts["Test (unseen)"] = (unseen, np.arange(len(test[1])), test[1])
        for title, (own, chosen, labels) in parts.items():
            logits = predict_with(shop, entry, weights, own.samples(entry, chosen, learnt))
            shares = softmax(logits, temperature or 1.0)
            figures[title] = classification_metrics(labels[chosen], shares, study.class_names)
        record = {
            "cases": {"training": len(training), "validation": len(validation)},
            "patients": len({one.group for one in cohort.samples}),
            "study": study.name,
            "preset": study.preset,
            "study_sha256": study_sha256(study),
            "data_sha256": runfolder.data_sha256(
                hashes, classes, runfolder.pseudonyms([one.group for one in cohort.samples])
            ),
            "seed": study.seed,
            "training": study.training.model_dump(mode="json"),
            "augmentation": study.augmentation.model_dump(mode="json"),
            "weights": read_json(folder / "task.json")["weights"],
            "rounds": read_json(folder / DONE)["rounds"],
            "best_round": read_json(folder / DONE)["best_round"],
            "precision": read_json(folder / "task.json")["precision"],
            "device": where.kind,
            "threads": shop.threads,
            "versions": versions(),
            "command": list(request.command),
        }
        making = _making(request, study, entry, source, learnt, cohort.synthetic)
        making = replace(making, temperature=temperature, training=record, figures=figures)
        return make_bundle(request.out, making, weights), figures


def single(study: StudySpec) -> StudySpec:
    """The study with one training: one inner part, whose best check is kept."""
    inner = study.split.inner.model_copy(update={"kind": "holdout"})
    return study.model_copy(
        update={
            "split": study.split.model_copy(update={"unit": "patient", "inner": inner}),
            "selection": study.selection.model_copy(update={"final": "best", "grid": {}}),
        }
    )


def from_bundle(bundle: Bundle, study: StudySpec) -> Plan:
    """The study with a bundle's network, preparation and weights in place of its models.

    Raises
    ------
    InputError
        If the bundle grades other classes, or images of another kind.
    """
    settings = bundle.settings
    if settings.classes != study.class_names:
        raise InputError(
            f"The bundle {settings.name} grades {', '.join(settings.classes)}, and the study {study.name} "
            f"{', '.join(study.class_names)}; give a study of those classes."
        )
    pictures = isinstance(bundle.preparation, PictureSpec)
    if pictures != (study.input.kind == "picture"):
        raise InputError(f"The bundle {settings.name} takes images of another kind than the study {study.name}.")
    if isinstance(bundle.preparation, PictureSpec):
        normalised = bundle.preparation.mean in (IMAGENET_MEAN, IMAGENET_MEAN[1:2])
        plain = bundle.preparation.model_copy(update={"mean": None, "std": None})
        given: Any = study.input.model_copy(update={"picture": plain})
    else:
        normalised = False
        landmarks = "none" if bundle.preparation.standardise is None else "given"
        fixed = {"preparation": bundle.preparation, "landmarks": landmarks, "centre": False}
        given = study.input.model_copy(update=fixed)
    model = settings.model
    entry = ModelEntry(
        name="from-bundle",
        title=settings.name,
        architecture=model.architecture,
        options=model.options,
        fusion=model.fusion,
        weights=Path(BUNDLE_WEIGHTS).name,
        with_head=True,
        normalise="imagenet" if normalised else "unit",
    )
    changed = study.model_copy(update={"input": given, "models": (entry,), "tables": ()})
    return Plan(changed, (entry.name,), {entry.name: str(bundle.folder / BUNDLE_WEIGHTS)})


def _fit(
    shop: Workshop,
    entry: ModelEntry,
    folder: Path,
    training: Indices,
    validation: Indices,
    classes: NDArray[np.integer],
    report: Reporter,
) -> float | None:
    """Train into ``folder``; returns the temperature learnt on the validation part."""
    rounds = rounds_of(shop.study.training)
    report.begin(float(len(training) * rounds))
    task = Task(folder, entry, "", "", {}, training, validation, None, "best")
    run_task(
        shop,
        task,
        lambda line: report.round(entry.name, rounds, len(training), line),
        lambda seen, wanted: report.tick(entry.name, seen, wanted),
    )
    file = folder / VALIDATION
    predictions = InnerPredictions(VALIDATION, array_sha256(file), np.load(file), classes[validation])
    document = select(shop.study, [({}, [predictions])])
    runfolder.write_json(folder / "selection.json", document)
    temperature: float | None = document["temperature"]
    return temperature


def _making(
    request: TrainRequest, study: StudySpec, entry: ModelEntry, source: Source, learnt: Learnt, synthetic: bool
) -> Making:
    model, preparation = source.model(entry), source.preparation(entry, learnt)
    return Making(study, request.name, model, preparation, None, synthetic)


def _source(
    request: TrainRequest, study: StudySpec, cohort: Cohort, classes: NDArray[np.integer], report: Reporter
) -> Source:
    cache = request.cache or cohort.folder / ".cells"
    return open_source(study, cohort, classes, cache, workers=request.workers, progress=report.preparing)


@contextmanager
def _folder(request: TrainRequest) -> Iterator[Path]:
    """Where the training keeps its files: the user's folder, or one that goes."""
    if request.record is not None:
        request.record.mkdir(parents=True, exist_ok=True)
        yield request.record
        return
    with tempfile.TemporaryDirectory(prefix="cadx-train-") as folder:
        yield Path(folder)


def _threads() -> int:
    import torch

    return int(torch.get_num_threads())
