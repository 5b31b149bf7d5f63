"""``cadx train``: one cohort, one patient-level split, one model, one bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx import device
from cadx.errors import InputError
from cadx.evaluate.metrics import classification_metrics
from cadx.explain.gradcam import require_layers
from cadx.io.jsonfile import JsonError, read_json
from cadx.models.build import build
from cadx.models.bundle import WEIGHTS as BUNDLE_WEIGHTS
from cadx.models.bundle import Bundle
from cadx.models.write_bundle import require_replaceable_bundle
from cadx.prepare.picture import IMAGENET_MEAN, PictureSpec
from cadx.study import runfolder
from cadx.study.bundling import Making, make_bundle, settings_of, training_record
from cadx.study.folds import held_by_column, holdout
from cadx.study.labelled import Labelled, read_labelled
from cadx.study.presets import study_sha256
from cadx.study.progress import Reporter
from cadx.study.selection import InnerPredictions, select
from cadx.study.source import Learnt, Source
from cadx.study.spec import ModelEntry, StudySpec
from cadx.study.task import DONE, VALIDATION, WEIGHTS, Task, Workshop, predict_with, run_task
from cadx.study.trainer import rounds_of
from cadx.study.weights import Plan, require_weights
from cadx.trust.temperature import softmax

Indices = NDArray[np.intp]
IDENTITY = "training.json"


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


@dataclass(frozen=True, eq=False)
class _Begun:
    """All that a training needs; ``unseen`` is the test cohort and its images, ``draft`` the bundle without weights."""

    shop: Workshop
    entry: ModelEntry
    known: Labelled
    training: Indices
    validation: Indices
    unseen: tuple[Labelled, Source] | None
    draft: Making


def train_bundle(request: TrainRequest, report: Reporter) -> tuple[Bundle, dict[str, dict[str, Any]]]:
    """Prepare, train, evaluate, write the bundle; returns it with its figures.

    Raises
    ------
    InputError
        If the cohort, a case or a setting cannot be used.
    """
    begun = _begin(request, report)
    source = begun.shop.source
    with _folder(request) as folder:
        temperature = _fit(begun, folder, report)
        learnt = source.learn(begun.entry, begun.training)
        figures = _figures(begun, folder / WEIGHTS, learnt, temperature, report)
        record = training_record(
            begun.shop.study,
            folder,
            {"training": len(begun.training), "validation": len(begun.validation)},
            begun.known.sha256(source.sha256()),
            source.sha256(begun.entry),
            patients=len(set(begun.known.groups)),
            best_round=read_json(folder / DONE)["best_round"],
            command=list(request.command),
        )
        preparation = source.preparation(begun.entry, learnt)
        making = replace(
            begun.draft, preparation=preparation, temperature=temperature, training=record, figures=figures
        )
        return make_bundle(request.out, making, folder / WEIGHTS), figures


def _begin(request: TrainRequest, report: Reporter) -> _Begun:
    """Everything that can be wrong is found here, before anything is trained."""
    require_replaceable_bundle(request.out)
    study = single(request.plan.study)
    entry = study.model(request.plan.models[0])
    where, threads = device.choose(request.device), device.threads(request.threads)
    known = read_labelled(study, request.data, request.layout)
    known, test = _kept_aside(request, study, known, report)
    training, validation = holdout(known.units(), study.split.inner.share, study.seed)
    source = known.open(request.cache, request.workers, report.preparing)
    draft = _draft(request, study, entry, source, known.cohort.synthetic)
    unseen = (test, test.open(request.cache, request.workers, report.preparing)) if test else None
    report.event(
        "cohort",
        f"{len(known.names)} cases: {len(training)} for training, {len(validation)} for choosing the epoch, by "
        "patient.",
    )
    if request.record is not None:
        data_sha256 = known.sha256(source.sha256())
        _require_same_record(request, request.record, study, data_sha256, where.kind, threads)
    shop = Workshop(study, source, known.names, where, threads, request.plan.weights)
    return _Begun(shop, entry, known, training, validation, unseen, draft)


def _kept_aside(
    request: TrainRequest, study: StudySpec, known: Labelled, report: Reporter
) -> tuple[Labelled, Labelled | None]:
    """What trains and what tests: another cohort, or what the table's own column calls the test part."""
    if request.test:
        return known, read_labelled(study, request.test, request.layout)
    if study.split.kind == "column":
        test = held_by_column(known.units(), study.split.column)
        return known.only(np.setdiff1d(np.arange(len(known.names)), test)), known.only(test)
    if study.split.kind in ("counts", "holdout"):
        report.event("note", "Every case trains or chooses here; cadx crossval keeps the study's test part aside.")
    return known, None


