from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest

from cadx.cli import main
from cadx.models.bundle import WEIGHTS

from support import make_bundle, write


@pytest.fixture(scope="module")
def files(tmp_path_factory, case):
    """T1, T2 and ROI of the pattern case on disk."""
    folder = tmp_path_factory.mktemp("files")
    write(folder / "t1.nii.gz", case.images["T1"])
    write(folder / "t2.nrrd", case.images["T2"])
    (folder / "roi.mrk.json").write_text(json.dumps(case.roi.to_markups()))
    return folder


def arguments(files, model, out, **changes):
    named = {
        "t1": files / "t1.nii.gz",
        "t2": files / "t2.nrrd",
        "roi": files / "roi.mrk.json",
        "bundle": model.folder,
        "out": out,
        "device": "cpu",
        **changes,
    }
    return ["classify", *(text for key, value in named.items() for text in (f"--{key}", str(value)))]


def test_classify_writes_its_files_and_prints_the_grade(files, bundle, tmp_path, capsys):
    assert main(arguments(files, bundle, tmp_path / "out")) == 0
    printed = capsys.readouterr().out
    assert "Grade: " in printed
    assert "not for clinical decisions" in printed
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert document["status"] == "ok"
    assert document["warnings"] == []


def test_json_is_the_same_document(files, bundle, tmp_path, capsys):
    assert main([*arguments(files, bundle, tmp_path / "out"), "--json", "--no-explain"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "out" / "result.json").read_text())
    assert not (tmp_path / "out" / "attention.nii.gz").exists()


def test_a_roi_of_numbers_may_begin_with_a_minus(files, bundle, tmp_path, case):
    center = case.roi.center_ras
    text = f"{-abs(center[0]):.3f},{center[1]:.3f},{center[2]:.3f},60,50,56"
    assert main(arguments(files, bundle, tmp_path / "out", roi=text)) == 0
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert document["roi"]["center_ras"][0] == pytest.approx(-abs(center[0]), abs=1e-3)


