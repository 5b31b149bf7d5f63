"""Everything about a cohort that should be known before training: counts, damage, copies, contradictions."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx import DISCLAIMER
from cadx.case import Case
from cadx.errors import InputError
from cadx.io.files import read_volume
from cadx.prepare.checks import check_coverage, require_contrast
from cadx.study.cohort import Cohort, Sample, read_sample_roi, same_label, unknown_label, without_labels
from cadx.study.duplicates import near_pairs, thumbnail
from cadx.study.layouts import AUTO, available_roles, examine
from cadx.study.layouts.draft import IMAGE
from cadx.study.layouts.reading import read_any_picture
from cadx.volume import Volume

if TYPE_CHECKING:
    from cadx.study.spec import ClassSpec, StudySpec

SCHEMA = "cadx.cohort-check/1"
# images of different patients stay below it on the brain, chest and phantom sets that it was tried on; copies after
# contrast, turn or flip lie above
NEAR = 0.99
NAMED = 5
PRINTED = 20
# below these a second process costs more than it saves
FEW_PICTURES, FEW_CASES = 2000, 16
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Finding:
    """One sentence on what is wrong (``error``) or worth knowing; ``code`` is its kind, for machines."""

    code: str
    text: str
    error: bool = False


@dataclass(frozen=True)
class Look:
    """What one image showed: a hash of its content, a thumbnail, its size in words and in numbers.

    ``numbers``: columns and rows of a picture; of a volume its voxels and spacing (mm), nearest to R, A, S.
    """

    sample: int
    role: str
    sha256: str
    small: NDArray[np.float32]
    size: str
    numbers: tuple[float, ...]


@dataclass
class CohortReport:
    """What :func:`check_cohort` found.

    ``of_class``: each sample's class, or its label where no study was named; ``usable``: whether it could be opened.
    ``sizes`` and ``ranges`` by role: how many images have which size, and from where to where sizes go. ``torn``:
    groups of two classes.
    """

    cohort: Cohort
    roles: tuple[str, ...]
    label_of: str
    study: str
    of_class: list[str] = field(default_factory=list)
    usable: list[bool] = field(default_factory=list)
    sizes: dict[str, Counter[str]] = field(default_factory=dict)
    ranges: dict[str, str] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)
    torn: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """What must be put right."""
        return [f for f in self.findings if f.error]

    @property
    def warnings(self) -> list[Finding]:
        """What should be looked at."""
        return [f for f in self.findings if not f.error]

    def classes(self) -> dict[str, tuple[int, int]]:
        """Samples and groups of each class, in the order of their first sample or of the study."""
        groups: dict[str, set[str]] = {}
        for sample, name in zip(self.cohort.samples, self.of_class, strict=True):
            groups.setdefault(name, set()).add(sample.group)
        counts = Counter(self.of_class)
        return {name: (counts[name], len(groups[name])) for name in groups}

    def groups(self) -> Counter[str]:
        """How many samples each group has."""
        return Counter(s.group for s in self.cohort.samples)

    def centres(self) -> Counter[str]:
        """How many samples each centre has."""
        return Counter(s.centre or "unknown" for s in self.cohort.samples)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        groups = self.groups()
        return {
            "schema": SCHEMA,
            "cohort": self.cohort.folder.name,
            "layout": self.cohort.layout,
            "study": self.study or None,
            "synthetic": self.cohort.synthetic,
            "images": list(self.roles),
            "samples": len(self.cohort.samples),
            "groups": len(groups),
            "groups_of_one": sum(1 for n in groups.values() if n == 1),
            "groups_of_two_classes": self.torn,
            "label_of": self.label_of,
            "classes": {name: {"samples": n, "groups": g} for name, (n, g) in self.classes().items()},
            "centres": dict(self.centres()),
            "sizes": {role: dict(counts.most_common()) for role, counts in self.sizes.items()},
            "ranges": self.ranges,
            "copies": self.copies,
            "notes": list(self.cohort.notes),
            "errors": [{"code": f.code, "text": f.text} for f in self.errors],
            "warnings": [{"code": f.code, "text": f.text} for f in self.warnings],
            "disclaimer": DISCLAIMER,
        }

    def verdict(self) -> str:
        """How many errors and warnings, in words."""
        return ", ".join(
            f"{len(found) or 'no'} {word}{'' if len(found) == 1 else 's'}"
            for word, found in (("error", self.errors), ("warning", self.warnings))
        )

    def lines(self) -> list[str]:
        """For people: counts, then every error, then warnings (of each kind the first :data:`PRINTED`)."""
        cohort, groups = self.cohort, self.groups()
        what = "pictures" if self.roles == (IMAGE,) else f"cases ({', '.join(self.roles)})"
        kind = "synthetic phantoms, " if cohort.synthetic else ""
        lines = [
            f"{cohort.folder.resolve().name}: {kind}{len(cohort.samples)} {what} of {len(groups)} patients or groups, "
            f"layout {cohort.layout}",
            "Classes: " + "; ".join(f"{name}: {in_groups(*numbers)}" for name, numbers in self.classes().items()),
        ]
        if set(self.centres()) != {"unknown"}:
            lines.append("Centres: " + _counted(self.centres()))
        for role, counts in self.sizes.items():
            lines.append(f"Sizes of {role}: {_sizes(counts, self.ranges[role])}")
        lines.append(f"Groups of one: {sum(1 for n in groups.values() if n == 1)}")
        if self.torn:
            allowed = "" if self.label_of == "patient" else " (allowed: the label belongs to the image)"
            lines.append(f"Groups of two classes: {self.torn}{allowed}")
        lines.append(
            f"Copies of identical content: {self.copies['identical']}; pairs that look alike (correlation {NEAR} or "
            f"more after turns and flips): {self.copies['alike']}, across groups: {self.copies['alike_across_groups']}"
        )
        lines += [f"Note: {text}" for text in cohort.notes]
        lines += [f"Error: {finding.text}" for finding in self.errors]
        return lines + self._printed_warnings()

    def _printed_warnings(self) -> list[str]:
        lines = []
        for code in dict.fromkeys(f.code for f in self.warnings):
            own = [f for f in self.warnings if f.code == code]
            lines += [f"Warning: {f.text}" for f in own[:PRINTED]]
            if len(own) > PRINTED:
                lines.append(f"Warning: {len(own) - PRINTED} more of this kind; see check.json (--out) or --json.")
        return lines


def check_cohort(
    data: Path,
    study: StudySpec | None = None,
    *,
    layout: str = AUTO,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CohortReport:
    """Read a cohort and every image of it.

    Parameters
    ----------
    data
        As for :func:`cadx.study.layouts.read_cohort`.
    study
        Says which images and classes there must be; without one all that is there is looked at, a volume's label is
        taken for the patient's and a picture's for its own.
    workers
        Processes that decode; one a core by default.
    progress
        Called with a stage, how much is done and how much there is.

    Raises
    ------
    InputError
        If nothing there can be read as a cohort; what is wrong with single samples is in the report.
    """
    roles = study.channels if study else available_roles(data, layout=layout)
    cohort, problems = examine(data, roles, layout=layout)
    if study:
        cohort = without_labels(cohort, getattr(study, "excluded_labels", ()))
    label_of = study.label_of if study else ("image" if roles == (IMAGE,) else "patient")
    report = CohortReport(cohort, roles, label_of, study.name if study else "")
    report.findings += [Finding("table", text, error=True) for text in problems]
    _sort_into_classes(report, study.classes if study else ())
    looks = _look_at_all(report, workers or os.cpu_count() or 1, progress or (lambda stage, done, total: None))
    _find_copies(report, looks, progress or (lambda stage, done, total: None))
    return report


def _sort_into_classes(report: CohortReport, classes: tuple[ClassSpec, ...]) -> None:
    """Name each sample's class; unknown labels and patients of two classes are findings."""
    names = {word: spec.name for spec in classes for word in spec.words}
    spelled: dict[str, str] = {}
    for sample in report.cohort.samples:
        word = same_label(sample.label)
        if classes and word not in names:
            report.findings.append(Finding("label", unknown_label(sample, classes), error=True))
        report.of_class.append(names.get(word) or spelled.setdefault(word, sample.label))
    held: dict[str, dict[str, None]] = {}
    for sample, name in zip(report.cohort.samples, report.of_class, strict=True):
        held.setdefault(sample.group, {})[name] = None
    torn = {group: list(own) for group, own in held.items() if len(own) > 1}
    report.torn = len(torn)
    if report.label_of == "patient":
        report.findings += [
            Finding(
                "two-classes", f"The patient '{g}' has two labels, {' and '.join(n)}; correct the table.", error=True
            )
            for g, n in torn.items()
        ]


