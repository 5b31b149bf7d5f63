"""One head, four ways: command line, headless script, console and panel give the same document."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cadx.child import package_environment
from cadx.io.files import write_volume
from cadx.library import BRAIN_TYPE, shipped_bundle
from cadx.phantom.head import make_head
from cadx.prepare.stack import Stack
from cadx.slicer import find_cases

ASIDE = ("timings_s", "command", "inputs")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A head as a volume, and its best slice as a picture."""
    from PIL import Image

    folder, head = tmp_path_factory.mktemp("head"), make_head(21, 0, tumour=True)
    write_volume(folder / "head.nii.gz", head.volume)
    Image.fromarray(Stack.of(head.volume).picture(head.best_slice).pixels).save(folder / "slice.png")
    return {"--volume": folder / "head.nii.gz", "--image": folder / "slice.png"}


def run(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, *arguments, "--json"], capture_output=True, text=True, env=package_environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def compared(document: dict[str, Any]) -> dict[str, Any]:
    """Timings and sources aside; of the inputs all but their name counts."""
    inputs = [{key: value for key, value in one.items() if key != "source"} for one in document["inputs"]]
    return {**{key: value for key, value in document.items() if key not in ASIDE}, "inputs": inputs}


@pytest.mark.parametrize("form", ["--volume", "--image"])
def test_command_line_script_console_and_panel_agree(tumor_panel, repository, files, tmp_path, form):
    import slicer.util

    from slicer_host import Host

    asked = [form, str(files[form]), "--bundle", str(shipped_bundle(BRAIN_TYPE))]
    asked += ["--slice", "3-6", "--rule", "most-confident"] if form == "--volume" else []
    expected = run(["-m", "cadx", "classify", *asked, "--out", str(tmp_path / "cli")])
    script = repository / "TumorClassifier" / "Scripts" / "classify.py"
    assert compared(run([str(script), "--", *asked, "--out", str(tmp_path / "script")])) == compared(expected)

    options = {"slices": "3-6", "rule": "most-confident"} if form == "--volume" else {}
    logic, scene = tumor_panel.logic, slicer.mrmlScene
    node = slicer.util.loadVolume(str(files[form])) if options else logic.openImage(files[form], scene)
    assert compared(logic.classify(node, name="console", **options).toJson()) == compared(expected)

    parameters = logic.getParameterNode()
    parameters.image = node
    if options:
        parameters.numbers = options["slices"]
        parameters.slicesFrom = type(parameters.slicesFrom).NAMED
        parameters.rule = type(parameters.rule).MOST_CONFIDENT
    Host().until(lambda: not tumor_panel.updatePending)
    parameters.caseName = "panel"
    assert Host().until(lambda: tumor_panel.ui.classifyButton.enabled, 10), tumor_panel.ui.classifyButton.toolTip
    tumor_panel.ui.classifyButton.click()
    assert Host().until(lambda: not tumor_panel.running, 60)
    assert tumor_panel.ui.stageLabel.text == "Done."
    console, panel = find_cases(scene)
    assert (console.case, panel.case) == ("console", "panel")
    assert compared(panel.result()) == compared(expected)
    # the map that this bundle names, in words, node and legend
    assert "HiResCAM" in tumor_panel.explanation.text and "Grad-CAM" not in tumor_panel.explanation.text
    assert panel.attention is None or panel.attention.GetName() == "HiResCAM panel"
