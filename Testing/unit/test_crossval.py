"""Nested cross-validation from the command line: what it leaves, that it repeats itself, that it survives."""

from __future__ import annotations

import csv
import json
import os
import pickle
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from small_study import STUDY, write_pictures, write_study

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from cadx.cli import main  # noqa: E402
from cadx.models.bundle import Bundle  # noqa: E402
from cadx.study.executors.in_process import InProcess  # noqa: E402
from cadx.study.folds import from_json  # noqa: E402
from cadx.study.inner import InnerTrainings  # noqa: E402
from cadx.study.presets import read_study  # noqa: E402
from cadx.study.progress import Reporter  # noqa: E402
from cadx.study.weights import plan  # noqa: E402
from cadx.study.workshop import WorkshopPlan  # noqa: E402
from cadx.trust.temperature import fit_temperature, softmax  # noqa: E402

THREADS = ("--threads", "1", "--device", "cpu")
COMPARED = ("predictions.csv", "selection.json", "tables.md", "tables.csv", "tables.tex", "folds.json", "samples.csv")
COMPARED += ("steps.jsonl", "rounds.jsonl", "weights.safetensors", "validation.npy", "openings.jsonl", "opening.json")
PAIR = ("shared", "settings-0", "fold-0+fold-1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    write_pictures(folder / "data")
    write_study(folder)
    return folder


def command(place, out, *more):
    study = place / "shapes.yaml"
    return ["crossval", str(study), "--data", str(place / "data"), "--out", str(place / out), *THREADS, *more]


@pytest.fixture(scope="module")
def run(place):
    assert main(command(place, "run")) == 0
    return place / "run"


def contents(run):
    """What must be the same to the last bit, by its place in the run."""
    files = [path for path in run.rglob("*") if path.name in COMPARED or path.name.startswith("book-")]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_case_is_predicted_once_by_a_model_that_never_saw_it(run):
    folds = json.loads((run / "folds.json").read_text())
    names = [row["name"] for row in rows_of(run / "samples.csv")]
    for model in ("vit", "cnn"):
        told = []
        for fold in folds["outer"]:
            rows = rows_of(run / model / fold["name"] / "predictions.csv")
            assert [row["name"] for row in rows] == fold["test"]
            final = json.loads((run / model / fold["name"] / "final" / "task.json").read_text())
            assert final["training"] == fold["training"]
            assert not set(final["training"]) & set(fold["test"])
            told += [row["name"] for row in rows]
        assert sorted(told) == sorted(names)


def test_the_models_learnt_something(run):
    for model in ("vit", "cnn"):
        rows = [row for path in (run / model).glob("fold-*/predictions.csv") for row in rows_of(path)]
        assert len(rows) == 48
        if model == "vit":
            assert np.mean([row["class"] == row["predicted"] for row in rows]) > 0.6


def test_epoch_settings_and_temperature_follow_from_the_inner_parts(run):
    folder = run / "vit" / "fold-1"
    selection = json.loads((folder / "selection.json").read_text())
    classes = {row["name"]: row["class"] for row in rows_of(run / "samples.csv")}
    names = ["circle", "bars", "plain"]
    curves, kept = [], {}
    for index in (0, 1):
        losses = []
        for pair, other in (("fold-0+fold-1", "fold-0"), ("fold-1+fold-2", "fold-2")):
            inner = run / "vit" / "shared" / f"settings-{index}" / pair
            task = json.loads((inner / "task.json").read_text())
            truth = np.array([names.index(classes[name]) for name in task["books"][other]])
            logits = np.load(inner / f"book-{other}.npy")
            kept[index, other] = (logits, truth)
            losses.append([-np.log(softmax(step)[np.arange(len(truth)), truth]).mean() for step in logits])
        curves.append(np.mean(losses, axis=0))
    best = np.unravel_index(np.argmin(curves), np.shape(curves))
    assert (selection["chosen"]["index"], selection["chosen"]["round"]) == best
    chosen = [pair for (index, _), pair in kept.items() if index == best[0]]
    logits = np.concatenate([pair[0][best[1]] for pair in chosen])
    assert selection["temperature"] == fit_temperature(logits, np.concatenate([pair[1] for pair in chosen]))
    for row in rows_of(folder / "predictions.csv"):
        shares = softmax(np.array([[float(row[f"logit:{n}"]) for n in names]]), selection["temperature"])[0]
        assert [float(row[f"p:{n}"]) for n in names] == pytest.approx(shares)


def test_what_two_folds_share_trains_on_neither_and_tells_of_neither(run):
    outer = {fold["name"]: fold for fold in json.loads((run / "folds.json").read_text())["outer"]}
    everyone = {row["name"] for row in rows_of(run / "samples.csv")}
    folders = sorted((run / "cnn" / "shared").glob("*/*"))
    assert len(folders) == 2 * 3
    for folder in folders:
        task = json.loads((folder / "task.json").read_text())
        assert task["books"] == {name: outer[name]["test"] for name in folder.name.split("+")}
        assert set(task["training"]) == everyone.difference(*task["books"].values())
        lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
        assert len(lines) == 6
        assert all(line["validation_loss"] is None for line in lines)
    assert not list(run.glob("*/fold-*/settings-*"))


def test_each_fold_chooses_by_the_books_of_the_others_alone(run):
    for number in range(3):
        inputs = json.loads((run / "vit" / f"fold-{number}" / "selection.json").read_text())["inputs"]
        assert len(inputs) == 2 * 2
        for name in inputs:
            _, _, pair, book = name.split("/")
            assert f"fold-{number}" in pair.split("+")
            assert book != f"book-fold-{number}.npy"


def test_shared_or_apart_the_bits_are_the_same(run, place):
    """Logits, choices, weights, predictions; the tables differ in how many trainings there were, and nowhere else."""
    assert main(command(place, "apart", "--no-shared", "--models", "cnn", "--no-refit", "--no-bundles")) == 0
    apart = place / "apart"
    assert [json.loads((one / "run.json").read_text())["shared"] for one in (run, apart)] == [True, False]
    assert not list(apart.glob("*/shared"))
    for number in range(3):
        ours, theirs = (one / "cnn" / f"fold-{number}" for one in (run, apart))
        chosen, other = (json.loads((folder / "selection.json").read_text()) for folder in (ours, theirs))
        assert list(chosen.pop("inputs").values()) == list(other.pop("inputs").values())
        assert chosen == other
        for name in ("predictions.csv", "final/weights.safetensors", "final/steps.jsonl"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    steps = ["/".join(("cnn", *PAIR, "steps.jsonl")), "cnn/fold-1/settings-0/inner-0/steps.jsonl"]
    assert (run / steps[0]).read_bytes() == (apart / steps[1]).read_bytes()
    tables = [
        [row for row in rows_of(one / "tables.csv") if row["row"] == "CNN" and row["column"] != "Trainings"]
        for one in (run, apart)
    ]
    assert len(tables[0]) > 10
    assert tables[0] == tables[1]
    assert main(["audit", str(apart)]) == 0


def test_another_process_opens_the_same_workshop(run, place, tmp_path):
    """Plan and task are plain data; what is trained from their copies is the same to the last bit."""
    study = read_study(str(place / "shapes.yaml"))
    asked = WorkshopPlan(plan(study, None, None), place / "data", device="cpu", threads=1)
    copied = pickle.loads(pickle.dumps(asked))
    assert copied == asked
    shop = copied.open()
    folds = from_json(json.loads((run / "folds.json").read_text()), shop.names)
    inner = InnerTrainings(tmp_path, study.model("vit"), study, folds, shared=True)
    (task,) = (one for one in pickle.loads(pickle.dumps(inner.tasks())) if one.folder == tmp_path.joinpath(*PAIR))
    told = []
    InProcess(shop, Reporter(told.append)).run([task])
    assert task.done
    assert told[-1].startswith("vit shared fold-0+fold-1, check 6 of 6")
    for name in ("book-fold-0.npy", "book-fold-1.npy", "book-fold-1.jsonl", "steps.jsonl"):
        assert (task.folder / name).read_bytes() == run.joinpath("vit", *PAIR, name).read_bytes()


def test_class_weights_are_learnt_on_the_training_part(run):
    classes = {row["name"]: row["class"] for row in rows_of(run / "samples.csv")}
    for path in (run / "vit").rglob("task.json"):
        task = json.loads(path.read_text())
        own = [classes[name] for name in task["training"]]
        wanted = [len(own) / (3 * own.count(name)) for name in ("circle", "bars", "plain")]
        assert task["learnt"]["class_weights"] == pytest.approx(wanted, abs=1e-6)
        assert task["learnt"]["from"] == task["training"]


def test_a_run_says_what_it_was_and_names_no_patient_and_no_folder(run, place):
    document = json.loads((run / "run.json").read_text())
    assert document["merged_labels"] == {"bars": ["bars", "stripes"]}
    assert (document["threads"], document["device"]["kind"], document["synthetic"]) == (1, "cpu", False)
    assert {"cadx", "torch", "timm", "python"} <= set(document["versions"])
    for path in run.rglob("*"):
        if path.suffix in (".json", ".csv", ".yaml", ".md", ".tex", ".jsonl", ".html"):
            text = path.read_text()
            assert "Doe^" not in text, path
            assert str(place) not in text, path


def test_bundles_open_and_give_what_the_test_part_gave(run):
    from PIL import Image

    from cadx.prepare.picture import prepare_picture, read_picture

    bundle = Bundle.load(run / "vit" / "fold-0" / "bundle")
    assert bundle.settings.temperature == json.loads((run / "vit/fold-0/selection.json").read_text())["temperature"]
    model = bundle.build_model()
    row = rows_of(run / "vit" / "fold-0" / "predictions.csv")[0]
    path = run.parent / "data" / row["name"]
    assert Image.open(path).size == (40, 40)
    tensor = torch.from_numpy(prepare_picture(read_picture(str(path)).pixels, bundle.preparation))[None]
    with torch.inference_mode():
        logits = model(tensor)[0].tolist()
    assert logits == pytest.approx([float(row[f"logit:{n}"]) for n in bundle.settings.classes], abs=1e-4)
    everything = Bundle.load(run / "vit" / "all" / "bundle")
    assert everything.settings.training["cases"] == {"training": 48, "validation": 0}


def test_the_report_is_there(run):
    page = (run / "report.html").read_text()
    assert "not for clinical decisions" in page
    assert all((run / name).stat().st_size for name in ("tables.md", "tables.csv", "tables.tex", "report.html"))
    assert list(run.glob("*/fold-0/events.out.tfevents*")) or list(run.rglob("events.out.tfevents*"))


def test_the_audit_finds_nothing(run, capsys):
    assert main(["audit", str(run)]) == 0


@pytest.mark.parametrize("kind", ["training", "checkpoint", "evaluation"])
def test_killed_and_resumed_gives_the_same_bits(place, run, kind):
    """The process kills itself at a random moment of each kind, is resumed, and kills itself again later."""
    out = f"killed-{kind}"
    generator = np.random.default_rng(["training", "checkpoint", "evaluation"].index(kind) + 7)
    arguments = command(place, out, "--checkpoint-every", "0", "--models", "vit,cnn")
    moment = int(generator.integers(*{"training": (20, 120), "checkpoint": (5, 60), "evaluation": (1, 10)}[kind]))
    code = (
        f"import sys, killing; killing.arm({kind!r}, {moment}); from cadx.cli import main; sys.exit(main({arguments}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(p) for p in sys.path if p])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert not (place / out / "tables.md").exists()
    assert main([*arguments, "--resume"]) == 0
    whole, again = contents(run), contents(place / out)
    assert sorted(whole) == sorted(again)
    assert [name for name in whole if whole[name] != again[name]] == []
    assert not [path for path in (place / out).rglob("*") if "partial" in path.name or path.name == "checkpoint.pt"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (["--epochs", "5"], "its training.epochs differs"),
        (["--models", "vit"], "its models differ"),
        (["--threads", "2"], "was begun on cpu with 1 threads"),
        (["--no-shared"], "was begun with --shared"),
    ],
)
def test_another_run_is_not_gone_on_with(place, run, capsys, change, word):
    assert main([*command(place, "run", "--resume"), *change]) == 2
    assert word in capsys.readouterr().err


def test_changed_images_are_not_gone_on_with(place, run, tmp_path, capsys):
    data = write_pictures(tmp_path / "data")
    (data / "circle" / "0.png").write_bytes((data / "circle" / "1.png").read_bytes())
    arguments = ["crossval", str(place / "shapes.yaml"), "--data", str(data), "--out", str(run), *THREADS, "--resume"]
    assert main(arguments) == 2
    assert "have changed since" in capsys.readouterr().err


def bad(folder, change):
    """A cohort with one defect."""
    write_pictures(folder, patients=9)
    table = folder / "cases.csv"
    text = table.read_text()
    if change == "label":
        table.write_text(text.replace("circle/0.png,circle", "circle/0.png,"))
    elif change == "unknown":
        table.write_text(text.replace("circle/0.png,circle", "circle/0.png,square"))
    elif change == "unreadable":
        (folder / "circle" / "0.png").write_text("no image")
    elif change == "missing":
        (folder / "circle" / "0.png").unlink()
    elif change == "empty":
        table.write_text("path,label,patient\n")
    elif change == "few":
        table.write_text("\n".join(line for line in text.splitlines() if not re.search(r"Doe\^[36]$", line)) + "\n")
    elif change == "absent":
        table.write_text("\n".join(line for line in text.splitlines() if "plain" not in line) + "\n")
    return folder


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("label", "label"),
        ("unknown", "'square'"),
        ("unreadable", "0.png"),
        ("missing", "0.png"),
        ("empty", "cases.csv"),
        ("few", "The class 'circle' has 1 patient"),
        ("absent", "no case of the class 'plain'"),
    ],
)
def test_what_is_wrong_with_a_cohort_is_one_sentence_before_any_training(tmp_path, capsys, change, word):
    study = write_study(tmp_path)
    data = bad(tmp_path / "data", change)
    out = tmp_path / "run"
    assert main(["crossval", str(study), "--data", str(data), "--out", str(out), *THREADS]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("cadx: "))
    assert word in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--models", "vit,vit"], "named twice"),
        (["--models", "nonsense"], "timm"),
        (["--models", "Non Sense"], "There is no model"),
        (["--set", "models.0=1"], "no single field"),
        (["--folds", "1"], "folds"),
        (["--folds", "2", "--set", "split.kind=holdout"], "--folds has nothing to do"),
        (["--inner-folds", "2", "--set", "split.inner.kind=holdout"], "--inner-folds has nothing to do"),
        (["--shared", "--inner-folds", "2"], "--shared needs inner folds"),
        (["--shared", "--set", "training.patience=2"], "--shared needs inner folds"),
        (["--weights", "folder"], "--weights has nothing to do"),
        (["--epochs", "0"], "epochs"),
    ],
)
def test_a_wrong_setting_is_one_sentence_before_any_training(place, tmp_path, capsys, more, word):
    out = tmp_path / "run"
    arguments = ["crossval", str(place / "shapes.yaml"), "--data", str(place / "data"), "--out", str(out)]
    assert main([*arguments, *more]) == 2
    assert word in capsys.readouterr().err
    assert not out.exists()


