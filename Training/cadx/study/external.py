"""``cadx evaluate``: a bundle on a cohort that it has never seen, as a run of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cadx import device
from cadx.classify import versions
from cadx.errors import InputError
from cadx.io.atomic import write_text
from cadx.models.bundle import WEIGHTS, Bundle
from cadx.study import runfolder
from cadx.study.crossval import labelled
from cadx.study.opening import PREDICTIONS, predictions_table
from cadx.study.presets import presets, read_study, study_sha256
from cadx.study.progress import Reporter
from cadx.study.runfolder import write_json
from cadx.study.source import Learnt, open_source
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
    import torch

    runfolder.require_new(request.out)
    plan = from_bundle(request.bundle, _study(request))
    study = plan.study
    entry = study.model(plan.models[0])
    name = request.bundle.settings.name
    entry = entry.model_copy(update={"name": name[:60].rstrip("-")})
    study = study.model_copy(update={"models": (entry,)})
    where = device.choose(request.device)
    cohort, classes, merged = labelled(study, request.data, request.layout)
    cache = request.cache or cohort.folder / ".cells"
    source = open_source(study, cohort, classes, cache, workers=request.workers, progress=report.preparing)
    hashes = source.sha256()
    threads = request.threads or int(torch.get_num_threads())
    names = tuple(one.name for one in cohort.samples)
    shop = Workshop(study, source, names, where, threads, plan.weights)
    everything = np.arange(len(names))
    temperature = request.bundle.settings.temperature
    landmarks = study.input.preparation.standardise if isinstance(study.input, VolumesInput) else None
    samples = source.samples(entry, everything, Learnt((), landmarks))
    logits = predict_with(shop, entry, request.bundle.folder / WEIGHTS, samples)
    record = _record(request, study, cohort.synthetic, merged, where, threads, hashes, entry.name)
    groups = runfolder.pseudonyms([one.group for one in cohort.samples])
    record["data"] = {
        "layout": cohort.layout,
        "samples": len(names),
        "groups": len(set(groups)),
        "sha256": runfolder.data_sha256(hashes, classes, groups),
    }
    record["notes"] = list(cohort.notes)
    runfolder.write_inputs(request.out, study, cohort, classes, hashes, source.thumbnails(), None, record)
    folder = request.out / entry.name / EXTERNAL
    folder.mkdir(parents=True)
    table = predictions_table(names, EXTERNAL, classes, logits, study.class_names, temperature)
    write_text(folder / PREDICTIONS, table)
    write_json(folder / "bundle.json", request.bundle.identity())
    report.event("opened", f"{name}: {len(names)} cases graded.", model=name)
    return request.out


def _study(request: EvaluateRequest) -> StudySpec:
    """The study that says what the cohort's labels mean."""
    task = request.bundle.settings.task
    if request.study is None and task not in presets():
        raise InputError(f"The bundle's task {task} is none that is known; name a study file with --study.")
    return read_study(request.study or task)


def _record(
    request: EvaluateRequest,
    study: StudySpec,
    synthetic: bool,
    merged: dict[str, list[str]],
    where: device.Device,
    threads: int,
    hashes: list[str],
    model: str,
) -> dict[str, Any]:
    return {
        "kind": "evaluate",
        "command": list(request.command),
        "versions": versions(),
        "seed": study.seed,
        "device": {"kind": where.kind, "name": where.name},
        "precision": "fp32",
        "threads": threads,
        "bundle": request.bundle.identity(),
        "synthetic": synthetic or request.bundle.settings.demo,
        "merged_labels": {name: labels for name, labels in merged.items() if len(labels) > 1},
        "models": [model],
        "study_sha256": study_sha256(study),
        "leaks": [],
    }
