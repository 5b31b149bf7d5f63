"""The model card that a training run writes into its bundle."""

from __future__ import annotations

import json
from typing import Any

from cadx import DISCLAIMER
from cadx.notices import DEMO_MODEL
from cadx.study.tasks import Task


def card(task: Task, name: str, synthetic: bool, training: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """Markdown: use, limits, data, recipe, figures."""
    parts = [f"# {name}", f"**{DISCLAIMER}**"]
    if synthetic:
        parts.append(f"**{DEMO_MODEL.text}**")
    parts += [
        "## What it is for",
        f"{task.title}. Classes: {', '.join(task.classes)}. {task.intended_use}",
        "## What it must not be used for",
        "Any decision about a patient. It has not been tested on data from other scanners, centres or protocols than "
        "those below, and it says nothing about images without a pancreas in the box.",
        "## Data",
        _data(synthetic, training),
        "## How it was made",
        _block({k: v for k, v in training.items() if k != "curves"}),
        "## Figures",
    ]
    for part, figures in evaluation.items():
        parts += [f"### {part}", _figures(figures)]
    parts += [
        "## Licence",
        "The weights were trained from scratch on synthetic data and are under the Apache License 2.0."
        if synthetic
        else "The weights were trained from scratch; whoever trained them decides on their licence.",
    ]
    return "\n\n".join(parts) + "\n"


def _data(synthetic: bool, training: dict[str, Any]) -> str:
    cases = training["cases"]
    counts = f"{cases['training']} cases for training, {cases['validation']} for choosing the epoch"
    if synthetic:
        return f"Synthetic abdomens made by `cadx phantom`; no patient data. {counts}."
    return f"{counts}, split by patient."


def _figures(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['cases']} cases: accuracy {figures['accuracy']:.3f}, balanced accuracy "
        f"{figures['balanced_accuracy']:.3f}, AUC {figures['auc']}."
    ]
    classes = figures["classes"]
    lines.append("| truth \\ graded | " + " | ".join(classes) + " |")
    lines.append("|---" * (len(classes) + 1) + "|")
    for name, row in zip(classes, figures["confusion"], strict=True):
        lines.append(f"| {name} | " + " | ".join(str(n) for n in row) + " |")
    return lines[0] + "\n\n" + "\n".join(lines[1:])


def _block(document: dict[str, Any]) -> str:
    return "```json\n" + json.dumps(document, indent=2, ensure_ascii=False) + "\n```"
