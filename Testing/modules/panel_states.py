"""States that every module's panel comes through, for pictures: each name is given when the panel is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import slicer

from cadx.doctor import Need
from cadx.slicer import dependencies

from panel_case import settle, until

SECTIONS = ("model", "device", "batch", "log")


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


def sections(panel: Any, main: Sequence[str]) -> Iterator[str]:
    """The sections that are closed at first, open; the main ones (``main`` names their buttons) closed."""
    opened = [getattr(panel.ui, f"{name}Button") for name in SECTIONS]
    closed = [getattr(panel.ui, name) for name in main]
    for section in (*closed, *opened):
        section.collapsed = section in closed
    panel.device.report_button.click()
    until(lambda: "Python" in panel.device.report.plainText)
    settle(panel)
    yield "sections"
    for section in (*closed, *opened):
        section.collapsed = section in opened


def broken_off(panel: Any) -> Iterator[str]:
    """A cancelled run, a worker that dies."""
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


def packages(panel: Any, choose: Callable[[], None]) -> Iterator[str]:
    """Something is not installed, and the user does not want it; ``choose`` chooses images."""
    slicer.mrmlScene.Clear(0)
    absent = Need("no_such_package_at_all", "pydantic", "checking settings", 3)
    with mock.patch.object(dependencies, "NEEDS", (absent,)):
        panel.enter()
        choose()
        settle(panel)
        with mock.patch.object(slicer.util, "confirmOkCancelDisplay", return_value=False):
            panel.ui.classifyButton.click()
        settle(panel)
        yield "error-packages"
