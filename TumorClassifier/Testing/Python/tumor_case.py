"""What this panel's tests share; with what the tests of all panels do, which lies elsewhere in the source tree."""

from __future__ import annotations

import json
import shutil
import sys
import time
import unittest
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import slicer
import slicer.util

from cadx.errors import CadxError
from cadx.geometry import Geometry
from cadx.phantom.head import make_head
from cadx.slicer.results import CaseNodes
from cadx.slicer.sample import SEED, add_head
from cadx.slicer.tiles import fed_picture
from cadx.slicer.volumes import volume_to_node
from cadx.volume import Volume

PRESUMED = ["glioma", "meningioma"]
TESTING = Path(__file__).resolve().parents[3] / "Testing"
for _folder in (str(TESTING / "modules"), str(TESTING / "helpers")):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

from panel_promises import ClosedSections, MissingPackages, WorkPromises, WorkTroubles  # noqa: E402

from panel_case import POSIX, PanelCase, layers, until  # noqa: E402

__all__ = [
    "POSIX",
    "PRESUMED",
    "ClosedSections",
    "MissingPackages",
    "TumorCase",
    "WorkPromises",
    "WorkTroubles",
    "answering",
    "layers",
    "phantom",
    "picture_samples",
    "presuming_bundle",
    "until",
]


@cache
def phantom() -> Any:
    """The head of the sample data."""
    return make_head(SEED, 0, tumour=True)


def picture_samples() -> Any:
    """Small bundles and files, where what they are made with is installed."""
    try:
        import picture_samples as samples
    except ImportError as error:
        raise unittest.SkipTest(f"not installed: {error.name}") from error
    return samples


def presuming_bundle(folder: Path) -> Path:
    """The model that ships, with other words for its answers: none means that there is no tumour."""
    from cadx.library import BRAIN_PHANTOM_DEMO, shipped_bundle
    from cadx.models.bundle import SETTINGS, seal

    shutil.copytree(shipped_bundle(BRAIN_PHANTOM_DEMO), folder)
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    (folder / SETTINGS).write_text(json.dumps({**settings, "classes": PRESUMED, "negative": []}), encoding="utf-8")
    seal(folder)
    return folder


def answering(module: str, path: Path | str) -> Any:
    """While it lasts, a module's question for a file is answered with this one, or with none."""
    dialog = SimpleNamespace(getOpenFileName=lambda *asked: str(path))
    return mock.patch.object(sys.modules[module], "qt", SimpleNamespace(QFileDialog=dialog))


class TumorCase(PanelCase):
    """The panel of TumorClassifier."""

    module = "TumorClassifier"

    def add_head(self) -> tuple[Any, Any]:
        """Volume and mask of the phantom in the scene."""
        with mock.patch("cadx.phantom.head.make_head", lambda *of, **with_: phantom()):
            return add_head(slicer.mrmlScene)

    def choose_head(self) -> tuple[Any, Any]:
        """The phantom, chosen, with the slice in view shown; its volume and mask."""
        nodes = self.add_head()
        self.panel.chooseSample(nodes)
        self.settle()
        self.assertIsNotNone(self.panel.picture.shown, self.panel.picture.status)
        return nodes

    def choose_case(self) -> Any:
        return CaseNodes(image=self.choose_head()[0])

    def choose_fresh_case(self) -> None:
        image, _mask = self.add_head()
        voxels = np.array(phantom().volume.voxels)
        voxels[0, 0, 0] += int(time.monotonic() * 1000) % 97 + 1
        slicer.util.updateVolumeFromArray(image, voxels)
        self.panel.chooseSample((image, None))
        self.settle()

    def choose_unshown_case(self) -> None:
        self.panel.chooseSample(self.add_head())
        self.settle()

    def fed_status(self) -> str:
        return str(self.panel.picture.status)

    def add_blob(self) -> Any:
        """A volume of cubic voxels with something bright in it."""
        geometry = Geometry.from_axes((30, 28, 26), (3.0, 3.0, 3.0), np.eye(3), (-44.0, -41.0, -37.0))
        k, j, i = np.indices((26, 28, 30))
        voxels = 100 + 3 * i + 2 * j + k + 300 * ((i - 18) ** 2 + (j - 12) ** 2 + (k - 14) ** 2 < 30)
        return volume_to_node(slicer.mrmlScene, Volume(voxels.astype(np.int16), geometry, "blob"), "blob")

    def assert_not_opened(self, path: Path, complaint: str) -> None:
        """As a user's choice of a file that cannot be opened: one sentence, in a window outside tests."""
        with (
            answering(self.module, path),
            mock.patch.object(slicer.util, "errorDisplay") as shown,
            self.assertRaisesRegex(CadxError, complaint),
        ):
            # not the button: the application prints what is raised in a slot
            self.panel._askPicture()
        if not slicer.app.testingEnabled():
            self.assertRegex(shown.call_args.args[0], complaint)

    def read_from(self, which: str) -> None:
        """As a user's choice of slices: IN_VIEW, NAMED, ALL or TOUCHED."""
        self._choose("slices", which, type(self.parameters.slicesFrom), self.panel.slices.slices)

    def cut(self, plane: str) -> None:
        """As a user's choice of a plane: ACQUIRED, AXIAL, CORONAL or SAGITTAL."""
        self._choose("plane", plane, type(self.parameters.plane), self.panel.slices.plane)

    def decide(self, rule: str) -> None:
        """As a user's choice of a rule: AUTOMATIC, MEAN, MOST_CONFIDENT or MOST_SUSPICIOUS."""
        self._choose("rule", rule, type(self.parameters.rule), self.panel.slices.rule)

    def _choose(self, what: str, name: str, kind: Any, shown: Any) -> None:
        # an activated list cannot be told from Python in the application
        self.panel._onChosen(what, kind[name].value)
        self.settle()
        self.assertEqual(shown.currentIndex, kind[name].value)

    def stack(self, plane: str | None = None) -> Any:
        """The slices of what is chosen."""
        return self.panel.logic.stack(self.parameters.image, plane)

    def bring(self, index: int, name: str = "Red", plane: str | None = None) -> None:
        """As a user's move of a slice view."""
        view = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
        view.JumpSliceByOffsetting(*self.stack(plane).center_ras(index).tolist())
        self.settle()

    def assert_in_view(self, index: int, name: str = "Red", plane: str | None = None) -> None:
        """The view is at this slice, in the very plane that it was acquired in."""
        stack, view = self.stack(plane), slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
        to_ras = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        along = stack.center_ras(1) - stack.center_ras(0)
        normal = along / np.linalg.norm(along)
        self.assertAlmostEqual(abs(float(normal @ to_ras[:3, 2])), 1.0, places=5)
        self.assertAlmostEqual(float(normal @ (to_ras[:3, 3] - stack.center_ras(index))), 0.0, places=2)

    def fed(self, index: int, plane: str | None = None) -> Any:
        """What the model is fed of a slice, as it is shown without a map."""
        picture = self.panel.logic.view(self.parameters.image, index, plane).picture
        return fed_picture(picture.pixels, self.panel.logic.background(**self.panel.modelOptions()).bundle.pictures)

    def rows(self) -> list[dict[str, Any]]:
        """What the only result says of each slice."""
        (case,) = self.cases()
        return list(case.result()["slices"]["table"])

    def classify_well(self) -> dict[str, Any]:
        """Press Classify; the document of what is chosen."""
        self.classify()
        self.assertEqual(self.said(), "Done.")
        return self.panel._storedCase().result()
