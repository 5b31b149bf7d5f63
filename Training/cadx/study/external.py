"""``cadx evaluate``: a bundle on a cohort that it has never seen, as a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadx import device
from cadx.errors import InputError
from cadx.io.atomic import write_text
from cadx.models.bundle import WEIGHTS, Bundle
from cadx.study import runfolder
from cadx.study.bundling import IMAGES, short
from cadx.study.labelled import Labelled, read_labelled
from cadx.study.opening import PREDICTIONS, predictions_table
from cadx.study.presets import presets, read_study
from cadx.study.progress import Reporter
from cadx.study.runfolder import write_json
from cadx.study.source import Learnt
from cadx.study.spec import StudySpec, VolumesInput
from cadx.study.task import Workshop, predict_with
from cadx.study.train import from_bundle

EXTERNAL = "external"


@dataclass(frozen=True)
class EvaluateRequest:
    """Which bundle on which cohort; ``study`` names labels and classes, by default that of the bundle's task."""

    bundle: Bundle
    data: Path
    out: Path
    study: str | None = None
    layout: str = "auto"
    device: str = "auto"
    threads: int | None = None
    workers: int = 1
    cache: Path | None = None
    command: tuple[str, ...] = ()


def evaluate_bundle(request: EvaluateRequest, report: Reporter) -> Path:
    """Grade every case, once; the run's folder holds predictions, and after ``cadx report`` tables and figures.

    Raises
    ------
    InputError
        If cohort, bundle or an image cannot be used.
    """
    runfolder.require_new(request.out, "give a new folder")
    plan = from_bundle(request.bundle, _study(request))
    name = request.bundle.settings.name
    entry = plan.study.model(plan.models[0]).model_copy(update={"name": name[:60].rstrip("-")})
    study = plan.study.model_copy(update={"models": (entry,)})
    where, threads = device.choose(request.device), device.threads(request.threads)
    labelled = read_labelled(study, request.data, request.layout)
    source = labelled.open(request.cache, request.workers, report.preparing)
    shop = Workshop(study, source, labelled.names, where, threads, plan.weights)
    landmarks = study.input.preparation.standardise if isinstance(study.input, VolumesInput) else None
    samples = source.samples(entry, np.arange(len(labelled.names)), Learnt((), landmarks))
    logits = predict_with(shop, entry, request.bundle.folder / WEIGHTS, samples)
    leaks = _leaks(request.bundle, source.sha256(entry))
    _write(request, shop, labelled, logits, leaks)
    report.event("opened", f"{name}: {len(labelled.names)} cases graded.", model=name)
    for leak in leaks:
        report.event("warning", leak, model=name)
    return request.out


def _leaks(bundle: Bundle, hashes: Sequence[str]) -> list[str]:
    """Images that trained the bundle are not new to it, in whatever table they stand."""
    known = set(bundle.settings.training.get(IMAGES, ()))
    seen = sum(short(sha256) in known for sha256 in hashes)
    if not seen:
        return []
    return [
        f"{seen} of these {len(hashes)} cases trained the bundle or chose its epoch, so its figures are optimistic."
    ]


def _write(
    request: EvaluateRequest, shop: Workshop, labelled: Labelled, logits: NDArray[np.float32], leaks: list[str]
) -> None:
    """Predictions and what they are of; ``run.json`` comes last and vouches for the rest."""
    study, source, bundle = shop.study, shop.source, request.bundle
    model = study.models[0].name
    folder = request.out / model / EXTERNAL
    folder.mkdir(parents=True)
    table = predictions_table(
        labelled.names, EXTERNAL, labelled.classes, logits, study.class_names, bundle.settings.temperature
    )
    write_text(folder / PREDICTIONS, table)
    write_json(folder / "bundle.json", bundle.identity())
    hashes = source.sha256()
    record = {
        **runfolder.described("evaluate", study, request.command, shop.where, shop.threads, "fp32"),
        **labelled.described(hashes),
        "synthetic": labelled.cohort.synthetic or bundle.settings.demo,
        "bundle": bundle.identity(),
        "models": [model],
        "leaks": leaks,
    }
    runfolder.write_inputs(
        request.out, study, labelled.cohort, labelled.classes, hashes, source.thumbnails(), None, record
    )


def _study(request: EvaluateRequest) -> StudySpec:
    """The study that says what the cohort's labels mean."""
    task = request.bundle.settings.task
    if request.study is None and task not in presets():
        raise InputError(f"The bundle's task {task} is none that is known; name a study file with --study.")
    return read_study(request.study or task)
