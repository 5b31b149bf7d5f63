"""A full disk, Ctrl-C or a kill at any stage: what is there is whole, and ``--resume`` redoes what is missing."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest
import SimpleITK as sitk

from cadx.cli import main
from cadx.errors import InputError
from cadx.io.atomic import require_writable, staged_folder, write_text
from cadx.io.files import write_volume
from cadx.output import NAMES

from support import make_bundle, write


@pytest.fixture(scope="module")
def given(tmp_path_factory, case, bundle):
    folder = tmp_path_factory.mktemp("given")
    (folder / "roi.mrk.json").write_text(json.dumps(case.roi.to_markups()))
    write(folder / "t1.nii.gz", case.images["T1"])
    write(folder / "t2.nii.gz", case.images["T2"])
    return [
        f"--t1={folder / 't1.nii.gz'}",
        f"--t2={folder / 't2.nii.gz'}",
        f"--roi={folder / 'roi.mrk.json'}",
        f"--bundle={bundle.folder}",
        "--device=cpu",
    ]


def require_whole(folder: Path) -> None:
    """Every file of a result can be read to its end."""
    names = {p.name for p in folder.iterdir()}
    assert {"result.json", "grid.png", "attention.nii.gz"} <= names <= set(NAMES)
    assert json.loads((folder / "result.json").read_text())["status"] == "ok"
    sitk.ReadImage(str(folder / "attention.nii.gz"))
    for name in names & {"grid.png", "overview.png"}:
        assert (folder / name).read_bytes().endswith(b"IEND\xaeB`\x82")
    if "scene.mrb" in names:
        assert zipfile.ZipFile(folder / "scene.mrb").testzip() is None


@contextmanager
def files_of_at_most(size: int):
    """As on a disk that is full: no file can grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 500, 5_000, 40_000, 150_000, 400_000])
def test_a_disk_that_fills_halfway_leaves_nothing(given, tmp_path, capsys, size):
    with files_of_at_most(size):
        code = main(["classify", *given, f"--out={tmp_path / 'deep' / 'out'}"])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    if code == 0:
        assert size > 100_000
        require_whole(tmp_path / "deep" / "out")
        return
    assert code == 2
    complaint = captured.err.strip().splitlines()[-1]
    assert complaint.startswith("cadx: ")
    assert "writ" in complaint.lower()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_keeps_the_earlier_result(given, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["classify", *given, f"--out={out}", "--no-explain"]) == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with files_of_at_most(5_000):
        assert main(["classify", *given, f"--out={out}"]) == 2
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_volume_on_a_full_disk_is_an_error(case, tmp_path, suffix):
    with files_of_at_most(3_000), pytest.raises(InputError, match="cannot be written"):
        write_volume(tmp_path / f"v{suffix}", case.images["T1"])


