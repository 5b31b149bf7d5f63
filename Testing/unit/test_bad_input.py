"""Every bad or hostile input: one sentence, exit 2, no traceback, nothing left behind; the same sentence in a batch."""

from __future__ import annotations

import csv
import json
import re
import resource
import time

import pytest

from cadx.cli import main

from bad_inputs import ROWS
from support import write


@pytest.fixture(scope="module")
def good(tmp_path_factory, case):
    """A case that would be graded."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "roi.mrk.json").write_text(json.dumps(case.roi.to_markups()))
    return {
        "t1": str(write(folder / "t1.nii.gz", case.images["T1"])),
        "t2": str(write(folder / "t2.nii.gz", case.images["T2"])),
        "roi": str(folder / "roi.mrk.json"),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory, case, good):
    """For every row its folder and the whole case."""
    found = {}
    for row in ROWS:
        folder = tmp_path_factory.mktemp(row.name)
        found[row.name] = (folder, {**good, **row.make(folder, case)})
    return found


def listing(folder):
    return sorted((str(p), p.lstat().st_size) for p in folder.rglob("*"))


def sentence(captured) -> str:
    """The one line of complaint."""
    lines = [line for line in captured.err.splitlines() if line.startswith("cadx: ")]
    assert len(lines) == 1, captured.err
    assert captured.err.rstrip().endswith(lines[0])
    assert "Traceback" not in captured.err
    assert captured.out == ""
    return lines[0].removeprefix("cadx: ")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_one_sentence_exit_2_nothing_left(row, made, bundle, capsys):
    folder, given = made[row.name]
    before, start, memory = listing(folder), time.perf_counter(), peak_bytes()
    arguments = [f"--{name}={value}" for name, value in given.items()]
    out = folder / "deep" / "out"
    assert main(["classify", *arguments, f"--bundle={bundle.folder}", f"--out={out}", "--device=cpu"]) == 2
    text = sentence(capsys.readouterr())
    assert re.search(row.says, text), text
    assert text.endswith(".")
    assert str(folder) not in text
    assert listing(folder) == before
    assert peak_bytes() - memory < 500e6
    assert time.perf_counter() - start < 60


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_batch_records_the_same_sentences_and_goes_on(made, good, bundle, tmp_path, capsys):
    rows = {"fine": good, **{name: given for name, (_, given) in made.items()}, "fine-too": good}
    with (tmp_path / "cases.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, ["case", "t1", "t2", "roi"])
        table.writeheader()
        table.writerows({"case": name, **given} for name, given in rows.items())
    out = tmp_path / "out"
    command = ["batch", f"--cases={tmp_path / 'cases.csv'}", f"--bundle={bundle.folder}", f"--out={out}"]
    assert main([*command, "--device=cpu", "--no-explain"]) == 4
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    records = {record["case"]: record for record in csv.DictReader((out / "summary.csv").open())}
    assert list(records) == list(rows)
    for row in ROWS:
        assert records[row.name]["status"] == "failed"
        assert records[row.name]["label"] == ""
        assert re.search(row.says, records[row.name]["error"]), records[row.name]["error"]
    assert (records["fine"]["status"], records["fine-too"]["status"]) == ("ok", "ok")
    assert sorted(p.name for p in out.iterdir()) == ["fine", "fine-too", "summary.csv"]


def test_frames_of_reference_that_differ_are_a_warning(case, bundle, tmp_path):
    from support import write_dicom

    paths = {
        role: write_dicom(
            tmp_path / role, v.canonical(), uid=f"1.2.{n}", description=role, tr=9, te=9, frame=f"1.2.3.{n}"
        )
        for n, (role, v) in enumerate(case.images.items())
    }
    (tmp_path / "roi.mrk.json").write_text(json.dumps(case.roi.to_markups()))
    inputs = [f"--t1={paths['T1']}", f"--t2={paths['T2']}", f"--roi={tmp_path / 'roi.mrk.json'}"]
    assert main(["classify", *inputs, f"--bundle={bundle.folder}", f"--out={tmp_path / 'out'}", "--device=cpu"]) == 0
    warnings = json.loads((tmp_path / "out" / "result.json").read_text())["warnings"]
    assert [w["code"] for w in warnings] == ["frame-of-reference"]
