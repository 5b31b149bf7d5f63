"""Which samples train, choose and test: drawn once, kept as a file with a hash.

The unit is the group (the patient) unless the study says "image", so all windows, scans, time points and sequences of
one patient fall on one side.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.study.spec import SplitSpec

SCHEMA = "cadx.folds/1"
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Inner:
    """Indices of one inner part: what trains, and what the epoch and the settings are chosen by."""

    name: str
    training: Indices
    validation: Indices


@dataclass(frozen=True, eq=False)
class Fold:
    """Indices of one outer fold: ``training`` and ``test`` do not meet; ``inner`` lie within ``training``."""

    name: str
    training: Indices
    test: Indices
    inner: tuple[Inner, ...]


@dataclass(frozen=True, eq=False)
class Units:
    """What a split needs to know of the samples, in their order.

    Parameters
    ----------
    names, groups, centres
        (N,) text; groups stay on one side.
    classes
        (N,) class indices.
    class_names
        For messages.
    columns
        Further columns of the table by name, for a split that the table fixes.
    """

    names: Sequence[str]
    groups: Sequence[str]
    centres: Sequence[str]
    classes: NDArray[np.integer]
    class_names: Sequence[str]
    columns: Sequence[dict[str, str]] = ()


def draw_folds(units: Units, spec: SplitSpec, seed: int) -> list[Fold]:
    """The folds of a study; the same seed draws the same.

    Raises
    ------
    InputError
        If a class has fewer groups than there are parts, or the table does not say what the split needs.
    """
    groups = np.array(units.names if spec.unit == "image" else units.groups)
    draw = _Draw(groups, _strata(units, spec), units, seed)
    everything = np.arange(len(groups))
    tests = _outer(draw, spec, everything)
    return [_fold(draw, spec, number, tests, everything) for number in range(len(tests))]


def holdout(units: Units, share: float, seed: int) -> tuple[Indices, Indices]:
    """Indices of a training and a validation part: whole groups, stratified by class.

    Raises
    ------
    InputError
        If a class has fewer than two groups.
    """
    draw = _Draw(np.array(units.groups), np.array([str(c) for c in units.classes]), units, seed)
    everything = np.arange(len(units.groups))
    held = draw.share(everything, share, 0)
    return np.setdiff1d(everything, held), held


def to_json(folds: Sequence[Fold], names: Sequence[str], spec: SplitSpec, seed: int) -> dict[str, Any]:
    """The document of ``folds.json``: names in place of indices, and the hash of itself."""

    def named(indices: Indices) -> list[str]:
        return [names[i] for i in indices]

    document: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": spec.kind,
        "unit": spec.unit,
        "seed": seed,
        "outer": [
            {
                "name": fold.name,
                "test": named(fold.test),
                "training": named(fold.training),
                "inner": [
                    {"name": i.name, "training": named(i.training), "validation": named(i.validation)}
                    for i in fold.inner
                ],
            }
            for fold in folds
        ],
    }
    return {**document, "sha256": folds_sha256(document)}


def from_json(document: dict[str, Any], names: Sequence[str]) -> list[Fold]:
    """The folds of a run that goes on.

    Raises
    ------
    InputError
        If the file was changed, or names samples that the cohort does not have.
    """
    if document.get("sha256") != folds_sha256(document):
        raise InputError("folds.json was changed since it was drawn; start a new run.")
    place = {name: index for index, name in enumerate(names)}

    def indices(wanted: list[str]) -> Indices:
        strange = next((name for name in wanted if name not in place), None)
        if strange is not None:
            raise InputError(f"folds.json names {strange}, which the cohort does not hold; start a new run.")
        return np.array([place[name] for name in wanted], dtype=np.intp)

    return [
        Fold(
            fold["name"],
            indices(fold["training"]),
            indices(fold["test"]),
            tuple(Inner(i["name"], indices(i["training"]), indices(i["validation"])) for i in fold["inner"]),
        )
        for fold in document["outer"]
    ]


def folds_sha256(document: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of all but the hash itself."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class _Draw:
    """Draws whole groups, stratified; each draw has a seed of its own."""

    groups: NDArray[np.str_]
    strata: NDArray[np.str_]
    units: Units
    seed: int

    def parts(self, among: Indices, count: int, number: int) -> list[Indices]:
        """``count`` parts of the samples ``among``."""
        from sklearn.model_selection import StratifiedGroupKFold

        self.require(among, count)
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=self._seed(number))
        return [among[held] for _, held in splitter.split(np.zeros(len(among)), self.strata[among], self.groups[among])]

    def share(self, among: Indices, share: float, number: int) -> Indices:
        """About ``share`` of the samples of each stratum, never all of its groups."""
        self.require(among, 2)
        counts = {stratum: share * n for stratum, n in Counter(self.strata[among]).items()}
        return self.counts(among, counts, number)

    def counts(self, among: Indices, counts: dict[str, float], number: int) -> Indices:
        """About so many samples of each stratum, at least one group and never all."""
        generator = np.random.default_rng(self._seed(number))
        stratum_of = self._stratum_of_group(among)
        sizes = Counter(self.groups[among])
        held: set[str] = set()
        for stratum in sorted(counts):
            members = sorted(group for group, own in stratum_of.items() if own == stratum)
            generator.shuffle(members)
            total = 0.0
            for position, group in enumerate(members[:-1]):
                # a further group only while it brings the part nearer to what was asked for
                if position and total + sizes[group] / 2 > counts[stratum]:
                    break
                held.add(group)
                total += sizes[group]
        return among[np.isin(self.groups[among], sorted(held))]

    def require(self, among: Indices, least: int) -> None:
        """Every class needs at least so many groups."""
        for index, name in enumerate(self.units.class_names):
            members = {self.groups[i] for i in among if self.units.classes[i] == index}
            if len(members) < least:
                raise InputError(
                    f"The class '{name}' has {len(members)} {_plural(len(members))}, and {least} are needed to split "
                    "it so often; take fewer folds or add cases."
                )

    def _stratum_of_group(self, among: Indices) -> dict[str, str]:
        """A group belongs to the stratum of most of its samples."""
        found: dict[str, Counter[str]] = {}
        for index in among:
            found.setdefault(str(self.groups[index]), Counter())[str(self.strata[index])] += 1
        return {group: min(own, key=lambda s: (-own[s], s)) for group, own in found.items()}

    def _seed(self, number: int) -> int:
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])


def _plural(count: int) -> str:
    return "patient or group" if count == 1 else "patients or groups"


def _strata(units: Units, spec: SplitSpec) -> NDArray[np.str_]:
    nowhere = next((name for name, centre in zip(units.names, units.centres, strict=True) if not centre), None)
    if spec.stratify_by_centre and nowhere is not None:
        raise InputError(
            f"{nowhere} has no centre, and the study stratifies by centre; fill in the table's column 'centre' or set "
            "split.stratify_by_centre to false."
        )
    centres = units.centres if spec.stratify_by_centre else [""] * len(units.names)
    return np.array(
        [f"{label}|{centre}" if centre else str(label) for label, centre in zip(units.classes, centres, strict=True)]
    )


def _outer(draw: _Draw, spec: SplitSpec, everything: Indices) -> list[Indices]:
    units = draw.units
    if spec.kind == "folds":
        return draw.parts(everything, spec.folds, 0)
    if spec.kind == "holdout":
        if spec.unit == "image":
            return [_random_images(draw, spec.test_share)]
        return [draw.share(everything, spec.test_share, 0)]
    if spec.kind == "counts":
        draw.require(everything, 2)
        wanted = {str(units.class_names.index(name)): float(n) for name, n in spec.test_counts.items()}
        return [draw.counts(everything, wanted, 0)]
    if spec.kind == "column":
        return [held_by_column(units, spec.column)]
    return _centres(units)


def _random_images(draw: _Draw, share: float) -> Indices:
    """The papers' random split of images, stratified by class; exact in number."""
    from sklearn.model_selection import train_test_split

    everything = np.arange(len(draw.strata))
    draw.require(everything, 2)
    try:
        _, held = train_test_split(everything, test_size=share, stratify=draw.strata, random_state=draw._seed(0))
    except ValueError as error:
        raise InputError(
            f"A test part of {share:.0%} of {len(everything)} images cannot hold every class; add images or take a "
            "larger share."
        ) from error
    return np.sort(held)


