"""A clean run passes the audit; each planted leak is caught, by the check that is meant for it."""

from __future__ import annotations

import ast
import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from cadx.audit import alike
from cadx.audit.audit import audit_run
from cadx.audit.choice import best_temperature
from cadx.audit.command import audit
from cadx.audit.report import AuditReport
from cadx.audit.tasks import cross_entropy
from cadx.errors import InputError

from fake_run import digest, dump, reseal_opening, seal_folds, softmax, temperature, write_fake_run

Json = dict[str, Any]
SMALL: Json = {"models": ("vit",), "groups": 18, "folds": 3, "inner": 2, "settings": ({"learning_rate": 1e-3},)}
ALLOWED = ("cadx.audit", "cadx.errors", "cadx.io")
FOLD = Path("vit") / "fold-0"
PAIR = Path("vit") / "shared" / "settings-0" / "fold-0+fold-1"
# what may follow where a book's names are wrong, and so the classes that its logits are held against
OF_TRUTH = {"validation logs", "selection", "temperature"}
INNER = FOLD / "settings-0" / "inner-0"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Many small products: on a busy machine waiting threads cost more than they bring."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without thumbnails, which most checks do not need."""
    return _bare(write_fake_run(tmp_path_factory.mktemp("clean") / "run", **SMALL))


@pytest.fixture
def run(clean: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(clean, tmp_path / "run"))


def _bare(folder: Path) -> Path:
    (folder / "thumbnails.npy").unlink()
    return folder


def _failed(report: AuditReport) -> set[str]:
    return {check.name for check in report.checks if check.status == "failed"}


def _status(report: AuditReport) -> dict[str, str]:
    return {check.name: check.status for check in report.checks}


