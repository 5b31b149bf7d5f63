"""Trainings on several processes: the same bits, whatever is killed, and one sentence where it cannot go on."""

from __future__ import annotations

import json
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import killing
from small_study import write_tiny

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from cadx import device  # noqa: E402
from cadx.child import Child  # noqa: E402
from cadx.cli import main  # noqa: E402
from cadx.errors import InputError  # noqa: E402
from cadx.study.executors import attempt, attempts, orders, processes  # noqa: E402
from cadx.study.executors.attempts import Attempts  # noqa: E402
from cadx.study.executors.board import TRIES, Board  # noqa: E402
from cadx.study.executors.executor import WorkersError  # noqa: E402
from cadx.study.executors.hiring import Workers  # noqa: E402
from cadx.study.executors.orders import Orders  # noqa: E402
from cadx.study.executors.processes import Processes  # noqa: E402
from cadx.study.folds import from_json  # noqa: E402
from cadx.study.inner import InnerTrainings  # noqa: E402
from cadx.study.presets import read_study  # noqa: E402
from cadx.study.progress import Reporter  # noqa: E402
from cadx.study.task import run_task  # noqa: E402
from cadx.study.weights import plan  # noqa: E402
from cadx.study.workshop import WorkshopPlan  # noqa: E402

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
COMPARED = ("predictions.csv", "selection.json", "tables.csv", "tables.md", "steps.jsonl", "rounds.jsonl")
COMPARED += ("weights.safetensors", "opening.json", "book-fold-0.npy", "book-fold-1.npy", "book-fold-2.npy")
PAIR = ("vit", "shared", "settings-0", "fold-0+fold-1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny(folder)
    return folder


def command(place, out, *more):
    given = ("--threads", "1", "--device", "cpu", "--no-refit", "--no-bundles", "--checkpoint-every", "0")
    return [
        "crossval",
        str(place / "shapes.yaml"),
        "--data",
        str(place / "data"),
        "--out",
        str(place / out),
        *given,
        *more,
    ]


@pytest.fixture(scope="module")
def run(place):
    assert main(command(place, "one")) == 0
    return place / "one"


@pytest.fixture
def asked(place):
    study = read_study(str(place / "shapes.yaml"))
    return WorkshopPlan(plan(study, None, None), place / "data", device="cpu", threads=1, checkpoint_every_s=0)


def tasks_of(asked, run, out):
    folds = from_json(json.loads((run / "folds.json").read_text()), asked.read().names)
    return InnerTrainings(out / "vit", asked.study.model("vit"), asked.study, folds, shared=True).tasks()


def orders_of(asked, shop, run):
    return Orders.of(asked, shop, run, json.loads((run / "run.json").read_text())["data"]["sha256"])


def contents(run):
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.name in COMPARED}


@linux
def test_two_processes_one_of_them_killed_give_the_same_bits(place, run, capsys):
    killing.kill_in_training(os.getpid())
    assert main(command(place, "two", "--workers", "2")) == 0
    assert "lost its worker (ended by signal 9); another goes on with it." in capsys.readouterr().out
    whole, again = contents(run), contents(place / "two")
    assert len(whole) > 20
    assert whole == again
    assert json.loads((place / "two" / "run.json").read_text())["ran"] == [{"executor": "processes", "workers": 2}]
    assert not list((place / "two").rglob("checkpoint.pt"))
    assert main(["audit", str(place / "two")]) == 0


def test_how_trainings_ran_is_no_part_of_a_run(place, run):
    """A finished run needs no worker, so this starts none; what is not done is done by whoever goes on with it."""
    assert json.loads((run / "run.json").read_text())["ran"] == [{"executor": "process", "workers": 1}]
    before = contents(run)
    assert main(command(place, "one", "--workers", "2", "--resume")) == 0
    assert [one["executor"] for one in json.loads((run / "run.json").read_text())["ran"]] == ["process", "processes"]
    assert contents(run) == before


