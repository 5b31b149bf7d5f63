"""Whether folds.json keeps apart what must be apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from cadx.audit.files import Fold, Run, canonical_digests, digest
from cadx.audit.report import Check, conclude

EACH_ONCE = ("folds", "centres")


def check_protocol(run: Run) -> Check:
    """study.yaml is the one that was run, and run.json and folds.json say what it says."""
    split = run.study.get("split", {})
    faults = []
    if run.document.get("study_sha256") not in (digest(run.folder / "study.yaml"), None):
        faults.append("study.yaml is not the file whose hash run.json keeps")
    for key, default in (("kind", "folds"), ("unit", "patient")):
        if run.folds_document.get(key) != split.get(key, default):
            faults.append(f"split.{key} is {split.get(key, default)} in study.yaml, not so in folds.json")
    if bool(run.document.get("leaks")) != bool(run.by_image or run.by_test):
        faults.append("run.json and study.yaml disagree on whether the protocol leaks by design")
    data = run.document.get("data", {})
    for key, count in (("samples", len(run.rows)), ("groups", len(set(run.group.values())))):
        if data.get(key, count) != count:
            faults.append(f"run.json counts {data[key]} {key}, samples.csv {count}")
    return conclude("protocol", "study.yaml, run.json and folds.json say the same.", faults, 1)


def check_folds_file(run: Run) -> Check:
    """folds.json carries its own hash."""
    right = run.folds_document.get("sha256") in canonical_digests(run.folds_document)
    faults = [] if right else ["folds.json was changed after its hash was taken"]
    return conclude("folds file", "folds.json is as it was written.", faults, 1)


def check_test_parts(run: Run) -> Check:
    """Names are known and every sample is tested once (at most once for a single split)."""
    names = Counter(row["name"] for row in run.rows)
    faults = [f"{name} is in samples.csv {count} times" for name, count in names.items() if count > 1]
    for place, part in _parts(run):
        faults += [f"{place} names {name}, which samples.csv lacks" for name in part if name not in names]
        faults += [f"{place} names {name} twice" for name, count in Counter(part).items() if count > 1]
    tested = Counter(name for fold in run.folds for name in fold.test)
    faults += [f"{name} lies in {count} test parts" for name, count in tested.items() if count > 1]
    if run.folds_document.get("kind") in EACH_ONCE:
        faults += [f"{name} lies in no test part" for name in names if not tested[name]]
    said = f"{len(tested)} of {len(names)} samples lie in exactly one test part of {len(run.folds)}."
    return conclude("test parts", said, faults, len(run.folds))


def check_samples_apart(run: Run) -> Check:
    """No sample on two sides; inner parts inside the training part."""
    faults: list[str] = []
    allowed: list[str] = []
    for fold in run.folds:
        faults += _shared(fold.name, "training and test", fold.training, fold.test)
        inside, test = set(fold.training), set(fold.test)
        for part in fold.inner:
            place = f"{fold.name}/{part.name}"
            faults += _shared(place, "training and validation", part.training, part.validation)
            faults += _shared(place, "inner training and test", part.training, fold.test)
            seen = _shared(place, "validation and test", part.validation, fold.test)
            (allowed if run.by_test else faults).extend(seen)
            strangers = set(part.training) | {n for n in part.validation if not (run.by_test and n in test)}
            strangers -= inside | test
            faults += [f"{place}: {name} is not of the fold's training part" for name in sorted(strangers)]
    count = sum(len(fold.inner) for fold in run.folds)
    said = f"No sample lies on two sides of any of {len(run.folds)} outer and {count} inner splits."
    return conclude("samples apart", said, faults, len(run.folds), allowed, run.by_test)


def check_groups_apart(run: Run) -> Check:
    """No patient on two sides."""
    found = []
    for fold in run.folds:
        found += _shared_groups(run, fold.name, "training and test", fold.training, fold.test)
        for part in fold.inner:
            place = f"{fold.name}/{part.name}"
            found += _shared_groups(run, place, "training and validation", part.training, part.validation)
            if not run.by_test:
                found += _shared_groups(run, place, "validation and test", part.validation, fold.test)
    said = f"None of {len(set(run.group.values()))} groups lies on two sides of any split."
    if run.by_image:
        return conclude("groups apart", said, [], len(run.folds), found, run.by_image)
    return conclude("groups apart", said, found, len(run.folds))


def check_classes(run: Run) -> Check:
    """Every class can be learnt in every split."""
    classes = sorted(set(run.label.values()))
    faults = [f"{row['name']} is of the class {row['class']}, which study.yaml lacks"
              for row in run.rows if row["class"] not in run.classes]  # fmt: skip
    lacking = []
    for place, part in _parts(run):
        if place.endswith("training"):
            held = {run.label.get(name) for name in part}
            lacking += [f"{place} holds no sample of the class {label}" for label in classes if label not in held]
    if run.folds_document.get("kind") != "centres":
        faults += lacking
    spread = [_spread(run, fold) for fold in run.folds]
    said = "Every training part holds every class" if not lacking else lacking[0]
    ranges = ", ".join(
        f"{label} {min(count[label] for count in spread)} to {max(count[label] for count in spread)}"
        for label in classes
    )
    return conclude("classes", f"{said}; test parts hold {ranges}.", faults, len(run.folds))


def _parts(run: Run) -> Iterator[tuple[str, Sequence[str]]]:
    for fold in run.folds:
        yield f"{fold.name}/test", fold.test
        yield f"{fold.name}/training", fold.training
        for part in fold.inner:
            yield f"{fold.name}/{part.name}/training", part.training
            yield f"{fold.name}/{part.name}/validation", part.validation


def _shared(place: str, sides: str, one: Sequence[str], other: Sequence[str]) -> list[str]:
    return [f"{place}: {name} lies in {sides}" for name in sorted(set(one) & set(other))]


def _shared_groups(run: Run, place: str, sides: str, one: Sequence[str], other: Sequence[str]) -> list[str]:
    first = {run.group.get(name): name for name in one}
    second = {run.group.get(name): name for name in other}
    shared = sorted(str(group) for group in set(first) & set(second) - {None})
    # the same sample on both sides is another check's
    return [
        f"{place}: group {group} lies in {sides} ({first[group]}, {second[group]})"
        for group in shared
        if first[group] != second[group]
    ]


def _spread(run: Run, fold: Fold) -> Counter[str]:
    return Counter(run.label.get(name, "") for name in fold.test)
