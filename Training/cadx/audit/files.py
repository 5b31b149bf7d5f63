"""A run folder as it lies there, read with nothing but its published form."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError, MissingDependencyError

SCHEMA = "cadx.run/1"
WHOLE = "all"
SHARED, BOOK = "shared", "book-"
Json = dict[str, Any]


@dataclass(frozen=True)
class Inner:
    """One inner split, as names."""

    name: str
    training: tuple[str, ...]
    validation: tuple[str, ...]


@dataclass(frozen=True)
class Fold:
    """One outer split, as names."""

    name: str
    test: tuple[str, ...]
    training: tuple[str, ...]
    inner: tuple[Inner, ...]


@dataclass(frozen=True)
class Task:
    """A training that has begun: its folder, and what folds.json says it may see (``inner`` None: the final one).

    ``books``: of a training that serves two folds, the test part of each, which the other may choose by.
    """

    folder: Path
    model: str
    fold: str
    inner: str | None
    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    books: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def document(self) -> Json:
        """task.json."""
        return read_document(self.folder / "task.json")

    @property
    def place(self) -> str:
        """Where it is, from the run folder."""
        return self.folder.relative_to(self.folder.parents[2 if self.inner is None else 3]).as_posix()


class Run:
    """What the run folder says of itself; parts are read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.document = read_document(folder / "run.json")
        except InputError as error:
            raise InputError(
                f"{folder.name} is no run folder (no run.json in it); name one that a study wrote."
            ) from error
        if self.document.get("schema") != SCHEMA:
            raise InputError(
                f"run.json in {folder.name} is not of the form {SCHEMA}; audit it with the matching version."
            )

    def has(self, *parts: str) -> bool:
        """Whether a file of the run is there."""
        return self.folder.joinpath(*parts).is_file()

    @cached_property
    def study(self) -> Json:
        """study.yaml."""
        return _read_yaml(self.folder / "study.yaml")

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """samples.csv."""
        return read_rows(self.folder / "samples.csv")

    @cached_property
    def row(self) -> dict[str, int]:
        """Row of samples.csv by name."""
        return {row["name"]: number for number, row in enumerate(self.rows)}

    @cached_property
    def group(self) -> dict[str, str]:
        """Group by name."""
        return {row["name"]: row["group"] for row in self.rows}

    @cached_property
    def label(self) -> dict[str, str]:
        """Class by name."""
        return {row["name"]: row["class"] for row in self.rows}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """In the order of the network's outputs."""
        return tuple(entry["name"] for entry in self.study["classes"])

    def truth(self, names: Sequence[str]) -> NDArray[np.intp]:
        """(names,) class indices."""
        order = {name: number for number, name in enumerate(self.classes)}
        return np.array([order[self.label[name]] for name in names], dtype=np.intp)

    @cached_property
    def folds_document(self) -> Json:
        """folds.json."""
        return read_document(self.folder / "folds.json")

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        """The outer splits."""
        return tuple(
            Fold(
                fold["name"],
                tuple(fold["test"]),
                tuple(fold["training"]),
                tuple(Inner(p["name"], tuple(p["training"]), tuple(p["validation"])) for p in fold["inner"]),
            )
            for fold in self.folds_document["outer"]
        )

    @property
    def by_image(self) -> str:
        """The protocol's own sentence where one patient's images are scattered by design, else empty."""
        leaks = self.study.get("split", {}).get("unit") == "image"
        return "images are split at random, so images of one patient lie on both sides." if leaks else ""

    @property
    def by_test(self) -> str:
        """The protocol's own sentence where the test part chooses the epoch by design, else empty."""
        leaks = self.study.get("split", {}).get("inner", {}).get("kind") == "test"
        return "the test part also chose the epoch." if leaks else ""

    @property
    def shared(self) -> bool:
        """Whether one training serves two folds wherever both leave out the same samples."""
        return bool(self.document.get("shared"))

    @cached_property
    def pairs(self) -> dict[str, tuple[Fold, Fold]]:
        """Each two folds, by the name of the folder of what they share."""
        return {f"{one.name}+{other.name}": (one, other) for one, other in combinations(self.folds, 2)}

    def others(self, fold: Fold) -> Iterator[tuple[str, Fold]]:
        """What a fold shares with each other one: the pair's name, and the other."""
        for name, (one, other) in self.pairs.items():
            if fold.name in (one.name, other.name):
                yield name, other if one.name == fold.name else one

    @cached_property
    def everyone(self) -> tuple[str, ...]:
        """Names of all samples."""
        return tuple(row["name"] for row in self.rows)

    @property
    def keeps_best(self) -> bool:
        """Whether the final weights are those of the best look instead of a refit."""
        return self.study.get("selection", {}).get("final", "refit") == "best"

    @property
    def models(self) -> tuple[str, ...]:
        """Models of the run, also those that failed on the way."""
        return tuple(self.document["models"])

    @cached_property
    def settings_count(self) -> int:
        """How many settings the declared grid holds."""
        grid = self.study.get("selection", {}).get("grid") or {}
        return int(np.prod([len(values) for values in grid.values()], dtype=int))

    def begun(self) -> Iterator[tuple[str, Fold]]:
        """Each model and fold of which there is a folder."""
        for model in self.models:
            for fold in self.folds:
                if (self.folder / model / fold.name).is_dir():
                    yield model, fold

    def selections(self) -> Iterator[tuple[str, Fold | None]]:
        """Each model and fold of which there is a selection.json; None is the fit on all samples."""
        for model in self.models:
            for fold in (*self.folds, None):
                if self.has(model, fold.name if fold else WHOLE, "selection.json"):
                    yield model, fold

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """All trainings that have begun."""
        found = []
        for model, fold in self.begun():
            place = self.folder / model / fold.name
            for inner in fold.inner:
                for folder in sorted(place.glob(f"settings-*/{inner.name}")):
                    found.append(
                        Task(folder, model, fold.name, inner.name, inner.training, inner.validation, fold.test)
                    )
            found.append(Task(place / "final", model, fold.name, None, fold.training, (), fold.test))
        for model in self.models:
            found += [self._pair(folder, model) for folder in self.shared_folders(model) if folder.name in self.pairs]
            found.append(Task(self.folder / model / WHOLE / "final", model, WHOLE, None, self.everyone, (), ()))
        return tuple(task for task in found if (task.folder / "task.json").is_file())

    def shared_folders(self, model: str) -> list[Path]:
        """Whatever lies where trainings lie that serve two folds."""
        return sorted((self.folder / model / SHARED).glob("*/*"))

    def _pair(self, folder: Path, model: str) -> Task:
        one, other = self.pairs[folder.name]
        test = (*one.test, *other.test)
        left_out = set(test)
        training = tuple(name for name in self.everyone if name not in left_out)
        return Task(
            folder, model, SHARED, folder.name, training, (), test, {one.name: one.test, other.name: other.test}
        )


