"""Every state of the panel, for pictures: each name is given when the panel has come there."""

from __future__ import annotations

import importlib.util
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import slicer

from cadx.doctor import Need
from cadx.roi import Roi
from cadx.slicer import add_case, dependencies, node_to_roi, set_roi

from panel_case import phantom, until

SECTIONS = ("model", "device", "batch", "log")


def states(panel: Any) -> Iterator[str]:
    """Bring the panel from state to state."""
    settle(panel)
    yield "empty"
    patient = phantom()
    nodes = add_case(slicer.mrmlScene, t1=patient.t1, t2=patient.t2, roi=patient.roi)
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
    yield from packages(panel)


def running(panel: Any) -> Iterator[str]:
    """While a case is graded, and when it is done."""
    panel.ui.classifyButton.click()
    until(lambda: panel.ui.stageLabel.text not in ("", "Starting"))
    os.killpg(panel.logic.workerId(), signal.SIGSTOP)
    yield "running"
    os.killpg(panel.logic.workerId(), signal.SIGCONT)
    until(lambda: not panel.running)
    settle(panel)
    yield "result"


def after_the_result(panel: Any, nodes: Any) -> Iterator[str]:
    """Larger tiles, the closed sections, a ROI that was moved."""
    panel.tiles.enlarge(True)
    yield "enlarged"
    panel.tiles.enlarge(False)
    main = [panel.ui.inputsButton, panel.ui.roiButton, panel.ui.tilesButton, panel.ui.resultButton]
    main += [panel.ui.explanationButton, panel.ui.exportButton]
    for section in main:
        section.collapsed = True
    for name in SECTIONS:
        getattr(panel.ui, f"{name}Button").collapsed = False
    panel.device.report_button.click()
    until(lambda: "Python" in panel.device.report.plainText)
    settle(panel)
    yield "sections"
    for name in SECTIONS:
        getattr(panel.ui, f"{name}Button").collapsed = True
    for section in main:
        section.collapsed = False
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
    panel.ui.classifyButton.click()
    panel.ui.classifyButton.click()
    until(lambda: not panel.running)
    settle(panel)
    yield "cancelled"
    panel.ui.classifyButton.click()
    os.killpg(panel.logic.workerId(), signal.SIGKILL)
    until(lambda: not panel.running)
    settle(panel)
    yield "error-worker"


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


def packages(panel: Any) -> Iterator[str]:
    """Something is not installed, and the user does not want it."""
    slicer.mrmlScene.Clear(0)
    absent = Need("no_such_package_at_all", "pydantic", "checking settings", 3)
    with mock.patch.object(dependencies, "NEEDS", (absent,)):
        panel.enter()
        patient = phantom()
        nodes = add_case(slicer.mrmlScene, t1=patient.t1, t2=patient.t2, roi=patient.roi)
        parameters = panel.logic.getParameterNode()
        parameters.t1Volume, parameters.t2Volume, parameters.roi = nodes.t1, nodes.t2, nodes.roi
        settle(panel)
        with mock.patch.object(slicer.util, "confirmOkCancelDisplay", return_value=False):
            panel.ui.classifyButton.click()
        settle(panel)
        yield "error-packages"


def settle(panel: Any) -> None:
    """Let what is due be shown."""
    slicer.app.processEvents()
    until(lambda: not panel.updatePending)
