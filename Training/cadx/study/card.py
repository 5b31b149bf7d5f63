"""The model card that a training writes into its bundle."""

from __future__ import annotations

import json
from typing import Any

from cadx import DISCLAIMER
from cadx.evaluate.metrics import TITLES
from cadx.notices import DEMO_MODEL
from cadx.study.spec import StudySpec


def card(study: StudySpec, name: str, synthetic: bool, training: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """Markdown: use, limits, data, recipe, figures."""
    parts = [f"# {name}", f"**{DISCLAIMER}**"]
    if synthetic:
        parts.append(f"**{DEMO_MODEL.text}**")
    if study.caveat:
        parts.append(f"**{study.caveat}**")
    parts += [
        "## What it is for",
        f"{study.title}. Classes: {', '.join(study.class_names)}. {study.intended_use}".strip(),
        "## What it must not be used for",
        f"{study.not_for} Any decision about a patient. It has not been tested on data from other scanners, centres or "
        "protocols than those below, and it says nothing about images of another kind than those.".strip(),
        "## Data",
        _data(study, synthetic, training),
        "## How it was made",
        _block({name: value for name, value in training.items() if name != "images"}),
        "## Figures",
    ]
    for part, figures in evaluation.items():
        parts += [f"### {part}", _figures(figures)]
    parts += ["## Licence", _licence(study, synthetic, training)]
    return "\n\n".join(parts) + "\n"


def _data(study: StudySpec, synthetic: bool, training: dict[str, Any]) -> str:
    cases = training["cases"]
    counts = f"{cases['training']} cases for training"
    if cases.get("validation"):
        counts += f", {cases['validation']} for choosing the epoch"
    if synthetic:
        return f"Synthetic phantoms made by `cadx phantom`; no patient data. {counts}."
    patients = f" of {training['patients']} patients or groups" if training.get("patients") else ""
    source = f"{study.data.source} " if study.data.source else ""
    return f"{source}{counts}{patients}, split by {study.split.unit}."


def _licence(study: StudySpec, synthetic: bool, training: dict[str, Any]) -> str:
    if study.data.licence:
        return study.data.licence
    start = training.get("weights", {}).get("source", "none")
    if start != "none":
        return f"Training started from the weights {start}; their licence holds for these too."
    if synthetic:
        return "The weights were trained from scratch on synthetic data and are under the Apache License 2.0."
    return "The weights were trained from scratch; whoever trained them decides on their licence."


def _figures(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['cases']} cases: accuracy {figures['accuracy']:.3f}, balanced accuracy "
        f"{figures['balanced_accuracy']:.3f}, AUC {figures['auc']}."
    ]
    if figures.get("intervals"):
        told = (f"{TITLES[key].lower()} {low:.3f} to {high:.3f}" for key, (low, high) in figures["intervals"].items())
        lines[0] += f" 95 % intervals over resampled patients: {', '.join(told)}."
    if figures.get("ece") is not None:
        lines[0] += f" Expected calibration error {figures['ece']:.3f}."
    classes = figures["classes"]
    lines.append("| truth \\ graded | " + " | ".join(classes) + " |")
    lines.append("|---" * (len(classes) + 1) + "|")
    for name, row in zip(classes, figures["confusion"], strict=True):
        lines.append(f"| {name} | " + " | ".join(str(n) for n in row) + " |")
    return lines[0] + "\n\n" + "\n".join(lines[1:])


def _block(document: dict[str, Any]) -> str:
    return "```json\n" + json.dumps(document, indent=2, ensure_ascii=False) + "\n```"
