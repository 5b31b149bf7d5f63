"""A small run folder (``cadx.run/1``) as a study would leave it, without training anything: plain numpy and JSON.

Models grade by rule: the logit of the true class is raised, noise does the rest. Everything follows from the seed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Json = dict[str, Any]
Rows = list[dict[str, str]]
Looks = list[list[tuple[np.ndarray, np.ndarray]]]
PERCENTILES = 5
LEAKS = (
    "Images are split at random, so images of one patient lie in training and test parts.",
    "The test part also chose the epoch, so its figures are optimistic.",
)


@dataclass
class Plan:
    """What every part of the run is written from."""

    folder: Path
    models: tuple[str, ...]
    classes: tuple[str, ...]
    seed: int
    rounds: int
    settings: tuple[Json, ...]
    final: str
    shared: bool
    samples: Rows = field(default_factory=list)
    thumbnails: np.ndarray = field(default_factory=lambda: np.zeros(0))
    folds: Json = field(default_factory=dict)

    def truth(self, names: Sequence[str]) -> np.ndarray:
        """(names,) class indices."""
        classes = {row["name"]: self.classes.index(row["class"]) for row in self.samples}
        return np.array([classes[name] for name in names], dtype=int)


def write_fake_run(
    folder: Path,
    *,
    models: Sequence[str] = ("vit", "cnn"),
    classes: int = 3,
    groups: int = 30,
    folds: int = 5,
    inner: int = 4,
    rounds: int = 3,
    seed: int = 0,
    leak_by_design: bool = False,
    settings: Sequence[Json] = ({},),
    final: str = "refit",
    shared: bool = False,
    whole: bool = True,
    edit_samples: Callable[[Rows, np.ndarray], None] | None = None,
    edit_folds: Callable[[Json, Rows], None] | None = None,
) -> Path:
    """Write a finished run folder and return it.

    Parameters
    ----------
    folder
        Made where it is missing.
    classes, groups, folds, inner, rounds
        How many. A group has one to three samples of one class.
    leak_by_design
        Split by image, and the test part chooses the epoch.
    settings
        The declared grid, such as ``({"learning_rate": 1e-3}, {"learning_rate": 1e-4})``.
    final
        "refit", or "best", which takes the first inner part only.
    shared
        The inner folds are the other folds, and each two share their trainings.
    whole
        Also the ``all`` folder of each model.
    edit_samples, edit_folds
        Change the rows and thumbnails, or the folds, in place before anything is written from them.
    """
    names = tuple(f"class {number}" for number in range(classes))
    plan = Plan(Path(folder), tuple(models), names, seed, rounds, tuple(settings), final, shared)
    plan.samples, plan.thumbnails = _cohort(plan, groups)
    if edit_samples:
        edit_samples(plan.samples, plan.thumbnails)
    plan.folds = _folds(plan, folds, 1 if final == "best" else inner, leak_by_design)
    if edit_folds:
        edit_folds(plan.folds, plan.samples)
    seal_folds(plan.folds)
    plan.folder.mkdir(parents=True, exist_ok=True)
    _write_top(plan, leak_by_design)
    for model in plan.models:
        if shared:
            _write_pairs(plan, model)
        for number, fold in enumerate(plan.folds["outer"]):
            _write_fold(plan, model, number, fold, leak_by_design)
        if whole:
            _write_whole(plan, model, leak_by_design)
    return plan.folder


def digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seal_folds(document: Json) -> None:
    """Put the document's own hash into it."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    document["sha256"] = hashlib.sha256(text.encode()).hexdigest()


