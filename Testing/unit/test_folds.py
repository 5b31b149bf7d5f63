from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadx.errors import InputError
from cadx.study.folds import Units, draw_folds, folds_sha256, from_json, holdout, to_json
from cadx.study.inner import InnerTrainings, can_share
from cadx.study.presets import read_study
from cadx.study.spec import SplitSpec

CLASSES = ("normal", "low risk", "high risk")


def units(patients=30, images=2, centres=3, columns=()) -> Units:
    """Every patient has some images and one class."""
    count = patients * images
    patient = np.arange(count) // images
    return Units(
        [f"case-{i}" for i in range(count)],
        [f"patient-{p}" for p in patient],
        [f"centre-{p % centres}" for p in patient],
        patient % 3,
        CLASSES,
        columns,
    )


def sides_are_apart(own, fold):
    groups = np.array(own.groups)
    assert not set(groups[fold.training]) & set(groups[fold.test])
    for inner in fold.inner:
        assert not set(groups[inner.training]) & set(groups[inner.validation])
        assert not (set(inner.training) | set(inner.validation)) & set(fold.test)


@settings(max_examples=25, deadline=None)
@given(
    patients=st.integers(18, 60),
    images=st.integers(1, 4),
    folds=st.integers(2, 6),
    inner=st.sampled_from([{"kind": "folds"}, {"kind": "folds", "folds": 3}, {"kind": "holdout", "share": 0.2}]),
    seed=st.integers(0, 1000),
)
def test_no_patient_is_on_two_sides(patients, images, folds, inner, seed):
    own = units(patients, images)
    drawn = draw_folds(own, SplitSpec(folds=folds, inner=inner), seed)
    tested = np.concatenate([fold.test for fold in drawn])
    assert sorted(tested) == list(range(patients * images))
    for fold in drawn:
        sides_are_apart(own, fold)
        assert set(own.classes[fold.test]) == {0, 1, 2}


def test_inner_folds_are_the_other_outer_folds_unless_asked_otherwise():
    drawn = draw_folds(units(), SplitSpec(folds=5), 0)
    assert [len(fold.inner) for fold in drawn] == [4] * 5
    others = {tuple(sorted(fold.test)) for fold in drawn[1:]}
    assert {tuple(inner.validation) for inner in drawn[0].inner} == others


@pytest.mark.parametrize(
    ("changes", "possible"),
    [
        ([], True),
        (["split.kind=centres"], True),
        (["split.inner.folds=4"], False),
        (["split.inner.kind=holdout"], False),
        (["split.inner.kind=holdout", "selection.final=best", "training.transfer.mode=gradual"], False),
        (["training.patience=3"], False),
        (["split.folds=2"], False),
    ],
)
def test_folds_share_trainings_where_their_inner_parts_are_each_other(changes, possible):
    study = read_study("ipmn", changes=["split.folds=5", "training.patience=null", *changes])
    assert can_share(study, draw_folds(units(), study.split, 0)) is possible


def test_each_two_folds_share_one_training_and_neither_reads_its_own_book(tmp_path):
    study = read_study("ipmn", changes=["split.folds=5", "selection.grid={learning_rate: [0.1, 0.01]}"])
    folds = draw_folds(units(), study.split, 0)
    inner = InnerTrainings(tmp_path, study.models[0], study, folds, shared=True)
    tasks = inner.tasks()
    assert len(tasks) == len({task.folder for task in tasks}) == 2 * 10
    assert len(dataclasses.replace(inner, shared=False).tasks()) == 2 * 20
    of = {task.folder: task for task in tasks}
    for fold in folds:
        files = [(file, chosen) for index in (0, 1) for file, chosen in inner._files(fold, index)]
        assert len({file for file, _ in files}) == 2 * 4
        for file, chosen in files:
            task, other = of[file.parent], file.stem.removeprefix("book-")
            assert task.books[other].tolist() == chosen.tolist()
            assert set(task.books) == {fold.name, other}
            assert other != fold.name
            assert not set(task.training) & {*fold.test, *chosen}