def _look_at_all(report: CohortReport, workers: int, progress: Progress) -> list[Look]:
    """Decode every image of every sample; what cannot be used becomes a finding."""
    samples = report.cohort.samples
    seen: list[Look] = []
    for done, (looks, findings) in enumerate(_looks(samples, report.roles == (IMAGE,), workers), start=1):
        seen += looks
        report.findings += findings
        report.usable.append(not any(f.error for f in findings))
        progress("images read", done, len(samples))
    for role in report.roles:
        own = [one for one in seen if one.role == role]
        report.sizes[role] = Counter(one.size for one in own)
        report.ranges[role] = _range_text(np.array([one.numbers for one in own])) if own else ""
    return seen


Seen = tuple[list[Look], list[Finding]]


def _looks(samples: tuple[Sample, ...], pictures: bool, workers: int) -> Iterator[Seen]:
    """In the samples' order; in processes where that pays."""
    look = _look_at_picture if pictures else _look_at_volumes
    if workers == 1 or len(samples) < (FEW_PICTURES if pictures else FEW_CASES):
        yield from map(look, range(len(samples)), samples)
        return
    # spawn: a fork of a process that holds threads can hang
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_ctrl_c_to_the_parent)
    try:
        yield from pool.map(look, range(len(samples)), samples, chunksize=50 if pictures else 1)
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _look_at_picture(index: int, sample: Sample) -> Seen:
    try:
        picture = read_any_picture(sample.images[IMAGE])
    except InputError as error:
        return [], [_unusable(sample, error)]
    rows, columns = picture.shape
    size = f"{columns} x {rows} {'colour' if picture.pixels.ndim == 3 else 'grey'}"
    return [Look(index, IMAGE, picture.sha256, thumbnail(picture.pixels), size, (columns, rows))], []


