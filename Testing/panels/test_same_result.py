"""One case, four ways: command line, headless script, console and panel give the same document."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cadx.child import package_environment
from cadx.phantom import write_cohort
from cadx.slicer import find_cases

ASIDE = ("timings_s", "command", "inputs")


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of one phantom."""
    return write_cohort(tmp_path_factory.mktemp("cohort") / "data", 1, 1003).parent / "phantom-0000"


@pytest.fixture(scope="module")
def expected(patient: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``cadx classify`` writes."""
    done = run(["-m", "cadx", "classify", *files(patient), "--out", str(tmp_path_factory.mktemp("cli"))])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files(patient: Path) -> list[str]:
    names = {"--t1": "t1.nii.gz", "--t2": "t2.nii.gz", "--roi": "roi.mrk.json"}
    return [*(part for option, name in names.items() for part in (option, str(patient / name))), "--json"]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=package_environment(), check=False
    )


def compared(document: dict[str, Any]) -> dict[str, Any]:
    """Timings and sources aside; of the inputs all but their name counts."""
    inputs = [{key: value for key, value in one.items() if key != "source"} for one in document["inputs"]]
    return {**{key: value for key, value in document.items() if key not in ASIDE}, "inputs": inputs}


def in_scene(patient: Path) -> tuple[Any, Any, Any]:
    """The files as the application loads them."""
    import slicer.util

    t1, t2 = (slicer.util.loadVolume(str(patient / name)) for name in ("t1.nii.gz", "t2.nii.gz"))
    return t1, t2, slicer.util.loadMarkups(str(patient / "roi.mrk.json"))


@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_the_script_gives_what_the_command_line_gives(repository, patient, expected, tmp_path, dashes):
    script = repository / "IPMNClassifier" / "Scripts" / "classify.py"
    done = run([str(script), *dashes, *files(patient), "--out", str(tmp_path)])
    assert done.returncode == 0, done.stderr
    assert compared(json.loads(done.stdout)) == compared(expected)
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"result.json", "grid.png", "attention.nii.gz", "scene.mrb"}


def test_console_and_panel_give_what_the_command_line_gives(ipmn_panel, patient, expected):
    from slicer_host import Host

    nodes = in_scene(patient)
    logic = sys.modules["IPMNClassifier"].IPMNClassifierLogic()
    stages = []
    try:
        graded = logic.classify(*nodes, name="console", progress=lambda stage, fraction: stages.append(stage))
    finally:
        logic.close()
    assert compared(graded.toJson()) == compared(expected)
    assert "classify" in stages
    parameters = ipmn_panel.logic.getParameterNode()
    parameters.t1Volume, parameters.t2Volume, parameters.roi = nodes
    Host().until(lambda: not ipmn_panel.updatePending)
    parameters.caseName = "panel"
    assert Host().until(lambda: ipmn_panel.tiles.shown is not None, 60), ipmn_panel.tiles.status
    ipmn_panel.ui.classifyButton.click()
    assert Host().until(lambda: not ipmn_panel.running, 60)
    console, panel = find_cases(nodes[0].GetScene())
    assert (console.case, panel.case) == ("console", "panel")
    assert compared(panel.result()) == compared(expected)


def test_the_batch_script_and_the_console_s_batch_agree_with_the_command_line(
    ipmn_panel, repository, patient, expected, tmp_path
):
    from slicer_host import Host

    table = tmp_path / "cases.csv"
    rows = [["case", "t1", "t2", "roi"], ["one", *(str(patient / n) for n in ("t1.nii.gz", "t2.nii.gz"))]]
    rows[1].append(str(patient / "roi.mrk.json"))
    rows.append(["two", "absent.nii", *rows[1][2:]])
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    script = repository / "IPMNClassifier" / "Scripts" / "batch.py"
    done = run([str(script), "--", "--cases", str(table), "--out", str(tmp_path / "script"), "--json"])
    assert done.returncode == 4, done.stderr
    assert compared(json.loads((tmp_path / "script" / "one" / "result.json").read_text())) == compared(expected)
    ipmn_panel.batch.cases.setCurrentPath(str(table))
    ipmn_panel.batch.folder.setCurrentPath(str(tmp_path / "panel"))
    ipmn_panel.batch.button.click()
    assert ipmn_panel.batch.button.text == "Cancel batch"
    assert Host().until(lambda: ipmn_panel.batch.button.text != "Cancel batch", 120)
    assert (
        "1 graded, 1 not" in ipmn_panel.batch.text
        and "two: There is no file or folder absent.nii" in ipmn_panel.batch.text
    )
    summaries = [(tmp_path / name / "summary.csv").read_text() for name in ("script", "panel")]
    assert summaries[0] == summaries[1]


def test_a_missing_package_is_exit_3_with_the_command_and_nothing_is_installed(repository, patient, tmp_path):
    code = (
        "import sys, runpy; sys.argv = ['classify.py', '--', *sys.argv[2:]]\n"
        "from cadx.slicer import dependencies\n"
        "from cadx.doctor import Need\n"
        "dependencies.NEEDS = (Need('no_such_package_at_all', 'pydantic', 'settings'),)\n"
        "def refuse(*_): raise AssertionError('installed')\n"
        "dependencies._pip = refuse\n"
        "runpy.run_path(PATH, run_name='__main__')"
    )
    script = repository / "IPMNClassifier" / "Scripts" / "classify.py"
    code = code.replace("PATH", repr(str(script)))
    done = run(["-c", code, "x", *files(patient), "--out", str(tmp_path / "out")])
    assert done.returncode == 3
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("cadx: ") and "pip install" in line and "pydantic>=" in line
    assert not (tmp_path / "out").exists()


def test_a_bad_option_is_exit_2_and_one_sentence(repository, patient, tmp_path):
    script = repository / "IPMNClassifier" / "Scripts" / "classify.py"
    done = run([str(script), "--", "--t1", "absent.nii", *files(patient)[2:], "--out", str(tmp_path / "out")])
    assert done.returncode == 2
    assert "absent.nii" in done.stderr and "Traceback" not in done.stderr