@linux
def test_an_error_is_the_same_sentence_and_ctrl_c_ends_the_processes(asked, run, tmp_path):
    shop = asked.open()
    task = tasks_of(asked, run, tmp_path)[0]

    def say(text):
        if "check" in text and task.folder.name in text:
            raise KeyboardInterrupt

    crew = Processes(orders_of(asked, shop, run), [None], asked.study.training, Reporter(say))
    diverges = replace(task, folder=tmp_path / "diverges", settings={"learning_rate": 1e30}, fold="other", inner="")
    with pytest.raises(InputError) as here:
        run_task(shop, replace(diverges, folder=tmp_path / "here"))
    with pytest.raises(InputError) as there:
        crew.run([diverges])
    assert str(here.value) == str(there.value)
    assert "no longer" in str(there.value)
    (number,) = (one for one in killing.children(os.getpid()) if "executors.crew" in command_line(one))
    with pytest.raises(KeyboardInterrupt):
        crew.run([task])
    assert number not in killing.children(os.getpid())


def command_line(number):
    return Path(f"/proc/{number}/cmdline").read_text()


def test_a_process_ends_with_whoever_started_it():
    child = Child(["-m", "cadx.study.executors.crew"])
    child.process.stdin.close()
    assert child.process.wait(30) == 0
    child.end()


def test_a_training_that_always_loses_its_worker_is_given_up(asked, run, tmp_path, monkeypatch):
    seen = []

    class Gone:
        alive = False

        def __init__(self, arguments, environment):
            seen.append(environment["CUDA_VISIBLE_DEVICES"])
            self.process = type("Process", (), {"poll": lambda self: -9})()

        send = end = lambda self, *given: None
        lines = lambda self: []  # noqa: E731

    monkeypatch.setattr(processes, "Child", Gone)
    told = []
    crew = Processes(orders_of(asked, asked.open(), run), ["5"], asked.study.training, Reporter(told.append))
    with pytest.raises(WorkersError, match=r"vit shared fold-0\+fold-1 was begun 4 times.*signal 9"):
        crew.run(tasks_of(asked, run, tmp_path))
    assert seen == ["5"] * TRIES
    assert len(told) == TRIES - 1


def test_the_first_training_that_fails_is_complained_of_whatever_the_order(asked, run, tmp_path):
    told = []
    board = Board(tasks_of(asked, run, tmp_path), asked.study.training, Reporter(told.append))
    assert [board.take(), board.take()] == [0, 1]
    board.ended(1, InputError("second"))
    assert (board.take(), board.needless(), board.over) == (None, [], False)
    board.ended(0, InputError("first"))
    assert board.over
    with pytest.raises(InputError, match="first"):
        board.conclude()


def test_those_after_one_that_failed_are_not_waited_for(asked, run, tmp_path):
    board = Board(tasks_of(asked, run, tmp_path), asked.study.training, Reporter(lambda text: None))
    assert [board.take() for _ in range(3)] == [0, 1, 2]
    board.ended(0, InputError("first"))
    assert board.needless() == [1, 2]
    board.lost(2, "ended for it")
    assert board.over


def test_a_copy_goes_on_from_another_s_checkpoint_and_only_one_gets_the_place(asked, run, tmp_path):
    """Two copies of one training on machines that know nothing of each other: one place, the same bits."""
    shop = asked.open()
    task = tasks_of(asked, run, tmp_path)[0]
    place = Attempts(tmp_path)

    def stop(line):
        if line["round"] == 5:
            raise KeyboardInterrupt

    first = place.begin(task.folder)
    with pytest.raises(KeyboardInterrupt):
        run_task(shop, replace(task, folder=first), stop)
    second, told = place.begin(task.folder), []
    run_task(shop, replace(task, folder=second), told.append)
    assert [line["round"] for line in told] == list(range(5, 16))
    run_task(shop, replace(task, folder=first))
    assert {first.parent, second.parent} == {tmp_path.joinpath(".attempts", *PAIR)}
    place.finish(second, task.folder)
    place.finish(first, task.folder)
    assert not first.exists()
    for name in ("steps.jsonl", "rounds.jsonl", "book-fold-0.npy", "book-fold-1.npy"):
        assert (task.folder / name).read_bytes() == run.joinpath(*PAIR, name).read_bytes()


