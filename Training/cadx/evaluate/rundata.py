"""A run folder (``cadx.run/1``) as data, however much of it there is yet."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx import DISCLAIMER
from cadx.errors import InputError
from cadx.io.jsonfile import JsonError, read_json

if TYPE_CHECKING:
    from cadx.study.spec import ModelEntry, StudySpec

SCHEMA = "cadx.run/1"
PHANTOMS = "Synthetic phantoms: the figures say nothing about patients."
NOT_RUN = "not run"
SHARED = "shared"
EXTERNAL = "external"
csv.field_size_limit(1_000_000)


@dataclass(frozen=True)
class Predictions:
    """Predictions on test parts. ``truth`` (cases,) class indices; ``logits``, ``probabilities`` (cases, classes)."""

    names: tuple[str, ...]
    truth: NDArray[np.int64]
    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    @classmethod
    def pooled(cls, parts: Sequence[Predictions]) -> Predictions:
        """All parts one after the other."""
        return cls(
            tuple(name for part in parts for name in part.names),
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )

    def at(self, places: NDArray[np.bool_]) -> Predictions:
        """Those of some cases."""
        names = tuple(name for name, kept in zip(self.names, places, strict=True) if kept)
        return Predictions(names, self.truth[places], self.logits[places], self.probabilities[places])

    @property
    def uncalibrated(self) -> NDArray[np.float64]:
        """(cases, classes) softmax of the logits as they are."""
        raised = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Fit:
    """One training: an inner part of a fold, or the final one.

    ``book``: of a training that serves two folds, the one whose part the other chooses by.
    """

    folder: Path
    book: str = ""

    @functools.cached_property
    def done(self) -> dict[str, Any]:
        """``done.json``; empty while it is not done."""
        return _object(self.folder / "done.json")

    @functools.cached_property
    def rounds(self) -> list[dict[str, Any]]:
        """Lines of ``rounds.jsonl``, one a look at the validation part; of two, with the figures of its own one."""
        found = lines(self.folder / "rounds.jsonl")
        figures = lines(self.folder / f"book-{self.book}.jsonl") if self.book else []
        return [{**line, **own} for line, own in zip(found, figures, strict=False)] if figures else found

    def steps(self) -> list[dict[str, Any]]:
        """Lines of ``steps.jsonl``; not kept, there may be many."""
        return lines(self.folder / "steps.jsonl")

    @functools.cached_property
    def range_test(self) -> dict[str, Any]:
        """``range_test.json``; empty where there is none."""
        return _object(self.folder / "range_test.json")


@dataclass(frozen=True)
class Example:
    """A picture of an explanation."""

    path: Path
    fold: str
    truth: str
    predicted: str
    right: bool
    method: str


@dataclass(frozen=True)
class Fold:
    """One model's outer fold."""

    name: str
    folder: Path
    predictions: Predictions | None

    @functools.cached_property
    def selection(self) -> dict[str, Any]:
        """``selection.json``; empty where nothing was chosen yet."""
        return _object(self.folder / "selection.json")

    @property
    def chosen(self) -> dict[str, Any]:
        """Index, settings and round that were chosen; empty where nothing was yet."""
        chosen = self.selection.get("chosen")
        return chosen if isinstance(chosen, dict) else {}

    @functools.cached_property
    def inner(self) -> tuple[Fit, ...]:
        """The trainings on inner parts with the chosen settings, or the first while none are chosen."""
        return self._inner(f"settings-{self.chosen.get('index', 0)}")

    @property
    def fits(self) -> tuple[Fit, ...]:
        """Every training that was begun, whatever its settings; the final one last."""
        settings = _numbered(self.folder, "settings-") or _numbered(self.folder.parent / SHARED, "settings-")
        begun = [fit for one in settings for fit in self._inner(one.name)]
        return (*begun, *(Fit(path) for path in [self.folder / "final"] if path.is_dir()))

    def _inner(self, settings: str) -> tuple[Fit, ...]:
        """Its own trainings on inner parts, or those that it shares with another fold each."""
        own = (Fit(path) for path in _numbered(self.folder / settings, "inner-"))
        return (*own, *_shared_with(self.folder.parent / SHARED / settings, self.name))

    def examples(self) -> tuple[Example, ...]:
        """Pictures that ``examples.json`` lists and that are PNG files beside it."""
        folder = self.folder / "examples"
        listed = _json(folder / "examples.json", [])
        return tuple(
            Example(
                folder / one["file"],
                self.name,
                str(one.get("class", "")),
                str(one.get("predicted", "")),
                bool(one.get("right")),
                str(one.get("method", "")),
            )
            for one in (listed if isinstance(listed, list) else [])
            if isinstance(one, dict) and _is_png(folder, one.get("file"))
        )