def test_too_few_slices_end_with_5_and_a_result_that_says_why(files, bundle, tmp_path, case, capsys):
    center = ",".join(f"{v:.3f}" for v in case.roi.center_ras)
    roi = f"{center},60,50,20"
    assert main(arguments(files, bundle, tmp_path / "out", roi=roi)) == 5
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (document["status"], document["label"]) == ("refused", None)
    assert "enlarge it by" in document["reason"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["result.json"]
    assert main([*arguments(files, bundle, tmp_path / "out", roi=roi), "--pad"]) == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"t1": "absent.nii.gz"}, "absent.nii.gz"),
        ({"roi": "1,2,3"}, "six comma-separated numbers"),
        ({"roi": "absent.mrk.json"}, "absent.mrk.json"),
        ({"roi": "900,0,0,50,50,60"}, "outside T1"),
        ({"bundle": "nowhere"}, "not a model bundle"),
        ({"start": "99"}, "cannot start at slice 99"),
        ({"device": "tpu"}, "tpu"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(files, bundle, tmp_path, capsys, change, word):
    assert main(arguments(files, bundle, tmp_path / "out", **change)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert word in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_an_altered_bundle_is_refused(files, tmp_path, capsys):
    altered = make_bundle(tmp_path / "altered")
    weights = altered.folder / WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert main(arguments(files, altered, tmp_path / "out")) == 2
    assert "was changed since the bundle was made" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["bundle", "verify", str(altered.folder)]) == 2


def test_bundle_info_and_verify(bundle, capsys):
    assert main(["bundle", "verify", str(bundle.folder)]) == 0
    assert main(["bundle", "info", str(bundle.folder)]) == 0
    printed = capsys.readouterr().out
    assert bundle.sha256 in printed
    assert "normal, low risk, high risk" in printed


@pytest.fixture
def table(files, case, tmp_path):
    """Three cases: good, missing file, too few slices."""
    center = ",".join(f"{v:.2f}" for v in case.roi.center_ras)
    rows = [
        ("good", "t1.nii.gz", "t2.nrrd", "roi.mrk.json"),
        ("missing", "gone.nii.gz", "t2.nrrd", "roi.mrk.json"),
        ("flat", "t1.nii.gz", "t2.nrrd", f"{center},60,50,20"),
    ]
    path = files / "cases.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("case", "t1", "t2", "roi"), *rows])
    return path


def test_batch_records_bad_cases_and_goes_on(table, bundle, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["batch", "--cases", str(table), "--bundle", str(bundle.folder), "--out", str(out), "--device", "cpu"]
    assert main(command) == 4
    rows = list(csv.DictReader((out / "summary.csv").open()))
    assert [(r["case"], r["status"]) for r in rows] == [("good", "ok"), ("missing", "failed"), ("flat", "refused")]
    shares = ["p:normal", "p:low risk", "p:high risk"]
    assert list(rows[0]) == ["case", "status", "label", *shares, "warnings", "error", "bundle", "disclaimer"]
    assert {row["disclaimer"] for row in rows} == {"Research use only, not for clinical decisions."}
    assert rows[0]["label"] in ("normal", "low risk", "high risk")
    assert "gone.nii.gz" in rows[1]["error"]
    assert "enlarge it by" in rows[2]["error"]
    assert (out / "good" / "attention.nii.gz").exists()
    assert not (out / "missing").exists()
    made = (out / "good" / "result.json").stat().st_mtime_ns
    assert main([*command, "--resume"]) == 4
    assert (out / "good" / "result.json").stat().st_mtime_ns == made
    assert list(csv.DictReader((out / "summary.csv").open())) == rows
    assert main([*command, "--resume", "--no-explain"]) == 4
    assert (out / "good" / "result.json").stat().st_mtime_ns != made


def test_resume_does_not_keep_what_no_longer_holds(table, bundle, tmp_path, case):
    out = tmp_path / "out"
    command = ["batch", "--cases", str(table), "--bundle", str(bundle.folder), "--out", str(out), "--device", "cpu"]
    assert main(command) == 4
    first = json.loads((out / "good" / "result.json").read_text())
    center = ",".join(f"{v:.2f}" for v in case.roi.center_ras + [4, 0, 0])
    original = table.read_text()
    try:
        table.write_text(original.replace("roi.mrk.json\nmissing", f'"{center},60,50,56"\nmissing'))
        assert table.read_text() != original
        assert main([*command, "--resume"]) == 4
        second = json.loads((out / "good" / "result.json").read_text())
        assert second["roi"] != first["roi"]
        table.write_text(original.replace("roi.mrk.json\nmissing", "gone.mrk.json\nmissing"))
        assert main([*command, "--resume"]) == 4
        assert not (out / "good").exists()
        summary = (out / "summary.csv").read_text()
        assert "gone.mrk.json" in summary
        assert str(table.parent) not in summary
    finally:
        table.write_text(original)


def test_resume_redoes_what_was_edited_or_lost(table, bundle, tmp_path):
    out = tmp_path / "out"
    command = ["batch", "--cases", str(table), "--bundle", str(bundle.folder), "--out", str(out), "--device", "cpu"]
    assert main(command) == 4
    path = out / "good" / "result.json"
    before = json.loads(path.read_text())
    for change in ({"probabilities": []}, {"label": "hello"}, {"status": "hello"}, {"warnings": None}):
        path.write_text(json.dumps({**before, **change}))
        assert main([*command, "--resume"]) == 4
        assert json.loads(path.read_text())["probabilities"] == before["probabilities"]
    (out / "good" / "grid.png").write_bytes(b"")
    assert main([*command, "--resume"]) == 4
    assert (out / "good" / "grid.png").stat().st_size > 0


def test_what_is_read_is_not_written_over(table, files, bundle, tmp_path, capsys, case):
    folder = tmp_path / "mine"
    folder.mkdir()
    mask = case.images["T1"].with_voxels((case.images["T1"].voxels > 600).astype("uint8"))
    write(folder / "attention.nii.gz", mask)
    before = (folder / "attention.nii.gz").read_bytes()
    assert main(arguments(files, bundle, folder, roi=folder / "attention.nii.gz")) == 2
    assert "would be overwritten" in capsys.readouterr().err
    (folder / "summary.csv").write_text(table.read_text())
    given = ["--cases", str(folder / "summary.csv"), "--out", str(folder), "--bundle", str(bundle.folder)]
    assert main(["batch", *given]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert (folder / "attention.nii.gz").read_bytes() == before
    assert (folder / "summary.csv").read_text() == table.read_text()


def test_a_name_that_is_not_utf8_is_one_sentence(files, bundle, tmp_path, capsys):
    import os

    name = os.fsdecode(b"t1\xff.nii.gz")
    (tmp_path / name).write_bytes((files / "t1.nii.gz").read_bytes())
    assert main(arguments(files, bundle, tmp_path / "out", t1=tmp_path / name)) == 2
    assert "not UTF-8" in capsys.readouterr().err
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / os.fsdecode(b"caf\xe9")).mkdir()
    (tmp_path / "series" / os.fsdecode(b"caf\xe9") / "a").write_bytes(b"")
    assert main(["series", str(tmp_path / "series")]) == 2
    assert "not UTF-8" in capsys.readouterr().err


def test_names_that_the_system_refuses_are_one_sentence(bundle, tmp_path, capsys):
    long = "x" * 300
    for command in (["bundle", "verify", long], ["series", long], ["batch", f"--cases={long}", f"--out={tmp_path}"]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said.startswith("cadx: ")
        assert len(said.splitlines()) == 1


def test_a_dollar_is_no_formula(files, bundle, tmp_path):
    (tmp_path / "a$^$b.nii.gz").write_bytes((files / "t1.nii.gz").read_bytes())
    assert main(arguments(files, bundle, tmp_path / "out", t1=tmp_path / "a$^$b.nii.gz", t2=files / "t1.nii.gz")) == 0
    codes = [w["code"] for w in json.loads((tmp_path / "out" / "result.json").read_text())["warnings"]]
    assert codes == ["same-image"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("case,t1,t2,roi\n.hidden,a,b,c\n", ".hidden"),
        ("case,t1,t2,roi\nsummary.csv,a,b,c\n", "summary.csv"),
        (f"case,t1,t2,roi\n{'n' * 300},a,b,c\n", "cannot name a case"),
        ("case,t1,t2,roi\na\0b,a,b,c\n", "cannot"),
        ("case,t1,t2\na,b,c\n", "lacks the column roi"),
        ("case,t1,t2,roi\n", "no case"),
        ("case,t1,t2,roi\n../x,a,b,c\n", "../x"),
    ],
)
def test_a_bad_table_is_one_sentence(tmp_path, bundle, capsys, text, word):
    path = tmp_path / "cases.csv"
    path.write_text(text)
    assert main(["batch", "--cases", str(path), "--bundle", str(bundle.folder), "--out", str(tmp_path / "o")]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_doctor_probes_and_reports(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "Device cpu: works" in printed
    assert "Memory: " in printed


def test_doctor_names_what_is_missing_and_how_to_install_it(capsys, monkeypatch):
    from cadx import doctor

    monkeypatch.setattr(doctor, "NEEDS", (*doctor.NEEDS, doctor.Need("no_such_module", "no-such-package", "nothing")))
    assert main(["doctor"]) == 3
    assert "-m pip install no-such-package" in capsys.readouterr().out


def test_a_missing_dependency_ends_with_3_and_names_the_command(files, bundle, tmp_path):
    script = "import sys; sys.modules['timm'] = None\nfrom cadx.cli import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, *arguments(files, bundle, tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_interrupt_ends_with_130_and_leaves_nothing(files, bundle, tmp_path, monkeypatch, capsys):
    from cadx.prepare.pipeline import Preparation

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Preparation, "crop", interrupted)
    assert main(arguments(files, bundle, tmp_path / "out")) == 130
    assert list(tmp_path.iterdir()) == []