def dump(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def reseal_opening(fold: Path) -> None:
    """Bring a fold's opening.json and its line in openings.jsonl up to date with the files, as a forger would."""
    opening = json.loads((fold / "opening.json").read_text())
    opening["selection_sha256"] = digest(fold / "selection.json")
    opening["predictions_sha256"] = digest(fold / "predictions.csv")
    dump(fold / "opening.json", opening)
    path = fold.parent.parent / "openings.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if (line["model"], line["fold"]) == (opening["model"], opening["fold"]):
            line.update({key: opening[key] for key in ("selection_sha256", "predictions_sha256")})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _cohort(plan: Plan, groups: int) -> tuple[Rows, np.ndarray]:
    random = np.random.default_rng([plan.seed, 1])
    rows, images = [], []
    for group in range(groups):
        label = plan.classes[group % len(plan.classes)]
        base = _blobs(random)
        for _ in range(1 + group % 3):
            image = np.clip(0.8 * base + 0.2 * _blobs(random), 0, 255).astype(np.uint8)
            images.append(image)
            rows.append(
                {
                    "name": f"s{len(rows):04d}",
                    "group": f"g{group + 1:04d}",
                    "class": label,
                    "label": label.upper(),
                    "centre": f"c{group % 2}",
                    "sha256": hashlib.sha256(image.tobytes()).hexdigest(),
                }
            )
    return rows, np.stack(images)


def _blobs(random: np.random.Generator) -> np.ndarray:
    """(2, 32, 32) a smooth picture that no other resembles, 0..255; the second channel goes with the first."""
    y, x = np.mgrid[0:32, 0:32]
    picture = np.zeros((2, 32, 32))
    for _ in range(12):
        place, width, height = random.uniform(3, 29, 2), random.uniform(1.5, 4), random.uniform(-1, 1, 2)
        picture += height[:, None, None] * np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / (2 * width**2))
    low, high = picture.min(axis=(1, 2), keepdims=True), picture.max(axis=(1, 2), keepdims=True)
    return 255 * (picture - low) / (high - low)


def _folds(plan: Plan, folds: int, inner: int, leak_by_design: bool) -> Json:
    place: dict[str, int] = {}
    key = "name" if leak_by_design else "group"
    for label in plan.classes:
        own = dict.fromkeys(row[key] for row in plan.samples if row["class"] == label)
        place |= {value: index % folds for index, value in enumerate(own)}
    outer = []
    for number in range(folds):
        test = [row["name"] for row in plan.samples if place[row[key]] == number]
        training = [row["name"] for row in plan.samples if place[row[key]] != number]
        if leak_by_design:
            parts = [{"name": "inner-0", "training": training, "validation": test}]
        else:
            kept = [row for row in plan.samples if place[row[key]] != number]
            parts = [_inner_part(plan, kept, index, max(inner, 2)) for index in range(inner)]
        if plan.shared:
            parts = []
        outer.append({"name": f"fold-{number}", "test": test, "training": training, "inner": parts})
    for fold in outer if plan.shared else ():
        for number, other in enumerate(one for one in outer if one is not fold):
            training = [name for name in fold["training"] if name not in other["test"]]
            fold["inner"].append({"name": f"inner-{number}", "training": training, "validation": other["test"]})
    unit = "image" if leak_by_design else "patient"
    return {"schema": "cadx.folds/1", "kind": "folds", "unit": unit, "seed": plan.seed, "outer": outer}


def _inner_part(plan: Plan, kept: Rows, index: int, count: int) -> Json:
    place: dict[str, int] = {}
    for label in plan.classes:
        own = dict.fromkeys(row["group"] for row in kept if row["class"] == label)
        place |= {value: position % count for position, value in enumerate(own)}
    return {
        "name": f"inner-{index}",
        "training": [row["name"] for row in kept if place[row["group"]] != index],
        "validation": [row["name"] for row in kept if place[row["group"]] == index],
    }