def test_a_run_does_not_lie_among_class_folders(place, tmp_path, capsys):
    """Its own pictures would be another class the next time."""
    data = write_pictures(tmp_path / "data", 3, 1)
    (data / "cases.csv").unlink()
    assert main(["crossval", str(place / "shapes.yaml"), "--data", str(data), "--out", str(data / "run")]) == 2
    assert "run lies among the class folders of data" in capsys.readouterr().err
    assert not (data / "run").exists()


def test_a_model_without_its_weights_is_an_empty_cell_with_its_reason(place, tmp_path, capsys):
    text = STUDY.replace("architecture: test_resnet", "architecture: mobilenetv3_small_050, weights: lost.pth")
    study = write_study(
        tmp_path, text.replace("epochs: 6", "epochs: 1").replace(", grid: {learning_rate: [0.003, 0.001]}", "")
    )
    arguments = ["crossval", str(study), "--data", str(place / "data"), "--out", str(tmp_path / "run"), *THREADS]
    assert main([*arguments, "--models", "vit,cnn"]) == 2
    assert "lost.pth" in capsys.readouterr().err
    assert main([*arguments, "--no-refit", "--no-bundles"]) == 4
    assert "lost.pth" in json.loads((tmp_path / "run" / "cnn" / "failed.json").read_text())["reason"]
    assert "lost.pth" in (tmp_path / "run" / "tables.md").read_text()
    assert "lost.pth" in (tmp_path / "run" / "report.html").read_text()


