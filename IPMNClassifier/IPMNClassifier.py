"""3D Slicer module: grades IPMN from a T1 and a T2 volume, or one of them, and a box around the pancreas.

Research use only, not for clinical decisions.
"""

import importlib.util
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import slicer
import slicer.util
import vtk
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

if importlib.util.find_spec("cadx") is None:
    # run from a checkout: the package lies beside the module's folder
    sys.path.append(str(Path(__file__).resolve().parents[1] / "Training"))

from cadx.errors import CadxError
from cadx.explain.display import LOWEST_SHOWN, kind_of
from cadx.slicer import display, ipmn, placing
from cadx.slicer.guess import Guess, guess_images, odd_choices
from cadx.slicer.panel.ahead import Ahead
from cadx.slicer.panel.classifier_panel import ClassifierPanel
from cadx.slicer.panel.installing import packages_missing
from cadx.slicer.panel.node_watch import image_events, segment_events
from cadx.slicer.panel.roi_controls import RoiControls
from cadx.slicer.panel.run_controls import stage_text
from cadx.slicer.panel.setting import set_quietly, show_line
from cadx.slicer.panel.tile_grid import TileGrid
from cadx.slicer.results import CaseNodes
from cadx.slicer.rois import node_to_roi
from cadx.slicer.sample import add_phantom, phantom_in_background, register_sample
from cadx.slicer.slice_choice import SliceChoice
from cadx.slicer.tiles import window_tiles

CENTRED = -1
ROLES = ("T1", "T2")


class IPMNClassifier(ScriptedLoadableModule):
    """The module's description for the application."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("IPMN Classifier")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Machine Learning")]
        self.parent.dependencies = []
        self.parent.contributors = ["SlicerCADx developers"]
        self.parent.helpText = _(
            "Grades intraductal papillary mucinous neoplasm (IPMN) of the pancreas from a T1 and a T2 MR volume, or "
            "one of them where the model needs no more, and a box around the pancreas, and shows where it looked. "
            "Research use only, not for clinical decisions."
        )
        self.parent.acknowledgementText = _("The protocol is that of arXiv:2206.10531.")
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Add the synthetic patient to the Sample Data module."""
    register_sample("IPMNPhantom", Path(__file__), _downloadPhantom)


def _downloadPhantom(source: Any = None) -> list[Any]:
    nodes = add_phantom(slicer.mrmlScene)
    return [nodes.t1, nodes.t2, nodes.roi]


class ShownOn(Enum):
    """Which image the map is laid over in the slice views; serialised by name."""

    T1 = 0
    T2 = 1
    BOTH = 2
    NOTHING = 3


@parameterNodeWrapper
class IPMNClassifierParameterNode:
    """What is chosen; saved with the scene.

    ``firstSlice`` counts the ROI's slices from the lowest (0), -1 is the window in its middle; ``threshold`` is a part
    of the colour scale, ``opacity`` that of the overlay; ``bundle`` is the folder of a model, empty for the one that
    ships. Results are found by the nodes that they belong to.
    """

    t1Volume: vtkMRMLScalarVolumeNode
    t2Volume: vtkMRMLScalarVolumeNode
    roi: vtkMRMLMarkupsROINode
    caseName: str
    firstSlice: int = CENTRED
    allWindows: bool = False
    registerT2: bool = False
    padSlices: bool = False
    bundle: str
    device: str = "auto"
    shownOn: ShownOn = ShownOn.T1
    threshold: Annotated[float, WithinRange(0.0, 1.0)] = LOWEST_SHOWN
    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    showLegend: bool = True
    mapOnTiles: bool = True


class IPMNClassifierLogic(ScriptedLoadableModuleLogic, ipmn.IPMNClassifierLogic):
    """Grades nodes; opens no window and needs no panel. See :class:`cadx.slicer.ipmn.IPMNClassifierLogic`."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        ipmn.IPMNClassifierLogic.__init__(self)

    def getParameterNode(self) -> IPMNClassifierParameterNode:
        """The scene's parameters."""
        return IPMNClassifierParameterNode(super().getParameterNode())


