"""``cadx train``: one cohort, one patient-level split, one model, one bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx import __version__, device
from cadx.classify import versions
from cadx.dataset import is_synthetic
from cadx.evaluate.metrics import classification_metrics
from cadx.models.build import ModelSpec, build
from cadx.models.bundle import Bundle, BundleSettings
from cadx.models.write_bundle import BundleText, require_replaceable_bundle, write_bundle
from cadx.prepare.spec import PreparationSpec
from cadx.study import cohort, trainer
from cadx.study.card import card
from cadx.study.cells import CellsOfCase, lesion_cells, prepare_all
from cadx.study.recipe import Recipe
from cadx.study.tasks import Task


@dataclass(frozen=True)
class TrainingRun:
    """What to train on what; ``test`` is a cohort opened once, after the weights are chosen."""

    task: Task
    data: Path
    out: Path
    name: str
    architecture: str
    options: dict[str, int | float | bool | str] = field(default_factory=dict)
    preparation: PreparationSpec = field(default_factory=PreparationSpec)
    recipe: Recipe = field(default_factory=Recipe)
    test: Path | None = None
    device: str = "auto"
    workers: int = 1
    cache: Path | None = None
    command: tuple[str, ...] = ()


def run_training(run: TrainingRun, say: Callable[[str], None]) -> tuple[Bundle, dict[str, Any]]:
    """Prepare, train, evaluate, write the bundle; returns it with its figures.

    Raises
    ------
    InputError
        If the cohort, a case or a setting cannot be used.
    """
    classes = run.task.classes
    require_replaceable_bundle(run.out)
    spec = ModelSpec(
        architecture=run.architecture,
        channels=len(run.preparation.channels),
        classes=len(classes),
        image_pixels=run.preparation.grid.pixels,
        options=run.options,
    )
    # what the bundle could not be made of is known before anything is trained
    _settings(run, spec, {})
    build(spec, device="meta")
    where = device.choose(run.device)
    cases = cohort.read_cohort(run.data, classes)
    test = cohort.read_cohort(run.test, classes) if run.test else []
    training, validation = cohort.split_patients(cases, run.recipe.validation_share, run.recipe.seed)
    say(f"{len(cases)} cases: {len(training)} for training, {len(validation)} for choosing the epoch, by patient.")
    cells = _prepare(run, run.data, cases, say)
    lesions = _lesions(run, cases, training)
    fit = _tensor(cells, cases, training, classes, lesions)
    held = _tensor(cells, cases, validation, classes)
    test_cells = _prepare(run, run.test, test, say) if run.test else []
    model = _seeded(spec, run.recipe.seed)
    k = run.preparation.grid.slices
    trained = trainer.train(model, fit, held, run.recipe, k, where=where, progress=lambda r: say(_line(r, run.recipe)))
    # evaluate what is kept: the weights go into the bundle as fp16
    model.load_state_dict({n: v.half().to(v.dtype) if v.is_floating_point() else v for n, v in trained.state.items()})
    figures = {"Validation (chose the epoch)": _evaluate(model, held, k, where, classes)}
    if run.test:
        unseen = _tensor(test_cells, test, list(range(len(test))), classes)
        figures["Test (unseen)"] = _evaluate(model, unseen, k, where, classes)
    record = _record(run, cases, cells, training, validation, trained, where)
    bundle = _bundle(run, spec, model, record, figures)
    return bundle, figures


def _settings(run: TrainingRun, spec: ModelSpec, record: dict[str, Any]) -> BundleSettings:
    synthetic = bool(record.get("synthetic", True))
    return BundleSettings(
        name=run.name, task=run.task.name, classes=run.task.classes, demo=synthetic, model=spec, training=record
    )


def _folder(data: Path) -> Path:
    """A cohort is given as its folder or as its table."""
    return data if data.is_dir() else data.parent


def _prepare(
    run: TrainingRun, folder: Path, cases: list[cohort.LabelledCase], say: Callable[[str], None]
) -> list[CellsOfCase]:
    def progress(done: int, total: int) -> None:
        if done == total or done % max(1, total // 20) == 0:
            say(f"prepared {done} of {total}")

    cache = run.cache or _folder(folder) / ".cells"
    return prepare_all([c.row for c in cases], run.preparation, cache, workers=run.workers, progress=progress)


def _tensor(
    cells: list[CellsOfCase],
    cases: list[cohort.LabelledCase],
    chosen: list[int],
    classes: tuple[str, ...],
    lesions: list[NDArray[np.uint8]] | None = None,
) -> trainer.CellTensor:
    labels = np.array([classes.index(cases[i].label) for i in chosen], dtype=np.int64)
    return trainer.CellTensor.stack([cells[i].cells for i in chosen], labels, lesions)


def _lesions(run: TrainingRun, cases: list[cohort.LabelledCase], chosen: list[int]) -> list[NDArray[np.uint8]] | None:
    if not run.recipe.lesion_weight or not all(cases[i].lesion for i in chosen):
        return None
    return [lesion_cells(cases[i], run.preparation) for i in chosen]


def _seeded(spec: ModelSpec, seed: int) -> Any:
    import torch

    torch.manual_seed(seed)
    return build(spec)


def _evaluate(
    model: Any, cases: trainer.CellTensor, k: int, where: device.Device, classes: tuple[str, ...]
) -> dict[str, Any]:
    return classification_metrics(cases.labels.numpy(), trainer.predict(model, cases, k, where), classes)


def _record(
    run: TrainingRun,
    cases: list[cohort.LabelledCase],
    cells: list[CellsOfCase],
    training: list[int],
    validation: list[int],
    trained: trainer.Trained,
    where: device.Device,
) -> dict[str, Any]:
    digest = hashlib.sha256("".join(sorted(c.sha256 for c in cells)).encode()).hexdigest()
    import torch

    return {
        "cases": {"training": len(training), "validation": len(validation)},
        "patients": len({c.patient for c in cases}),
        "data_sha256": digest,
        "synthetic": is_synthetic(_folder(run.data)),
        "recipe": run.recipe.model_dump(mode="json"),
        "best_epoch": trained.best_epoch,
        "epochs_run": len(trained.history),
        "precision": trained.precision,
        "device": where.kind,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "command": list(run.command),
        "curves": trained.history,
    }


def _bundle(
    run: TrainingRun, spec: ModelSpec, model: Any, record: dict[str, Any], figures: dict[str, dict[str, Any]]
) -> Bundle:
    synthetic = bool(record["synthetic"])
    settings = _settings(run, spec, record)
    text = BundleText(
        version=__version__,
        description=run.task.title,
        data_source="synthetic phantoms (cadx phantom)" if synthetic else "the user's cohort",
        intended_use=run.task.intended_use,
        card=card(run.task, run.name, synthetic, record, figures),
        evaluation=figures,
        licence="Apache-2.0" if synthetic else "not stated",
    )
    return write_bundle(run.out, settings, run.preparation, model.state_dict(), text)


def _line(record: dict[str, float], recipe: Recipe) -> str:
    return (
        f"epoch {record['epoch'] + 1:.0f} of {recipe.epochs}: loss {record['loss']:.4f}, validation loss "
        f"{record['validation_loss']:.4f}, accuracy {record['validation_accuracy']:.3f} ({record['seconds']:.1f} s)"
    )