def _draft(request: TrainRequest, study: StudySpec, entry: ModelEntry, source: Source, synthetic: bool) -> Making:
    """The bundle before training, so that what it could not be made of is known now."""
    model = source.model(entry)
    require_layers(build(model, device="meta"), entry.explanation.layers)
    draft = Making(
        study, request.name, model, source.preparation(entry, Learnt(())), None, synthetic, entry.explanation
    )
    settings_of(draft)
    require_weights(request.plan, entry)
    return draft


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
        explanation=settings.explanation,
    )
    changed = study.model_copy(update={"input": given, "models": (entry,), "tables": ()})
    return Plan(changed, (entry.name,), {entry.name: str(bundle.folder / BUNDLE_WEIGHTS)})


def _test_title(known: Sequence[str], test: Sequence[str], report: Reporter) -> str:
    """What the card says of the test part: unseen, or how many of its images were not."""
    seen = len(set(known).intersection(test))
    if not seen:
        return "Test (unseen)"
    report.event(
        "warning", f"{seen} of the {len(test)} test cases are also in the training cohort, and the card says so."
    )
    return f"Test ({seen} of its {len(test)} cases are also in the training cohort)"


def _require_same_record(
    request: TrainRequest, record: Path, study: StudySpec, data_sha256: str, device_kind: str, threads: int
) -> None:
    """A record goes on with the training that it is of, and with no other.

    Raises
    ------
    InputError
        If it is of another training.
    """
    own = {
        "study": study_sha256(study),
        "model": request.plan.models[0],
        "cohort": data_sha256,
        "starting bundle": None if request.base is None else request.base.sha256,
        "device": device_kind,
        "number of threads": threads,
    }
    file = record / IDENTITY
    try:
        begun = read_json(file)
    except JsonError as error:
        if record.exists() and (not record.is_dir() or any(record.iterdir())):
            raise InputError(f"{record.name} holds something else than a training; give a new folder.") from error
        record.mkdir(parents=True, exist_ok=True)
        runfolder.write_json(file, own)
        return
    other = next((what for what in own if begun.get(what) != own[what]), None) if isinstance(begun, dict) else "study"
    if other:
        raise InputError(f"{record.name} is the record of another training (its {other} differs); give a new folder.")


def _fit(begun: _Begun, folder: Path, report: Reporter) -> float | None:
    """Train into ``folder``; returns the temperature learnt on the validation part."""
    study, entry, training, validation = begun.shop.study, begun.entry, begun.training, begun.validation
    rounds = rounds_of(study.training)
    report.begin(float(len(training) * rounds))
    run_task(
        begun.shop,
        Task(folder, entry, "", "", {}, training, validation, None, "best"),
        lambda line: report.round(entry.name, rounds, len(training), line),
        lambda seen, wanted: report.tick(entry.name, len(training), seen, wanted),
    )
    predictions = InnerPredictions.read(folder / VALIDATION, folder, begun.known.classes[validation])
    document = select(study, [({}, [predictions])])
    runfolder.write_json(folder / "selection.json", document)
    temperature: float | None = document["temperature"]
    return temperature


def _figures(
    begun: _Begun, weights: Path, learnt: Learnt, temperature: float | None, report: Reporter
) -> dict[str, dict[str, Any]]:
    """Of the validation part and, where there is one, the test cohort."""
    shop, entry = begun.shop, begun.entry

    def graded(source: Source, classes: NDArray[np.integer], chosen: Indices) -> dict[str, Any]:
        logits = predict_with(shop, entry, weights, source.samples(entry, chosen, learnt))
        return classification_metrics(classes[chosen], softmax(logits, temperature or 1.0), shop.study.class_names)

    figures = {"Validation (chose the epoch)": graded(shop.source, begun.known.classes, begun.validation)}
    if begun.unseen:
        test, source = begun.unseen
        title = _test_title(shop.source.sha256(), source.sha256(), report)
        figures[title] = graded(source, test.classes, np.arange(len(test.names)))
    return figures


@contextmanager
def _folder(request: TrainRequest) -> Iterator[Path]:
    """Where the training keeps its files: the user's folder, or one that goes."""
    if request.record is not None:
        request.record.mkdir(parents=True, exist_ok=True)
        yield request.record
        return
    with tempfile.TemporaryDirectory(prefix="cadx-train-") as folder:
        yield Path(folder)
