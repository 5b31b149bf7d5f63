"""Whether each test part was opened once, after everything was chosen, and left as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cadx.audit.files import Fold, Json, Run, canonical_digests, digest, read_document, read_lines, read_rows
from cadx.audit.report import Check, conclude

CLOSE = 1e-4


def check_opening(run: Run) -> Check:
    """opening.json's hashes are those of the files."""
    faults, count = [], 0
    folds = (digest(run.folder / "folds.json"), *canonical_digests(run.folds_document))
    # a folds.json at odds with itself is another check's
    whole = run.folds_document.get("sha256") in folds
    for model, fold in _opened(run, "opening.json"):
        place, count = f"{model}/{fold.name}", count + 1
        folder = run.folder / place
        told = read_document(folder / "opening.json")
        if whole and told["folds_sha256"] not in folds:
            faults.append(f"{place}: folds.json is not the one with which it was opened")
        for key, path in (
            ("selection", folder / "selection.json"),
            ("weights", _weights(run, folder)),
            ("predictions", folder / "predictions.csv"),
        ):
            if digest(path) != told[f"{key}_sha256"]:
                faults.append(f"{path.relative_to(run.folder).as_posix()} is not the file with which it was opened")
    return conclude("opening", f"{count} test parts were opened with the files that lie there.", faults, count)


def check_opened_once(run: Run) -> Check:
    """openings.jsonl has one line for each test part that was opened."""
    lines = read_lines(run.folder / "openings.jsonl") if run.has("openings.jsonl") else []
    counts = Counter((line["model"], line["fold"]) for line in lines)
    opened = {(model, fold.name) for model, fold in _opened(run, "opening.json")}
    faults = [f"{model}/{fold} was opened {n} times" for (model, fold), n in counts.items() if n > 1]
    faults += [f"{model}/{fold} has no line in openings.jsonl" for model, fold in sorted(opened - set(counts))]
    for line in lines:
        place = f"{line['model']}/{line['fold']}"
        if counts[(line["model"], line["fold"])] == 1 and not _of_this_opening(run, place, line):
            faults.append(f"{place}: what lies there is not of the opening in openings.jsonl")
    return conclude("opened once", f"{len(counts)} test parts were opened once each.", faults, len(lines) + len(opened))


def _of_this_opening(run: Run, place: str, line: Json) -> bool:
    """Whether the record is that of opening.json; of predictions.csv where a kill left no opening.json yet."""
    if run.has(place, "opening.json"):
        told = read_document(run.folder / place / "opening.json")
        return all(told[key] == line[key] for key in ("selection_sha256", "predictions_sha256"))
    return digest(run.folder / place / "predictions.csv") == line["predictions_sha256"]


def check_predictions(run: Run) -> Check:
    """predictions.csv holds the test part, each once, and probabilities that follow from the logits."""
    faults, count = [], 0
    for model, fold in _opened(run, "predictions.csv"):
        count += 1
        faults += [f"{model}/{fold.name}: {fault}" for fault in _prediction_faults(run, model, fold)]
    said = f"{count} tables hold their test part, each sample once, with the softmax of its logits."
    return conclude("predictions", said, faults, count)


def _prediction_faults(run: Run, model: str, fold: Fold) -> Iterator[str]:
    folder = run.folder / model / fold.name
    rows = read_rows(folder / "predictions.csv")
    names = [row["name"] for row in rows]
    strange = sorted((Counter(names) - Counter(fold.test)) + (Counter(fold.test) - Counter(names)))
    if strange:
        yield f"the samples are not those of the test part ({', '.join(strange[:3])})"
        return
    for row in rows:
        if row["class"] != run.label.get(row["name"]) or row["fold"] != fold.name:
            yield f"{row['name']} is not of the class or fold that is said"
            return
    if not rows:
        return
    logits = np.array([[float(row[f"logit:{label}"]) for label in run.classes] for row in rows])
    told = np.array([[float(row[f"p:{label}"]) for label in run.classes] for row in rows])
    selection = folder / "selection.json"
    temperature = (read_document(selection).get("temperature") or 1.0) if selection.is_file() else 1.0
    raised = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    apart = np.abs(raised / raised.sum(axis=1, keepdims=True) - told).max(axis=1)
    if not (apart < CLOSE).all():
        yield f"the probabilities of {names[int(apart.argmax())]} are not the softmax of its logits"
    top = told.max(axis=1)
    wrong = [k for k, row in enumerate(rows) if told[k, run.classes.index(row["predicted"])] < top[k] - CLOSE]
    if wrong:
        yield f"{names[wrong[0]]} is predicted another class than its probabilities say"


def _opened(run: Run, name: str) -> Iterator[tuple[str, Fold]]:
    for model, fold in run.begun():
        if run.has(model, fold.name, name):
            yield model, fold


def _weights(run: Run, folder: Path) -> Path:
    if not run.keeps_best:
        return folder / "final" / "weights.safetensors"
    chosen = read_document(folder / "selection.json")["chosen"]["index"] if (folder / "selection.json").is_file() else 0
    return folder / f"settings-{chosen}" / "inner-0" / "weights.safetensors"
