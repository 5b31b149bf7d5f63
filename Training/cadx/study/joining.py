"""Groups joined where their pictures show the same: the leak-safe unit of a cohort without patients.

A collection that was copied together holds one image several times, with other contrast, flipped or turned, under
groups or names that do not tell. Any likeness between two groups makes them one.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadx.audit.alike import find_alike
from cadx.errors import InputError
from cadx.io.atomic import write_text
from cadx.study.labelled import Labelled
from cadx.study.source import Progress


@dataclass(frozen=True)
class Joined:
    """``groups`` (N,) of the samples after joining; ``pairs`` that joined them; ``threshold`` of their likeness."""

    groups: tuple[str, ...]
    before: int
    pairs: int
    threshold: float

    def text(self) -> str:
        """One sentence."""
        return (
            f"{self.before} groups became {len(set(self.groups))}: {self.pairs} pairs of images of different groups "
            f"show the same (likeness from {self.threshold:.2f} on)."
        )


def join_groups(labelled: Labelled, cache: Path | None, workers: int, progress: Progress) -> Joined:
    """Join the groups of a cohort that hold images alike.

    Likeness is that of ``cadx audit``; its threshold comes from pairs known to differ, those of two classes. Groups of
    two classes are never joined.

    Raises
    ------
    InputError
        If an image cannot be read.
    """
    thumbnails = labelled.open(cache, workers, progress).thumbnails()
    own = [one.group for one in labelled.cohort.samples]
    group, label = np.unique(own, return_inverse=True)[1], labelled.classes

    def compared(rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        return (group[rows][:, None] != group) & (label[rows][:, None] == label)

    def differ(rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        return (group[rows][:, None] != group) & (label[rows][:, None] != label)

    found = find_alike(thumbnails, compared, differ)
    pairs = [(own[one], own[other]) for one, other, _ in found.pairs]
    return Joined(tuple(_joined(own, pairs)), len(set(own)), len(pairs), found.threshold)


def _joined(groups: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Each one's group after joining, called as the first of those that became one.

    >>> _joined(["a", "b", "c", "d"], [("b", "c"), ("c", "a")])
    ['a', 'a', 'a', 'd']
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = list(dict.fromkeys(groups))
    place = {name: number for number, name in enumerate(names)}
    rows, columns = [place[one] for one, _ in pairs], [place[other] for _, other in pairs]
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(names), len(names)))
    component = connected_components(graph, directed=False)[1]
    first = {int(number): name for name, number in zip(reversed(names), component[::-1], strict=True)}
    return [first[int(component[place[name]])] for name in groups]


def write_joined(path: Path, labelled: Labelled, joined: Joined) -> None:
    """Write a table of pictures with the joined groups as ``patient``, the former ones as ``group_before``.

    Raises
    ------
    InputError
        If the cohort is not of single pictures, or the table cannot be written.
    """
    if labelled.study.input.kind != "picture":
        raise InputError(
            f"{labelled.study.name} is a study of volumes, whose patients are known; groups are joined of pictures."
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    covariates = sorted({key for one in labelled.cohort.samples for key in one.covariates})
    writer.writerow(["case", "path", "label", "patient", "group_before", "centre", "mask", *covariates])
    for one, group in zip(labelled.cohort.samples, joined.groups, strict=True):
        files = [os.path.relpath(file, path.parent) if file else "" for file in (one.images["image"], one.lesion)]
        own = [one.covariates.get(key, "") for key in covariates]
        writer.writerow([one.name, files[0], one.label, group, one.group, one.centre, files[1], *own])
    write_text(path, text.getvalue())
