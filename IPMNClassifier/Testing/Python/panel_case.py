"""What the panel's tests share. They run in the application and, unchanged, on the test host."""

from __future__ import annotations

import os
import tempfile
import time
import unittest
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import slicer

from cadx.phantom import make_patient
from cadx.slicer import add_case, find_cases
from cadx.slicer.dependencies import plan_installation

ENOUGH_S = 120.0
POSIX = os.name == "posix"
PAUSING = Path(__file__).with_name("pausing_worker.py")


@cache
def phantom() -> Any:
    """The synthetic patient of these tests."""
    return make_patient(1003, 0)


def until(condition: Callable[[], Any], seconds: float = ENOUGH_S) -> bool:
    """Let the event loop run until something holds; False if it does not in this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        slicer.app.processEvents()
        if condition():
            return True
        time.sleep(0.005)
    return False


def members(group: int) -> list[int]:
    """Living processes of a process group (Linux)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _parent, number = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(number) == group and state != "Z":
            found.append(int(folder.name))
    return found


class PanelCase(unittest.TestCase):
    """A panel that has just been opened on an empty scene."""

    needs_packages = True

    @classmethod
    def setUpClass(cls) -> None:
        missing = plan_installation().missing
        if cls.needs_packages and missing:
            raise unittest.SkipTest(f"not installed: {', '.join(one.need.package for one in missing)}")

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)
        self.panel = slicer.modules.ipmnclassifier.widgetRepresentation().self()
        self.panel.enter()
        until(lambda: not self.panel.updatePending)

    def tearDown(self) -> None:
        slicer.mrmlScene.Clear(0)

    @property
    def ui(self) -> Any:
        return self.panel.ui

    @property
    def parameters(self) -> Any:
        return self.panel.logic.getParameterNode()

    def add_phantom(self) -> Any:
        """T1, T2 and ROI of the phantom in the scene."""
        patient = phantom()
        return add_case(slicer.mrmlScene, t1=patient.t1, t2=patient.t2, roi=patient.roi)

    def choose_phantom(self) -> Any:
        """The phantom, chosen, with its tiles shown."""
        nodes = self.add_phantom()
        self.choose(nodes.t1, nodes.t2, nodes.roi)
        self.assertTrue(until(lambda: self.panel.tiles.shown is not None), self.panel.tiles.status)
        return nodes

    def choose(self, t1: Any, t2: Any, roi: Any) -> None:
        parameters = self.parameters
        parameters.t1Volume, parameters.t2Volume, parameters.roi = t1, t2, roi
        self.settle()

    def settle(self) -> None:
        """Let what is due be shown."""
        slicer.app.processEvents()
        self.assertTrue(until(lambda: not self.panel.updatePending))

    def classify(self) -> None:
        """Press Classify and wait for the end."""
        self.ui.classifyButton.click()
        self.assertTrue(until(lambda: not self.panel.running))
        self.settle()

    def cases(self) -> list[Any]:
        return find_cases(slicer.mrmlScene)

    def said(self) -> str:
        return str(self.ui.stageLabel.text)

    def worker(self) -> int:
        """Number of the worker's process, which is its group's too."""
        number = self.panel.logic.workerId()
        self.assertIsNotNone(number)
        return int(number)

    def press_and_pause_at(self, stage: str) -> int:
        """Press Classify with a worker that stands still when it has come to a stage; its process's number."""
        self.panel.logic.end()
        background = self.panel.logic.background()
        come: list[str] = []
        show = self.panel._onProgress

        def watch(name: str, fraction: float) -> None:
            come.append(name)
            show(name, fraction)

        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "python"
            program.write_text(f'#!/bin/sh\nexec "{background._python}" "{PAUSING}" "{stage}" "$@"\n')
            program.chmod(0o755)
            with (
                mock.patch.object(self.panel, "_onProgress", watch),
                mock.patch.object(background, "_python", str(program)),
            ):
                self.ui.classifyButton.click()
                self.assertTrue(until(lambda: any(name.startswith(stage) for name in come)), f"{come} {self.said()}")
        self.assertTrue(self.panel.running)
        return self.worker()
