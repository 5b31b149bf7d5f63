"""Every state of the panel, for pictures: each name is given when the panel has come there."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import slicer

from cadx.roi import Roi
from cadx.slicer import add_case, node_to_roi, set_roi
from ipmn_case import phantom
from panel_states import broken_off, packages, running, sections

from panel_case import settle, until

MAIN = ("inputsButton", "roiButton", "tilesButton", "resultButton", "explanationButton", "exportButton")


def states(panel: Any) -> Iterator[str]:
    """Bring the panel from state to state."""
    settle(panel)
    yield "empty"
    nodes = add()
    parameters = panel.logic.getParameterNode()
    parameters.t1Volume, parameters.t2Volume = nodes.t1, nodes.t2
    settle(panel)
    yield "no-roi"
    parameters.roi = nodes.roi
    settle(panel)
    yield "preparing"
    until(lambda: panel.tiles.shown is not None)
    yield "ready"
    yield from running(panel)
    yield from after_the_result(panel, nodes)
    yield from errors(panel, nodes)
    yield from cube(panel)
    yield from packages(panel, lambda: choose(panel))


def add() -> Any:
    """The phantom's nodes."""
    patient = phantom()
    return add_case(slicer.mrmlScene, t1=patient.t1, t2=patient.t2, roi=patient.roi)


def choose(panel: Any) -> None:
    """The phantom, chosen."""
    nodes, parameters = add(), panel.logic.getParameterNode()
    parameters.t1Volume, parameters.t2Volume, parameters.roi = nodes.t1, nodes.t2, nodes.roi


def after_the_result(panel: Any, nodes: Any) -> Iterator[str]:
    """Larger tiles, the closed sections, a ROI that was moved."""
    panel.tiles.enlarge(True)
    yield "enlarged"
    panel.tiles.enlarge(False)
    yield from sections(panel, MAIN)
    box = node_to_roi(nodes.roi)
    set_roi(nodes.roi, Roi(box.center_ras + [8.0, 0.0, 0.0], box.size_mm, box.axes))
    settle(panel)
    yield "stale"
    set_roi(nodes.roi, box)
    settle(panel)


def errors(panel: Any, nodes: Any) -> Iterator[str]:
    """A ROI that cannot be graded, a cancelled run, a worker that dies."""
    box = node_to_roi(nodes.roi)
    set_roi(nodes.roi, Roi(box.center_ras, box.size_mm * [1, 1, 0.4], box.axes))
    settle(panel)
    yield "error-roi"
    set_roi(nodes.roi, box)
    settle(panel)
    yield from broken_off(panel)


def cube(panel: Any) -> Iterator[str]:
    """A model of T2 alone that is fed the whole ROI, with random weights; left out where MONAI is not installed."""
    if importlib.util.find_spec("monai") is None:
        return
    import torch
    from monai.networks.nets import DenseNet121

    from cadx.models.import_cystx import import_cystx

    parameters = panel.logic.getParameterNode()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        torch.save(DenseNet121(spatial_dims=3, in_channels=1, out_channels=1).state_dict(), folder / "random.pth")
        parameters.bundle = str(import_cystx(folder / "random.pth", folder / "random-cube", "T2", "random-cube").folder)
        settle(panel)
        until(lambda: panel.tiles.shown is not None and panel.tiles.shown.whole)
        panel.ui.classifyButton.click()
        until(lambda: not panel.running)
        settle(panel)
        yield "cube"
        parameters.bundle = ""
        settle(panel)
        until(lambda: panel.tiles.shown is not None and not panel.tiles.shown.whole)