def _write_top(plan: Plan, leak_by_design: bool) -> None:
    study = _study(plan, leak_by_design)
    (plan.folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    _write_rows(plan.folder / "samples.csv", plan.samples)
    np.save(plan.folder / "thumbnails.npy", plan.thumbnails)
    dump(plan.folder / "folds.json", plan.folds)
    (plan.folder / "openings.jsonl").write_text("")
    run = {
        "schema": "cadx.run/1",
        "command": ["cadx", "crossval"],
        "kind": "crossval",
        "versions": {"slicer-cadx": "0"},
        "seed": plan.seed,
        "device": {"kind": "cpu", "name": "none"},
        "precision": "fp32",
        "threads": 2,
        "data": {
            "layout": "table",
            "samples": len(plan.samples),
            "groups": len({row["group"] for row in plan.samples}),
            "sha256": digest(plan.folder / "samples.csv"),
        },
        "synthetic": True,
        "merged_labels": {name: [name.upper()] for name in plan.classes},
        "notes": [],
        "models": list(plan.models),
        "study_sha256": digest(plan.folder / "study.yaml"),
        "leaks": list(LEAKS) if leak_by_design else [],
        "shared": plan.shared,
        "disclaimer": "Research use only, not for clinical decisions.",
    }
    dump(plan.folder / "run.json", run)


def _study(plan: Plan, leak_by_design: bool) -> Json:
    inner = "test" if leak_by_design else "holdout" if plan.final == "best" else "folds"
    grid = {key: [chosen[key] for chosen in plan.settings] for key in plan.settings[0]}
    return {
        "schema": "cadx.study/1",
        "name": "fake",
        "title": "A run that was never trained",
        "classes": [{"name": name, "labels": [name.upper()], "negative": False} for name in plan.classes],
        "input": {"kind": "volumes", "preparation": {"channels": ["T1", "T2"]}, "landmarks": "nyul", "centre": False},
        "models": [
            {"name": name, "title": name.upper(), "architecture": "vit_tiny_patch16_224"} for name in plan.models
        ],
        "tables": [{"title": "Table 1", "metrics": ["accuracy"], "rows": [{"model": name} for name in plan.models]}],
        "split": {
            "kind": "folds",
            "unit": "image" if leak_by_design else "patient",
            "folds": len(plan.folds["outer"]),
            "inner": {"kind": inner, "folds": None, "share": 0.15},
        },
        "training": {"epochs": plan.rounds, "check_every": 1, "class_weights": "balanced"},
        "selection": {"metric": "loss", "grid": grid, "final": plan.final},
        "calibration": "temperature",
        "seed": plan.seed,
    }


def _write_pairs(plan: Plan, model: str) -> None:
    """Each training that two folds share, with a book for each."""
    for (one, fold), (two, other) in combinations(enumerate(plan.folds["outer"]), 2):
        name = f"{fold['name']}+{other['name']}"
        left_out = {part["name"]: part["test"] for part in (fold, other)}
        training = [n for n in fold["training"] if n not in other["test"]]
        for index, chosen in enumerate(plan.settings):
            place = plan.folder / model / "shared" / f"settings-{index}" / name
            _write_task(
                plan, place, (model, "shared", name), chosen, {"training": training, "validation": []}, left_out
            )
            _write_fit(plan, place, None, None, False, one)
            for number, (book, names) in zip((one, two), left_out.items(), strict=True):
                logits = _logits(plan, model, (one, two, index, number), names)
                np.save(place / f"book-{book}.npy", logits)
                _write_figures(place / f"book-{book}.jsonl", logits, plan.truth(names))


def _write_figures(path: Path, logits: np.ndarray, truth: np.ndarray) -> None:
    names = ("validation_loss", "validation_accuracy", "validation_balanced_accuracy")
    lines = [{"round": n, **dict(zip(names, _looked(look, truth), strict=True))} for n, look in enumerate(logits)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def books_of(plan: Plan, model: str, fold: Json, index: int) -> list[tuple[str, list[str]]]:
    """What a fold chooses by: place in the model's folder of the books of the other folds, and their samples."""
    names = [one["name"] for one in plan.folds["outer"]]
    found = []
    for other in (one for one in plan.folds["outer"] if one["name"] != fold["name"]):
        pair = "+".join(sorted((fold["name"], other["name"]), key=names.index))
        found.append((f"shared/settings-{index}/{pair}/book-{other['name']}.npy", other["test"]))
    return found


def _write_fold(plan: Plan, model: str, number: int, fold: Json, leak_by_design: bool) -> None:
    folder = plan.folder / model / fold["name"]
    inputs, looks = (_shared_looks if plan.shared else _write_inner)(plan, model, number, fold)
    selection = _select(plan, looks, inputs, calibrate=not leak_by_design)
    dump(folder / "selection.json", selection)
    weights = folder / f"settings-{selection['chosen']['index']}" / "inner-0" / "weights.safetensors"
    if plan.final == "refit":
        weights = _write_final(plan, folder, (model, fold["name"]), selection, fold["training"], number)
    _write_predictions(plan, folder, (model, fold), selection, number)
    _write_opening(plan, folder, (model, fold["name"]), weights)


def _shared_looks(plan: Plan, model: str, number: int, fold: Json) -> tuple[dict[str, Path], Looks]:
    inputs: dict[str, Path] = {}
    looks: Looks = []
    for index in range(len(plan.settings)):
        looks.append([])
        for name, names in books_of(plan, model, fold, index):
            inputs[name] = plan.folder / model / name
            looks[-1].append((np.load(inputs[name]), plan.truth(names)))
    return inputs, looks


def _write_inner(plan: Plan, model: str, number: int, fold: Json) -> tuple[dict[str, Path], Looks]:
    folder = plan.folder / model / fold["name"]
    looks: Looks = []
    for index, chosen in enumerate(plan.settings):
        looks.append([])
        for order, part in enumerate(fold["inner"]):
            place = folder / f"settings-{index}" / part["name"]
            logits = _logits(plan, model, (number, index, order), part["validation"])
            _write_task(plan, place, (model, fold["name"], part["name"]), chosen, part)
            _write_fit(plan, place, logits, plan.truth(part["validation"]), plan.final == "best", number)
            np.save(place / "validation.npy", logits)
            looks[-1].append((logits, plan.truth(part["validation"])))
    return {str(path.relative_to(folder).as_posix()): path for path in sorted(folder.rglob("validation.npy"))}, looks


def _write_whole(plan: Plan, model: str, leak_by_design: bool) -> None:
    folder = plan.folder / model / "all"
    looks: Looks = []
    inputs = {}
    for index in range(len(plan.settings)):
        looks.append([])
        for fold in plan.folds["outer"]:
            for name, names in books_of(plan, model, fold, index) if plan.shared else ():
                inputs[name] = folder.parent / name
                looks[-1].append((np.load(inputs[name]), plan.truth(names)))
            for part in () if plan.shared else fold["inner"]:
                path = folder.parent / fold["name"] / f"settings-{index}" / part["name"] / "validation.npy"
                looks[-1].append((np.load(path), plan.truth(part["validation"])))
                inputs[str(path.relative_to(folder.parent).as_posix())] = path
    selection = _select(plan, looks, inputs, calibrate=not leak_by_design)
    dump(folder / "selection.json", selection)
    everyone = [row["name"] for row in plan.samples]
    _write_final(plan, folder, (model, "all"), selection, everyone, len(plan.folds["outer"]))


def _write_final(
    plan: Plan, folder: Path, names: tuple[str, str], selection: Json, training: list[str], number: int
) -> Path:
    place = folder / "final"
    part = {"training": training, "validation": []}
    _write_task(plan, place, (*names, None), selection["chosen"]["settings"], part)
    _write_fit(plan, place, None, None, True, number, selection["chosen"]["round"] + 1)
    return place / "weights.safetensors"


def _write_task(
    plan: Plan,
    place: Path,
    names: tuple[str, str, str | None],
    chosen: Json,
    part: Json,
    books: dict[str, list[str]] | None = None,
) -> None:
    training = part["training"]
    truth = plan.truth(training)
    shares = [len(truth) / (len(set(truth)) * max(1, int((truth == c).sum()))) for c in range(len(plan.classes))]
    drawn_by = hashlib.sha256("\n".join(training).encode()).digest()
    random = np.random.default_rng([plan.seed, 5, *drawn_by])
    middle = np.sort(random.uniform(5, 95, PERCENTILES - 2))
    landmarks = {channel: [0.0, *middle.tolist(), 100.0] for channel in ("T1", "T2")}
    document = {
        "schema": "cadx.task/1",
        "model": names[0],
        "fold": names[1],
        "inner": names[2],
        "settings": chosen,
        "seed": plan.seed,
        "training": training,
        "validation": part["validation"],
        **({"books": books} if books else {}),
        "training_sha256": hashlib.sha256("\n".join(training).encode()).hexdigest(),
        "learnt": {
            "class_weights": shares,
            "landmarks": landmarks,
            "normalisation": None,
            "learning_rate": None,
            "from": training,
        },
        "precision": "fp32",
        "device": "cpu",
        "threads": 2,
    }
    dump(place / "task.json", document)


def _write_fit(
    plan: Plan,
    place: Path,
    logits: np.ndarray | None,
    truth: np.ndarray | None,
    keep: bool,
    number: int,
    rounds: int | None = None,
) -> None:
    """Logs, weights and done.json; ``logits`` None for a fit without a validation part."""
    count = plan.rounds if rounds is None else rounds
    lines = []
    losses = []
    for index in range(count):
        line = {"round": index, "step": 2 * index + 1, "loss": 1.1 / (index + 1), "stage": 0}
        loss = accuracy = balanced = None
        if logits is not None and truth is not None:
            loss, accuracy, balanced = _looked(logits[index], truth)
            losses.append(loss)
        line |= {"validation_loss": loss, "validation_accuracy": accuracy, "validation_balanced_accuracy": balanced}
        lines.append(line)
    (place / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    steps = [{"step": s, "round": s // 2, "loss": 1.1 / (s + 1), "learning_rate": 1e-3} for s in range(2 * count)]
    (place / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in steps))
    weights = None
    if keep:
        header = json.dumps({"__metadata__": {"place": f"{place.parent.name}/{place.name}", "fold": str(number)}})
        content = len(header).to_bytes(8, "little") + header.encode()
        (place / "weights.safetensors").write_bytes(content)
        weights = hashlib.sha256(content).hexdigest()
    best = int(np.argmin(losses)) if losses else count - 1
    dump(place / "done.json", {"rounds": count, "best_round": best, "seconds": 0.5, "weights_sha256": weights})


def _looked(logits: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    right = logits.argmax(axis=1) == truth
    balanced = np.mean([right[truth == c].mean() for c in np.unique(truth)])
    return _loss(logits, truth), float(right.mean()), float(balanced)


def _loss(logits: np.ndarray, truth: np.ndarray) -> float:
    p = softmax(logits.astype(float))
    return float(-np.log(p[np.arange(len(truth)), truth]).mean())


def _logits(plan: Plan, model: str, place: tuple[int, ...], names: Sequence[str]) -> np.ndarray:
    """(rounds, names, classes) float32; better models first, the last round worse than the one before."""
    order = plan.models.index(model)
    random = np.random.default_rng([plan.seed, 2, order, *place])
    truth = plan.truth(names)
    skill = (2.2 - 0.5 * order) * np.minimum(1, np.arange(1, plan.rounds + 1) / max(1, plan.rounds - 1))
    noise = np.where(np.arange(plan.rounds) == plan.rounds - 1, 2.0, 1.2)
    sign = np.eye(len(plan.classes))[truth]
    drawn = random.standard_normal((plan.rounds, len(truth), len(plan.classes)))
    return (skill[:, None, None] * sign + noise[:, None, None] * drawn).astype(np.float32)


def _select(plan: Plan, looks: Looks, inputs: dict[str, Path], calibrate: bool) -> Json:
    candidates = []
    for chosen, parts in zip(plan.settings, looks, strict=True):
        curve = [float(np.mean([_loss(logits[r], truth) for logits, truth in parts])) for r in range(plan.rounds)]
        best = int(np.argmin(curve))
        candidates.append({"settings": chosen, "curve": curve, "best_round": best, "value": curve[best]})
    index = int(np.argmin([candidate["value"] for candidate in candidates]))
    best = candidates[index]["best_round"]
    logits = np.concatenate([logits[best] for logits, _ in looks[index]])
    truth = np.concatenate([truth for _, truth in looks[index]])
    return {
        "schema": "cadx.selection/1",
        "metric": "loss",
        "candidates": candidates,
        "chosen": {"index": index, "settings": plan.settings[index], "round": best},
        "temperature": temperature(logits, truth) if calibrate else None,
        "inputs": {name: digest(path) for name, path in inputs.items()},
    }


def temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """What the logits are divided by for the least cross-entropy."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda t: _loss(logits.astype(float) / np.exp(t), truth),
        bounds=(-4, 4),
        method="bounded",
        options={"xatol": 1e-8},
    )
    return float(np.exp(found.x))


def _write_predictions(plan: Plan, folder: Path, names: tuple[str, Json], selection: Json, number: int) -> None:
    model, fold = names
    logits = _logits(plan, model, (number, 99), fold["test"])[max(0, plan.rounds - 2)]
    p = softmax(logits.astype(float) / (selection["temperature"] or 1))
    rows = []
    for index, (name, truth) in enumerate(zip(fold["test"], plan.truth(fold["test"]), strict=True)):
        row = {"name": name, "fold": fold["name"], "class": plan.classes[truth]}
        row["predicted"] = plan.classes[int(logits[index].argmax())]
        row |= {f"logit:{label}": repr(float(logits[index, c])) for c, label in enumerate(plan.classes)}
        row |= {f"p:{label}": repr(float(p[index, c])) for c, label in enumerate(plan.classes)}
        rows.append(row)
    _write_rows(folder / "predictions.csv", rows)


def _write_opening(plan: Plan, folder: Path, names: tuple[str, str], weights: Path) -> None:
    line = {
        "model": names[0],
        "fold": names[1],
        "selection_sha256": digest(folder / "selection.json"),
        "predictions_sha256": digest(folder / "predictions.csv"),
    }
    seals = {"folds_sha256": digest(plan.folder / "folds.json"), "weights_sha256": digest(weights)}
    dump(folder / "opening.json", {"schema": "cadx.opening/1", **line, **seals})
    with (plan.folder / "openings.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _write_rows(path: Path, rows: Rows) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
