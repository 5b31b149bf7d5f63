"""What the tests of every panel share. They run in the application and, unchanged, on the test host."""

from __future__ import annotations

import os
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import slicer

from cadx.slicer import find_cases, nodes_of_class
from cadx.slicer.dependencies import plan_installation

ENOUGH_S = 120.0
POSIX = os.name == "posix"
PAUSING = Path(__file__).with_name("pausing_worker.py")


def until(condition: Callable[[], Any], seconds: float = ENOUGH_S) -> bool:
    """Let the event loop run until something holds; False if it does not in this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        slicer.app.processEvents()
        if condition():
            return True
        time.sleep(0.005)
    return False


def settle(panel: Any) -> bool:
    """Let what is due be shown; False if it is not."""
    slicer.app.processEvents()
    return until(lambda: not panel.updatePending)


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


def resident_megabytes() -> float:
    """Memory of this process (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def layers() -> list[Any]:
    """What lies over what, view by view."""
    return nodes_of_class(slicer.mrmlScene, "vtkMRMLSliceCompositeNode")


def shown_point(axis: int, name: str) -> float:
    """Position (RAS mm) along an axis of a slice view."""
    view = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
    return float(view.GetSliceToRAS().GetElement(axis, 3))


class PanelCase(unittest.TestCase):
    """A panel that has just been opened on an empty scene; a module's own case says which."""

    module: ClassVar[str]
    needs_packages = True

    # what a module must say

    def choose_case(self) -> Any:
        """Add what can be graded to the scene and choose it; its :class:`cadx.slicer.results.CaseNodes`."""
        raise NotImplementedError

    def choose_fresh_case(self) -> None:
        """The same with something that was never prepared before."""
        raise NotImplementedError

    def choose_unshown_case(self) -> None:
        """The same where packages are missing, so that nothing of it can be shown."""
        raise NotImplementedError

    def fed_status(self) -> str:
        """What the panel says where it shows what the model is fed."""
        raise NotImplementedError

    # what they share

    @classmethod
    def setUpClass(cls) -> None:
        missing = plan_installation().missing
        if cls.needs_packages and missing:
            raise unittest.SkipTest(f"not installed: {', '.join(one.need.package for one in missing)}")

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)
        self.open_panel()
        until(lambda: not self.panel.updatePending)

    def tearDown(self) -> None:
        slicer.mrmlScene.Clear(0)

    def open_panel(self) -> None:
        """The module's panel as it is now, entered."""
        self.panel = getattr(slicer.modules, self.module.lower()).widgetRepresentation().self()
        self.panel.enter()

    @property
    def ui(self) -> Any:
        return self.panel.ui

    @property
    def parameters(self) -> Any:
        return self.panel.logic.getParameterNode()

    def settle(self) -> None:
        """Let what is due be shown."""
        self.assertTrue(settle(self.panel))

    def classify(self) -> None:
        """Press Classify and wait for the end."""
        self.ui.classifyButton.click()
        self.assertTrue(until(lambda: not self.panel.running))
        self.settle()

    def cases(self) -> list[Any]:
        return find_cases(slicer.mrmlScene)

    def said(self) -> str:
        return str(self.ui.stageLabel.text)

    def reason(self) -> str:
        """Why Classify is disabled."""
        self.settle()
        self.assertFalse(self.ui.classifyButton.enabled)
        return str(self.ui.classifyButton.toolTip)

    def worker(self) -> int:
        """Number of the worker's process, which is its group's too."""
        number = self.panel.logic.workerId()
        self.assertIsNotNone(number)
        return int(number)

    def press_and_pause_at(self, stage: str) -> int:
        """Press Classify with a worker that stands still when it has come to a stage; its process's number."""
        self.panel.logic.end()
        background = self.panel.logic.background(**self.panel.modelOptions())
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
