"""Models that use T2 alone, on the grid or, as those of Cyst-X, the whole ROI as a cube."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support import write

STUDY = """
schema: cadx.study/1
name: ipmn
title: T2 alone
classes: [{name: normal, negative: true}, {name: low risk}, {name: high risk}]
input: {kind: volumes, centre: true, preparation: {channels: [T2], bias: null, smooth: null, grid: {cell_pixels: 32}}}
models:
  - {name: vit, title: ViT, architecture: vit_tiny_patch16_224, options: {depth: 2, embed_dim: 48, num_heads: 3}}
split: {inner: {kind: holdout, share: 0.5}}
selection: {final: best}
training: {epochs: 1, batch: 2}
"""


@pytest.fixture(scope="module")
def t2_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle as ``cadx train`` makes it, of one patient under six names."""
    from cadx.cli import main

    folder = tmp_path_factory.mktemp("t2")
    write(folder / "t2.nii.gz", patient().t2)
    (folder / "roi.mrk.json").write_text(json.dumps(patient().roi.to_markups()))
    labels = ("normal", "low risk", "high risk") * 2
    rows = [f"case-{number},t2.nii.gz,roi.mrk.json,{label}" for number, label in enumerate(labels)]
    (folder / "cases.csv").write_text("\n".join(["case,t2,roi,label", *rows]) + "\n")
    (folder / "t2.yaml").write_text(STUDY)
    out = folder / "t2-alone"
    command = ["train", str(folder / "t2.yaml"), "--data", str(folder), "--out", str(out), "--device", "cpu"]
    assert main([*command, "--threads", "1"]) == 0
    return out


