"""How well what should tell nothing tells the classes: a picture's border alone, and a thumbnail of 16 x 16 pixels.

Where a class comes from a source of its own, its pictures' frames, letters and sharpness give it away, and a network
may read these in place of the disease. What a plain logistic regression reads there is a floor that a network's figures
have to be held against.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx import DISCLAIMER
from cadx.errors import InputError
from cadx.io.atomic import write_text
from cadx.prepare.picture import PictureSpec
from cadx.study.folds import draw_folds
from cadx.study.labelled import Labelled
from cadx.study.pictures import load_pictures
from cadx.study.source import Progress
from cadx.study.spec import PictureInput, SplitSpec

SCHEMA = "cadx.shortcuts/1"
THUMBNAIL = 16
PIXELS, BORDER = 64, 4
FOLDS = 5
# strong enough for a few hundred pictures of a thousand values
PENALTY = 1e-3
Values = NDArray[np.float32]


def thumbnails(pixels: Values) -> Values:
    """(N, 256) of pictures (N, 64, 64) averaged over 16 x 16 areas.

    >>> thumbnails(np.ones((2, 64, 64), np.float32)).shape
    (2, 256)
    """
    step = PIXELS // THUMBNAIL
    return pixels.reshape(len(pixels), THUMBNAIL, step, THUMBNAIL, step).mean(axis=(2, 4)).reshape(len(pixels), -1)


def borders(pixels: Values) -> Values:
    """(N, 960): the outermost 4 of 64 pixels on each side, of pictures (N, 64, 64).

    >>> borders(np.ones((2, 64, 64), np.float32)).shape
    (2, 960)
    """
    frame = np.ones((PIXELS, PIXELS), bool)
    frame[BORDER:-BORDER, BORDER:-BORDER] = False
    return pixels[:, frame]


PARTS: dict[str, Callable[[Values], Values]] = {"border": borders, "thumbnail": thumbnails}


def find_shortcuts(labelled: Labelled, cache: Path | None, workers: int, progress: Progress) -> dict[str, Any]:
    """Figures of both parts by patient-level cross-validation, with intervals over resampled patients.

    Returns
    -------
    dict
        The document of ``cadx.shortcuts/1``: for each part AUROC of each class against the rest and accuracy.

    Raises
    ------
    InputError
        If the cohort is not of single pictures, one cannot be read, or a class has fewer than five patients.
    """
    if not isinstance(labelled.study.input, PictureInput):
        raise InputError(f"{labelled.study.name} is a study of volumes; borders are looked at in single pictures.")
    spec = PictureSpec(pixels=PIXELS, channels=1, fit=labelled.study.input.picture.fit)
    files = [one.images["image"] for one in labelled.cohort.samples]
    read = load_pictures(
        files,
        spec,
        cache or labelled.cohort.folder / ".cells",
        workers=workers,
        progress=lambda done, total: progress("reading pictures", done, total),
    )
    pixels = np.divide(read.pixels[:, 0], 255, dtype=np.float32)
    folds = draw_folds(labelled.units(), SplitSpec(folds=FOLDS), labelled.study.seed)
    tests = [fold.test for fold in folds]
    return {
        "schema": SCHEMA,
        "study": labelled.study.name,
        "cases": len(pixels),
        "patients_or_groups": len(set(labelled.groups)),
        "folds": FOLDS,
        "parts": {name: _figures(labelled, part(pixels), tests) for name, part in PARTS.items()},
        "disclaimer": DISCLAIMER,
    }


def _figures(labelled: Labelled, values: Values, tests: list[NDArray[np.intp]]) -> dict[str, Any]:
    from cadx.evaluate.intervals import bootstrap
    from cadx.evaluate.metrics import class_scores, scores

    shares = _out_of_fold(values, labelled.classes, tests)
    truth, groups = labelled.classes, labelled.groups
    whole, ends = scores(truth, shares), bootstrap(truth, shares, groups)
    keys = ("accuracy", "balanced_accuracy", "auc")
    found: dict[str, Any] = {"values": values.shape[1], **{key: _with_interval(whole[key], ends[key]) for key in keys}}
    lines = class_scores(truth, shares, labelled.study.class_names)
    found["auc_of_class"] = {}
    for number, line in enumerate(lines):
        against = np.stack([1 - shares[:, number], shares[:, number]], axis=1)
        ends = bootstrap((truth == number).astype(int), against, groups)
        found["auc_of_class"][line["class"]] = _with_interval(line["auc"], ends["auc"])
    return found


def _with_interval(value: float | None, ends: tuple[float, float] | None) -> dict[str, Any]:
    return {"value": _rounded(value), "interval_95": None if ends is None else [_rounded(end) for end in ends]}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _out_of_fold(values: Values, classes: NDArray[np.integer], tests: list[NDArray[np.intp]]) -> NDArray[np.float64]:
    """(N, classes) probabilities of logistic regressions that never saw the case's patient."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    shares = np.zeros((len(values), int(classes.max()) + 1))
    for test in tests:
        training = np.setdiff1d(np.arange(len(values)), test)
        reader = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=500))
        shares[test] = reader.fit(values[training], classes[training]).predict_proba(values[test])
    return shares


def write_shortcuts(path: Path, document: dict[str, Any]) -> None:
    """As JSON.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def lines(document: dict[str, Any]) -> list[str]:
    """What was found, for people."""
    told = []
    for name, part in document["parts"].items():
        areas = ", ".join(f"{own} {_said(figure)}" for own, figure in part["auc_of_class"].items())
        told.append(f"{name} alone: AUROC {areas}; balanced accuracy {_said(part['balanced_accuracy'])}")
    return told


def _said(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "not defined"
    if figure["interval_95"] is None:
        return f"{figure['value']:.3f}"
    low, high = figure["interval_95"]
    return f"{figure['value']:.3f} ({low:.3f} to {high:.3f})"