@dataclass(frozen=True)
class Model:
    """One model of the study; ``reason`` says why it has no figures, and is empty where it has any."""

    entry: ModelEntry
    folds: tuple[Fold, ...]
    reason: str

    @property
    def fits(self) -> tuple[Fit, ...]:
        """Every training that was begun, each once, also where it serves two folds."""
        return tuple({fit.folder: fit for fold in self.folds for fit in fold.fits}.values())

    @property
    def tested(self) -> tuple[Fold, ...]:
        """Folds with predictions of their test part."""
        return tuple(fold for fold in self.folds if fold.predictions is not None)

    @functools.cached_property
    def pooled(self) -> Predictions | None:
        """Predictions of all test parts; None where there is none."""
        parts = [fold.predictions for fold in self.folds if fold.predictions is not None]
        return Predictions.pooled(parts) if parts else None

    @property
    def calibrated(self) -> bool:
        """Whether a temperature was fitted in any fold."""
        return any(fold.selection.get("temperature") is not None for fold in self.tested)


@dataclass(frozen=True)
class Run:
    """A whole run. ``planned`` are the outer folds of ``folds.json``; ``samples`` the rows of ``samples.csv``."""

    folder: Path
    study: StudySpec
    record: dict[str, Any]
    samples: dict[str, dict[str, str]]
    planned: tuple[dict[str, Any], ...]
    models: tuple[Model, ...]
    audit: dict[str, Any] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        """Whether the images are phantoms."""
        return bool(self.record.get("synthetic"))

    @property
    def external(self) -> bool:
        """Whether a bundle was graded on a cohort that it had never seen, so that nothing was split or trained."""
        return self.record.get("kind") == "evaluate"

    @property
    def leaks(self) -> tuple[str, ...]:
        """What the protocol lets through by design."""
        recorded = [str(sentence) for sentence in self.record.get("leaks") or []]
        return tuple(dict.fromkeys([*recorded, *(() if self.external else self.study.split.leaks)]))

    @property
    def statements(self) -> tuple[str, ...]:
        """What stands beside every table and figure."""
        caveat = (self.study.caveat,) if self.study.caveat else ()
        phantoms = (PHANTOMS,) if self.synthetic else ()
        return (*self.leaks, *caveat, *phantoms, DISCLAIMER)

    @property
    def shown(self) -> tuple[Model, ...]:
        """Models with predictions."""
        return tuple(model for model in self.models if model.pooled is not None)

    @property
    def asked(self) -> tuple[Model, ...]:
        """The models that this run was asked for; of the study's others only the papers' tables speak."""
        names = self.record.get("models") or [model.entry.name for model in self.models]
        return tuple(model for model in self.models if model.entry.name in names)

    @property
    def one_split(self) -> bool:
        """Whether there is a single test part, so that nothing spreads over folds."""
        return len(self.planned) == 1

    def model(self, name: str) -> Model:
        """The model of a name (KeyError where there is none)."""
        return {model.entry.name: model for model in self.models}[name]

    def groups(self, names: Sequence[str]) -> list[str]:
        """Whom samples belong to; a sample that the table does not know stands by itself."""
        return [self.samples[name]["group"] if name in self.samples else f"sample {name}" for name in names]

    def centres(self, names: Sequence[str]) -> list[str]:
        """Where samples come from; empty where that is not known."""
        return [self.samples.get(name, {}).get("centre", "") for name in names]


def read_run(folder: Path) -> Run:
    """Read a run folder, finished or not.

    Raises
    ------
    InputError
        If it is none, or its study or tables cannot be read.
    """
    record = _object(folder / "run.json")
    if record.get("schema") != SCHEMA:
        raise InputError(f"{folder.name} holds no run.json of the form {SCHEMA}; give the folder of a study's run.")
    study = _study(folder / "study.yaml")
    outer = _object(folder / "folds.json").get("outer") or []
    planned = tuple(fold for fold in outer if isinstance(fold, dict) and "name" in fold)
    table = folder / "samples.csv"
    rows = _table(table, ("name", "group", "class")) if table.is_file() else []
    samples = {row["name"]: row for row in rows}
    if record.get("kind") == "evaluate" and not planned:
        planned = ({"name": EXTERNAL, "test": list(samples), "training": []},)
    models = tuple(_model(folder, entry, planned, study.class_names) for entry in study.models)
    return Run(folder, study, record, samples, planned, models, _object(folder / "audit.json"))


