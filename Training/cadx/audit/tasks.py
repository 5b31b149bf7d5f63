"""Whether each training saw and learnt from its own part alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.audit.files import BOOK, WHOLE, Run, Task, digest, names_of, read_array, read_document, read_lines
from cadx.audit.report import Check, conclude

CLOSE = 1e-3
SEEN = ("validation_loss", "validation_accuracy", "validation_balanced_accuracy")


def check_task_parts(run: Run) -> Check:
    """task.json names exactly the part that folds.json gives it."""
    faults = []
    for task in run.tasks:
        document = task.document
        told = _sides(document.get("training"), document.get("validation"), document.get("books"))
        expected = _sides(task.training, task.validation, task.books)
        for side in sorted({*told, *expected}):
            if told.get(side) != expected.get(side):
                strange = sorted(set(told.get(side, [])) ^ set(expected.get(side, [])))
                faults.append(f"{task.place}: {side} is not that of folds.json ({', '.join(strange[:3]) or 'twice'})")
        if document.get("model") != task.model or document.get("fold") != task.fold:
            faults.append(f"{task.place}: task.json is of {document.get('model')}, {document.get('fold')}")
    return conclude("task parts", f"{len(run.tasks)} trainings name the parts of folds.json.", faults, len(run.tasks))


def _sides(training: Any, validation: Any, books: Any) -> dict[str, list[str]]:
    """Names of each part of a training, sorted."""
    parts = {"training": training, "validation": validation}
    parts |= {f"the book of {fold}": names for fold, names in (books or {}).items()}
    return {side: sorted(names or []) for side, names in parts.items()}


def check_learnt_from(run: Run) -> Check:
    """Whatever was learnt before training came from the training part."""
    faults, count = [], 0
    for task in run.tasks:
        learnt = task.document.get("learnt") or {}
        source = learnt.get("from") or []
        strange = sorted(set(source) - set(task.training))
        test = sorted(set(source) & set(task.test))
        if strange:
            kind = f"{test[0]} of the test part" if test else f"{strange[0]}, which is not of the training part"
            faults.append(f"{task.place}: values were learnt from {kind} ({len(strange)} in all)")
        if any(learnt.get(key) is not None for key in ("landmarks", "normalisation")):
            count += 1
            if not source:
                faults.append(f"{task.place}: values were learnt, but not said from what")
    said = f"{count} of {len(run.tasks)} trainings learnt intensities, all from their training part."
    return conclude("learnt values", said, faults, len(run.tasks))


def check_class_weights(run: Run) -> Check:
    """Class weights are those of the training part, recomputed."""
    rule = run.study.get("training", {}).get("class_weights", "none")
    faults = []
    for task in run.tasks:
        told = (task.document.get("learnt") or {}).get("class_weights")
        expected = _expected_weights(run, task, rule)
        if (told is None) and (rule != "balanced"):
            continue
        if told is None or expected is None or not _close(told, expected):
            faults.append(f"{task.place}: class weights {_short(told)} instead of {_short(expected)}")
    said = "No class weights were asked for." if rule == "none" else "Class weights are those of each training part."
    return conclude("class weights", said, faults, len(run.tasks))


def _expected_weights(run: Run, task: Task, rule: Any) -> list[float] | None:
    if rule != "balanced":
        return None if rule == "none" else [float(value) for value in rule]
    counts = np.bincount(run.truth(task.training), minlength=len(run.classes))
    return list(len(task.training) / (len(run.classes) * np.maximum(counts, 1)))


def _close(told: list[float], expected: list[float]) -> bool:
    return len(told) == len(expected) and bool(np.allclose(told, expected, rtol=CLOSE, atol=1e-6))


def _short(values: list[float] | None) -> str:
    return "none" if values is None else "/".join(f"{float(value):.3f}" for value in values)


def check_landmarks(run: Run) -> Check:
    """Landmarks are there where they must be, and differ where the training parts do."""
    if run.study.get("input", {}).get("landmarks", "none") != "nyul":
        return Check("landmarks", "passed", "No landmarks were asked for.")
    faults: list[str] = []
    seen: dict[str, Task] = {}
    for task in run.tasks:
        landmarks = (task.document.get("learnt") or {}).get("landmarks")
        if not landmarks:
            faults.append(f"{task.place}: there are no landmarks")
            continue
        for channel, values in sorted(landmarks.items()):
            # exactly equal numbers from different samples can only have been copied
            other = seen.setdefault(f"{channel} {values}", task)
            if set(other.training) != set(task.training):
                faults.append(f"{task.place}: {channel} landmarks are those of {other.place}, which has another part")
    said = f"{len(run.tasks)} trainings have landmarks, different where their parts are."
    return conclude("landmarks", said, faults, len(run.tasks))


def check_logs(run: Run) -> Check:
    """validation.npy belongs to the validation part, and rounds.jsonl says what follows from it; so do both books."""
    faults, count = [], 0
    for task, looks, figures in _looked(run):
        logits, truth = read_array(looks), run.truth(names_of(looks))
        count += 1
        if logits.ndim != 3 or logits.shape[1:] != (len(truth), len(run.classes)):
            faults.append(f"{task.place}: {looks.name} is {logits.shape} for {len(truth)} validation samples")
            continue
        if not np.isfinite(logits).all():
            faults.append(f"{task.place}: {looks.name} holds numbers that are not finite")
            continue
        faults += _log_faults(task, looks.name, read_lines(figures), logits, truth)
    return conclude("validation logs", f"{count} logs say what their logits say.", faults, count)


def _log_faults(
    task: Task, name: str, lines: list[dict[str, Any]], logits: NDArray, truth: NDArray[np.intp]
) -> Iterator[str]:
    rounds = read_document(task.folder / "done.json").get("rounds")
    if not len(lines) == len(logits) == rounds:
        yield f"{task.place}: {len(lines)} lines, {len(logits)} looks in {name}, {rounds} in done.json"
        return
    for number, line in enumerate(lines):
        loss = cross_entropy(np.asarray(logits[number]), truth)
        told = line.get("validation_loss")
        if told is not None and not np.isclose(told, loss, rtol=CLOSE, atol=CLOSE):
            yield f"{task.place}: round {number} says a validation loss of {told:.4f}, {name} {loss:.4f}"
            return


def _looked(run: Run) -> Iterator[tuple[Task, Path, Path]]:
    """The finished trainings with each file of logits and the figures that follow from it."""
    for task in run.tasks:
        if task.inner is None:
            continue
        books = [task.folder / f"{BOOK}{fold}.npy" for fold in task.books]
        pairs = [(book, book.with_suffix(".jsonl")) for book in books]
        for looks, figures in pairs or [(task.folder / "validation.npy", task.folder / "rounds.jsonl")]:
            if looks.is_file() and figures.is_file() and (task.folder / "done.json").is_file():
                yield task, looks, figures


def check_test_unseen(run: Run) -> Check:
    """No log of any training speaks of a test part; a final fit has no part to look at, a shared one tells of none."""
    faults: list[str] = []
    count = 0
    for task in run.tasks:
        for name in ("rounds.jsonl", "steps.jsonl"):
            if (task.folder / name).is_file():
                count += 1
                faults += _seen_in(task, name)
    said = f"{count} logs hold no field and no name of a test part."
    return conclude("test part unseen", said, faults, count, [], run.by_test)


def _seen_in(task: Task, name: str) -> Iterator[str]:
    test = set(task.test)
    for line in read_lines(task.folder / name):
        words = {key for key in line if "test" in key.lower()}
        words |= {value for value in _texts(line) if value in test}
        if task.inner is None or task.books:
            words |= {key for key in SEEN if line.get(key) is not None}
        if words:
            yield f"{task.place}/{name}: holds {min(words)}"
            return


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def check_final(run: Run) -> Check:
    """The final fit stopped where the inner parts said."""
    faults, count = [], 0
    for model, fold in run.selections():
        place = run.folder / model / (fold.name if fold else WHOLE)
        chosen = read_document(place / "selection.json")["chosen"]
        # the fit on all samples is a refit whatever the folds keep
        best = run.keeps_best and fold is not None
        kept = place / f"settings-{chosen['index']}" / "inner-0" if best else place / "final"
        done = kept / "done.json"
        if not done.is_file():
            continue
        count += 1
        told, where = read_document(done), done.relative_to(run.folder).as_posix()
        reached = told["best_round"] if best else told["rounds"] - 1
        if reached != chosen["round"]:
            faults.append(f"{where}: the weights are of round {reached}, chosen was {chosen['round']}")
        if not best and read_document(done.parent / "task.json").get("settings") != chosen["settings"]:
            faults.append(f"{where}: the settings are not the chosen ones")
        weights = done.parent / "weights.safetensors"
        # those of a fold are compared with its opening.json
        if not fold and told.get("weights_sha256") and weights.is_file() and digest(weights) != told["weights_sha256"]:
            faults.append(f"{weights.relative_to(run.folder).as_posix()} was changed after training")
    return conclude("final fit", f"{count} final weights are of the chosen round and settings.", faults, count)


def cross_entropy(logits: NDArray, truth: NDArray[np.intp]) -> float:
    """Mean of minus the natural logarithm of the true class's softmax, in double precision."""
    values = logits.astype(np.float64)
    top = values.max(axis=-1)
    total = top + np.log(np.exp(values - top[:, None]).sum(axis=-1))
    return float((total - values[np.arange(len(truth)), truth]).mean())
