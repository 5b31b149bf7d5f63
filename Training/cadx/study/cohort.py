"""A cohort: labelled samples, whichever way its folder is laid out, and which class each belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.io.files import read_roi, read_volume
from cadx.io.imagefile import SUFFIXES
from cadx.roi import DEFAULT_MASK_MARGIN_MM, Roi
from cadx.volume import Volume

if TYPE_CHECKING:
    from cadx.study.spec import ClassSpec


@dataclass(frozen=True)
class Sample:
    """One labelled case: what a model grades at once.

    Parameters
    ----------
    name
        Unique in the cohort; joins predictions with the user's own table.
    images
        Path by role: "T1", "T2" of volumes, "image" of a picture (``FILE.mat`` where a figshare file holds it).
    label
        As the table says it.
    group
        What stays on one side of every split: the patient, or the group that the table names.
    roi
        As ``cadx classify --roi`` takes it; empty where the volume is the crop itself.
    centre, lesion
        Where it was acquired; a mask of the finding. Empty where unknown.
    covariates
        Any further column of the table.
    mask_on
        The role on whose voxels a mask ROI was drawn, where the layout says so: the mask then lies on that image
        voxel for voxel, whatever place its own header names (:func:`read_sample_roi`).
    """

    name: str
    images: Mapping[str, str]
    label: str
    group: str
    roi: str = ""
    centre: str = ""
    lesion: str = ""
    covariates: Mapping[str, str] = field(default_factory=dict)
    mask_on: str = ""


@dataclass(frozen=True)
class Cohort:
    """All samples of a folder or a table, in its order; ``notes`` are sentences on what was left out and why."""

    folder: Path
    layout: str
    samples: tuple[Sample, ...]
    synthetic: bool = False
    notes: tuple[str, ...] = ()


def same_label(text: str) -> str:
    """What labels are compared by: "High Risk" and "high risk" are one."""
    return text.strip().casefold()


def without_labels(cohort: Cohort, labels: Iterable[str]) -> Cohort:
    """The cohort less the samples of some labels (compared without regard to case), and a note of how many."""
    unwanted = {same_label(label) for label in labels}
    kept = tuple(s for s in cohort.samples if same_label(s.label) not in unwanted)
    left_out = len(cohort.samples) - len(kept)
    if not left_out:
        return cohort
    note = f"Samples labelled {', '.join(sorted(unwanted))}, left out as the study says: {left_out}."
    return replace(cohort, samples=kept, notes=(*cohort.notes, note))


def assign_classes(
    cohort: Cohort, classes: tuple[ClassSpec, ...], label_of: Literal["patient", "image"]
) -> tuple[NDArray[np.int64], dict[str, list[str]]]:
    """The class of every sample, and which labels of the table went into which class.

    Parameters
    ----------
    classes
        In the order of the network's outputs.
    label_of
        "patient" refuses a group that holds two classes; "image" allows it.

    Returns
    -------
    tuple
        (n,) class indices; for each class's name its labels as the table has them, sorted.

    Raises
    ------
    InputError
        If a label means none of the classes, or a patient has two classes where it may have one.
    """
    index = {word: number for number, spec in enumerate(classes) for word in spec.words}
    unknown = next((s for s in cohort.samples if same_label(s.label) not in index), None)
    if unknown is not None:
        raise InputError(unknown_label(unknown, classes))
    found = np.array([index[same_label(s.label)] for s in cohort.samples], np.int64)
    if label_of == "patient":
        torn = next(iter(two_classes(cohort.samples, found.tolist())), None)
        if torn is not None:
            both = " and ".join(classes[number].name for number in torn[1])
            raise InputError(f"The patient '{torn[0]}' has two labels, {both}; correct the table.")
    merged: dict[str, set[str]] = {spec.name: set() for spec in classes}
    for sample, number in zip(cohort.samples, found, strict=True):
        merged[classes[number].name].add(sample.label)
    return found, {name: sorted(labels) for name, labels in merged.items()}


def unknown_label(sample: Sample, classes: tuple[ClassSpec, ...]) -> str:
    """The sentence for a label that means none of the classes."""
    allowed = "; ".join(f"{spec.name} ({', '.join(spec.labels)})" if spec.labels else spec.name for spec in classes)
    return f"{sample.name} has the label '{sample.label}', which is none of {allowed}; correct the table or the study."


def two_classes(samples: Iterable[Sample], found: Iterable[int]) -> list[tuple[str, list[int]]]:
    """The groups whose samples are of more than one class, each with its classes."""
    held: dict[str, set[int]] = {}
    for sample, number in zip(samples, found, strict=True):
        held.setdefault(sample.group, set()).add(number)
    return [(group, sorted(numbers)) for group, numbers in held.items() if len(numbers) > 1]


def read_sample_roi(sample: Sample, images: Mapping[str, Volume], margin_mm: float = DEFAULT_MASK_MARGIN_MM) -> Roi:
    """The ROI of a sample of volumes: as its table names it, or the whole of its first image where that is the crop.

    Raises
    ------
    InputError
        If what the sample names is no ROI, or its mask does not fit the image that it was drawn on.
    """
    reference = next(iter(images.values()))
    if not sample.roi:
        grid = reference.geometry
        return Roi(grid.center_ras, grid.extent_mm, grid.axes, source="the whole volume")
    drawn_on = images.get(sample.mask_on)
    if drawn_on is None or not sample.roi.lower().endswith(SUFFIXES):
        return read_roi(sample.roi, reference, margin_mm)
    mask = read_volume(sample.roi)
    if mask.geometry.size_ijk != drawn_on.geometry.size_ijk:
        size, expected = (" x ".join(map(str, v.geometry.size_ijk)) for v in (mask, drawn_on))
        raise InputError(f"{mask.name} has {size} voxels, but its {sample.mask_on} has {expected}; check the mask.")
    mask = replace(mask, geometry=drawn_on.geometry)
    return Roi.from_mask(mask, reference.canonical_geometry().axes, margin_mm)
