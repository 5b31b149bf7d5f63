"""Which weights a study's models start from, settled before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cadx.errors import InputError
from cadx.io.jsonfile import JsonError, read_json
from cadx.models.bundle import file_sha256
from cadx.study.spec import ModelEntry, StudySpec

SUFFIXES = (".safetensors", ".pth", ".pt", ".npz")


@dataclass(frozen=True)
class Plan:
    """The models of a run: the study (with models that were named beyond it), their names, where weights lie.

    ``files`` maps a model to the weights' place; the study itself carries base names only.
    """

    study: StudySpec
    models: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)

    def weights(self, entry: ModelEntry) -> str:
        """What :func:`cadx.models.pretrained.load_pretrained` is given."""
        return self.files.get(entry.name, entry.weights)


def plan(study: StudySpec, models: Sequence[str] | None, weights: str | None) -> Plan:
    """Choose models by name: of the study, or any architecture that the factory knows.

    Parameters
    ----------
    models
        Names; all of the study's where None.
    weights
        In place of the study's: "none", "timm", a file, or a folder with one file an architecture. A model that starts
        from scratch in the study still does.

    Raises
    ------
    InputError
        If a model is named twice, or the folder has no weights for one.
    """
    entries = {entry.name: entry for entry in study.models}
    chosen = list(models) if models else list(entries)
    if len(set(chosen)) < len(chosen):
        raise InputError("A model is named twice in --models; name each once.")
    for name in chosen:
        if name not in entries:
            entries[name] = _further(name, entries, weights)
    files: dict[str, str] = {}
    for name in chosen:
        entries[name], place = _placed(entries[name], weights)
        if place:
            files[name] = place
    if weights not in (None, "none") and all(entries[name].weights == "none" for name in chosen):
        raise InputError(
            f"No model of this run takes weights, so --weights has nothing to do: {', '.join(chosen)} start from "
            "scratch in the study; leave --weights out, or name their weights there."
        )
    return Plan(study.model_copy(update={"models": tuple(entries.values())}), tuple(chosen), files)


def _further(name: str, known: dict[str, ModelEntry], weights: str | None) -> ModelEntry:
    """A model beyond the study's: an architecture by its own name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.\-]*", name):
        raise InputError(f"There is no model '{name}'; choose from {', '.join(known)}, or name an architecture.")
    return ModelEntry(name=name, title=name, architecture=name, weights=weights or "none")


def _placed(entry: ModelEntry, weights: str | None) -> tuple[ModelEntry, str | None]:
    if entry.weights == "none":
        return entry, None
    wanted = weights or entry.weights
    if wanted in ("none", "timm"):
        return entry.model_copy(update={"weights": wanted}), None
    path = Path(wanted)
    if not path.exists() and path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"There is no folder or file of weights {path.name or path}; check --weights, or give none or timm."
        )
    if path.is_dir():
        path = _in_folder(path, entry.architecture)
    return entry.model_copy(update={"weights": path.name}), str(path)


def _in_folder(folder: Path, architecture: str) -> Path:
    found = sorted(
        p for p in folder.iterdir() if p.name.startswith(f"{architecture}.") and p.suffix.lower() in SUFFIXES
    )
    if not found:
        # said when the model's turn comes, so that one missing file leaves one empty cell
        return folder / f"{architecture}.safetensors"
    return found[0]


def require_weights(study_plan: Plan, entry: ModelEntry) -> None:
    """Refuse a model whose weights are not at hand.

    Raises
    ------
    InputError
        With :func:`complaint`'s sentence.
    """
    wrong = complaint(study_plan, entry)
    if wrong:
        raise InputError(wrong)


def require_same_weights(study_plan: Plan, run: Path) -> None:
    """Refuse to go on with other weights under the same name than the run's trainings began with.

    Raises
    ------
    InputError
        If a file's bytes differ from those of a training in ``run``.
    """
    for name in study_plan.models:
        file = Path(study_plan.weights(study_plan.study.model(name)))
        begun = next((run / name).rglob("task.json"), None) if file.is_file() else None
        if begun is None:
            continue
        try:
            sha256 = read_json(begun)["weights"]["sha256"]
        except (JsonError, KeyError):
            continue
        if sha256 is not None and sha256 != file_sha256(file):
            raise InputError(
                f"{file.name} is not the file that {run.name} was begun with; resume with the same weights."
            )


def complaint(study_plan: Plan, entry: ModelEntry) -> str | None:
    """Why a model cannot be begun, in one sentence; None where its weights are at hand."""
    wanted = study_plan.weights(entry)
    if wanted in ("none", "timm") or Path(wanted).is_file():
        return None
    return (
        f"There are no weights {Path(wanted).name} for {entry.name}; put that file there, or give --weights none to "
        "train from scratch."
    )