def test_the_same_seed_draws_the_same_and_another_does_not():
    spec = SplitSpec(folds=5)
    one, same, other = (to_json(draw_folds(units(), spec, s), units().names, spec, s) for s in (0, 0, 1))
    assert one == same
    assert one["outer"] != other["outer"]


def test_a_file_of_folds_reads_back_and_a_changed_one_is_refused():
    spec, own = SplitSpec(folds=3), units()
    document = to_json(draw_folds(own, spec, 0), own.names, spec, 0)
    again = from_json(document, own.names)
    assert to_json(again, own.names, spec, 0) == document
    document["outer"][0]["test"].append(document["outer"][0]["training"].pop())
    with pytest.raises(InputError, match="changed"):
        from_json(document, own.names)
    with pytest.raises(InputError, match="does not hold"):
        from_json({**document, "sha256": folds_sha256(document)}, own.names[:-5])


def test_the_papers_split_scatters_images_exactly():
    own = units(100, 3)
    (fold,) = draw_folds(own, SplitSpec(kind="holdout", unit="image", test_share=0.4, inner={"kind": "test"}), 0)
    assert len(fold.test) == 120
    assert np.ptp(np.bincount(own.classes[fold.test])) <= 2
    assert set(np.array(own.groups)[fold.test]) & set(np.array(own.groups)[fold.training])
    assert fold.inner[0].validation.tolist() == fold.test.tolist()


def test_a_share_by_patient_is_about_that_share_and_keeps_every_class_on_both_sides():
    own = units(60, 4)
    training, validation = holdout(own, 0.15, 3)
    assert 0.1 <= len(validation) / 240 <= 0.2
    assert set(own.classes[training]) == set(own.classes[validation]) == {0, 1, 2}


def test_counts_are_met_as_whole_patients_allow():
    own = units(60, 2)
    spec = SplitSpec(
        kind="counts", test_counts={"normal": 10, "low risk": 7, "high risk": 4}, inner={"kind": "holdout"}
    )
    (fold,) = draw_folds(own, spec, 0)
    assert np.abs(np.bincount(own.classes[fold.test]) - [10, 7, 4]).max() <= 1
    sides_are_apart(own, fold)


def test_a_column_and_the_centres_can_split():
    columns = [{"split": "Test" if i < 20 else "train"} for i in range(60)]
    (fold,) = draw_folds(units(columns=columns), SplitSpec(kind="column"), 0)
    assert fold.test.tolist() == list(range(20))
    assert len(fold.inner) == 5
    out = draw_folds(units(), SplitSpec(kind="centres"), 0)
    centres = np.array(units().centres)
    assert [set(centres[fold.test]) for fold in out] == [{"centre-0"}, {"centre-1"}, {"centre-2"}]


@pytest.mark.parametrize(
    ("own", "spec", "word"),
    [
        (units(9), SplitSpec(folds=5), "The class 'normal' has 3 patients or groups, and 5 are needed"),
        (units(), SplitSpec(kind="column"), "says neither train nor test"),
        (units(centres=1), SplitSpec(kind="centres"), "names at least two"),
        (
            dataclasses.replace(units(), centres=["", *units().centres[1:]]),
            SplitSpec(folds=3, stratify_by_centre=True),
            "has no centre",
        ),
        (
            units(columns=[{"split": "test" if i == 0 else "train"} for i in range(60)]),
            SplitSpec(kind="column"),
            "lies on both sides",
        ),
    ],
)
def test_what_cannot_be_split_is_said(own, spec, word):
    with pytest.raises(InputError, match=word):
        draw_folds(own, spec, 0)


def test_strata_of_centres_are_kept():
    own = units(90, 1)
    drawn = draw_folds(own, SplitSpec(folds=5, stratify_by_centre=True), 0)
    centres = np.array(own.centres)
    for fold in drawn:
        assert sorted(np.unique(centres[fold.test], return_counts=True)[1]) == [6, 6, 6]