class IPMNClassifierWidget(ClassifierPanel):
    """The panel: T1, T2, a ROI, the slices of it that are graded, and the tiles that the model is fed."""

    STAGES = {
        "correct": (0.0, 0.6),
        "register": (0.62, 0.62),
        "crop": (0.65, 0.65),
        "load": (0.7, 0.7),
        "classify": (0.85, 1.0),
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._guess = Guess()

    def makeLogic(self) -> IPMNClassifierLogic:
        return IPMNClassifierLogic()

    def tasks(self) -> Sequence[tuple[str, Any]]:
        return (("IPMN", "ipmn"),)

    def placesOfMap(self) -> list[str]:
        return [_("T1"), _("T2"), _("T1 and T2 side by side"), _("nothing")]

    def batchColumns(self) -> tuple[str, ...]:
        return ("case", *(channel.lower() for channel in self._channels), "roi")

    def makeOwnSections(self) -> None:
        ui = self.ui
        self.roi = RoiControls(ui, lambda: self._parameterNode.roi, lambda: self._reference(), self._chooseRoi)
        self.tiles = TileGrid(ui.tilesFrame, self._onTile)
        self.ahead = Ahead(
            self.logic,
            self._poller,
            self.loading,
            progress=self._onPreparing,
            changed=self._updateSoon,
            note=self.log.add,
        )
        ui.windowSlider.connect("valueChanged(int)", self._onWindow)
        ui.centreButton.connect("clicked()", lambda: self._setFirstSlice(CENTRED))
        mouse = placing.interaction_node(slicer.mrmlScene)
        if mouse is not None:
            self.addObserver(mouse, mouse.InteractionModeChangedEvent, self._onMouseMode)

    def busyWidgets(self) -> list[Any]:
        return [*super().busyWidgets(), self.ui.roiButton]

    def exit(self) -> None:
        """The user opens another module; work goes on."""
        if self._parameterNode is not None:
            self.roi.leave()
        super().exit()

    def forgetCase(self) -> None:
        super().forgetCase()
        self._layout: Any = None
        self._channels: tuple[str, ...] = ROLES
        if hasattr(self, "ahead"):
            self.ahead.forget()

    @property
    def preparing(self) -> bool:
        """Whether images are being prepared."""
        return bool(self.ahead.preparing)

    def isReady(self) -> bool:
        return self.ahead.cells is not None

    # what is chosen

    def watchedNodes(self) -> list[tuple[Any, Any]]:
        """A ROI that moves, an image that is edited, segments that come."""
        node, changed = self._parameterNode, vtk.vtkCommand.ModifiedEvent
        wanted = [*image_events(node.t1Volume, node.t2Volume), *segment_events()]
        if node.roi is not None:
            events = (node.roi.PointModifiedEvent, node.roi.TransformModifiedEvent, changed)
            wanted += [(node.roi, event) for event in events]
        return wanted

    def isInput(self, node: Any) -> bool:
        return bool(node.IsA("vtkMRMLSegmentationNode") or node.IsA("vtkMRMLVolumeNode"))

    def guessInputs(self) -> None:
        """Choose what is not chosen yet; a node that was just added had no image when that was announced."""
        node = self._parameterNode
        if node.t1Volume is not None and node.t2Volume is not None:
            return
        guess = guess_images(slicer.mrmlScene)
        # an image that the user chose is left as it is, and never doubled
        if node.t1Volume is None and guess.t1 is not node.t2Volume:
            node.t1Volume = guess.t1
        if node.t2Volume is None and guess.t2 is not node.t1Volume:
            node.t2Volume = guess.t2
        self._guess = guess

    def chosenNodes(self) -> CaseNodes | None:
        nodes = CaseNodes(*self._nodes())
        return nodes if nodes.images else None

    def findProblem(self) -> str:
        """Which slices the ROI holds; returns what stands against it, in one sentence."""
        self._channels = self._channelsOfModel()
        node, (t1, t2, _roi) = self._parameterNode, self._nodes()
        self._layout = None
        for role, chosen in (("T1", t1), ("T2", t2)):
            if chosen is None and role in self._channels:
                return _("Choose a {role} volume.").format(role=role)
        if t1 is t2:
            return _("T1 and T2 are the same volume; choose the other one.")
        if not placing.is_placed(node.roi):
            return _("Place a ROI around the pancreas.")
        if not self._installed:
            return ""
        try:
            self._layout = self.logic.layout(*self._nodes(), **self.modelOptions(), pad=node.padSlices)
        except CadxError as error:
            return str(error)
        return ""

    def _nodes(self) -> tuple[Any, Any, Any]:
        """T1, T2 and ROI, as far as they are chosen and the model uses them."""
        node = self._parameterNode
        t1, t2 = (
            volume if role in self._channels else None
            for role, volume in zip(ROLES, (node.t1Volume, node.t2Volume), strict=True)
        )
        return t1, t2, node.roi

    def _reference(self) -> Any:
        """The image along whose slices the ROI is cut."""
        return CaseNodes(*self._nodes()).reference

    def _channelsOfModel(self) -> tuple[str, ...]:
        """Both images as long as no bundle can be read; what is wrong with it is said elsewhere."""
        node = self._parameterNode
        needed = node.bundle or node.t1Volume is not None or node.t2Volume is not None
        if not self._installed or not needed:
            # reading a bundle loads packages that an empty panel does without
            return ROLES
        try:
            return tuple(self.logic.channels(**self.modelOptions()))
        except CadxError:
            return ROLES

    def _asked(self) -> dict[str, Any]:
        """What is chosen, as far as the model has a use for it."""
        node = self._parameterNode
        whole = self._layout is not None and self._layout.whole
        return {
            **self.modelOptions(),
            "firstSlice": None if node.allWindows else self._firstOrNone(),
            "allWindows": node.allWindows and not whole,
            "register": node.registerT2 and len(self._channels) > 1,
            "pad": node.padSlices and not whole,
        }

    def _firstOrNone(self) -> int | None:
        """The first slice that the user chose, as long as the ROI holds it."""
        first = self._parameterNode.firstSlice
        if first == CENTRED or self._layout is None or self._layout.whole:
            return None
        last = len(self._layout.slices) - self.logic.slicesInWindow(**self.modelOptions())
        return first if first <= last else None

    def _chooseRoi(self, roi: Any) -> None:
        self._parameterNode.roi = roi

    def _onMouseMode(self, caller: Any, event: Any) -> None:
        if self._parameterNode is not None:
            self.roi.mouse_mode_changed()
            self._updateSoon()

    def _onWindow(self, first: int) -> None:
        if not self._updating:
            self._setFirstSlice(first)

    def _setFirstSlice(self, first: int) -> None:
        if self._parameterNode is not None:
            self._parameterNode.firstSlice = first

    # showing what is chosen

    def showChosen(self, problem: str) -> None:
        """Images, ROI and slices; the images are prepared meanwhile."""
        if problem or not self._installed:
            self.ahead.none()
        else:
            self.ahead.update(self._nodes(), self.modelOptions(), self._parameterNode.padSlices)
        self._showInputs()
        self._showRoi(problem)
        self._showWindow()

    def _showInputs(self) -> None:
        """How the images were chosen, and what is odd about them."""
        node, guessed = self._parameterNode, self._guess
        parts = []
        for role, chosen, guess in (("T1", node.t1Volume, guessed.t1), ("T2", node.t2Volume, guessed.t2)):
            if chosen is not None and chosen is guess:
                parts.append(_("{role} by {reason}").format(role=role, reason=guessed.reasons.get(role, _("its name"))))
        said = [_("Guessed: {parts}.").format(parts=", ".join(parts))] if parts else []
        said += [_("This model does not use {role}.").format(role=role) for role in ROLES if role not in self._channels]
        show_line(self.ui.guessLabel, " ".join(said))
        self.ui.t1Selector.setEnabled("T1" in self._channels)
        self.ui.t2Selector.setEnabled("T2" in self._channels)
        self.ui.registerCheckBox.setEnabled(len(self._channels) > 1)
        self.batch.show_columns(self.batchColumns())
        lines = [
            _("{name} is chosen as {role} and looks like {other} by {reason}; check it.").format(
                name=odd.name, role=odd.role, other=odd.looks_like, reason=odd.reason
            )
            for odd in odd_choices(*self._nodes()[:2])
        ]
        if self._layout is not None:
            cells = self.ahead.cells or self._layout
            lines += [notice.text for notice in self.logic.noticesAhead(*self._nodes(), cells, **self.modelOptions())]
        show_line(self.ui.warningsLabel, "\n".join(lines))

    def _showRoi(self, problem: str) -> None:
        self.roi.update(self._layout, self._channels[0])
        placed = placing.is_placed(self._parameterNode.roi)
        show_line(self.ui.roiProblemLabel, problem if placed and self._layout is None else "")

    def _showWindow(self) -> None:
        ui, node, layout = self.ui, self._parameterNode, self._layout
        whole = layout is not None and layout.whole
        ui.allWindowsCheckBox.setEnabled(not whole)
        ui.padCheckBox.setEnabled(not whole)
        if layout is None:
            ui.windowSlider.setEnabled(False)
            ui.centreButton.setEnabled(False)
            ui.windowLabel.setText("")
            return
        count = self.logic.slicesInWindow(**self.modelOptions())
        slices = SliceChoice(layout, count, self._firstOrNone())
        movable = slices.last_start > 0 and not node.allWindows
        ui.windowSlider.setEnabled(movable)
        ui.centreButton.setEnabled(movable and node.firstSlice != CENTRED)
        set_quietly(ui.windowSlider.setMaximum, ui.windowSlider, slices.last_start)
        set_quietly(ui.windowSlider.setValue, ui.windowSlider, slices.start)
        if whole:
            text = _("all of the ROI at once, slices {whole} ({low} to {high})").format(
                whole=slices.whole, low=slices.low, high=slices.high
            )
        elif node.allWindows:
            text = _("all {sets} sets of {count} among slices {whole}").format(
                sets=slices.starts, count=count, whole=slices.whole
            )
        else:
            text = _("slices {chosen} of {whole} ({low} to {high})").format(
                chosen=slices.chosen, whole=slices.whole, low=slices.low, high=slices.high
            )
        ui.windowLabel.setText(text)

    def _onPreparing(self, stage: str, fraction: float) -> None:
        self.tiles.clear(_("Preparing the images: {stage}").format(stage=stage_text(stage)))
        if self.running:
            self._onProgress(stage, fraction)

    # the tiles

    def showFed(self, problem: str) -> None:
        """The tiles: what was graded, while the result fits what is chosen; else what would be graded."""
        if problem:
            self.tiles.clear(problem if self._parameterNode.roi is None else _("No tiles: see above."))
        elif not self._installed:
            self.tiles.clear(packages_missing())
        elif self.ahead.problem:
            self.tiles.clear(self.ahead.problem)
        elif self.ahead.cells is None:
            self.tiles.clear(_("Preparing the images; the tiles appear when this is done."))
        else:
            self._drawTiles()

    def _drawTiles(self) -> None:
        node, graded = self._parameterNode, self._graded
        shown = graded.reading.shown if graded is not None else None
        prepared = graded.reading.prepared if graded is not None else self.ahead.cells
        window = shown.window if shown else prepared.window(self._firstOrNone())
        grid_map = shown.grid_map if shown and node.mapOnTiles else None
        wanted = (prepared, window, shown, node.mapOnTiles, node.threshold, node.opacity, node.registerT2)
        if wanted == self._drawn and self.tiles.shown is not None:
            return
        self._drawn = wanted
        kind = kind_of(graded.reading.result.explanation) if graded is not None else None
        tiles = window_tiles(
            prepared,
            window,
            self._channels,
            grid_map,
            kind=kind,
            threshold=node.threshold,
            opacity=node.opacity,
        )
        cube = _(
            "{count} evenly spaced planes of the whole ROI, which the model is fed as one cube: patient's right (R) on "
            "the left, anterior up, from the lowest upwards."
        ).format(count=tiles.count)
        radiological = _(
            "As fed to the model: patient's right (R) on the left, anterior up, from the lowest slice upwards."
        )
        turned = _("As fed to the model, which was trained on slices turned against the usual view; the lowest first.")
        lines = [cube if tiles.whole else radiological if tiles.radiological else turned]
        if self._asked()["register"] and not shown:
            lines.append(_("T2 is shown before registration; grading shows it after."))
        if self._asked()["allWindows"]:
            lines.append(_("One set is shown: after grading, the one with the clearest answer."))
        self.tiles.show(tiles, "\n".join(lines))

    def _onTile(self, number: int, channel: str) -> None:
        """Show the tile's own image at its place."""
        tiles, node, scene = self.tiles.shown, self._parameterNode, slicer.mrmlScene
        if tiles is None:
            return
        if self._graded is not None and node.shownOn in (ShownOn.T1, ShownOn.T2):
            node.shownOn = ShownOn[channel]
        elif self._graded is None:
            image = node.t1Volume if channel == "T1" else node.t2Volume
            display.show_in_views(scene, image, None, 0.0)
        display.jump_to(scene, tiles.centres_ras[number])

    # grading

    def startCase(self, name: str | None) -> Any:
        return self.logic.classifyInBackground(*self._nodes(), **self._asked(), name=name, progress=self._onProgress)

    def requestHash(self, document: dict[str, Any]) -> str | None:
        return None if self._layout is None else self.logic.requestHash(*self._nodes(), **self._asked())

    def restoredCase(self, stored: CaseNodes, document: dict[str, Any]) -> Any:
        """Its tiles are made anew."""
        if self.ahead.cells is None or document.get("registration"):
            return None
        return self.logic.restored(stored, self.ahead.cells)

    def whyNoExport(self, document: dict[str, Any]) -> str:
        if self._graded is None and document.get("registration"):
            return _("The registered images are not kept in the scene; classify again to export.")
        return super().whyNoExport(document)

    def placesFor(self, stored: CaseNodes) -> dict[Any, tuple[Any, ...]]:
        own = {ShownOn[role]: (node,) for role, node in stored.images.items()}
        both = {ShownOn.BOTH: (stored.t1, stored.t2)} if len(own) > 1 else {}
        return {**own, **both, ShownOn.NOTHING: (stored.reference,)}

    def goToStrongest(self, stored: CaseNodes) -> None:
        display.jump_to(slicer.mrmlScene, display.most_attended_point(stored.attention, stored.roi))

    # sample data

    def startSample(self) -> Any:
        return phantom_in_background(slicer.mrmlScene, self.logic.python)

    def chooseSample(self, nodes: CaseNodes) -> None:
        node = self._parameterNode
        node.t1Volume, node.t2Volume, node.roi = nodes.t1, nodes.t2, nodes.roi
        display.show_in_views(slicer.mrmlScene, nodes.t1, None, 0.0)
        display.jump_to(slicer.mrmlScene, node_to_roi(nodes.roi).center_ras)


class IPMNClassifierTest(ScriptedLoadableModuleTest):
    """The self test that the application offers: a synthetic patient is graded and explained."""

    def runTest(self) -> None:
        """Run everything."""
        slicer.mrmlScene.Clear()
        self.test_phantom()

    def test_phantom(self) -> None:
        """A phantom through the logic; needs the packages to be installed."""
        nodes = add_phantom(slicer.mrmlScene)
        logic = IPMNClassifierLogic()
        try:
            graded = logic.classify(nodes.t1, nodes.t2, nodes.roi)
        finally:
            logic.close()
        self.assertIn(graded.label, graded.probabilities)
        self.assertAlmostEqual(sum(graded.probabilities.values()), 1.0, places=4)
        self.assertIsNotNone(graded.nodes.attention)