def _look_at_volumes(index: int, sample: Sample) -> Seen:
    looks: list[Look] = []
    findings: list[Finding] = []
    images: dict[str, Volume] = {}
    for role, path in sample.images.items():
        try:
            volume = read_volume(path, role)
            require_contrast(volume, role)
        except InputError as error:
            findings.append(_unusable(sample, error))
            continue
        images[role] = volume
        looks.append(_look_at_volume(index, role, volume))
    if len(images) == len(sample.images):
        findings += _look_at_case(sample, images)
    return looks, findings


def _look_at_volume(index: int, role: str, volume: Volume) -> Look:
    """Axes nearest to R, A and S, so that the order of storage does not matter."""
    canonical = volume.canonical()
    size, spacing = canonical.geometry.size_ijk, canonical.geometry.spacing.tolist()
    text = f"{' x '.join(str(n) for n in size)} of {' x '.join(f'{s:.2f}' for s in spacing)} mm"
    small = thumbnail(canonical.voxels[size[2] // 2])
    return Look(index, role, volume.sha256(), small, text, (*size, *spacing))


def _look_at_case(sample: Sample, images: Mapping[str, Volume]) -> list[Finding]:
    """Whether the ROI lies in all images, and the images belong together."""
    try:
        case = Case(images, read_sample_roi(sample, images), sample.name)
        notices = case.notices() + check_coverage(case.roi, {role: v.geometry for role, v in images.items()})
    except InputError as error:
        return [_unusable(sample, error)]
    return [Finding(notice.code, f"{sample.name}: {notice.text}") for notice in notices]


def _unusable(sample: Sample, error: InputError) -> Finding:
    return Finding("unusable", f"{sample.name}: {error}", error=True)


def _range_text(numbers: NDArray[np.floating]) -> str:
    """From where to where sizes go: pixels, or voxels and mm."""
    pairs = list(zip(numbers.min(axis=0), numbers.max(axis=0), strict=True))
    count = min(3, len(pairs))
    whole = " x ".join(f"{low:.0f}" if low == high else f"{low:.0f}-{high:.0f}" for low, high in pairs[:count])
    if len(pairs) == 2:
        return f"{whole} pixels"
    spacing = " x ".join(f"{low:.2f}-{high:.2f}" for low, high in pairs[3:])
    return f"{whole} voxels of {spacing} mm"


def _find_copies(report: CohortReport, looks: list[Look], progress: Progress) -> None:
    """Images of identical content under other names, then those that look alike."""
    samples = report.cohort.samples
    by_content: dict[str, list[Look]] = {}
    for look in looks:
        by_content.setdefault(look.sha256, []).append(look)
    # T1 and T2 of one case are the case's own affair
    repeated = [own for own in by_content.values() if len({look.sample for look in own}) > 1]
    report.findings += [_identical(report, sorted({look.sample for look in own})) for own in repeated]
    report.copies = {"identical": sum(len({look.sample for look in own}) - 1 for own in repeated)}
    near, across = 0, 0
    for role in report.roles:
        firsts = [own[0] for own in by_content.values() if own[0].role == role]
        if not firsts:
            continue
        small = np.stack([look.small for look in firsts])
        pairs = near_pairs(small, NEAR, progress=lambda done, total: progress("thumbnails compared", done, total))
        apart = [
            (firsts[i].sample, firsts[j].sample, s)
            for i, j, s in pairs
            if samples[firsts[i].sample].group != samples[firsts[j].sample].group
        ]
        near, across = near + len(pairs), across + len(apart)
        report.findings += [_alike(report, own) for own in _connected(samples, apart)]
    report.copies |= {"alike": near, "alike_across_groups": across}


def _identical(report: CohortReport, indices: list[int]) -> Finding:
    samples = report.cohort.samples
    names = _listed(samples[i].name for i in indices)
    groups = list(dict.fromkeys(samples[i].group for i in indices))
    labels = list(dict.fromkeys(report.of_class[i] for i in indices))
    if len(labels) > 1:
        text = f"{names} hold the same image but are labelled {_listed(labels)}; correct the table."
        return Finding("identical", text, error=True)
    if len(groups) > 1:
        text = f"{names} hold the same image but count as different patients; remove the copies or name one patient."
        return Finding("identical", text, error=True)
    return Finding("identical", f"{names} hold the same image; remove the copies.")


Pair = tuple[int, int, float]


def _connected(samples: tuple[Sample, ...], pairs: list[Pair]) -> list[list[Pair]]:
    """Pairs gathered by the groups that they connect, most alike first."""
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while parent.setdefault(group, group) != group:
            group = parent[group]
        return group

    for i, j, _ in pairs:
        parent[root(samples[j].group)] = root(samples[i].group)
    gathered: dict[str, list[Pair]] = {}
    for pair in pairs:
        gathered.setdefault(root(samples[pair[0]].group), []).append(pair)
    return list(gathered.values())


def _alike(report: CohortReport, pairs: list[Pair]) -> Finding:
    samples = report.cohort.samples
    i, j, similarity = pairs[0]
    groups = list(dict.fromkeys(samples[k].group for pair in pairs for k in pair[:2]))
    labels = list(dict.fromkeys(report.of_class[k] for pair in pairs for k in pair[:2]))
    such = f"{samples[i].name} and {samples[j].name} look alike (correlation {similarity:.4f})"
    if len(pairs) > 1:
        such += f", as {'do' if len(pairs) > 2 else 'does'} {len(pairs) - 1} more pair{'s' if len(pairs) > 2 else ''}"
    told = f" and are labelled {_listed(labels)}" if len(labels) > 1 else ""
    text = f"{such}{told}, but count as different patients ({_listed(groups)}); if they are one, name it so."
    return Finding("alike", text)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def in_groups(samples: int, groups: int) -> str:
    """How many, and in how many groups where that says more.

    >>> in_groups(7, 3), in_groups(5, 5)
    ('7 in 3 groups', '5')
    """
    return f"{samples}" if samples == groups else f"{samples} in {groups} groups"


def _sizes(counts: Counter[str], ranges: str) -> str:
    """Each size, or those that occur most and from where to where they go."""
    if len(counts) <= NAMED:
        return _counted(counts)
    every = f"{len(counts)} of them, {ranges}"
    return every if max(counts.values()) == 1 else f"{every}; {_counted(counts)}"


def _counted(counts: Counter[str]) -> str:
    shown = "; ".join(f"{name}: {number}" for name, number in counts.most_common(NAMED))
    rest = sum(counts.values()) - sum(n for _, n in counts.most_common(NAMED))
    return f"{shown}; {len(counts) - NAMED} others: {rest}" if rest else shown
