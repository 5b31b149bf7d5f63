"""3D Slicer module: grades IPMN from a T1 and a T2 volume, or one of them, and a box around the pancreas.

Research use only, not for clinical decisions.
"""

import importlib.util
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import qt
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
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if importlib.util.find_spec("cadx") is None:
    # run from a checkout: the package lies beside the module's folder
    sys.path.append(str(Path(__file__).resolve().parents[1] / "Training"))

from cadx.errors import CadxError, CancelledError
from cadx.explain.display import ATTENTION, LOWEST_SHOWN, kind_of
from cadx.slicer import display, ipmn, placing
from cadx.slicer.dependencies import plan_installation
from cadx.slicer.guess import Guess, guess_images, odd_choices
from cadx.slicer.panel.ahead import Ahead
from cadx.slicer.panel.attention_views import AttentionViews, Showing
from cadx.slicer.panel.batch_section import BatchSection
from cadx.slicer.panel.device_section import DeviceSection
from cadx.slicer.panel.explanation_section import ExplanationSection
from cadx.slicer.panel.export_section import ExportSection
from cadx.slicer.panel.installing import ask_and_repair, ensure_installed
from cadx.slicer.panel.log_section import LogSection
from cadx.slicer.panel.model_section import ModelSection
from cadx.slicer.panel.node_watch import NodeWatch
from cadx.slicer.panel.poller import Poller
from cadx.slicer.panel.result_view import ResultView
from cadx.slicer.panel.roi_controls import RoiControls, set_quietly
from cadx.slicer.panel.run_controls import RunControls, stage_text
from cadx.slicer.panel.tile_grid import TileGrid
from cadx.slicer.results import CaseNodes, find_cases, next_case_name
from cadx.slicer.rois import node_to_roi
from cadx.slicer.sample import add_phantom, phantom_in_background
from cadx.slicer.slice_choice import SliceChoice
from cadx.slicer.tiles import window_tiles

TASK = "ipmn"
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
    import SampleData

    icon = Path(__file__).parent / "Resources" / "Icons" / "IPMNClassifier.png"
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SlicerCADx",
        sampleName="IPMNPhantom",
        # made on the spot: Slicer asks for an address, and the loader does not use it
        uris="cadx:phantom",
        fileNames="IPMNPhantom",
        nodeNames="IPMNPhantom",
        thumbnailFileName=str(icon),
        customDownloader=_downloadPhantom,
    )


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


class IPMNClassifierWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: shows what is chosen and what the logic finds, and never waits for work."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self._parameterNode: Any = None
        self._guiTag: Any = None
        self._watch = NodeWatch(self, self._updateSoon)
        self._forgetCase()
        self._guess = Guess()
        self._guessAgain = False
        self._entered = False
        self._installed = True
        self._sample: Any = None
        self._updating = False

    def setup(self) -> None:
        """Build the panel; called once."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/IPMNClassifier.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = IPMNClassifierLogic()
        self._poller = Poller()
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(10)
        self._soon.connect("timeout()", self._update)
        self._makeSections()
        self._connectControls()
        self._observeScene()
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """The panel is destroyed: nothing is left running."""
        self._soon.stop()
        self._release()
        self.removeObservers()
        self.logic.close()

    def enter(self) -> None:
        """The user opens the module."""
        self._entered = True
        self._installed = not plan_installation().missing
        self.initializeParameterNode()

    def exit(self) -> None:
        """The user opens another module; work goes on."""
        self._entered = False
        if self._parameterNode is not None:
            self.roi.leave()
        self._disconnectGui()

    def initializeParameterNode(self) -> None:
        """Take the scene's parameters, and guess the images where none are chosen."""
        self._setParameterNode(self.logic.getParameterNode())
        self._guessAgain = True
        self._updateSoon()

    @property
    def updatePending(self) -> bool:
        """Whether what is shown is about to be renewed."""
        return bool(self._soon.isActive())

    @property
    def running(self) -> bool:
        """Whether a case is being graded."""
        return bool(self.run.running)

    @property
    def preparing(self) -> bool:
        """Whether images are being prepared."""
        return bool(self.ahead.preparing)

    # what the panel is made of

    def _makeSections(self) -> None:
        ui, poller = self.ui, self._poller
        busy = [ui.inputsButton, ui.roiButton, ui.modelButton, ui.deviceButton]
        self.run = RunControls(ui.classifyButton, ui.progressBar, ui.stageLabel, poller, self._startGrading, busy)
        self.roi = RoiControls(ui, lambda: self._parameterNode.roi, lambda: self._reference(), self._chooseRoi)
        self.views = AttentionViews(slicer.mrmlScene)
        self.tiles = TileGrid(ui.tilesFrame, self._onTile)
        self.resultView = ResultView(ui.resultFrame)
        places = [_("T1"), _("T2"), _("T1 and T2 side by side"), _("nothing")]
        self.explanation = ExplanationSection(ui.explanationFrame, places, self._onPlaceOfAttention, self._onStrongest)
        self.export = ExportSection(ui.exportFrame, self._export)
        own = Path(slicer.app.slicerUserSettingsFilePath).parent / "SlicerCADx" / "Models"
        self.model = ModelSection(ui.modelFrame, TASK, own, self._onModel)
        self.device = DeviceSection(
            ui.deviceFrame, poller, self.choose_device, self.logic.reportInBackground, self._repairTorch
        )
        self.batch = BatchSection(ui.batchFrame, ("case", "t1", "t2", "roi"), poller, self._startBatch)
        self.log = LogSection(ui.logFrame)
        self.ahead = Ahead(
            self.logic,
            poller,
            progress=self._onPreparing,
            changed=self._updateSoon,
            described=self.device.describe,
            note=self.log.add,
        )

    def _connectControls(self) -> None:
        ui = self.ui
        ui.sampleButton.connect("clicked()", self._onSample)
        ui.windowSlider.connect("valueChanged(int)", self._onWindow)
        ui.centreButton.connect("clicked()", lambda: self._setFirstSlice(CENTRED))
        ui.modelButton.connect("contentsCollapsed(bool)", self._onModelShown)

    def _observeScene(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStart)
        self.addObserver(scene, scene.StartImportEvent, self._onSceneStart)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneEnd)
        self.addObserver(scene, scene.NodeAddedEvent, self._onNodesChanged)
        self.addObserver(scene, scene.NodeRemovedEvent, self._onNodesChanged)
        mouse = placing.interaction_node(scene)
        if mouse is not None:
            self.addObserver(mouse, mouse.InteractionModeChangedEvent, self._onMouseMode)

    # the parameter node

    def _setParameterNode(self, node: Any) -> None:
        self._disconnectGui()
        if self._parameterNode is not None:
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._parameterNode = node
        if node is None:
            self._watch.follow([])
            return
        self._guiTag = node.connectParametersToGui(self._boundWidgets())
        self.device.choose(node.device)
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._watchInputs()

    def _boundWidgets(self) -> dict[str, Any]:
        """Widgets by the parameter that they show: those that name one in the .ui, and those of the explanation."""
        # not connectGui: it returns no tag to disconnect by
        named = {str(w.property("SlicerParameterName") or ""): w for w in vars(self.ui).values()}
        named.pop("", None)
        explanation = self.explanation
        return {
            **named,
            "threshold": explanation.threshold,
            "opacity": explanation.opacity,
            "showLegend": explanation.legend,
            "mapOnTiles": explanation.on_tiles,
        }

    def _disconnectGui(self) -> None:
        if self._guiTag is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self._guiTag = None

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        self._watchInputs()
        self._updateSoon()

    def _watchInputs(self) -> None:
        """Follow a ROI that moves, an image that is edited, segments that come."""
        node, changed = self._parameterNode, vtk.vtkCommand.ModifiedEvent
        wanted = []
        for volume in (node.t1Volume, node.t2Volume):
            if volume is not None:
                wanted += [(volume, volume.ImageDataModifiedEvent), (volume, volume.TransformModifiedEvent)]
        if node.roi is not None:
            events = (node.roi.PointModifiedEvent, node.roi.TransformModifiedEvent, changed)
            wanted += [(node.roi, event) for event in events]
        for segmentation in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            events = (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved)
            wanted += [(segmentation, event) for event in events]
        self._watch.follow(wanted)

    # the scene

    def _onSceneStart(self, caller: Any, event: Any) -> None:
        self._release()

    def _onSceneEnd(self, caller: Any, event: Any) -> None:
        if self._entered:
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodesChanged(self, caller: Any, event: Any, node: Any = None) -> None:
        if slicer.mrmlScene.IsBatchProcessing() or self._parameterNode is None or node is None or not self._entered:
            return
        if node.IsA("vtkMRMLSegmentationNode") or node.IsA("vtkMRMLVolumeNode"):
            self._watchInputs()
            self._guessAgain = True
            self._updateSoon()

    def _release(self) -> None:
        """Let go of the scene: end work, forget the case."""
        if self._poller.busy:
            # an idle worker stays: it has its model loaded
            self.logic.end()
            self.ahead.worker_ended()
        self._poller.forget()
        self.run.drop()
        self.batch.drop()
        if self._sample is not None:
            self._sample.cancel()
            self._endSample()
        self._setParameterNode(None)
        self.views.forget()
        self.ahead.forget()
        self._forgetCase()

    def _forgetCase(self) -> None:
        self._layout: Any = None
        self._channels: tuple[str, ...] = ROLES
        self._drawn: Any = None
        self._graded: Any = None
        self._imagesBefore: Any = None

    # showing

    def _updateSoon(self, caller: Any = None, event: Any = None) -> None:
        """Many changes at once become one update."""
        if not self._soon.isActive():
            self._soon.start()

    def _update(self) -> None:
        if self._parameterNode is None or self._updating or not self._entered:
            return
        self._updating = True
        try:
            if self._guessAgain:
                self._guessImages()
            self._channels = self._channelsOfModel()
            self._nameCase()
            problem = self._findLayout()
            self._prepare(problem)
            self._showInputs()
            self._showRoi(problem)
            self._showWindow()
            self._showResult()
            self._showTiles(problem)
            self.run.allow(problem, _("Grade this case; Slicer stays free meanwhile."))
        finally:
            self._updating = False

    def _findLayout(self) -> str:
        """Which slices the ROI holds; returns what stands against it, in one sentence."""
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
            self._layout = self.logic.layout(*self._nodes(), **self._with(), pad=node.padSlices)
        except CadxError as error:
            return str(error)
        return ""

    def _showInputs(self) -> None:
        """How the images were chosen, and what is odd about them."""
        node, guessed = self._parameterNode, self._guess
        parts = []
        for role, chosen, guess in (("T1", node.t1Volume, guessed.t1), ("T2", node.t2Volume, guessed.t2)):
            if chosen is not None and chosen is guess:
                parts.append(_("{role} by {reason}").format(role=role, reason=guessed.reasons.get(role, _("its name"))))
        said = [_("Guessed: {parts}.").format(parts=", ".join(parts))] if parts else []
        said += [_("This model does not use {role}.").format(role=role) for role in ROLES if role not in self._channels]
        _showLine(self.ui.guessLabel, " ".join(said))
        self.ui.t1Selector.setEnabled("T1" in self._channels)
        self.ui.t2Selector.setEnabled("T2" in self._channels)
        self.ui.registerCheckBox.setEnabled(len(self._channels) > 1)
        self.batch.show_columns(("case", *(channel.lower() for channel in self._channels), "roi"))
        lines = [
            _("{name} is chosen as {role} and looks like {other} by {reason}; check it.").format(
                name=odd.name, role=odd.role, other=odd.looks_like, reason=odd.reason
            )
            for odd in odd_choices(*self._nodes()[:2])
        ]
        if self._layout is not None:
            notices = self.logic.noticesAhead(*self._nodes(), self.ahead.cells or self._layout, **self._with())
            lines += [notice.text for notice in notices]
        _showLine(self.ui.warningsLabel, "\n".join(lines))

    def _showRoi(self, problem: str) -> None:
        self.roi.update(self._layout, self._channels[0])
        placed = placing.is_placed(self._parameterNode.roi)
        _showLine(self.ui.roiProblemLabel, problem if placed and self._layout is None else "")

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
        count = self.logic.slicesInWindow(**self._with())
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

    def _showTiles(self, problem: str) -> None:
        if problem:
            self.tiles.clear(problem if self._parameterNode.roi is None else _("No tiles: see above."))
        elif not self._installed:
            self.tiles.clear(_("Packages are missing; press Classify to see which, and to install them."))
        elif self.ahead.problem:
            self.tiles.clear(self.ahead.problem)
        elif self.ahead.cells is None:
            self.tiles.clear(_("Preparing the images; the tiles appear when this is done."))
        else:
            self._drawTiles()

    def _drawTiles(self) -> None:
        """What was graded, while the result fits what is chosen; else what would be graded."""
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

    def _showResult(self) -> None:
        stored = self._storedCase()
        if stored is None:
            self._showNoResult()
            return
        document = stored.result()
        stale = self._isStale(document)
        if stale:
            self._graded = None
            self.run.outdated()
        elif self._graded is None or self._graded.nodes.text is not stored.text:
            self._graded = self._restore(stored, document)
        names = [node.GetName() for node in (*stored.images.values(), stored.roi)]
        title = _("{case}: {names}").format(case=stored.case, names=", ".join(names))
        self.resultView.show(document, title, stale)
        self._showExplanation(stored, stale)
        self.export.allow(self._whyNoExport(document, stale))

    def _showNoResult(self) -> None:
        self._graded = None
        others = bool(find_cases(slicer.mrmlScene))
        self.resultView.clear(_("No result for these images and this ROI yet.") if others else _("No result yet."))
        self.explanation.set_enabled(False, _("There is no map to show yet."))
        self.export.allow(_("There is no result to export yet."))
        self.views.clear(self._reference())

    def _whyNoExport(self, document: dict[str, Any], stale: bool) -> str:
        if stale:
            return _("The result is outdated; classify again to export.")
        if self._graded is None and document.get("registration"):
            return _("The registered images are not kept in the scene; classify again to export.")
        return "" if self._graded is not None else _("The images are being prepared for the pictures.")

    def _showExplanation(self, stored: CaseNodes, stale: bool) -> None:
        attention, node = stored.attention, self._parameterNode
        said = str((stored.result().get("explanation") or {}).get("text", ""))
        reason = _("The result is outdated.") if stale else said or _("There is no map to show.")
        self.explanation.show_kind(kind_of(stored.result().get("explanation")) or ATTENTION)
        self.explanation.set_enabled(attention is not None and not stale, reason)
        place = node.shownOn if node.shownOn in self._places(stored) else self._places(stored)[0]
        set_quietly(self.explanation.place.setCurrentIndex, self.explanation.place, place.value)
        if attention is not None and not stale:
            shown = attention.GetDisplayNode()
            self.explanation.show_scale((shown.GetWindowLevelMin(), shown.GetWindowLevelMax()), node.threshold)
        self.views.show(self._showing(stored, stale))

    def _storedCase(self) -> Any:
        """The result of the nodes that are chosen; the one of the chosen name where there are several."""
        chosen = self._nodes()
        if chosen[2] is None or self._reference() is None:
            return None
        found = [case for case in find_cases(slicer.mrmlScene) if (case.t1, case.t2, case.roi) == chosen]
        named = [case for case in found if case.case == self._parameterNode.caseName.strip()]
        return (named or found or [None])[-1]

    def _restore(self, stored: CaseNodes, document: dict[str, Any]) -> Any:
        """A result from a scene that was loaded: its tiles are made anew."""
        if self.ahead.cells is None or document.get("registration"):
            return None
        return self.logic.restored(stored, self.ahead.cells)

    def _isStale(self, document: dict[str, Any]) -> bool:
        """Whether something was changed since; not before the packages are there that can tell."""
        if self._layout is None:
            return self._installed
        return document.get("request_sha256") != self.logic.requestHash(*self._nodes(), **self._asked())

    # what is asked of the logic

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
        t1, t2, _roi = self._nodes()
        return t1 if t1 is not None else t2

    def _channelsOfModel(self) -> tuple[str, ...]:
        """Both images as long as no bundle can be read; what is wrong with it is said elsewhere."""
        node = self._parameterNode
        needed = node.bundle or node.t1Volume is not None or node.t2Volume is not None
        if not self._installed or not needed:
            # reading a bundle loads packages that an empty panel does without
            return ROLES
        try:
            return tuple(self.logic.channels(**self._with()))
        except CadxError:
            return ROLES

    def _with(self) -> dict[str, Any]:
        node = self._parameterNode
        return {"bundle": node.bundle or None, "device": node.device}

    def _asked(self) -> dict[str, Any]:
        """What is chosen, as far as the model has a use for it."""
        node = self._parameterNode
        whole = self._layout is not None and self._layout.whole
        return {
            **self._with(),
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
        last = len(self._layout.slices) - self.logic.slicesInWindow(**self._with())
        return first if first <= last else None

    # getting ready, by itself

    def _prepare(self, problem: str) -> None:
        if problem or not self._installed:
            self.ahead.none()
        else:
            self.ahead.update(self._nodes(), self._with(), self._parameterNode.padSlices)

    def _onPreparing(self, stage: str, fraction: float) -> None:
        self.tiles.clear(_("Preparing the images: {stage}").format(stage=stage_text(stage)))
        if self.running:
            self._onProgress(stage, fraction)

    # grading

    def _startGrading(self) -> None:
        self._install()
        name = self._parameterNode.caseName.strip() or None
        pending = self.logic.classifyInBackground(*self._nodes(), **self._asked(), name=name, progress=self._onProgress)
        self.run.run(pending, self._onGraded, self._onFailed)

    def _install(self) -> None:
        if not self._installed:
            ensure_installed()
            self._installed = True

    def _onProgress(self, stage: str, fraction: float) -> None:
        self.run.progress(stage, fraction)

    def _onGraded(self, graded: Any) -> None:
        self._graded = graded
        self.log.add(f"{graded.nodes.case}\n{graded.reading.result.summary()}")
        self.ahead.load(self._with())
        self.views.renew(self._showing(graded.nodes, stale=False))
        self._onStrongest()
        self._updateSoon()

    def _onFailed(self, error: CadxError) -> None:
        self.ahead.worker_ended()
        self.log.add(str(error))
        if not isinstance(error, CancelledError):
            self.log.add(self.logic.log())
        self._updateSoon()

    # the map in the views

    def _onPlaceOfAttention(self, index: int) -> None:
        self._parameterNode.shownOn = ShownOn(index)

    def _onStrongest(self) -> None:
        stored = self._storedCase()
        if stored is not None:
            display.jump_to(slicer.mrmlScene, display.most_attended_point(stored.attention, stored.roi))

    def _showing(self, stored: CaseNodes, stale: bool) -> Showing:
        node = self._parameterNode
        images = {ShownOn.BOTH: (stored.t1, stored.t2), ShownOn.T1: (stored.t1,), ShownOn.T2: (stored.t2,)}
        hidden = stale or node.shownOn == ShownOn.NOTHING
        possible = node.shownOn in self._places(stored) and not hidden
        return Showing(
            images=images[node.shownOn] if possible else (stored.reference,),
            attention=None if hidden else stored.attention,
            threshold=node.threshold,
            opacity=node.opacity,
            legend=node.showLegend,
        )

    def _places(self, stored: CaseNodes) -> list[ShownOn]:
        """Where a case's map can be shown."""
        own = [ShownOn[role] for role in stored.images]
        return [*own, ShownOn.BOTH, ShownOn.NOTHING] if len(own) > 1 else [*own, ShownOn.NOTHING]

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

    # inputs and ROI

    def _guessImages(self) -> None:
        """Choose what is not chosen yet; a node that was just added had no image when that was announced."""
        self._guessAgain = False
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

    def _nameCase(self) -> None:
        """A name belongs to its images: other images begin without one."""
        node, images = self._parameterNode, self._nodes()
        if self._imagesBefore is not None and images[:2] != self._imagesBefore[:2]:
            stored = self._storedCase()
            node.caseName = stored.case if stored is not None else ""
        self._imagesBefore = images
        name = next_case_name(CaseNodes(*images)) if self._reference() is not None else "case 1"
        self.ui.caseEdit.setPlaceholderText(_("{name} (no patient name)").format(name=name))

    def _onSample(self) -> None:
        self.ui.sampleButton.setEnabled(False)
        self.run.say(_("Making a synthetic patient..."))
        self._sample = phantom_in_background(slicer.mrmlScene, self.logic.python)
        self._poller.add(self._sample, self._onSampleMade, self._onSampleFailed)

    def _endSample(self) -> None:
        self._sample = None
        self.ui.sampleButton.setEnabled(True)

    def _onSampleMade(self, nodes: CaseNodes) -> None:
        self._endSample()
        self.run.say("")
        node = self._parameterNode
        node.t1Volume, node.t2Volume, node.roi = nodes.t1, nodes.t2, nodes.roi
        display.show_in_views(slicer.mrmlScene, nodes.t1, None, 0.0)
        display.jump_to(slicer.mrmlScene, node_to_roi(nodes.roi).center_ras)

    def _onSampleFailed(self, error: CadxError) -> None:
        self._endSample()
        self.run.say(str(error), problem=True)

    def _onMouseMode(self, caller: Any, event: Any) -> None:
        if self._parameterNode is not None:
            self.roi.mouse_mode_changed()
            self._updateSoon()

    def _chooseRoi(self, roi: Any) -> None:
        self._parameterNode.roi = roi

    def _onWindow(self, first: int) -> None:
        if not self._updating:
            self._setFirstSlice(first)

    def _setFirstSlice(self, first: int) -> None:
        if self._parameterNode is not None:
            self._parameterNode.firstSlice = first

    # export, model, device, batch

    def _export(self, folder: Path, formats: list[str]) -> list[Path]:
        return self.logic.export(self._graded, folder, formats)

    def _onModelShown(self, collapsed: bool) -> None:
        if not collapsed and self._installed and self._parameterNode is not None:
            self.model.fill(Path(self._parameterNode.bundle) if self._parameterNode.bundle else None)

    def _onModel(self, folder: Path) -> None:
        self._parameterNode.bundle = str(folder)
        self.log.add(_("Model: {name}").format(name=folder.name))

    def choose_device(self, device: str) -> None:
        """As a user's choice: auto, cpu, cuda or mps."""
        self._parameterNode.device = device
        self.device.describe(None)
        if self.ahead.cells is not None:
            self.ahead.load(self._with())

    def _repairTorch(self) -> None:
        self.logic.end()
        self.ahead.worker_ended()
        ask_and_repair()

    def _startBatch(self, cases: Path, folder: Path, resume: bool, progress: Any) -> Any:
        self._install()
        return self.logic.classifyBatchInBackground(cases, folder, **self._with(), resume=resume, progress=progress)


def _showLine(label: Any, text: str) -> None:
    """Text that is there only when it says something."""
    label.setText(text)
    label.setVisible(bool(text))


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
