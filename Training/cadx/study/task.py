"""One training of a run: from indices to a folder that says what was trained on what, and how it went."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cadx import device
from cadx.errors import InputError
from cadx.io import held
from cadx.io.atomic import write_text
from cadx.models.bundle import file_sha256
from cadx.models.pretrained import load_pretrained
from cadx.models.weights import filled
from cadx.models.write_bundle import kept_weights
from cadx.study import memory, range_test
from cadx.study.features import FeatureStore
from cadx.study.recording import CHECKPOINT, DiskFullError
from cadx.study.runfolder import write_json
from cadx.study.samples import Images, Samples, place_for
from cadx.study.scores import validation_scores
from cadx.study.selection import with_settings
from cadx.study.source import Learnt, Source
from cadx.study.spec import ModelEntry, StudySpec, VolumesInput
from cadx.study.trainer import CHECKPOINT_EVERY_S, Fit, Trained, predict, rounds_of, train, training_precision

if TYPE_CHECKING:
    from torch import nn

SCHEMA = "cadx.task/1"
TASK, WEIGHTS, VALIDATION, DONE = "task.json", "weights.safetensors", "validation.npy", "done.json"
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Workshop:
    """What all tasks of a run share; ``features`` that one of them found, the others of this process find there."""

    study: StudySpec
    source: Source
    names: tuple[str, ...]
    where: device.Device
    threads: int
    weights: Callable[[ModelEntry], str]
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    features: FeatureStore = field(default_factory=FeatureStore, compare=False)


@dataclass(frozen=True, eq=False)
class Task:
    """One training, as plain data. ``rounds`` None trains as long as the study says; ``keep`` as in :class:`Fit`.

    ``books``, of a training that serves two outer folds: by fold, the part that it leaves out for that fold.
    """

    folder: Path
    entry: ModelEntry
    fold: str
    inner: str
    settings: dict[str, float]
    training: Indices
    validation: Indices | None
    rounds: int | None = None
    keep: Literal["best", "last", "nothing"] = "nothing"
    books: Mapping[str, Indices] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether it ran to its end before."""
        return (self.folder / DONE).is_file()


def run_task(
    shop: Workshop,
    task: Task,
    progress: Callable[[dict[str, Any]], None] | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> None:
    """Train, or go on, until ``done.json`` stands in the task's folder; returns at once where it does.

    The folder is held meanwhile: a process that should have ended and still writes there is waited for.

    Raises
    ------
    InputError
        If weights, files or numbers fail.
    """
    if task.done:
        return
    task.folder.mkdir(parents=True, exist_ok=True)
    with held.lock(task.folder):
        if not task.done:
            _run(shop, task, progress, tick)


def _run(
    shop: Workshop,
    task: Task,
    progress: Callable[[dict[str, Any]], None] | None,
    tick: Callable[[int, int], None] | None,
) -> None:
    ready = prepare(shop, task)
    trained = train(
        task.folder,
        ready.model,
        ready.samples,
        ready.validation,
        ready.fit,
        where=shop.where,
        books=ready.books,
        store=shop.features,
        progress=progress,
        tick=tick,
    )
    ready.leave(trained)


@dataclass(frozen=True, eq=False)
class Ready:
    """All that a training needs; ``document`` is that of ``task.json``."""

    folder: Path
    model: nn.Module
    samples: Images
    validation: Images | None
    books: dict[str, Images]
    fit: Fit
    document: dict[str, Any]

    def leave(self, trained: Trained) -> None:
        """Write what training left, and last ``done.json``.

        Raises
        ------
        InputError
            If there is no room.
        """
        self.document["learnt"]["normalisation"] = trained.normalisation
        self.document["features"] = trained.features
        write_json(self.folder / TASK, self.document)
        _leave(self.folder, trained, {fold: part.labels.numpy() for fold, part in self.books.items()})


def prepare(shop: Workshop, task: Task, **more: Any) -> Ready:
    """Everything up to the first step, ``task.json`` included, where ``more`` is written too.

    Raises
    ------
    InputError
        If weights, files or numbers fail.
    """
    steady(shop.threads)
    learnt = shop.source.learn(task.entry, task.training)
    samples = shop.source.samples(task.entry, task.training, learnt, lesions=shop.study.training.lesion_weight > 0)
    validation = None if task.validation is None else shop.source.samples(task.entry, task.validation, learnt)
    books = {fold: shop.source.samples(task.entry, part, learnt) for fold, part in task.books.items()}
    place = place_for([samples, *([validation] if validation else []), *books.values()], shop.where)
    samples, validation = samples.to(place), validation and validation.to(place)
    books = {fold: part.to(place) for fold, part in books.items()}
    fit = _fit(shop, task, learnt)
    document = {**_document(shop, task, learnt, fit.seed), "samples_on": place.type, **more}
    if fit.training.range_test:
        rate = range_test.run(task.folder, lambda: build(shop, task.entry, fit.seed)[0], samples, fit, shop.where)
        document["learnt"]["learning_rate"] = rate
        fit = replace(fit, training=with_settings(fit.training, {"learning_rate": rate}))
    model, document["weights"] = build(shop, task.entry, fit.seed)
    document["precision"] = training_precision(fit.training.precision, shop.where, model)
    write_json(task.folder / TASK, document)
    return Ready(task.folder, model, samples, validation, books, fit, document)


def _fit(shop: Workshop, task: Task, learnt: Learnt) -> Fit:
    study = shop.study
    spec = with_settings(study.training, task.settings)
    return Fit(
        training=spec,
        augmentation=study.augmentation,
        rounds=rounds_of(spec) if task.rounds is None else task.rounds,
        seed=task_seed(shop, task),
        metric=study.selection.metric,
        keep=task.keep,
        centre=isinstance(study.input, VolumesInput) and study.input.centre,
        class_weights=learnt.class_weights,
        checkpoint_every_s=shop.checkpoint_every_s,
    )


def steady(threads: int) -> None:
    """The same numbers every time: a fixed number of threads, and on a GPU kernels that repeat themselves.

    A kernel without such a form still runs there, with torch's warning; fp32 is fp32, not TF32.
    """
    import torch

    memory.keep_freed()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # nothing here reads what it did not write
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False


def task_seed(shop: Workshop, task: Task) -> int:
    """From the study's seed, the model, the settings and the set of training samples, in no order."""
    training = sorted(shop.names[i] for i in task.training)
    key = json.dumps([shop.study.seed, task.entry.name, task.settings, training], sort_keys=True)
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16)