def _study(path: Path) -> StudySpec:
    import yaml
    from pydantic import ValidationError

    from cadx.prepare.spec import first_complaint
    from cadx.study.spec import StudySpec

    try:
        return StudySpec.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise InputError(f"{path.name}: {first_complaint(error)}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path.name} cannot be read as YAML; give the folder of a study's run.") from error


def _model(folder: Path, entry: ModelEntry, planned: Sequence[dict[str, Any]], classes: tuple[str, ...]) -> Model:
    place = folder / entry.name
    failed = _object(place / "failed.json").get("reason")
    folds = tuple(_fold(place / str(fold["name"]), classes) for fold in planned if (place / str(fold["name"])).is_dir())
    if failed:
        return Model(entry, (), str(failed).rstrip("."))
    if any(fold.predictions for fold in folds):
        return Model(entry, folds, "")
    begun = bool(folds) or (place / SHARED).is_dir()
    return Model(entry, folds, "not finished: no test part has been opened yet" if begun else NOT_RUN)


def _fold(folder: Path, classes: tuple[str, ...]) -> Fold:
    path = folder / "predictions.csv"
    return Fold(folder.name, folder, _predictions(path, classes) if path.is_file() else None)


def _predictions(path: Path, classes: tuple[str, ...]) -> Predictions | None:
    logits, shares = [f"logit:{name}" for name in classes], [f"p:{name}" for name in classes]
    rows = _table(path, ("name", "class", *logits, *shares))
    if not rows:
        return None
    try:
        found = Predictions(
            tuple(row["name"] for row in rows),
            np.array([classes.index(row["class"]) for row in rows], np.int64),
            np.array([[float(row[key]) for key in logits] for row in rows]),
            np.array([[float(row[key]) for key in shares] for row in rows]),
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"{_where(path)} holds a line that is no prediction ({error}); run the fold again.") from error
    if not (np.isfinite(found.logits).all() and np.isfinite(found.probabilities).all()):
        raise InputError(f"{_where(path)} holds a figure that is not finite; run the fold again.")
    return found


def _table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{_where(path)} cannot be read as a table; give the folder of a study's run.") from error
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{_where(path)} has no column '{missing[0]}'; give the folder of a study's run.")
    return rows


def _where(path: Path) -> str:
    return "/".join(path.parts[-3:]) if path.name == "predictions.csv" else path.name


def _json(path: Path, otherwise: Any) -> Any:
    try:
        return read_json(path)
    except JsonError:
        return otherwise


def _object(path: Path) -> dict[str, Any]:
    document = _json(path, {})
    return document if isinstance(document, dict) else {}


def lines(path: Path) -> list[dict[str, Any]]:
    """Lines of JSON; one that is half-written, as the last of a running training may be, is left out."""
    return list(_parsed(path))


def _parsed(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                document = json.loads(line)
            except ValueError:
                continue
            if isinstance(document, dict):
                yield document


def _numbered(folder: Path, start: str) -> list[Path]:
    """Folders ``start`` + number, in the order of the numbers."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and path.name.removeprefix(start).isdigit()]
    return sorted(
        (path for path in found if path.name.startswith(start)), key=lambda p: int(p.name.removeprefix(start))
    )


def _shared_with(folder: Path, fold: str) -> list[Fit]:
    """Trainings of ``folder`` that serve ``fold`` and another, in the order of the others."""
    found = []
    for path in folder.glob("*+*"):
        one, _, other = path.name.partition("+")
        if path.is_dir() and fold in (one, other):
            found.append(Fit(path, other if fold == one else one))
    return sorted(found, key=lambda fit: (len(fit.book), fit.book))


def _is_png(folder: Path, name: object) -> bool:
    if not isinstance(name, str) or Path(name).name != name or not name.lower().endswith(".png"):
        return False
    path = folder / name
    try:
        with path.open("rb") as file:
            return not path.is_symlink() and file.read(8) == b"\x89PNG\r\n\x1a\n"
    except OSError:
        return False