def held_by_column(units: Units, column: str) -> Indices:
    """Indices of the samples that the table's own column calls "test".

    Raises
    ------
    InputError
        If it says neither train nor test of a sample, or the same of all.
    """
    said = [own.get(column.casefold(), "").casefold() for own in units.columns]
    strange = next((i for i, word in enumerate(said) if word not in ("train", "training", "test")), None)
    if not said or strange is not None:
        case = units.names[strange or 0]
        raise InputError(f"The column '{column}' of {case} says neither train nor test; correct the table.")
    test = np.flatnonzero(np.array(said) == "test")
    if not 0 < len(test) < len(said):
        raise InputError(f"The column '{column}' puts every case on one side; name both train and test.")
    return test


def _centres(units: Units) -> list[Indices]:
    centres = np.array(units.centres)
    names = sorted(set(units.centres))
    if "" in names or len(names) < 2:
        raise InputError("Leaving one centre out needs a column 'centre' that names at least two; add it to the table.")
    return [np.flatnonzero(centres == name) for name in names]


def _fold(draw: _Draw, spec: SplitSpec, number: int, tests: list[Indices], everything: Indices) -> Fold:
    test = tests[number]
    training = np.setdiff1d(everything, test)
    if spec.unit == "patient":
        torn = set(draw.groups[test]) & set(draw.groups[training])
        if torn:
            raise InputError(f"The patient or group '{min(torn)}' lies on both sides of the split; correct the table.")
    parts = _inner(draw, spec, number, tests, training, test)
    inner = tuple(
        Inner(f"inner-{index}", training if spec.inner.kind == "test" else np.setdiff1d(training, part), part)
        for index, part in enumerate(parts)
    )
    return Fold(f"fold-{number}", training, test, inner)


def _inner(
    draw: _Draw, spec: SplitSpec, number: int, tests: list[Indices], training: Indices, test: Indices
) -> list[Indices]:
    if spec.inner.kind == "test":
        return [test]
    if spec.inner.kind == "holdout":
        return [draw.share(training, spec.inner.share, number + 1)]
    if spec.inner.folds is not None:
        return [np.sort(part) for part in draw.parts(training, spec.inner.folds, number + 1)]
    if spec.kind not in ("folds", "centres") or len(tests) < 3:
        return [np.sort(part) for part in draw.parts(training, 5 if len(tests) == 1 else 2, number + 1)]
    return [part for index, part in enumerate(tests) if index != number]