@pytest.fixture(scope="module")
def cystx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imported checkpoint with random weights."""
    nets = pytest.importorskip("monai.networks.nets")
    import torch

    from cadx.models.import_cystx import import_cystx

    folder = tmp_path_factory.mktemp("cystx")
    torch.manual_seed(0)
    torch.save(nets.DenseNet121(spatial_dims=3, in_channels=1, out_channels=1).state_dict(), folder / "model_auc.pth")
    return import_cystx(folder / "model_auc.pth", folder / "cystx-t2", "T2", pixels=32).folder


@cache
def patient() -> Any:
    from cadx.phantom import make_patient

    return make_patient(1003, 0)


def add_phantom() -> Any:
    import slicer

    from cadx.slicer import add_case

    return add_case(slicer.mrmlScene, t1=patient().t1, t2=patient().t2, roi=patient().roi)


def until(condition: Any) -> bool:
    from slicer_host import Host

    return bool(Host().until(condition, 60))


def layers() -> Any:
    import slicer

    return slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceCompositeNode")


def classify(panel: Any) -> Any:
    """Press Classify; the stored case."""
    import slicer

    from cadx.slicer import find_cases

    assert until(lambda: panel.ui.classifyButton.enabled), panel.ui.classifyButton.toolTip
    panel.ui.classifyButton.click()
    assert until(lambda: not panel.running)
    assert panel.ui.stageLabel.text == "Done."
    assert until(lambda: not panel.updatePending)
    return find_cases(slicer.mrmlScene)[-1]


def test_t2_alone_is_enough_for_a_model_of_t2(ipmn_panel, t2_model):
    import slicer

    from slicer_host import Host

    nodes = add_phantom()
    slicer.mrmlScene.RemoveNode(nodes.t1)
    parameters = ipmn_panel.logic.getParameterNode()
    parameters.t1Volume, parameters.t2Volume, parameters.roi = None, nodes.t2, nodes.roi
    assert until(lambda: "Choose a T1 volume" in ipmn_panel.ui.classifyButton.toolTip)
    parameters.bundle = str(t2_model)
    assert until(lambda: ipmn_panel.tiles.shown is not None), ipmn_panel.tiles.status
    assert ipmn_panel.tiles.shown.channels == ("T2",)
    assert "This model does not use T1." in ipmn_panel.ui.guessLabel.text
    assert not ipmn_panel.ui.t1Selector.enabled and not ipmn_panel.ui.registerCheckBox.enabled
    case = classify(ipmn_panel)
    assert case.t1 is None and case.t2 is nodes.t2
    assert [image["role"] for image in case.result()["inputs"]] == ["T2"]
    assert ipmn_panel.resultView.text.startswith(f"case 1: {nodes.t2.GetName()}, ")
    assert layers().GetBackgroundVolumeID() == nodes.t2.GetID()
    assert layers().GetForegroundVolumeID() == case.attention.GetID()
    assert "attention" in ipmn_panel.explanation.text.lower()
    ipmn_panel.tiles.click(4)
    assert layers().GetBackgroundVolumeID() == nodes.t2.GetID()
    assert Host().errors == []


def test_a_t1_that_is_chosen_and_not_used_does_no_harm(ipmn_panel, t2_model):
    from slicer_host import Host

    nodes = add_phantom()
    parameters = ipmn_panel.logic.getParameterNode()
    parameters.bundle = str(t2_model)
    # the same volume twice, which would be an error for a model of both
    parameters.t1Volume, parameters.t2Volume, parameters.roi = nodes.t2, nodes.t2, nodes.roi
    case = classify(ipmn_panel)
    assert case.t1 is None
    parameters.t1Volume = nodes.t1
    assert until(lambda: not ipmn_panel.updatePending)
    assert "Outdated" not in ipmn_panel.resultView.text and "No result" not in ipmn_panel.resultView.text
    # what is swapped is still seen
    parameters.t2Volume = nodes.t1
    assert until(lambda: "is chosen as T2 and looks like T1" in ipmn_panel.ui.warningsLabel.text)
    assert Host().errors == []


def test_an_imported_cystx_model_shows_its_cube_and_grad_cam(ipmn_panel, cystx, tmp_path):
    import slicer

    from slicer_host import Host

    nodes = add_phantom()
    parameters = ipmn_panel.logic.getParameterNode()
    parameters.bundle = str(cystx)
    parameters.t1Volume, parameters.t2Volume, parameters.roi = nodes.t1, nodes.t2, nodes.roi
    assert until(lambda: ipmn_panel.tiles.shown is not None), ipmn_panel.tiles.status
    tiles = ipmn_panel.tiles.shown
    assert tiles.pixels.shape == (1, 9, 32, 32, 3) and tiles.whole
    assert "planes of the whole ROI" in ipmn_panel.tiles.status
    assert "all of the ROI at once" in ipmn_panel.ui.windowLabel.text
    assert not ipmn_panel.ui.windowSlider.enabled and not ipmn_panel.ui.allWindowsCheckBox.enabled
    assert "all but the pancreas is black" in ipmn_panel.ui.warningsLabel.text, "before anything is graded"
    case = classify(ipmn_panel)
    assert case.result()["label"] in ("no or low risk", "high risk")
    assert "all but the pancreas is black" in ipmn_panel.resultView.text
    assert case.attention.GetName() == "Grad-CAM case 1"
    assert layers().GetForegroundVolumeID() == case.attention.GetID()
    shown = case.attention.GetDisplayNode()
    assert (shown.GetWindowLevelMin(), shown.GetWindowLevelMax()) == (0.0, 1.0)
    assert "Grad-CAM" in ipmn_panel.explanation.text and "ttention" not in ipmn_panel.explanation.text
    blended = ipmn_panel.tiles.shown.pixels
    assert (blended[..., 0] != blended[..., 2]).any(), "the map lies over the tiles"
    ipmn_panel.tiles.click(8)
    height = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode").GetSliceToRAS().GetElement(2, 3)
    assert height == pytest.approx(tiles.centres_ras[8, 2], abs=1e-3)
    ipmn_panel.export.folder.setCurrentPath(str(tmp_path))
    ipmn_panel.export.button.click()
    assert "Written to" in ipmn_panel.export.text
    from cadx.slicer.scene import load_scene, save_scene

    saved = save_scene(slicer.mrmlScene, tmp_path / "scene.mrb")
    load_scene(slicer.mrmlScene, saved)
    assert until(lambda: ipmn_panel.tiles.shown is not None and ipmn_panel.tiles.shown is not tiles)
    assert until(lambda: "Grad-CAM" in ipmn_panel.explanation.text)
    assert Host().errors == []
