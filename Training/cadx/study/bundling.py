"""From a training to a bundle: settings, card, weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cadx import __version__
from cadx.classify import versions
from cadx.explain.spec import USUAL, ExplanationSpec
from cadx.io.jsonfile import read_json
from cadx.models.build import ModelSpec
from cadx.models.bundle import Bundle, BundleSettings
from cadx.models.write_bundle import BundleText, write_bundle
from cadx.prepare.picture import PictureSpec
from cadx.prepare.spec import PreparationSpec
from cadx.study.card import card
from cadx.study.presets import study_sha256
from cadx.study.spec import StudySpec
from cadx.study.task import DONE, TASK

IMAGES = "images"
PHANTOM_SOURCE = "synthetic phantoms (cadx phantom)"


@dataclass(frozen=True)
class Making:
    """What a bundle is made of beside its weights."""

    study: StudySpec
    name: str
    model: ModelSpec
    preparation: PreparationSpec | PictureSpec
    temperature: float | None
    synthetic: bool
    explanation: ExplanationSpec = USUAL
    training: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)


def training_record(
    study: StudySpec, final: Path, cases: dict[str, int], data_sha256: str, hashes: Sequence[str], **more: Any
) -> dict[str, Any]:
    """How the weights in the task's folder ``final`` came to be, for the bundle.

    The ``hashes`` of the images that trained it or chose its epoch travel along, shortened, so that an evaluation
    can tell which of its images are not new to it.
    """
    task, done = read_json(final / TASK), read_json(final / DONE)
    return {
        "cases": cases,
        "study": study.name,
        "preset": study.preset,
        "study_sha256": study_sha256(study),
        "data_sha256": data_sha256,
        "seed": study.seed,
        "training": study.training.model_dump(mode="json"),
        "augmentation": study.augmentation.model_dump(mode="json"),
        "rounds": done["rounds"],
        **{name: task[name] for name in ("weights", "precision", "device", "threads")},
        "versions": versions(),
        **more,
        IMAGES: sorted(short(sha256) for sha256 in hashes),
    }


def short(sha256: str) -> str:
    """Enough of a hash to tell images apart."""
    return sha256[:16]


def settings_of(making: Making) -> BundleSettings:
    """The bundle's settings; raises pydantic's complaint where a name cannot be one."""
    return BundleSettings(
        name=making.name,
        task=making.study.name,
        classes=making.study.class_names,
        negative=_negative(making.study),
        demo=making.synthetic,
        temperature=making.temperature or 1.0,
        model=making.model,
        explanation=making.explanation,
        training={"synthetic": making.synthetic, **making.training},
    )


def _negative(study: StudySpec) -> tuple[str, ...]:
    """Classes without a finding; none where all are such, since then nothing is to be found."""
    names = tuple(c.name for c in study.classes if c.negative)
    return names if len(names) < len(study.classes) else ()


def make_bundle(folder: Path, making: Making, weights: Path) -> Bundle:
    """Write the bundle of weights that a task kept.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    from safetensors.torch import load_file

    study = making.study
    text = BundleText(
        version=__version__,
        description=study.title,
        data_source="synthetic phantoms (cadx phantom)"
        if making.synthetic
        else study.data.source or "the user's cohort",
        intended_use=study.intended_use,
        card=card(study, making.name, making.synthetic, making.training, making.figures),
        evaluation=making.figures,
        licence="Apache-2.0" if making.synthetic else study.data.licence or "not stated",
    )
    return write_bundle(folder, settings_of(making), making.preparation, load_file(weights), text)