def test_json_events_are_lines_of_json(place, tmp_path, capsys):
    arguments = command(place, "json", "--json", "--models", "vit", "--epochs", "1", "--no-refit", "--no-bundles")
    assert main(arguments) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"cohort", "round", "opened", "report"} <= {event["event"] for event in events}


def test_two_runs_stand_side_by_side(run, place, capsys):
    assert main(["compare", str(run), str(run), "--out", str(place / "compared")]) == 0
    text = (place / "compared" / "comparison.md").read_text()
    assert "ViT" in text
    assert "not for clinical decisions" in text
    assert main(["compare", str(run), "--out", str(place / "alone")]) == 2
    assert "takes two runs" in capsys.readouterr().err


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_room(place, capsys, monkeypatch):
    more = ("--models", "vit", "--epochs", "2", "--no-refit", "--no-bundles", "--checkpoint-every", "0")
    save, count = torch.save, 0

    def full(*given, **named):
        nonlocal count
        count += 1
        if count == 3:
            raise OSError(28, "No space left on device")
        save(*given, **named)

    monkeypatch.setattr(torch, "save", full)
    assert main(command(place, "full", *more)) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("cadx: "))
    assert "checkpoint.pt cannot be written (No space left on device)" in line
    monkeypatch.undo()
    assert main(command(place, "full", *more, "--resume")) == 0
    assert (place / "full" / "tables.md").is_file()


def test_a_cancelled_run_goes_on(place, capsys, monkeypatch):
    from cadx.study import trainer

    more = ("--models", "vit", "--epochs", "2", "--no-refit", "--no-bundles")
    step, count = trainer.training_step, 0

    def cancelled(*given, **named):
        nonlocal count
        count += 1
        if count == 5:
            raise KeyboardInterrupt
        return step(*given, **named)

    monkeypatch.setattr(trainer, "training_step", cancelled)
    assert main(command(place, "cancelled", *more)) == 130
    assert "Cancelled." in capsys.readouterr().err
    monkeypatch.undo()
    assert main(command(place, "cancelled", *more, "--resume")) == 0