def _edit(path: Path, change: Callable[[Json], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    dump(path, document)


def _edit_lines(path: Path, change: Callable[[list[Json]], object]) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _test_part(run: Path) -> list[str]:
    return json.loads((run / "folds.json").read_text())["outer"][0]["test"]


def test_a_clean_run_passes_every_check(tmp_path: Path) -> None:
    report = audit_run(write_fake_run(tmp_path / "run", **SMALL))
    assert set(_status(report).values()) == {"passed"}, "\n".join(report.lines())
    assert json.loads((tmp_path / "run" / "audit.json").read_text()) == report.to_json()


@pytest.mark.parametrize(
    "options",
    [
        {"final": "best", "settings": ({"learning_rate": 1e-3}, {"learning_rate": 1e-4})},
        {"settings": ({"weight_decay": 0.1}, {"weight_decay": 0.0})},
        {"whole": False, "seed": 3},
        {"shared": True, "settings": ({"learning_rate": 1e-3}, {"learning_rate": 1e-4})},
    ],
)
def test_other_forms_of_a_clean_run_pass(tmp_path: Path, options: Json) -> None:
    report = audit_run(_bare(write_fake_run(tmp_path / "run", **{**SMALL, **options})))
    assert not _failed(report), "\n".join(report.lines())


def test_no_code_is_shared_with_what_trains() -> None:
    """Only errors and files; nothing of the study, the evaluation or their like is imported anywhere in it."""
    for path in Path(alike.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in _imported(node):
                assert not name.startswith("cadx") or name.startswith(ALLOWED), f"{path.name} imports {name}"
                assert name.split(".")[0] not in ("torch", "timm", "sklearn", "scipy"), f"{path.name} imports {name}"


def _imported(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def test_a_patient_on_both_sides(tmp_path: Path) -> None:
    def move(folds: Json, rows: list[dict[str, str]]) -> None:
        """One of two samples of a group goes from the first test part to the second."""
        first, second = folds["outer"][:2]
        groups = {row["name"]: row["group"] for row in rows}
        names = [name for name in first["test"] if sum(groups[n] == groups[name] for n in first["test"]) > 1]
        name = names[0]
        first["test"].remove(name)
        second["test"].append(name)
        for part in (first, *first["inner"]):
            part["training"].append(name)
        for part in (second, *second["inner"]):
            part["training"] = [n for n in part["training"] if n != name]
            part["validation"] = [n for n in part.get("validation", []) if n != name]

    report = audit_run(_bare(write_fake_run(tmp_path / "run", **SMALL, edit_folds=move)))
    assert _failed(report) == {"groups apart"}


def test_a_sample_in_two_test_parts(tmp_path: Path) -> None:
    def double(folds: Json, rows: list[dict[str, str]]) -> None:
        first, second = folds["outer"][:2]
        names = [row["name"] for row in rows if row["group"] == "g0001"]
        giver, taker = (first, second) if names[0] in first["test"] else (second, first)
        taker["test"] += names
        for part in (taker, *taker["inner"]):
            part["training"] = [n for n in part["training"] if n not in names]
            part["validation"] = [n for n in part.get("validation", []) if n not in names]
        assert names[0] in giver["test"]

    report = audit_run(_bare(write_fake_run(tmp_path / "run", **SMALL, edit_folds=double)))
    assert _failed(report) == {"test parts"}


def test_a_validation_part_that_holds_a_test_sample(tmp_path: Path) -> None:
    def slip(folds: Json, rows: list[dict[str, str]]) -> None:
        fold = folds["outer"][0]
        groups = [row["group"] for row in rows]
        alone = {row["name"] for row in rows if groups.count(row["group"]) == 1}
        fold["inner"][0]["validation"].append(next(name for name in fold["test"] if name in alone))

    report = audit_run(_bare(write_fake_run(tmp_path / "run", **SMALL, edit_folds=slip)))
    assert _failed(report) == {"samples apart"}


def _across(folder: Path) -> tuple[int, int]:
    """Rows of two samples in different test parts."""
    outer = json.loads((folder / "folds.json").read_text())["outer"]
    with (folder / "samples.csv").open(newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    return names.index(outer[0]["test"][1]), names.index(outer[1]["test"][2])


def test_an_identical_image(clean: Path, tmp_path: Path) -> None:
    first, second = _across(clean)

    def copy(rows: list[dict[str, str]], _: np.ndarray) -> None:
        rows[second]["sha256"] = rows[first]["sha256"]

    report = audit_run(_bare(write_fake_run(tmp_path / "run", **SMALL, edit_samples=copy)))
    assert _failed(report) == {"identical images"}


def test_a_near_identical_image(clean: Path, tmp_path: Path) -> None:
    """Mirrored, cropped and of another contrast."""
    first, second = _across(clean)

    def copy(rows: list[dict[str, str]], thumbnails: np.ndarray) -> None:
        made = thumbnails[first, :, 1:, ::-1].repeat(32, axis=1).reshape(2, 32, 31, 32).mean(axis=2)
        thumbnails[second] = np.clip(40 + 160 * (np.clip(made, 0, 255) / 255) ** 1.4, 0, 255)

    folder = write_fake_run(tmp_path / "run", **SMALL, edit_samples=copy)
    report = audit_run(folder)
    assert _failed(report) == {"near-identical images"}
    found = next(check for check in report.checks if check.name == "near-identical images")
    assert {f"s{first:04d}", f"s{second:04d}"} <= set(found.evidence[0].split())


def test_likeness_survives_every_turn_and_its_undoing() -> None:
    picture = np.random.default_rng(0).random((1, 32, 32))
    for turn in range(alike.TURNS):
        there = alike._turned(picture, turn)
        assert np.array_equal(alike._turned(there, int(alike.BACK[turn])), picture)


def test_copies_of_real_images_are_found_and_nothing_else(shared: Path) -> None:
    """200 chest X-rays of different patients; copies of 20 of them, mirrored, brighter and cropped by 4 %."""
    from PIL import Image, ImageOps

    folder = shared / "data" / "chest_xray"
    with (folder / "cases.csv").open(newline="") as file:
        rows = list({row["patient"]: row for row in csv.DictReader(file)}.values())[::3][:200]
    images = [Image.open(folder / row["path"]).convert("L") for row in rows]
    copies = []
    for image in images[:20]:
        wide, high = image.size
        cut = ImageOps.mirror(image).crop((0, round(0.02 * high), round(0.96 * wide), round(0.98 * high)))
        copies.append(cut.point([round(255 * (v / 255) ** 0.6) for v in range(256)]))
    thumbnails = np.stack([np.asarray(i.resize((32, 32), Image.Resampling.BOX)) for i in images + copies])[:, None]
    label = np.array([row["label"] for row in rows] + [row["label"] for row in rows[:20]])
    originals = np.arange(220) < 200

    def differ(numbers: np.ndarray) -> np.ndarray:
        return (label[numbers][:, None] != label) & originals[numbers][:, None] & originals

    found = alike.find_alike(thumbnails, lambda numbers: np.ones((len(numbers), 220), bool), differ)
    right = {(k, 200 + k) for k in range(20)}
    pairs = {(first, second) for first, second, _ in found.pairs}
    assert len(pairs & right) >= 19
    assert len(pairs - right) <= 1
    assert found.reference_above <= 1


def test_an_epoch_that_the_test_part_chose(run: Path) -> None:
    """Everything downstream is forged to agree: final fit, temperature, probabilities, hashes."""
    selection = json.loads((run / FOLD / "selection.json").read_text())
    chosen = 0 if selection["chosen"]["round"] else 1
    logits, truth = _pooled(run, chosen)
    selection["chosen"]["round"] = selection["candidates"][0]["best_round"] = chosen
    selection["candidates"][0]["value"] = selection["candidates"][0]["curve"][chosen]
    selection["temperature"] = temperature(logits, truth)
    dump(run / FOLD / "selection.json", selection)
    _edit(run / FOLD / "final" / "done.json", lambda done: done.update(rounds=chosen + 1))
    _recalibrate(run / FOLD, selection["temperature"])
    assert _failed(audit_run(run)) == {"selection"}


def test_a_curve_that_is_not_that_of_the_inner_parts(run: Path) -> None:
    _edit(run / FOLD / "selection.json", lambda s: s["candidates"][0]["curve"].__setitem__(0, 0.01))
    reseal_opening(run / FOLD)
    assert _failed(audit_run(run)) == {"selection"}


def test_settings_that_were_not_the_best(tmp_path: Path) -> None:
    two = {"settings": ({"learning_rate": 1e-3}, {"learning_rate": 1e-4}), "whole": False}
    folder = _bare(write_fake_run(tmp_path / "run", **{**SMALL, **two}))
    selection = json.loads((folder / FOLD / "selection.json").read_text())
    other = 1 - selection["chosen"]["index"]
    candidate = selection["candidates"][other]
    selection["chosen"] = {"index": other, "settings": candidate["settings"], "round": candidate["best_round"]}
    logits, truth = _pooled(folder, candidate["best_round"], other)
    selection["temperature"] = temperature(logits, truth)
    dump(folder / FOLD / "selection.json", selection)
    _edit(folder / FOLD / "final" / "done.json", lambda done: done.update(rounds=candidate["best_round"] + 1))
    _edit(folder / FOLD / "final" / "task.json", lambda task: task.update(settings=candidate["settings"]))
    _recalibrate(folder / FOLD, selection["temperature"])
    assert _failed(audit_run(folder)) == {"selection"}


def test_a_temperature_learnt_on_the_test_part(run: Path) -> None:
    rows = _rows(run / FOLD / "predictions.csv")
    classes = [name for name in rows[0] if name.startswith("logit:")]
    logits = np.array([[float(row[name]) for name in classes] for row in rows])
    truth = np.array([classes.index(f"logit:{row['class']}") for row in rows])
    learnt = temperature(logits, truth)
    _edit(run / FOLD / "selection.json", lambda selection: selection.update(temperature=learnt))
    _recalibrate(run / FOLD, learnt)
    assert _failed(audit_run(run)) == {"temperature"}


def test_the_temperature_is_that_of_another_minimiser() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 60)
    logits = 3 * np.eye(3)[truth] + 2 * random.standard_normal((60, 3))
    assert best_temperature(logits, truth) == pytest.approx(temperature(logits, truth), rel=1e-3)


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("learnt values", lambda task, test: task["learnt"]["from"].append(test[0])),
        ("learnt values", lambda task, test: task["learnt"].update({"from": []})),
        ("class weights", lambda task, test: task["learnt"].update(class_weights=[1.0, 0.9, 1.1])),
        ("class weights", lambda task, test: task["learnt"].update(class_weights=None)),
        ("landmarks", lambda task, test: task["learnt"].update(landmarks=None)),
        ("task parts", lambda task, test: task["training"].append(test[0])),
    ],
)
def test_what_a_training_learnt_from_the_test_part(
    run: Path, check: str, change: Callable[[Json, list[str]], object]
) -> None:
    test = _test_part(run)
    _edit(run / INNER / "task.json", lambda task: change(task, test))
    assert _failed(audit_run(run)) == {check}


def test_landmarks_learnt_once_on_everything(run: Path) -> None:
    everything = json.loads((run / "vit" / "all" / "final" / "task.json").read_text())["learnt"]["landmarks"]
    for path in run.glob("vit/fold-*/final/task.json"):
        _edit(path, lambda task: task["learnt"].update(landmarks=everything))
    assert _failed(audit_run(run)) == {"landmarks"}


@pytest.mark.parametrize("field", ["test_loss", "note"])
def test_a_log_that_speaks_of_the_test_part(run: Path, field: str) -> None:
    name = _test_part(run)[0]
    _edit_lines(run / INNER / "rounds.jsonl", lambda lines: lines[0].update({field: name}))
    assert _failed(audit_run(run)) == {"test part unseen"}


def test_a_final_fit_that_looked_at_something(run: Path) -> None:
    _edit_lines(run / FOLD / "final" / "rounds.jsonl", lambda lines: lines[0].update(validation_loss=0.5))
    assert _failed(audit_run(run)) == {"test part unseen"}


def test_a_log_of_other_samples(run: Path) -> None:
    _edit_lines(run / INNER / "rounds.jsonl", lambda lines: lines[0].update(validation_loss=9.0))
    assert _failed(audit_run(run)) == {"validation logs"}


def test_a_validation_file_with_a_column_too_many(run: Path) -> None:
    path = run / INNER / "validation.npy"
    logits = np.load(path)
    np.save(path, np.concatenate([logits, logits[:, :1]], axis=1))
    assert "validation logs" in _failed(audit_run(run))


def test_a_validation_file_changed_after_the_choice(run: Path) -> None:
    path = run / INNER / "validation.npy"
    np.save(path, np.load(path) + np.float32(1e-6))
    assert _failed(audit_run(run)) == {"selection inputs"}


def test_predictions_among_the_inputs_of_a_choice(run: Path) -> None:
    own = digest(run / FOLD / "predictions.csv")
    _edit(run / FOLD / "selection.json", lambda s: s["inputs"].update({"predictions.csv": own}))
    reseal_opening(run / FOLD)
    assert _failed(audit_run(run)) == {"selection inputs"}


def test_a_final_fit_that_ran_on(run: Path) -> None:
    _edit(run / FOLD / "final" / "done.json", lambda done: done.update(rounds=done["rounds"] + 1))
    assert _failed(audit_run(run)) == {"final fit"}


@pytest.fixture(scope="session")
def clean_shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which each two folds share their trainings."""
    return _bare(write_fake_run(tmp_path_factory.mktemp("shared") / "run", **{**SMALL, "folds": 4}, shared=True))


@pytest.fixture
def shared_run(clean_shared: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(clean_shared, tmp_path / "run"))


def test_a_run_with_shared_trainings_passes_every_check(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", **{**SMALL, "folds": 4}, shared=True)
    report = audit_run(folder)
    assert set(_status(report).values()) == {"passed"}, "\n".join(report.lines())
    (folder / PAIR / "book-fold-1.npy").unlink()
    report = audit_run(folder)
    assert f"{PAIR.as_posix()}/book-fold-1.npy" in report.checks[0].evidence


@pytest.mark.parametrize("honest", [False, True])
def test_a_choice_by_the_book_of_its_own_test_part(shared_run: Path, honest: bool) -> None:
    """Everything downstream is forged to agree; the inputs are named as they were, or as they had to be."""
    right, wrong = "book-fold-1.npy", "book-fold-0.npy"
    selection = json.loads((shared_run / FOLD / "selection.json").read_text())
    read = [name.replace(f"fold-0+fold-1/{right}", f"fold-0+fold-1/{wrong}") for name in selection["inputs"]]
    if honest:
        selection["inputs"] = {name: digest(shared_run / "vit" / name) for name in read}
    looks = [_book(shared_run / "vit" / name) for name in read]
    curve = [float(np.mean([cross_entropy(logits[k], truth) for logits, truth in looks])) for k in range(3)]
    best = int(np.argmin(curve))
    selection["candidates"][0] |= {"curve": curve, "best_round": best, "value": curve[best]}
    selection["chosen"]["round"] = best
    pooled = np.concatenate([logits[best] for logits, _ in looks])
    selection["temperature"] = temperature(pooled, np.concatenate([truth for _, truth in looks]))
    dump(shared_run / FOLD / "selection.json", selection)
    _edit(shared_run / FOLD / "final" / "done.json", lambda done: done.update(rounds=best + 1))
    _recalibrate(shared_run / FOLD, selection["temperature"])
    report = audit_run(shared_run)
    assert _failed(report) == {"selection", "temperature"} | ({"selection inputs"} if honest else set())
    said = next(check for check in report.checks if check.name == "selection inputs")
    assert any("its own test part" in line for line in said.evidence) is honest


@pytest.mark.parametrize(
    ("checks", "change"),
    [
        ({"task parts"}, lambda task: task["training"].append(task["books"]["fold-0"][0])),
        ({"task parts"}, lambda task: task["training"].pop()),
        ({"task parts"}, lambda task: task["validation"].append(task["books"]["fold-0"][0])),
        ({"task parts"}, lambda task: task["books"]["fold-0"].__setitem__(0, task["training"][0])),
        ({"task parts"}, lambda task: task["books"].update({"fold-2": []})),
        ({"learnt values"}, lambda task: task["learnt"]["from"].append(task["books"]["fold-1"][0])),
    ],
)
def test_a_shared_training_of_other_parts_than_it_must_be(
    shared_run: Path, checks: set[str], change: Callable[[Json], object]
) -> None:
    """A name in place of another of its class, so that nothing else follows."""
    _edit(shared_run / PAIR / "task.json", change)
    assert _failed(audit_run(shared_run)) - OF_TRUTH == checks


def test_books_that_are_swapped(shared_run: Path) -> None:
    one, other = (shared_run / PAIR / f"book-fold-{number}.npy" for number in (0, 1))
    values = np.load(one)
    shutil.copy(other, one)
    np.save(other, values)
    assert "selection inputs" in _failed(audit_run(shared_run))


def test_a_book_changed_after_the_choice(shared_run: Path) -> None:
    path = shared_run / PAIR / "book-fold-1.npy"
    np.save(path, np.load(path) + np.float32(1e-6))
    assert _failed(audit_run(shared_run)) == {"selection inputs"}


def test_figures_of_a_book_that_are_not_its_own(shared_run: Path) -> None:
    _edit_lines(shared_run / PAIR / "book-fold-0.jsonl", lambda lines: lines[0].update(validation_loss=9.0))
    assert _failed(audit_run(shared_run)) == {"validation logs"}


def test_a_shared_training_whose_log_tells_of_a_test_part(shared_run: Path) -> None:
    _edit_lines(shared_run / PAIR / "rounds.jsonl", lambda lines: lines[0].update(validation_loss=0.5))
    assert _failed(audit_run(shared_run)) == {"test part unseen"}


def test_a_shared_training_that_ended_early(shared_run: Path) -> None:
    for path in shared_run.glob("vit/shared/settings-0/*/*.jsonl"):
        if path.name != "steps.jsonl":
            _edit_lines(path, lambda lines: lines.pop())
    for path in shared_run.glob("vit/shared/settings-0/*/*.npy"):
        np.save(path, np.load(path)[:-1])
    for path in shared_run.glob("vit/shared/settings-0/*/done.json"):
        _edit(path, lambda done: done.update(rounds=done["rounds"] - 1))
    report = audit_run(shared_run)
    assert "shared trainings" in _failed(report)
    assert "ended after 2 of 3 rounds" in next(c for c in report.checks if c.name == "shared trainings").detail


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("study.yaml", "check_every: 1", "check_every: 1\n  patience: 2"),
        ("study.yaml", "kind: folds\n    folds: null", "kind: folds\n    folds: 3"),
        ("study.yaml", "final: refit", "final: best"),
        ("run.json", '"shared": true', '"shared": false'),
    ],
)
def test_trainings_that_cannot_be_shared(shared_run: Path, name: str, old: str, new: str) -> None:
    text = (shared_run / name).read_text()
    assert old in text
    (shared_run / name).write_text(text.replace(old, new))
    assert "shared trainings" in _failed(audit_run(shared_run))


def test_inner_parts_that_are_not_the_other_folds(tmp_path: Path) -> None:
    def move(folds: Json, rows: list[dict[str, str]]) -> None:
        part = folds["outer"][0]["inner"][0]
        part["training"].append(part["validation"][0])
        part["validation"] = part["validation"][1:]

    report = audit_run(_bare(write_fake_run(tmp_path / "run", **SMALL, shared=True, edit_folds=move)))
    assert "shared trainings" in _failed(report)


@pytest.mark.parametrize("name", ["settings-0/fold-0+fold-9", "settings-7/fold-0+fold-1"])
def test_a_shared_training_of_no_two_folds(shared_run: Path, name: str) -> None:
    shutil.copytree(shared_run / PAIR, shared_run / "vit" / "shared" / name)
    assert _failed(audit_run(shared_run)) == {"shared trainings"}


def test_a_fold_opened_twice(run: Path) -> None:
    _edit_lines(run / "openings.jsonl", lambda lines: lines.append({**lines[0], "predictions_sha256": "0" * 64}))
    assert _failed(audit_run(run)) == {"opened once"}


def test_an_opening_that_was_taken_out(run: Path) -> None:
    _edit_lines(run / "openings.jsonl", lambda lines: lines.pop())
    assert _failed(audit_run(run)) == {"opened once"}


def test_an_opening_that_was_interrupted_is_no_second_one(run: Path) -> None:
    (run / FOLD / "opening.json").unlink()
    report = audit_run(run)
    assert report.passed
    assert "vit/fold-0/opening.json" in report.checks[0].evidence
    (run / FOLD / "predictions.csv").unlink()
    assert _failed(audit_run(run)) == {"opened once"}


@pytest.mark.parametrize("name", ["final/weights.safetensors", "predictions.csv"])
def test_a_file_changed_after_the_opening(run: Path, name: str) -> None:
    path = run / FOLD / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert _failed(audit_run(run)) == {"opening"}


def test_an_edited_folds_file(run: Path) -> None:
    _edit(run / "folds.json", lambda folds: folds.update(seed=7))
    assert _failed(audit_run(run)) == {"folds file"}


def test_a_folds_file_edited_and_sealed_anew(run: Path) -> None:
    _edit(run / "folds.json", lambda folds: (folds.update(seed=7), seal_folds(folds)))
    assert _failed(audit_run(run)) == {"opening"}


def test_a_study_edited_to_excuse_a_leak(run: Path) -> None:
    path = run / "study.yaml"
    path.write_text(path.read_text().replace("unit: patient", "unit: image"))
    assert "protocol" in _failed(audit_run(run))


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.pop(),
        lambda rows: rows.append(rows[0]),
        lambda rows: rows[0].update({"p:class 0": "0.9", "p:class 1": "0.05", "p:class 2": "0.05"}),
    ],
)
def test_predictions_that_are_not_those_of_the_test_part(
    run: Path, change: Callable[[list[dict[str, str]]], object]
) -> None:
    rows = _rows(run / FOLD / "predictions.csv")
    change(rows)
    _write(run / FOLD / "predictions.csv", rows)
    reseal_opening(run / FOLD)
    assert _failed(audit_run(run)) == {"predictions"}


def test_a_protocol_that_leaks_says_so_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    folder = _bare(write_fake_run(tmp_path / "run", **SMALL, leak_by_design=True))
    report = audit_run(folder)
    assert report.passed
    declared = {name for name, status in _status(report).items() if status == "by design"}
    assert declared == {"samples apart", "groups apart", "identical images", "test part unseen"}
    assert all(c.detail.startswith("leaks by design: ") for c in report.checks if c.status == "by design")
    _edit_lines(folder / "openings.jsonl", lambda lines: lines.append(lines[0]))
    assert _failed(audit_run(folder)) == {"opened once"}


def test_an_unfinished_run_is_audited_as_far_as_it_goes(run: Path) -> None:
    shutil.rmtree(run / "vit" / "fold-2")
    shutil.rmtree(run / "vit" / "all")
    _edit_lines(run / "openings.jsonl", lambda lines: lines.pop())
    (run / "vit" / "fold-1" / "settings-0" / "inner-1" / "done.json").unlink()
    report = audit_run(run)
    assert report.passed, "\n".join(report.lines())
    assert report.checks[0].status == "not done"
    assert "vit/fold-2/selection.json" in report.checks[0].evidence
    assert _status(report)["predictions"] == "passed"


def test_a_run_that_has_just_begun(run: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(run / "run.json", begun)
    report = audit_run(begun)
    assert report.passed
    assert set(_status(report).values()) == {"not done"}


def test_a_model_that_could_not_be_run_is_an_empty_cell(run: Path) -> None:
    _edit(run / "run.json", lambda document: document["models"].append("cnn"))
    dump(run / "cnn" / "failed.json", {"reason": "Its weights are not here."})
    report = audit_run(run)
    assert report.passed
    assert not any("cnn" in name for name in report.checks[0].evidence)


def test_a_damaged_file_fails_in_one_sentence(run: Path) -> None:
    (run / FOLD / "selection.json").write_text("{")
    report = audit_run(run)
    assert {"selection", "opening"} <= _failed(report)
    assert all("\n" not in check.detail for check in report.checks)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run folder"):
        audit_run(tmp_path)
    dump(tmp_path / "run.json", {"schema": "another/1"})
    with pytest.raises(InputError, match="cadx.run/1"):
        audit_run(tmp_path)


def test_the_command_prints_a_line_a_check_and_ends_with_4_on_a_leak(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(run) == 0
    assert "passed     folds file: " in capsys.readouterr().out
    _edit_lines(run / "openings.jsonl", lambda lines: lines.append(lines[0]))
    app = typer.Typer()
    app.command()(audit)
    shown = CliRunner().invoke(app, [str(run), "--json"], standalone_mode=False)
    assert shown.return_value == 4
    assert json.loads(shown.output)["passed"] is False


def _pooled(run: Path, number: int, settings: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and truth of all inner parts of the first fold at a round."""
    with (run / "samples.csv").open(newline="") as file:
        label = {row["name"]: int(row["class"].split()[-1]) for row in csv.DictReader(file)}
    logits, truth = [], []
    for path in sorted((run / FOLD).glob(f"settings-{settings}/*/validation.npy")):
        names = json.loads((path.parent / "task.json").read_text())["validation"]
        logits.append(np.load(path)[number])
        truth += [label[name] for name in names]
    return np.concatenate(logits), np.array(truth)


def _book(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a book and truth of its samples."""
    with (path.parents[4] / "samples.csv").open(newline="") as file:
        label = {row["name"]: int(row["class"].split()[-1]) for row in csv.DictReader(file)}
    names = json.loads((path.parent / "task.json").read_text())["books"][path.stem.removeprefix("book-")]
    return np.load(path), np.array([label[name] for name in names])


def _recalibrate(fold: Path, value: float) -> None:
    """Probabilities of another temperature, and the hashes that follow."""
    rows = _rows(fold / "predictions.csv")
    names = [name.removeprefix("logit:") for name in rows[0] if name.startswith("logit:")]
    for row in rows:
        p = softmax(np.array([float(row[f"logit:{name}"]) for name in names]) / value)
        row.update({f"p:{name}": repr(float(part)) for name, part in zip(names, p, strict=True)})
    _write(fold / "predictions.csv", rows)
    reseal_opening(fold)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
