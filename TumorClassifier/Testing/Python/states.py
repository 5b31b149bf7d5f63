"""Every state of the panel, for pictures: each name is given when the panel has come there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from cadx.slicer.sample import add_head
from panel_states import broken_off, packages, running, sections
from tumor_case import presuming_bundle

from panel_case import settle, until

MAIN = ("inputsButton", "slicesButton", "pictureButton", "resultButton", "alongButton", "explanationButton")
MAIN += ("exportButton",)


def states(panel: Any) -> Iterator[str]:
    """Bring the panel from state to state."""
    settle(panel)
    yield "empty"
    image, labels = choose(panel)
    yield "ready"
    yield from running(panel)
    yield from slices(panel)
    yield from problems(panel, image, labels)
    yield from broken_off(panel)
    yield from sections(panel, MAIN)
    with tempfile.TemporaryDirectory() as name:
        yield from pictures(panel, Path(name))
        yield from models(panel, Path(name))
    yield from packages(panel, lambda: choose(panel))


def choose(panel: Any) -> tuple[Any, Any]:
    """The phantom, chosen, at a slice with its tumour."""
    nodes = add_head(slicer.mrmlScene)
    panel.chooseSample(nodes)
    settle(panel)
    return nodes


def read(panel: Any) -> None:
    """Press Classify and wait."""
    panel.ui.classifyButton.click()
    until(lambda: not panel.running)
    settle(panel)


def read_from(panel: Any, which: str) -> Any:
    """Choose which slices are read; the parameters."""
    parameters = panel.logic.getParameterNode()
    parameters.slicesFrom = type(parameters.slicesFrom)[which]
    settle(panel)
    return parameters


def slices(panel: Any) -> Iterator[str]:
    """A view that moved on, several slices, all of them, and those that a mask touches."""
    view = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    place = view.GetSliceOffset()
    view.SetSliceOffset(place + 9.0)
    settle(panel)
    yield "view-moved"
    view.SetSliceOffset(place)
    read_from(panel, "ALL")
    yield "stale"
    read(panel)
    yield "all-slices"
    panel.along.click(9)
    settle(panel)
    yield "bar-clicked"
    panel.along.sort(True)
    settle(panel)
    yield "most-suspicious-first"
    panel.along.sort(False)
    read_from(panel, "TOUCHED")
    yield "stale-all-slices"
    read(panel)
    yield "touched"
    read_from(panel, "NAMED").numbers = "3,5-7"
    settle(panel)
    yield "named"


def problems(panel: Any, image: Any, labels: Any) -> Iterator[str]:
    """Slices that are none, an image that shows little, a view that is elsewhere."""
    parameters = read_from(panel, "NAMED")
    parameters.numbers = "seven"
    settle(panel)
    yield "error-numbers"
    read_from(panel, "IN_VIEW")
    view = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    place = view.GetSliceOffset()
    view.SetSliceOffset(500.0)
    settle(panel)
    yield "error-view"
    view.SetSliceOffset(place)
    read_from(panel, "ALL")
    before = np.array(slicer.util.arrayFromVolume(image))
    voxels = before.copy()
    voxels[:3] = 7
    slicer.util.updateVolumeFromArray(image, voxels)
    settle(panel)
    read(panel)
    yield "empty-slices"
    slicer.util.updateVolumeFromArray(image, before)
    slicer.mrmlScene.RemoveNode(labels)
    read_from(panel, "TOUCHED")
    yield "error-no-mask"
    read_from(panel, "IN_VIEW")


def pictures(panel: Any, folder: Path) -> Iterator[str]:
    """A single picture that is no slice."""
    from PIL import Image

    Image.fromarray(chest()).save(folder / "radiograph.png")
    panel.open_picture(folder / "radiograph.png")
    settle(panel)
    yield "picture"
    read(panel)
    yield "picture-result"


def chest() -> NDArray[np.uint8]:
    """What looks a little like a chest radiograph, (300, 260) uint8."""
    row, column = np.mgrid[:300, :260]
    across = np.abs(column - 130)
    grey = 150.0 - 40 * (across / 130) ** 2 + 25 * np.sin(row / 9 + across / 30)
    for middle in (75, 185):
        grey[((column - middle) / 45) ** 2 + ((row - 140) / 95) ** 2 < 1] -= 90
    grey[across < 14] += 60
    grey[((column - 150) / 42) ** 2 + ((row - 195) / 42) ** 2 < 1] = 185
    return np.clip(grey, 0, 255).astype(np.uint8)


def models(panel: Any, folder: Path) -> Iterator[str]:
    """A task without a model; a model that has no class for no finding."""
    slicer.mrmlScene.Clear(0)
    settle(panel)
    choose(panel)
    panel.ui.modelButton.collapsed = False
    panel.model.choose_task(1)
    settle(panel)
    yield "no-model"
    panel.model.choose_task(0)
    panel.ui.modelButton.collapsed = True
    parameters = read_from(panel, "ALL")
    parameters.bundle = str(presuming_bundle(folder / "presuming"))
    settle(panel)
    yield "presumes"
    read(panel)
    yield "presumes-result"
    parameters.bundle = ""
    settle(panel)