def build(shop: Workshop, entry: ModelEntry, seed: int) -> tuple[nn.Module, dict[str, Any]]:
    """The network as it starts, its weights loaded, the rest drawn from the seed; and where the weights are from."""
    import torch

    torch.manual_seed(seed)
    return load_pretrained(
        shop.source.model(entry),
        shop.weights(entry),
        first_layer=entry.first_layer,
        positions=entry.positions,
        zero_head=entry.zero_head,
        with_head=entry.with_head,
    )


def _document(shop: Workshop, task: Task, learnt: Learnt, seed: int) -> dict[str, Any]:
    def named(indices: Indices) -> list[str]:
        return [shop.names[i] for i in indices]

    training = named(task.training)
    landmarks = learnt.landmarks.model_dump(mode="json")["landmarks"] if learnt.landmarks else None
    return {
        "schema": SCHEMA,
        "model": task.entry.name,
        "fold": task.fold,
        "inner": task.inner,
        "settings": task.settings,
        "seed": seed,
        "training": training,
        "validation": [] if task.validation is None else named(task.validation),
        **({"books": {fold: named(part) for fold, part in task.books.items()}} if task.books else {}),
        "training_sha256": _names_sha256(training),
        "learnt": {
            "class_weights": learnt.class_weights,
            "landmarks": landmarks,
            "normalisation": None,
            "learning_rate": None,
            "from": list(learnt.of),
        },
        "precision": None,
        "features": None,
        "device": shop.where.kind,
        "threads": shop.threads,
    }


def _names_sha256(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def _leave(folder: Path, trained: Trained, books: Mapping[str, NDArray[np.integer]]) -> None:
    """Logits, weights and, last, ``done.json``; the checkpoint goes. ``books``: true classes of each."""
    try:
        if trained.logits is not None:
            _write_array(folder / VALIDATION, trained.logits)
        for fold, truth in books.items():
            _write_array(folder / book_file(fold), trained.books[fold])
            _write_book_rounds(folder / book_file(fold), trained.books[fold], truth)
        weights = None if trained.state is None else _write_weights(folder / WEIGHTS, trained.state)
    except OSError as error:
        raise DiskFullError.of(folder.name, error) from error
    done = {"rounds": trained.rounds, "best_round": trained.best_round, "seconds": trained.seconds}
    write_json(folder / DONE, {**done, "weights_sha256": weights})
    (folder / CHECKPOINT).unlink(missing_ok=True)


def book_file(fold: str) -> str:
    """The file of the logits on the part of ``fold`` in a shared training; its figures lie beside, as ``.jsonl``."""
    return f"book-{fold}.npy"


def _write_array(path: Path, values: NDArray[np.float32]) -> None:
    beside = path.with_name(f".{path.name}.partial")
    with beside.open("wb") as stream:
        np.save(stream, values)
    os.replace(beside, path)


def _write_book_rounds(book: Path, logits: NDArray[np.float32], truth: NDArray[np.integer]) -> None:
    """A book's figures, apart from ``rounds.jsonl``: for one of the two folds they are those of its test part."""
    lines = [{"round": number, **validation_scores(look, truth)} for number, look in enumerate(logits)]
    write_text(book.with_suffix(".jsonl"), "".join(json.dumps(line) + "\n" for line in lines))


def _write_weights(path: Path, state: dict[str, Any]) -> str:
    """As a bundle keeps them, so that what is evaluated is what is kept."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    beside = path.with_name(f".{path.name}.partial")
    try:
        save_file(kept_weights(state), beside, metadata={"format": "pt"})
    except SafetensorError as error:
        raise DiskFullError.of(path.name, error) from error
    beside.chmod(0o644)
    os.replace(beside, path)
    return file_sha256(path)


def predict_with(shop: Workshop, entry: ModelEntry, weights: Path, samples: Samples) -> NDArray[np.float32]:
    """(N, classes) logits of kept weights.

    Raises
    ------
    InputError
        If the weights are damaged.
    """
    steady(shop.threads)
    return predict(kept_model(shop, entry, weights), samples, shop.where)


def kept_model(shop: Workshop, entry: ModelEntry, weights: Path) -> nn.Module:
    """The network with kept weights, where it is to run.

    Raises
    ------
    InputError
        If the weights are damaged.
    """
    model = filled(shop.source.model(entry), weights)
    if model is None:
        raise InputError(f"The weights in {weights.parent.name} are damaged; remove that folder and resume.")
    return model.to(shop.where.torch)