def test_a_bundle_on_a_full_disk_is_not_begun(tmp_path):
    with files_of_at_most(20_000), pytest.raises(InputError, match="(?i)writ"):
        make_bundle(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["a file", "below a file", "no file system to write to"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(given, tmp_path, capsys, place):
    (tmp_path / "taken").write_text("mine")
    out = {
        "a file": tmp_path / "taken",
        "below a file": tmp_path / "taken" / "out",
        "no file system to write to": Path("/proc/cadx-out"),
    }[place]
    assert main(["classify", *given, f"--out={out}"]) == 2
    captured = capsys.readouterr()
    assert "cannot be written" in captured.err
    assert "Traceback" not in captured.err
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *a, **k: False)
    with pytest.raises(InputError, match="no permission"):
        require_writable(tmp_path / "out")


def _hear_everything() -> None:
    """The tests themselves may run in the background, where Ctrl-C is ignored and children inherit that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _as_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class Run:
    """``cadx`` as a process of its own."""

    def __init__(self, *arguments: str, heard: Callable[[], None] | None = None) -> None:
        command = [sys.executable, "-m", "cadx", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard or _hear_everything
        )

    def when(self, reached, within_s: float = 120) -> Run:
        end = time.monotonic() + within_s
        while not reached() and self.process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.005)
        return self

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, error = self.process.communicate(timeout=60)
        return self.process.returncode, error


def partial(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.name.endswith(".partial")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay_s", [0.15, 1.0, 2.5])
def test_ctrl_c_at_any_time_leaves_nothing_or_all(given, tmp_path, delay_s, number):
    run = Run("classify", *given, f"--out={tmp_path / 'out'}")
    time.sleep(delay_s)
    code, error = run.end(number)
    assert "Traceback" not in error
    if code == 0:
        require_whole(tmp_path / "out")
    elif delay_s > 0.5:
        assert (code, error.strip().splitlines()[-1]) == (130, "cadx: Cancelled.")
    if code != 0:
        assert list(tmp_path.iterdir()) == []


def test_ctrl_c_inside_a_finaliser_is_not_lost():
    code = (
        "import time\n"
        "import cadx.__main__ as entry, cadx.cli\n"
        "class Finalised:\n"
        "    def __del__(self):\n"
        "        raise KeyboardInterrupt\n"
        "def main():\n"
        "    thing = Finalised()\n"
        "    del thing\n"
        "    time.sleep(20)\n"
        "    return 0\n"
        "cadx.cli.main = main\n"
        "entry.run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, preexec_fn=_hear_everything
    )
    assert (done.returncode, done.stderr) == (130, "cadx: Cancelled.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_files_are_written_leaves_nothing(given, tmp_path, number):
    run = Run("classify", *given, f"--out={tmp_path / 'out'}")
    code, error = run.when(lambda: any(list(p.iterdir()) for p in partial(tmp_path))).end(number)
    assert (code, error.strip().splitlines()[-1]) == (130, "cadx: Cancelled.")
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_hangup_ends_it_like_ctrl_c_unless_it_runs_under_nohup(given, tmp_path):
    run = Run("classify", *given, f"--out={tmp_path / 'out'}", "--no-explain")
    code, error = run.when(lambda: bool(partial(tmp_path))).end(signal.SIGHUP)
    assert (code, error.strip().splitlines()[-1]) == (130, "cadx: Cancelled.")
    assert list(tmp_path.iterdir()) == []
    run = Run("classify", *given, f"--out={tmp_path / 'out'}", "--no-explain", heard=_as_under_nohup)
    code, _ = run.when(lambda: bool(partial(tmp_path))).end(signal.SIGHUP)
    assert code == 0
    assert (tmp_path / "out" / "result.json").exists()


def test_a_kill_while_files_are_written_leaves_no_result_and_the_next_run_sweeps(given, tmp_path, capsys):
    out = tmp_path / "out"
    run = Run("classify", *given, f"--out={out}")
    code, _ = run.when(lambda: bool(partial(tmp_path))).end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not out.exists()
    assert len(partial(tmp_path)) == 1
    assert main(["classify", *given, f"--out={out}"]) == 0
    require_whole(out)
    assert list(tmp_path.iterdir()) == [out]


def test_a_run_in_progress_is_not_swept(tmp_path):
    with staged_folder(tmp_path / "out") as first:
        (first / "a").write_text("a")
        with staged_folder(tmp_path / "out") as second:
            assert first.is_dir()
            (second / "b").write_text("b")
        assert (tmp_path / "out" / "b").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_what_was_moved_away_when_the_process_died_comes_back(tmp_path):
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.old" / "result.json").write_text("{}")
    with pytest.raises(RuntimeError), staged_folder(tmp_path / "out", replaces=("result.json",)):
        raise RuntimeError
    assert (tmp_path / "out" / "result.json").read_text() == "{}"


def test_the_working_folder_and_a_mount_are_filled_not_replaced(tmp_path, monkeypatch):
    for name, prepare in {
        "here": lambda folder: monkeypatch.chdir(folder),
        "mount": lambda folder: monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == folder),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        prepare(folder)
        number = folder.stat().st_ino
        for content in ("first", "second"):
            with staged_folder(Path() if name == "here" else folder, replaces=("result.json",)) as stage:
                (stage / "result.json").write_text(content)
        assert folder.stat().st_ino == number
        assert [p.name for p in folder.iterdir()] == ["result.json"]
        assert (folder / "result.json").read_text() == "second"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here", "mount"]


def test_a_folder_behind_a_link_is_filled_where_it_lies(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "far")
    with staged_folder(tmp_path / "out", replaces=("result.json",)) as stage:
        (stage / "result.json").write_text("{}")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "far" / "result.json").exists()


def test_a_text_file_is_whole_or_not_there(tmp_path):
    write_text(tmp_path / "a.csv", "first\n")
    with files_of_at_most(10), pytest.raises(InputError):
        write_text(tmp_path / "a.csv", "x" * 1000)
    assert (tmp_path / "a.csv").read_text() == "first\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_batch_that_was_ended_is_taken_up_where_it_was(given, tmp_path, number, capsys):
    named = dict(argument.removeprefix("--").split("=", 1) for argument in given)
    with (tmp_path / "cases.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["case", "t1", "t2", "roi"])
        table.writerows([name, named["t1"], named["t2"], named["roi"]] for name in ("one", "two", "three"))
    out = tmp_path / "out"
    command = ["batch", f"--cases={tmp_path / 'cases.csv'}", *given[3:], f"--out={out}"]
    run = Run(*command)
    code, error = run.when(lambda: out.exists() and any(".two." in p.name for p in partial(out))).end(number)
    assert code in (130, -signal.SIGKILL)
    assert "Traceback" not in error
    assert not (out / "two").exists()
    assert [row["case"] for row in csv.DictReader((out / "summary.csv").open())] == ["one"]
    made = (out / "one" / "result.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main([*command, "--resume"]) == 0
    assert (out / "one" / "result.json").stat().st_mtime_ns == made
    for name in ("one", "two", "three"):
        require_whole(out / name)
    assert sorted(p.name for p in out.iterdir()) == ["one", "summary.csv", "three", "two"]
    assert [row["status"] for row in csv.DictReader((out / "summary.csv").open())] == ["ok"] * 3
