"""Opening a test part: once, after the choice is frozen, by code that no trainer calls."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.io.atomic import write_text
from cadx.models.bundle import file_sha256
from cadx.trust.temperature import softmax

SCHEMA = "cadx.opening/1"
PREDICTIONS, OPENING, OPENINGS = "predictions.csv", "opening.json", "openings.jsonl"


def record_opening(
    run: Path,
    folder: Path,
    *,
    model: str,
    fold: str,
    folds_sha256: str,
    weights: Path,
    table: str,
) -> None:
    """Write the predictions of a test part and the record that it was opened.

    A run that was killed in between writes the same again; anything else is a second opening and is refused.

    Raises
    ------
    InputError
        If the test part was opened before with another choice or other predictions.
    """
    write_text(folder / PREDICTIONS, table)
    record = {
        "model": model,
        "fold": fold,
        "selection_sha256": file_sha256(folder / "selection.json"),
        "predictions_sha256": file_sha256(folder / PREDICTIONS),
    }
    _append(run / OPENINGS, record)
    opening = {
        "schema": SCHEMA,
        **record,
        "folds_sha256": folds_sha256,
        "weights_sha256": file_sha256(weights),
    }
    write_text(folder / OPENING, json.dumps(opening, indent=1) + "\n")


def predictions_table(
    names: Sequence[str],
    fold: str,
    truth: NDArray[np.integer],
    logits: NDArray[np.floating],
    classes: Sequence[str],
    temperature: float | None,
) -> str:
    """CSV: name, fold, class, predicted, a logit and a probability a class; probabilities are calibrated."""
    shares = softmax(logits, temperature or 1.0)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = [*(f"logit:{c}" for c in classes), *(f"p:{c}" for c in classes)]
    writer.writerow(["name", "fold", "class", "predicted", *columns])
    for name, true, row, p in zip(names, truth, logits, shares, strict=True):
        told = [name, fold, classes[true], classes[int(row.argmax())]]
        writer.writerow([*told, *(repr(float(v)) for v in row), *(repr(float(v)) for v in p)])
    return stream.getvalue()


def _append(file: Path, record: dict[str, Any]) -> None:
    known = file.read_text(encoding="utf-8") if file.is_file() else ""
    for line in known.splitlines():
        earlier = json.loads(line)
        if (earlier["model"], earlier["fold"]) == (record["model"], record["fold"]):
            if earlier != record:
                raise InputError(
                    f"The test part {record['fold']} was opened before for {record['model']} with another choice; "
                    "start a new run."
                )
            return
    write_text(file, known + json.dumps(record) + "\n")
