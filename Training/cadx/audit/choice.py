"""The choice of round, settings and temperature, made again from what the inner parts said."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadx.audit.files import BOOK, SHARED, WHOLE, Fold, Json, Run, digest, names_of, read_array, read_document
from cadx.audit.report import Check, conclude
from cadx.audit.tasks import cross_entropy

CLOSE = 1e-4
TIE = 1e-6
# a search for the temperature may stop at its edge; these are taken for an edge where the loss still falls beyond
COLD, HOT = 0.2, 5.0
Look = tuple[NDArray, NDArray[np.intp]]


@dataclass(frozen=True)
class Choice:
    """One selection.json, with the inputs that it must have had: {name: (fold, settings, inner)}."""

    run: Run
    model: str
    fold: Fold | None

    @property
    def place(self) -> str:
        """Its folder, from the run folder."""
        return f"{self.model}/{self.fold.name if self.fold else WHOLE}"

    @property
    def told(self) -> Json:
        """selection.json."""
        return read_document(self.run.folder / self.place / "selection.json")

    def parts(self, settings: int) -> Iterator[tuple[str, str]]:
        """Path from the run folder and name in selection.json of the logits on each inner part."""
        for fold in (self.fold,) if self.fold else self.run.folds:
            for pair, other in self.run.others(fold) if self.run.shared else ():
                name = f"{SHARED}/settings-{settings}/{pair}/{BOOK}{other.name}.npy"
                yield f"{self.model}/{name}", name
            for part in () if self.run.shared else fold.inner:
                name = f"settings-{settings}/{part.name}/validation.npy"
                yield f"{self.model}/{fold.name}/{name}", name if self.fold else f"{fold.name}/{name}"

    def looks(self, settings: int) -> list[Look]:
        """Logits (rounds, samples, classes) and truth of each inner part."""
        found = []
        for path, _ in self.parts(settings):
            logits = self.run.folder / path
            found.append((read_array(logits), self.run.truth(names_of(logits))))
        return found


def check_inputs(run: Run) -> Check:
    """A selection had the inner parts of its own fold as inputs, all of them and nothing else."""
    faults, count = [], 0
    for choice in _choices(run):
        told = {re.sub(r"^(\./|\.\./)", "", name): value for name, value in choice.told["inputs"].items()}
        expected = {name: path for k in range(run.settings_count) for path, name in choice.parts(k)}
        count += len(told)
        for name in sorted(set(told) - set(expected)):
            own = choice.fold and name.endswith(f"/{BOOK}{choice.fold.name}.npy")
            faults.append(f"{choice.place}: {name} is {'of its own test part' if own else 'no inner part of it'}")
        faults += [f"{choice.place}: {name} was not looked at" for name in sorted(set(expected) - set(told))]
        for name in sorted(set(told) & set(expected)):
            if digest(run.folder / expected[name]) != told[name]:
                faults.append(f"{expected[name]} is not the file that was chosen by")
    said = f"{count} inputs are inner parts of their own fold, as they were."
    return conclude("selection inputs", said, faults, count)


def check_selection(run: Run) -> Check:
    """Curves, best rounds and the chosen settings, recomputed."""
    faults, count = [], 0
    for choice in _choices(run):
        count += 1
        faults += [f"{choice.place}: {fault}" for fault in _selection_faults(choice)]
    said = f"{count} choices of round and settings follow from the inner parts, recomputed."
    return conclude("selection", said, faults, count)


def check_temperature(run: Run) -> Check:
    """The temperature is the one that the chosen round's inner parts ask for."""
    faults, count = [], 0
    wanted = run.study.get("calibration", "temperature") != "none" and not run.by_test
    for choice in _choices(run):
        told, chosen = choice.told.get("temperature"), choice.told["chosen"]
        count += 1
        if not wanted or told is None:
            if wanted or told is not None:
                faults.append(f"{choice.place}: the temperature is {told}")
            continue
        looks = choice.looks(chosen["index"])
        logits = np.concatenate([np.asarray(values[chosen["round"]]) for values, _ in looks])
        truth = np.concatenate([truth for _, truth in looks])
        best = best_temperature(logits, truth)
        if not _same_temperature(told, best, logits, truth):
            faults.append(f"{choice.place}: the temperature is {told:.4f}, the inner parts ask for {best:.4f}")
    said = f"{count} temperatures follow from the inner parts." if wanted else "No temperature was asked for."
    return conclude("temperature", said, faults, count)


