"""A study's cohort: its samples with their classes, and what a run says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.study import runfolder
from cadx.study.cohort import Cohort, assign_classes, without_labels
from cadx.study.folds import Units
from cadx.study.layouts import read_cohort
from cadx.study.source import Progress, Source, open_source
from cadx.study.spec import StudySpec


@dataclass(frozen=True, eq=False)
class Labelled:
    """``classes`` (N,) indices of the samples' classes; ``merged``: by class the table's labels that went into it."""

    study: StudySpec
    cohort: Cohort
    classes: NDArray[np.int64]
    merged: dict[str, list[str]]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the samples, in order."""
        return tuple(one.name for one in self.cohort.samples)

    @property
    def groups(self) -> list[str]:
        """Pseudonyms of the samples' patients or groups."""
        return runfolder.pseudonyms([one.group for one in self.cohort.samples])

    def only(self, chosen: NDArray[np.intp]) -> Labelled:
        """The chosen samples alone."""
        samples = tuple(self.cohort.samples[i] for i in chosen)
        return replace(self, cohort=replace(self.cohort, samples=samples), classes=self.classes[chosen])

    def units(self) -> Units:
        """What a split needs to know."""
        samples = self.cohort.samples
        return Units(
            [one.name for one in samples],
            [one.group for one in samples],
            [one.centre for one in samples],
            self.classes,
            self.study.class_names,
            [{key.casefold(): value for key, value in one.covariates.items()} for one in samples],
        )

    def open(self, cache: Path | None, workers: int, progress: Progress) -> Source:
        """The images prepared, or found prepared in ``cache`` (by default beside the cohort).

        Raises
        ------
        InputError
            If an image cannot be read or prepared.
        """
        place = cache or self.cohort.folder / ".cells"
        return open_source(self.study, self.cohort, self.classes, place, workers=workers, progress=progress)

    def sha256(self, hashes: Sequence[str]) -> str:
        """One hash over the images' ``hashes``, labels and groups."""
        return runfolder.data_sha256(hashes, self.classes, self.groups)

    def described(self, hashes: Sequence[str]) -> dict[str, Any]:
        """The part of ``run.json`` that is about the data."""
        counts = {"samples": len(self.names), "groups": len(set(self.groups))}
        return {
            "data": {"layout": self.cohort.layout, **counts, "sha256": self.sha256(hashes)},
            "synthetic": self.cohort.synthetic,
            "merged_labels": {name: labels for name, labels in self.merged.items() if len(labels) > 1},
            "notes": list(self.cohort.notes),
        }

    def text(self) -> str:
        """One sentence with the numbers of samples."""
        counts = np.bincount(self.classes, minlength=len(self.study.classes))
        told = ", ".join(f"{name} {count}" for name, count in zip(self.study.class_names, counts, strict=True))
        kind = "synthetic phantoms" if self.cohort.synthetic else "samples"
        return f"{len(self.names)} {kind} of {len(set(self.groups))} patients or groups: {told}."


def read_labelled(study: StudySpec, data: Path, layout: str) -> Labelled:
    """Read a cohort for a study.

    Raises
    ------
    InputError
        If it is empty, or a label or a file is missing.
    """
    cohort = without_labels(read_cohort(data, study.channels, layout=layout), study.excluded_labels)
    classes, merged = assign_classes(cohort, study.classes, study.label_of)
    present = set(classes.tolist())
    absent = next((c.name for i, c in enumerate(study.classes) if i not in present), None)
    if absent is not None:
        raise InputError(
            f"{data.name or data} holds no case of the class '{absent}'; check its labels and the study's."
        )
    return Labelled(study, cohort, classes, merged)