def names_of(logits: Path) -> list[str]:
    """Whom the rows of validation.npy, or of one of two books, are of: as task.json beside it says."""
    document = read_document(logits.parent / "task.json")
    names = document["validation"] if logits.stem == "validation" else document["books"][logits.stem[len(BOOK) :]]
    return list(names)


def digest(path: Path) -> str:
    """SHA-256 of a file, hex; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_digest(document: Json) -> str:
    """SHA-256 of the document without its own hash, as sorted compact JSON."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def canonical_digests(document: Json) -> tuple[str, str]:
    """Both spellings of the canonical JSON: letters beyond ASCII as they are, or escaped."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return canonical_digest(document), hashlib.sha256(text.encode()).hexdigest()


def read_document(path: Path) -> Json:
    """A JSON object.

    Raises
    ------
    InputError
        If it is missing or none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path) from error
    if not isinstance(document, dict):
        raise _unreadable(path)
    return document


def read_lines(path: Path) -> list[Json]:
    """JSON objects, one a line (InputError where one is none).

    A last line without its end is left out: a run that was killed may leave one.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
        found = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path) from error
    if not all(isinstance(line, dict) for line in found):
        raise _unreadable(path)
    return found


def read_rows(path: Path) -> list[dict[str, str]]:
    """A table (InputError where it cannot be read)."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path) from error


def read_array(path: Path) -> NDArray:
    """An array of numbers (InputError where it cannot be read)."""
    try:
        return np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path) from error


def _read_yaml(path: Path) -> Json:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise MissingDependencyError("Reading study.yaml needs PyYAML; run: pip install PyYAML") from error
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise _unreadable(path) from error
    if not isinstance(document, dict):
        raise _unreadable(path)
    return document


def _unreadable(path: Path) -> InputError:
    place = "/".join(path.parts[-3:])
    return InputError(f"{place} is missing or damaged; restore the run folder as the study wrote it.")