def best_temperature(logits: NDArray, truth: NDArray[np.intp]) -> float:
    """What the logits must be divided by for the least cross-entropy, between 1/64 and 64.

    The loss is convex in 1 / T, so its slope there is bisected.
    """
    low, high = math.log(1 / 64), math.log(64)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _slope(logits, truth, math.exp(middle)) < 0 else (low, middle)
    return math.exp(-(low + high) / 2)


def _slope(logits: NDArray, truth: NDArray[np.intp], sharpness: float) -> float:
    """Of the mean cross-entropy of softmax(sharpness * logits), by sharpness."""
    values = logits.astype(np.float64)
    raised = np.exp(sharpness * (values - values.max(axis=1, keepdims=True)))
    expected = (raised * values).sum(axis=1) / raised.sum(axis=1)
    return float((expected - values[np.arange(len(truth)), truth]).mean())


def _same_temperature(told: float, best: float, logits: NDArray, truth: NDArray[np.intp]) -> bool:
    if not (math.isfinite(told) and told > 0):
        return False
    if abs(math.log(told / best)) < 0.01:
        return True
    if (best < told <= COLD) or (best > told >= HOT):
        return True
    values = logits.astype(np.float64)
    return cross_entropy(values / told, truth) - cross_entropy(values / best, truth) < TIE


def _choices(run: Run) -> Iterator[Choice]:
    """The selections whose inputs are all there."""
    for model, fold in run.selections():
        choice = Choice(run, model, fold)
        paths = [path for k in range(run.settings_count) for path, _ in choice.parts(k)]
        if all(run.has(path) for path in paths):
            yield choice


def _selection_faults(choice: Choice) -> Iterator[str]:
    told = choice.told
    metric = choice.run.study.get("selection", {}).get("metric", "loss")
    if told.get("metric") != metric:
        yield f"it chose by {told.get('metric')}, the study says {metric}"
        return
    if len(told["candidates"]) != choice.run.settings_count:
        yield f"it has {len(told['candidates'])} candidates of {choice.run.settings_count}"
        return
    # the higher the better, whatever the metric
    sign = -1.0 if metric == "loss" else 1.0
    values = []
    for number, candidate in enumerate(told["candidates"]):
        curve = _curve(choice.looks(number), metric)
        yield from _candidate_faults(candidate, curve, sign, f"settings-{number}")
        values.append(float((sign * curve).max()))
    chosen = told["chosen"]
    if values[chosen["index"]] < max(values) - TIE:
        yield f"settings-{chosen['index']} was chosen, settings-{int(np.argmax(values))} is best"
    candidate = told["candidates"][chosen["index"]]
    if (candidate["settings"], candidate["best_round"]) != (chosen["settings"], chosen["round"]):
        yield f"round {chosen['round']} was chosen, settings-{chosen['index']} has round {candidate['best_round']}"


def _candidate_faults(candidate: Json, curve: NDArray, sign: float, name: str) -> Iterator[str]:
    told = np.asarray(candidate["curve"], dtype=float)
    if told.shape != curve.shape or not np.allclose(told, curve, rtol=CLOSE, atol=CLOSE):
        yield f"the curve of {name} is not that of the inner parts"
    reached = sign * curve
    best = candidate["best_round"]
    if not 0 <= best < len(curve) or reached[best] < reached.max() - TIE:
        yield f"{name} says round {best}, the inner parts say {int(reached.argmax())}"
    elif not np.isclose(candidate["value"], curve[best], rtol=CLOSE, atol=CLOSE):
        yield f"{name} says {candidate['value']:.4f} at round {best}, the inner parts {curve[best]:.4f}"


def _curve(looks: Sequence[Look], metric: str) -> NDArray[np.float64]:
    """(rounds that all reached,) mean of the metric over the inner parts."""
    measure = cross_entropy if metric == "loss" else _balanced_accuracy
    rounds = min(len(logits) for logits, _ in looks)
    each = [[measure(np.asarray(logits[k]), truth) for k in range(rounds)] for logits, truth in looks]
    return np.mean(each, axis=0)


def _balanced_accuracy(logits: NDArray, truth: NDArray[np.intp]) -> float:
    """Mean over the classes that occur of the share graded right."""
    right = logits.argmax(axis=1) == truth
    return float(np.mean([right[truth == label].mean() for label in np.unique(truth)]))
