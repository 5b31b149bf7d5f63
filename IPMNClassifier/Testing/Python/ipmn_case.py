"""What this panel's tests share; with what the tests of all panels do, which lies elsewhere in the source tree."""

from __future__ import annotations

import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util

from cadx.phantom import make_patient
from cadx.slicer import add_case

SHARED = str(Path(__file__).resolve().parents[3] / "Testing" / "modules")
if SHARED not in sys.path:
    sys.path.insert(0, SHARED)

from panel_promises import ClosedSections, MissingPackages, WorkPromises, WorkTroubles  # noqa: E402

from panel_case import POSIX, PanelCase, layers, shown_point, until  # noqa: E402

__all__ = [
    "POSIX",
    "ClosedSections",
    "IpmnCase",
    "MissingPackages",
    "WorkPromises",
    "WorkTroubles",
    "layers",
    "phantom",
    "shown_point",
    "until",
]


@cache
def phantom() -> Any:
    """The synthetic patient of these tests."""
    return make_patient(1003, 0)


class IpmnCase(PanelCase):
    """The panel of IPMNClassifier."""

    module = "IPMNClassifier"

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

    def choose_case(self) -> Any:
        return self.choose_phantom()

    def choose_fresh_case(self) -> None:
        nodes = self.add_phantom()
        voxels = np.array(phantom().t2.voxels)
        voxels[0, 0, 0] += int(time.monotonic() * 1000) % 997 + 1
        slicer.util.updateVolumeFromArray(nodes.t2, voxels)
        self.choose(nodes.t1, nodes.t2, nodes.roi)

    def choose_unshown_case(self) -> None:
        nodes = self.add_phantom()
        self.choose(nodes.t1, nodes.t2, nodes.roi)

    def fed_status(self) -> str:
        return str(self.panel.tiles.status)

    def choose(self, t1: Any, t2: Any, roi: Any) -> None:
        parameters = self.parameters
        parameters.t1Volume, parameters.t2Volume, parameters.roi = t1, t2, roi
        self.settle()