def test_what_was_taken_away_does_not_come_back(asked, run, tmp_path):
    """A machine that lives on writes into a folder that is gone, which makes the folder anew."""
    folder = tmp_path / "vit" / "fold-0" / "final"
    place = Attempts(tmp_path)
    late = place.begin(folder)
    place.clear(folder)
    late.mkdir(parents=True)
    (late / "done.json").write_text("{}")
    with pytest.raises(InputError, match="final cannot be written"):
        place.finish(late, folder)
    assert not folder.exists()


def test_a_run_that_goes_on_elsewhere_takes_up_what_was_begun(tmp_path):
    place, folder = Attempts(tmp_path), tmp_path / "vit" / "fold-0" / "final"
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_text("a")
    (folder / ".checkpoint.pt.partial").write_text("half")
    place.withdraw(folder)
    assert not folder.exists()
    older = place.begin(folder)
    assert [path.name for path in older.iterdir()] == ["checkpoint.pt"]
    newer = place.begin(folder)
    (newer / "checkpoint.pt").write_text("b")
    os.utime(older / "checkpoint.pt", (1, 1))
    place.settle()
    assert (folder / "checkpoint.pt").read_text() == "b"
    assert not (tmp_path / attempts.PLACE).exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"data_sha256": "0" * 64}, "sees other images or labels in data"),
        ({"versions": {"torch": "1.0"}}, "the same numbers; install it there"),
        ({"processor": "abacus"}, "this process on abacus"),
        ({"plan": "elsewhere"}, "sees no elsewhere"),
    ],
)
def test_a_worker_that_would_give_other_numbers_is_refused(asked, run, change, word):
    given = orders_of(asked, asked.open(), run)
    if "plan" in change:
        change = {"plan": replace(given.plan, data=given.plan.data.with_name("elsewhere"))}
    with pytest.raises(WorkersError, match=word):
        pickle.loads(pickle.dumps(replace(given, **change))).open()


def test_a_worker_that_does_not_see_the_run_is_refused(asked, run, tmp_path, monkeypatch):
    monkeypatch.setattr(orders, "SEEN_WITHIN_S", 0.3)
    given = replace(orders_of(asked, asked.open(), run), run=tmp_path)
    (task, *_) = tasks_of(asked, run, tmp_path)
    error = pickle.loads(pickle.dumps(attempt.aside(given, task, lambda kind, what: None)))
    assert isinstance(error, WorkersError)
    assert "does not see this run's folder" in str(error)
    given.leave_mark()
    given.require_mark()
    Attempts(tmp_path).settle()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "visible", "kind", "wanted"),
    [
        ("auto", "", "cpu", [None]),
        ("3", "", "cpu", [None] * 3),
        ("1", "", "cuda", [None]),
        ("auto", "", "cuda", ["0", "1"]),
        ("auto", "6,4", "cuda", ["6", "4"]),
        ("2", "GPU-a,GPU-b", "cuda", ["GPU-a", "GPU-b"]),
    ],
)
def test_each_process_has_a_gpu_of_its_own(monkeypatch, given, visible, kind, wanted):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Workers.of(given).cards(kind) == wanted


def test_one_gpu_is_used_by_this_process(monkeypatch):
    monkeypatch.setattr(device, "cards", lambda: ["0"])
    assert Workers.of("auto").cards("cuda") == [None]
    with pytest.raises(InputError, match="cuda has 1 here; give --workers 1"):
        Workers.of("2").cards("cuda")


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--workers", "0"], "--workers is auto, a number of processes from 1, or ray"),
        (["--workers", "many"], "and not 'many'"),
        (["--ray-address", "10.0.0.1:6379"], "--ray-address goes with --workers ray"),
    ],
)
def test_a_wrong_number_of_workers_is_one_sentence(place, capsys, more, word):
    assert main(command(place, "wrong", *more)) == 2
    assert word in capsys.readouterr().err
    assert not (place / "wrong").exists()
