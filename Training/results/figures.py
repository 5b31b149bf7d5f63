"""All figures of the kept results, computed from kept predictions: what RESULTS.md, the cards and the README print.

python Training/results/figures.py        # writes figures.json beside this file
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from cadx.evaluate.intervals import LEVEL, RESAMPLES, weighted_scores
from cadx.evaluate.metrics import class_scores, scores
from cadx.evaluate.published import published
from cadx.study.range_test import steepest

HERE = Path(__file__).resolve().parent
SETS = {
    "figshare": ("brain-tumor-type", "Tables 3 and 4"),
    "br35h": ("brain-tumor-binary", "Tables 1 and 2"),
    "radiographs": ("chest-xray", ""),
}
PROTOCOLS = ("images", "patients")
SEEDS = (0, 1, 2)
# so that no two test parts are resampled alike
DRAWS = {"images": 0, "patients": 100}
SURE = 0.99
METRICS = ("accuracy", "balanced_accuracy", "auc")
MODEL = "efficientnet-lite0-transfer"
# rows of the papers' protocol beside the 8 epochs, by the name of their runs
FURTHER = {"long": MODEL, "vit": "vit-small-dinov2"}
COVID = "COVID-19"


class Answers:
    """Predictions of one test part. ``groups``: whom its cases belong to."""

    def __init__(self, file: Path, groups: dict[str, str] | None) -> None:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        self.classes = [key.removeprefix("p:") for key in rows[0] if key.startswith("p:")]
        self.names = [row["name"] for row in rows]
        self.truth = np.array([self.classes.index(row["class"]) for row in rows])
        self.shares = np.array([[float(row[f"p:{name}"]) for name in self.classes] for row in rows])
        self.groups = self.names if groups is None else [groups[name] for name in self.names]

    def scores(self) -> dict[str, Any]:
        """As ``cadx report`` has them."""
        return scores(self.truth, self.shares)

    def against_rest(self, name: str) -> Answers:
        """Of two classes: the one of this name, and the rest."""
        own = self.classes.index(name)
        other = object.__new__(Answers)
        other.classes, other.names, other.groups = ["rest", name], self.names, self.groups
        other.truth = (self.truth == own).astype(int)
        other.shares = np.stack([1 - self.shares[:, own], self.shares[:, own]], axis=1)
        return other


@cache
def resampled(answers: Answers, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Each metric of :data:`RESAMPLES` draws of groups with replacement, as the package's intervals draw them."""
    names, place = np.unique(answers.groups, return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    parts = [
        weighted_scores(answers.truth, answers.shares, drawn[start : start + 200, place].astype(float))
        for start in range(0, RESAMPLES, 200)
    ]
    return {key: np.concatenate([part[key] for part in parts]) for key in METRICS}


def rounded(value: float | None, digits: int = 4) -> float | None:
    """None stays."""
    return None if value is None else round(float(value), digits)


def interval(values: NDArray[np.float64]) -> list[float | None]:
    """Ends of the 95 % interval."""
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [rounded(low), rounded(high)]


@cache
def groups_of(name: str) -> dict[str, str]:
    """Pseudonyms of patients or groups by the names of a data set's cases."""
    with (HERE / "protocols" / f"{name}-samples.csv").open(encoding="utf-8", newline="") as stream:
        return {row["name"]: row["group"] for row in csv.DictReader(stream)}


def runs_of(key: str, protocol: str, groups: str, model: str = MODEL) -> dict[int, Answers]:
    """By seed, of the runs that are there."""
    found = {}
    for seed in SEEDS:
        file = HERE / "protocols" / "runs" / f"{key}-{protocol}-{seed}" / model / "fold-0" / "predictions.csv"
        if file.is_file():
            found[seed] = Answers(file, groups_of(groups))
    return found


def averaged(runs: dict[int, Answers], first_draw: int) -> dict[str, Any]:
    """Figures of each seed, and their mean with an interval over resampled groups, drawn from ``first_draw`` on."""
    own = {seed: answers.scores() for seed, answers in runs.items()}
    drawn = {seed: resampled(answers, first_draw + seed) for seed, answers in runs.items()}
    found: dict[str, Any] = {"seeds": list(runs), "test": [len(answers.names) for answers in runs.values()]}
    for key in METRICS:
        found[key] = {
            "each": [rounded(own[seed][key]) for seed in runs],
            "mean": rounded(np.mean([own[seed][key] for seed in runs])),
            "interval_95": interval(np.mean([drawn[seed][key] for seed in runs], axis=0)),
        }
    return found


def difference(one: dict[int, Answers], other: dict[int, Answers]) -> dict[str, Any]:
    """In points: the first less the second, mean over the seeds that both have."""
    seeds = [seed for seed in one if seed in other]
    found: dict[str, Any] = {"seeds": seeds}
    first, second = (
        {seed: (runs[seed].scores(), resampled(runs[seed], DRAWS[protocol] + seed)) for seed in seeds}
        for runs, protocol in zip((one, other), PROTOCOLS, strict=True)
    )
    for key in METRICS:
        values = [100 * (first[seed][0][key] - second[seed][0][key]) for seed in seeds]
        drawn = [100 * (first[seed][1][key] - second[seed][1][key]) for seed in seeds]
        low, high = interval(np.mean(drawn, axis=0))
        found[key] = {
            "each": [rounded(value, 2) for value in values],
            "mean": rounded(np.mean(values), 2),
            "interval_95": [rounded(low, 2), rounded(high, 2)],
        }
    return found


def best_published(study: str, metric: str = "accuracy") -> dict[str, Any]:
    """The paper's best model and figure."""
    known = [one for one in published(study).references if one.metric == metric and one.table.startswith("Table")]
    known = known or [one for one in published(study).references if one.metric == metric]
    ours = [one for one in known if "60/40" in one.protocol] or known
    best = max(ours, key=lambda one: one.value)
    return {"model": best.model, "table": best.table, "protocol": best.protocol, metric: best.value}


def protocols() -> dict[str, Any]:
    """Both protocols on every data set."""
    found: dict[str, Any] = {}
    for key, (study, _) in SETS.items():
        runs = {protocol: runs_of(key, protocol, key) for protocol in PROTOCOLS}
        common = set(runs["images"]) & set(runs["patients"])
        runs = {protocol: {seed: own[seed] for seed in own if seed in common} for protocol, own in runs.items()}
        if not common:
            continue
        found[key] = {
            "published": best_published(study),
            **{protocol: averaged(own, DRAWS[protocol]) for protocol, own in runs.items()},
            "difference_points": difference(runs["images"], runs["patients"]),
        }
        found[key]["images"]["training"] = [len(groups_of(key)) - test for test in found[key]["images"]["test"]]
        if key == "radiographs":
            for protocol, own in runs.items():
                against = {seed: answers.against_rest(COVID) for seed, answers in own.items()}
                found[key][protocol]["covid_against_rest"] = averaged(against, DRAWS[protocol])["auc"]
        for name, model in FURTHER.items():
            further = runs_of(key, name, key, model)
            if further:
                own = averaged(further, DRAWS["images"])
                found[key][name] = {**own, "training": found[key]["images"]["training"]}
    for name in SETS:
        file = HERE / "protocols" / f"{name}-shortcuts.json"
        if file.is_file() and name in found:
            found[name]["shortcuts"] = json.loads(file.read_text(encoding="utf-8"))["parts"]
    return found


def as_paper() -> dict[str, Any]:
    """Runs with the tumour paper's own augmentation, optimiser and schedule, by model."""
    found = {}
    for model in AS_PAPER:
        runs = {}
        for seed in SEEDS:
            folder = HERE / "convergence" / ("run" if seed == 0 else f"seed-{seed}")
            file = folder / model / "fold-0" / "predictions.csv"
            if file.is_file():
                runs[seed] = Answers(file, groups_of("figshare"))
        if runs:
            found[model] = averaged(runs, DRAWS["images"])
            found[model]["training"] = [len(groups_of("figshare")) - test for test in found[model]["test"]]
    return found


def made_again() -> dict[str, bool]:
    """Of runs that were made a second time by the same command: whether the predictions are the same bytes."""
    found = {}
    for again in sorted((HERE / "protocols" / "runs").glob("*-again")):
        pairs = [
            (file, again.with_name(again.name.removesuffix("-again")) / file.relative_to(again))
            for file in again.rglob("predictions.csv")
        ]
        found[again.name.removesuffix("-again")] = bool(pairs) and all(
            one.read_bytes() == other.read_bytes() for one, other in pairs
        )
    return found


AS_PAPER = ("efficientnet-lite0-transfer", "efficientnet-lite0")
CURVES = {"from scratch": "efficientnet-lite0", "transfer": "efficientnet-lite0-transfer"}


def convergence() -> dict[str, Any]:
    """Curves of the tumour paper's training (Adam 1e-3, constant that long), from scratch and from ImageNet weights."""
    found: dict[str, Any] = {}
    for name, model in CURVES.items():
        place = Path(model) / "fold-0" / "settings-0" / "inner-0"
        file = HERE / "convergence" / "run" / place / "rounds.jsonl"
        if not file.is_file():
            continue
        # the part that chose the epoch is the one that was opened
        opened = HERE / "convergence" / "run" / model / "fold-0" / "predictions.csv"
        rounds = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        losses = [line["validation_loss"] for line in rounds]
        lowest = int(np.argmin(losses))
        found[name] = {
            "training_loss": [rounded(line["loss"]) for line in rounds],
            "validation_loss": [rounded(loss) for loss in losses],
            "validation_accuracy": [rounded(line["validation_accuracy"]) for line in rounds],
            "epoch_of_lowest": lowest + 1,
            "lowest_validation_loss": rounded(losses[lowest]),
            "accuracy_there": rounded(Answers(opened, None).scores()["accuracy"]),
            "first_epoch_at_0_9": next(
                (n for n, line in enumerate(rounds, 1) if line["validation_accuracy"] >= 0.9), None
            ),
        }
        test = HERE / "convergence" / "range-test" / place / "range_test.json"
        if test.is_file():
            curve = json.loads(test.read_text(encoding="utf-8"))
            # by the rule as it is now; the run itself may have chosen by an earlier one
            chosen = steepest(curve["learning_rates"], curve["losses"])
            found[name]["range_test"] = {**curve, "chosen": chosen}
    return found


def bundle_study() -> dict[str, Any]:
    """Out-of-fold figures of the recipe of the shipped bundle."""
    folder = HERE / "brain-tumor-type" / "run"
    with (folder / "samples.csv").open(encoding="utf-8", newline="") as stream:
        groups = {row["name"]: row["group"] for row in csv.DictReader(stream)}
    parts = [Answers(file, groups) for file in sorted(folder.glob("*/fold-*/predictions.csv"))]
    whole = object.__new__(Answers)
    whole.classes = parts[0].classes
    whole.names = [name for part in parts for name in part.names]
    whole.groups = [group for part in parts for group in part.groups]
    whole.truth = np.concatenate([part.truth for part in parts])
    whole.shares = np.concatenate([part.shares for part in parts])
    own, drawn = whole.scores(), resampled(whole)
    found: dict[str, Any] = {
        "cases": len(whole.names),
        "patients": len(set(whole.groups)),
        **{key: {"value": rounded(own[key]), "interval_95": interval(drawn[key])} for key in METRICS},
        **{key: rounded(own[key]) for key in ("f1", "loss", "ece")},
        "folds": [{key: rounded(part.scores()[key]) for key in METRICS} for part in parts],
        "by_class": [
            {key: rounded(value) if isinstance(value, float) else value for key, value in line.items()}
            for line in class_scores(whole.truth, whole.shares, whole.classes)
        ],
        "patients_with_errors": _patients_with_errors(whole),
    }
    found["other_maps"] = json.loads((HERE / "brain-tumor-type" / "maps.json").read_text(encoding="utf-8"))
    for key, file in (("map", "localisation.json"), ("gradcam", "localisation-gradcam.json")):
        ((_, model),) = json.loads((folder / file).read_text(encoding="utf-8"))["models"].items()
        found[key] = {name: value for name, value in model.items() if name != "each"}
        found[key]["by_class"] = _times_by_class(model["each"], whole)
        found[key]["above_half_inside"] = rounded(
            np.mean([one["energy"] > 0.5 for one in model["each"] if one["right"]])
        )
        found[key]["median_times_of_wrong"] = rounded(
            np.median([one["energy"] / one["share"] for one in model["each"] if not one["right"]]), 2
        )
    return found


def _times_by_class(each: list[dict[str, Any]], answers: Answers) -> dict[str, Any]:
    """Of right cases of each class: the map's density on the tumour, in times of the picture's."""
    truth = dict(zip(answers.names, answers.truth, strict=True))
    found = {}
    for number, name in enumerate(answers.classes):
        times = np.array(
            [one["energy"] / one["share"] for one in each if one["right"] and truth[one["name"]] == number]
        )
        found[name] = {"median_times": rounded(np.median(times), 2), "above_5_times": rounded((times >= 5).mean())}
    return found


def ipmn_phantoms() -> dict[str, Any]:
    """Of each model the folds' accuracy, macro precision and recall: their mean and deviation, as the paper prints."""
    run = HERE / "ipmn-phantoms" / "run"
    if not run.is_dir():
        return {}
    study = yaml.safe_load((run / "study.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for entry in study["models"]:
        files = sorted((run / entry["name"]).glob("fold-*/predictions.csv"))
        folds = [Answers(file, None).scores() for file in files]
        if folds:
            found[entry["name"]] = {
                "title": entry["title"],
                "cases": sum(len(Answers(file, None).names) for file in files),
                **{
                    key: {
                        "mean": rounded(np.mean([fold[key] for fold in folds])),
                        "sd": rounded(np.std([fold[key] for fold in folds], ddof=1)),
                        "folds": [rounded(fold[key]) for fold in folds],
                    }
                    for key in ("accuracy", "precision", "recall", "auc")
                },
            }
    return {"epochs": study["training"]["epochs"], "models": found}


def _patients_with_errors(answers: Answers) -> dict[str, Any]:
    """Errors are not spread evenly: how many patients have any, and how many errors the worst five have."""
    wrong: dict[str, int] = {}
    for group, right in zip(answers.groups, answers.shares.argmax(1) == answers.truth, strict=True):
        if not right:
            wrong[group] = wrong.get(group, 0) + 1
    worst: Sequence[int] = sorted(wrong.values(), reverse=True)
    sure = answers.shares.max(1)[answers.shares.argmax(1) != answers.truth] > SURE
    return {
        "errors": sum(worst),
        "patients": len(wrong),
        "in_worst_five": sum(worst[:5]),
        "above_0_99": int(sure.sum()),
    }


def collect() -> dict[str, Any]:
    """The document of ``figures.json``."""
    return {
        "schema": "cadx.results/1",
        "brain-tumor-type": bundle_study(),
        "protocols": protocols(),
        "convergence": convergence(),
        "as_paper": as_paper(),
        "made_again": made_again(),
        "ipmn-phantoms": ipmn_phantoms(),
    }


if __name__ == "__main__":
    (HERE / "figures.json").write_text(json.dumps(collect(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
