"""3D Slicer module: grades IPMN from a T1 volume, a T2 volume and a box around the pancreas.

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
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLTextNode
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

from cadx.errors import CadxError, CancelledError, InputError
from cadx.explain.display import LOWEST_SHOWN, display_range
from cadx.slicer import display, ipmn, placing
from cadx.slicer.dependencies import plan_installation
from cadx.slicer.fitting import FitSource, fit_roi, fit_sources
from cadx.slicer.guess import Guess, guess_images
from cadx.slicer.panel.batch_section import BatchSection
from cadx.slicer.panel.device_section import DeviceSection
from cadx.slicer.panel.explanation_section import ExplanationSection
from cadx.slicer.panel.export_section import ExportSection
from cadx.slicer.panel.installing import ask_and_repair, ensure_installed
from cadx.slicer.panel.log_section import LogSection
from cadx.slicer.panel.model_section import ModelSection
from cadx.slicer.panel.poller import Poller
from cadx.slicer.panel.result_view import ResultView
from cadx.slicer.panel.tile_grid import TileGrid
from cadx.slicer.results import CaseNodes, find_cases
from cadx.slicer.sample import add_phantom, phantom_in_background
from cadx.slicer.tiles import height_text, window_tiles

TASK = "ipmn"
CHANNELS = ("T1", "T2")
SLICES_ALONG_EDGE = 3
CENTRED = -1


class IPMNClassifier(ScriptedLoadableModule):
    """The module's description for the application."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("IPMN Classifier")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Machine Learning")]
        self.parent.dependencies = []
        self.parent.contributors = ["SlicerCADx developers"]
        self.parent.helpText = _(
            "Grades intraductal papillary mucinous neoplasm (IPMN) of the pancreas from a T1 and a T2 MR volume and a "
            "box around the pancreas, and shows what the model attended to. "
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
        sampleDescription=_("Synthetic T1 and T2 with a cyst of the pancreas and a ROI"),
        thumbnailFileName=str(icon),
        customDownloader=lambda source=None: list(_images(add_phantom(slicer.mrmlScene))),
    )


class ShownOn(Enum):
    """Which image attention is laid over in the slice views; serialised by name."""

    T1 = 0
    T2 = 1
    BOTH = 2
    NOTHING = 3


@parameterNodeWrapper
class IPMNClassifierParameterNode:
    """What is chosen; saved with the scene.

    ``firstSlice`` counts the ROI's slices from the lowest (0), -1 is the window in its middle; ``threshold`` is a part
    of the colour scale, ``opacity`` that of the overlay; ``bundle`` is the folder of a model, empty for the one that
    ships; ``result`` ties a case's result to its images.
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
    result: vtkMRMLTextNode


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
        self.logic: IPMNClassifierLogic | None = None
        self._parameterNode: IPMNClassifierParameterNode | None = None
        self._guiTags: list[Any] = []
        self._observed: list[tuple[Any, Any]] = []
        self._forgetCase()
        self._running: Any = None
        self._batch: Any = None
        self._guess = Guess()
        self._guessAgain = False
        self._fitSources: list[FitSource] = []
        self._entered = False
        self._installed = True
        self._loaded: tuple[str, str] | None = None
        self._layoutBefore: int | None = None
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
        self._poller.forget()
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
        placing.stop_placing(slicer.mrmlScene)
        self._disconnectGui()

    def initializeParameterNode(self) -> None:
        """Take the scene's parameters, and guess the images where none are chosen."""
        self._setParameterNode(self.logic.getParameterNode())
        self._guessAgain = True
        self._updateSoon()

    @property
    def updatePending(self) -> bool:
        """Whether what is shown is about to be renewed."""
        return bool(self._soon.active)

    @property
    def running(self) -> bool:
        """Whether a case is being graded."""
        return self._running is not None

    @property
    def preparing(self) -> bool:
        """Whether images are being prepared."""
        return self._preparing is not None

    # what the panel is made of

    def _makeSections(self) -> None:
        ui = self.ui
        self.tiles = TileGrid(ui.tilesFrame, CHANNELS, SLICES_ALONG_EDGE, self._onTile)
        self.resultView = ResultView(ui.resultFrame)
        places = [_("T1"), _("T2"), _("T1 and T2 side by side"), _("nothing")]
        self.explanation = ExplanationSection(ui.explanationFrame, places, self._onPlaceOfAttention)
        self.export = ExportSection(ui.exportFrame, self._onExport)
        own = Path(slicer.app.slicerUserSettingsFilePath).parent / "SlicerCADx" / "Models"
        self.model = ModelSection(ui.modelFrame, TASK, own, self._onModel)
        self.device = DeviceSection(ui.deviceFrame, self._onDevice, self._onReport, self._onRepair)
        self.batch = BatchSection(ui.batchFrame, "case, t1, t2, roi", self._onBatch, self._cancelBatch)
        self.log = LogSection(ui.logFrame)

    def _connectControls(self) -> None:
        ui = self.ui
        ui.classifyButton.connect("clicked()", self.onClassify)
        ui.sampleButton.connect("clicked()", self._onSample)
        ui.placeButton.connect("clicked()", self._onPlace)
        ui.showRoiButton.connect("clicked()", self._onShowRoi)
        ui.fitButton.connect("clicked()", self._onFit)
        ui.windowSlider.connect("valueChanged(int)", self._onWindow)
        ui.centreButton.connect("clicked()", lambda: self._setFirstSlice(CENTRED))
        ui.modelButton.connect("contentsCollapsed(bool)", self._onModelShown)

    def _observeScene(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneEnd)
        self.addObserver(scene, scene.NodeAddedEvent, self._onNodesChanged)
        self.addObserver(scene, scene.NodeRemovedEvent, self._onNodesChanged)
        mouse = placing.interaction_node(scene)
        if mouse is not None:
            self.addObserver(mouse, mouse.InteractionModeChangedEvent, self._updateSoon)

    # the parameter node

    def _setParameterNode(self, node: IPMNClassifierParameterNode | None) -> None:
        self._disconnectGui()
        if self._parameterNode is not None:
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._parameterNode = node
        if node is None:
            return
        explanation = self.explanation
        self._guiTags = [
            node.connectGui(self.ui),
            node.connectParametersToGui(
                {
                    "threshold": explanation.threshold,
                    "opacity": explanation.opacity,
                    "showLegend": explanation.legend,
                    "mapOnTiles": explanation.on_tiles,
                }
            ),
        ]
        self.device.choose(node.device)
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._observeInputs()

    def _disconnectGui(self) -> None:
        for tag in self._guiTags:
            self._parameterNode.disconnectGui(tag)
        self._guiTags = []

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        self._observeInputs()
        self._updateSoon()

    def _observeInputs(self) -> None:
        """Follow the nodes that are chosen now: a ROI that moves, an image that is edited, segments that come."""
        wanted = []
        node = self._parameterNode
        for volume in (node.t1Volume, node.t2Volume):
            if volume is not None:
                wanted += [(volume, volume.ImageDataModifiedEvent), (volume, volume.TransformModifiedEvent)]
        if node.roi is not None:
            wanted += [(node.roi, event) for event in (node.roi.PointModifiedEvent, vtk.vtkCommand.ModifiedEvent)]
            wanted.append((node.roi, node.roi.TransformModifiedEvent))
        for segmentation in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            events = (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved)
            wanted += [(segmentation, event) for event in events]
        for observed, event in self._observed:
            if (observed, event) not in wanted:
                self._stopObserving(observed, event)
        for observed, event in wanted:
            if not self.hasObserver(observed, event, self._updateSoon):
                self.addObserver(observed, event, self._updateSoon)
        self._observed = wanted

    def _stopObserving(self, observed: Any, event: Any) -> None:
        # a node that is gone has taken its observers along
        if self.hasObserver(observed, event, self._updateSoon):
            self.removeObserver(observed, event, self._updateSoon)

    # the scene

    def _onSceneStartClose(self, caller: Any, event: Any) -> None:
        self._release()

    def _onSceneEnd(self, caller: Any, event: Any) -> None:
        if self._entered:
            self._forgetCase()
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodesChanged(self, caller: Any, event: Any, node: Any = None) -> None:
        if slicer.mrmlScene.IsBatchProcessing() or self._parameterNode is None:
            return
        if node is not None and (node.IsA("vtkMRMLSegmentationNode") or node.IsA("vtkMRMLVolumeNode")):
            self._observeInputs()
            self._guessAgain = True
            self._updateSoon()

    def _release(self) -> None:
        """Let go of the scene: end work, forget the case."""
        if self._poller.busy:
            # an idle worker stays: it has its model loaded
            self.logic.end()
            self._loaded = None
        self._poller.forget()
        self._running = None
        self._setRunning(False)
        if self._batch is not None:
            self._batch.cancel()
            self._batch = None
            self.batch.set_running(False)
        for observed, event in self._observed:
            self._stopObserving(observed, event)
        self._observed = []
        self._setParameterNode(None)
        self._forgetCase()
        self._say("")

    def _forgetCase(self) -> None:
        self._layout: Any = None
        self._prepared: Any = None
        self._preparing: Any = None
        self._failed: tuple[Any, str] | None = None
        self._graded: Any = None
        self._viewed: tuple[Any, ...] | None = None

    # showing

    def _updateSoon(self, caller: Any = None, event: Any = None) -> None:
        """Many changes at once become one update."""
        if not self._soon.active:
            self._soon.start()

    def _update(self) -> None:
        if self._parameterNode is None or self._updating:
            return
        self._updating = True
        try:
            if self._guessAgain:
                self._guessImages()
            self._showInputs()
            problem = self._findLayout()
            self._showRoi(problem)
            self._showWindow()
            self._prepare(problem)
            self._showResult()
            self._showTiles(problem)
            self._showButton(problem)
        finally:
            self._updating = False

    def _findLayout(self) -> str:
        """Which slices the ROI holds; returns what stands against it, in one sentence."""
        node = self._parameterNode
        self._layout = None
        if node.t1Volume is None:
            return _("Choose a T1 volume.")
        if node.t2Volume is None:
            return _("Choose a T2 volume.")
        if node.t1Volume is node.t2Volume:
            return _("T1 and T2 are the same volume; choose the other one.")
        if node.roi is None or not placing.is_placed(node.roi):
            return _("Place a ROI around the pancreas.")
        if not self._installed:
            return ""
        try:
            self._layout = self.logic.layout(*self._nodes(), **self._with(), pad=node.padSlices)
        except CadxError as error:
            return str(error)
        return ""

    def _showInputs(self) -> None:
        node = self._parameterNode
        guessed = self._guess
        parts = []
        for role, chosen, guess in (("T1", node.t1Volume, guessed.t1), ("T2", node.t2Volume, guessed.t2)):
            if chosen is not None and chosen is guess:
                parts.append(_("{role} by {reason}").format(role=role, reason=guessed.reasons.get(role, _("its name"))))
        self.ui.guessLabel.setText(_("Guessed: {parts}.").format(parts=", ".join(parts)) if parts else "")
        self.ui.guessLabel.setVisible(bool(parts))

    def _showRoi(self, problem: str) -> None:
        ui, roi = self.ui, self._parameterNode.roi
        placed = placing.is_placed(roi)
        if placed:
            size = " x ".join(f"{edge:.0f}" for edge in self._roiSize(roi))
            ui.sizeLabel.setText(_("Size: {size} mm").format(size=size))
        else:
            ui.sizeLabel.setText(_("Not placed yet.") if roi is not None else _("No ROI yet: place one, or fit one."))
        _setChecked(ui.placeButton, placing.is_placing(slicer.mrmlScene, roi))
        ui.showRoiButton.setEnabled(roi is not None)
        _setChecked(ui.showRoiButton, roi is not None and bool(roi.GetDisplayVisibility()))
        self._listFitSources()
        shown = problem if placed and self._parameterNode.t1Volume is not None else ""
        ui.roiProblemLabel.setText(shown)
        ui.roiProblemLabel.setStyleSheet("color: #b35900;")
        ui.roiProblemLabel.setVisible(bool(shown))

    def _roiSize(self, roi: Any) -> Any:
        return ipmn.node_to_roi(roi).size_mm

    def _listFitSources(self) -> None:
        sources = fit_sources(slicer.mrmlScene)
        if [source.label for source in sources] != [source.label for source in self._fitSources]:
            self.ui.fitSelector.clear()
            self.ui.fitSelector.addItems([source.label for source in sources])
            if sources:
                self.ui.fitSelector.setCurrentIndex(0)
        self._fitSources = sources
        self.ui.fitSelector.setEnabled(bool(sources))
        self.ui.fitButton.setEnabled(bool(sources))
        self.ui.fitButton.setToolTip(
            _("Put the ROI around the segment with 10 mm to spare.")
            if sources
            else _("There is no segment or mask in the scene to fit to.")
        )

    def _showWindow(self) -> None:
        ui, node, layout = self.ui, self._parameterNode, self._layout
        count = SLICES_ALONG_EDGE**2
        last = 0 if layout is None else len(layout.slices) - count
        movable = last > 0 and not node.allWindows
        ui.windowSlider.setEnabled(movable)
        ui.centreButton.setEnabled(movable and node.firstSlice != CENTRED)
        if layout is None:
            ui.windowLabel.setText("")
            return
        first = self._first(last)
        _setRange(ui.windowSlider, max(0, last), first)
        numbers = [int(number) + 1 for number in layout.slices]
        whole = f"{numbers[0]}-{numbers[-1]}"
        if node.allWindows:
            text = _("all {count} windows of slices {whole}").format(count=max(1, last + 1), whole=whole)
        else:
            upper = min(first + count, len(numbers)) - 1
            text = _("slices {first}-{last} of {whole} ({low} to {high})").format(
                first=numbers[first],
                last=numbers[upper],
                whole=whole,
                low=height_text(float(layout.positions_mm[first])),
                high=height_text(float(layout.positions_mm[upper])),
            )
        ui.windowLabel.setText(text)

    def _showTiles(self, problem: str) -> None:
        if problem:
            self.tiles.clear(problem)
        elif not self._installed:
            self.tiles.clear(_("Packages are missing; press Classify to see which, and to install them."))
        elif self._failed is not None and self._failed[0] == self._imagesKey():
            self.tiles.clear(self._failed[1])
        elif self._prepared is None:
            self.tiles.clear(_("Preparing the images; the tiles appear when this is done."))
        else:
            self._drawTiles()

    def _drawTiles(self) -> None:
        node, graded = self._parameterNode, self._graded
        current = graded is not None and not self._isStale(graded.toJson())
        shown = graded.reading.shown if current else None
        window = shown.window if shown else self._prepared.window(self._firstOrNone())
        grid_map = shown.grid_map if shown and node.mapOnTiles else None
        tiles = window_tiles(self._prepared, window, grid_map, threshold=node.threshold, opacity=node.opacity)
        self.tiles.show(tiles, _("As fed to the model: patient's right on the left, anterior up, numbered upwards."))

    def _showButton(self, problem: str) -> None:
        if self._running is not None:
            return
        button = self.ui.classifyButton
        button.setEnabled(not problem)
        button.setToolTip(problem or _("Grade this case; Slicer stays free meanwhile."))

    def _showResult(self) -> None:
        nodes = self._resultNodes()
        if nodes is None:
            self._graded = None
            self.resultView.clear(_("No result yet."))
            self.explanation.set_enabled(False, _("There is no attention to show yet."))
            self.export.set_enabled(False, _("There is no result to export yet."))
            return
        document = nodes.result()
        stale = self._isStale(document)
        if self._graded is None or self._graded.nodes.text is not nodes.text:
            self._graded = self._restore(nodes, stale)
        hint = _("Inputs, ROI or settings were changed since; classify again to renew this result.")
        self.resultView.show(document, hint if stale else "")
        self._showExplanation(nodes)
        ready = self._graded is not None
        self.export.set_enabled(
            ready,
            _("Write what is ticked into the folder.")
            if ready
            else _("The images are being prepared for the pictures."),
        )

    def _showExplanation(self, nodes: CaseNodes) -> None:
        attention, node = nodes.attention, self._parameterNode
        self.explanation.set_enabled(attention is not None, _("This model has no attention to show."))
        _setIndex(self.explanation.place, node.shownOn.value)
        if attention is not None:
            scale = (attention.GetDisplayNode().GetWindowLevelMin(), attention.GetDisplayNode().GetWindowLevelMax())
            self.explanation.show_scale(scale, drawn_from=node.threshold)
        # a scene that was loaded shows its views as they were saved
        if self._viewed is None:
            self._viewed = self._viewSettings()
        if self._viewed != self._viewSettings():
            self._showInViews()

    def _resultNodes(self) -> CaseNodes | None:
        text = self._parameterNode.result
        found = (nodes for nodes in find_cases(slicer.mrmlScene) if nodes.text is text)
        return next(found, None) if text is not None else None

    def _restore(self, nodes: CaseNodes, stale: bool) -> Any:
        """A result from a scene that was loaded: its tiles are made anew."""
        if stale or self._prepared is None:
            return None
        return self.logic.restored(nodes, self._prepared)

    def _isStale(self, document: dict[str, Any]) -> bool:
        """Whether something was changed since; not before the packages are there that can tell."""
        if self._layout is None:
            return self._installed
        return document.get("request_sha256") != self.logic.requestHash(*self._nodes(), **self._asked())

    # what is asked of the logic

    def _nodes(self) -> tuple[Any, Any, Any]:
        node = self._parameterNode
        return node.t1Volume, node.t2Volume, node.roi

    def _with(self) -> dict[str, Any]:
        node = self._parameterNode
        return {"bundle": node.bundle or None, "device": node.device}

    def _asked(self) -> dict[str, Any]:
        node = self._parameterNode
        return {
            **self._with(),
            "firstSlice": None if node.allWindows else self._firstOrNone(),
            "allWindows": node.allWindows,
            "register": node.registerT2,
            "pad": node.padSlices,
        }

    def _firstOrNone(self) -> int | None:
        last = 0 if self._layout is None else len(self._layout.slices) - SLICES_ALONG_EDGE**2
        first = self._parameterNode.firstSlice
        return None if first == CENTRED or first > last else first

    def _first(self, last: int) -> int:
        chosen = self._firstOrNone()
        count = SLICES_ALONG_EDGE**2
        return max(0, (last + count) // 2 - count // 2) if chosen is None else chosen

    def _imagesKey(self) -> Any:
        node = self._parameterNode
        return self.logic.imagesHash(*self._nodes()), node.bundle

    # preparation, by itself

    def _prepare(self, problem: str) -> None:
        """Take the cells of the ROI as it stands, or start making what they need."""
        self._prepared = None
        if problem or not self._installed:
            return
        try:
            self._prepared = self.logic.prepared(*self._nodes(), **self._with(), pad=self._parameterNode.padSlices)
            failed = self._failed is not None and self._failed[0] == self._imagesKey()
            if self._prepared is None and self._preparing is None and not failed:
                self._startPreparing()
        except CadxError as error:
            self._failed = (self._imagesKey(), str(error))

    def _startPreparing(self) -> None:
        key = self._imagesKey()
        job = self.logic.prepareInBackground(*self._nodes(), **self._with(), progress=self._onPreparing)
        self._preparing = key
        self._poller.add(job, self._onPrepared, lambda error: self._onPreparationFailed(key, error))

    def _onPreparing(self, stage: str, fraction: float) -> None:
        self.tiles.clear(_("Preparing the images: {stage}").format(stage=_stageText(stage)))
        if self._running is not None:
            self._onProgress(stage, fraction)

    def _onPrepared(self, answer: Any) -> None:
        self._preparing = None
        self._loadModel()
        self._updateSoon()

    def _onPreparationFailed(self, key: Any, error: CadxError) -> None:
        self._preparing = None
        if not isinstance(error, CancelledError):
            self._failed = (key, str(error))
            self._note(str(error))
        self._updateSoon()

    def _loadModel(self) -> None:
        """Ahead of the first Classify, so that it answers at once; names the device too."""
        node = self._parameterNode
        wanted = (node.bundle, node.device)
        if self._loaded == wanted:
            return
        self._loaded = wanted
        self._poller.add(self.logic.describeInBackground(**self._with()), self.device.describe, self._onLoadFailed)

    def _onLoadFailed(self, error: CadxError) -> None:
        self._loaded = None
        if not isinstance(error, CancelledError):
            self._note(str(error))

    # grading

    def onClassify(self) -> None:
        """Start grading; while it runs, cancel it."""
        if self._running is not None:
            self._running.cancel()
            return
        try:
            self._install()
            name = self._parameterNode.caseName.strip() or None
            pending = self.logic.classifyInBackground(
                *self._nodes(), **self._asked(), name=name, progress=self._onProgress
            )
        except CadxError as error:
            self._say(str(error), problem=True)
            return
        self._running = pending
        self._setRunning(True)
        self._poller.add(pending, self._onGraded, self._onFailed)

    def _install(self) -> None:
        if not self._installed:
            ensure_installed()
            self._installed = True

    def _onProgress(self, stage: str, fraction: float) -> None:
        self._say(_stageText(stage))
        self.ui.progressBar.setValue(round(1000 * _overall(stage, fraction)))

    def _onGraded(self, graded: Any) -> None:
        self._endRun()
        self._graded = graded
        self._parameterNode.result = graded.nodes.text
        self._note(graded.reading.result.summary())
        self._say(_("Done."))
        self._loadModel()
        self._showInViews(jump=True)
        self._updateSoon()

    def _onFailed(self, error: CadxError) -> None:
        self._endRun()
        self._loaded = None
        cancelled = isinstance(error, CancelledError)
        text = _("Cancelled; the scene is as it was.") if cancelled else str(error)
        self._say(text, problem=not cancelled)
        self._note(text)
        if not cancelled:
            self.log.add(self.logic.log())
        self._updateSoon()

    def _endRun(self) -> None:
        self._running = None
        self._setRunning(False)

    def _setRunning(self, running: bool) -> None:
        ui = self.ui
        ui.classifyButton.setText(_("Cancel") if running else _("Classify"))
        if running:
            ui.classifyButton.setToolTip(_("End the work; the scene stays as it is."))
            self._say(_("Starting"))
        ui.classifyButton.setEnabled(True)
        ui.progressBar.setValue(0)
        ui.progressBar.setVisible(running)
        for widget in (ui.inputsButton, ui.roiButton, ui.modelButton, ui.deviceButton):
            widget.setEnabled(not running)

    # attention in the views

    def _onPlaceOfAttention(self, index: int) -> None:
        self._parameterNode.shownOn = ShownOn(index)

    def _viewSettings(self) -> tuple[Any, ...]:
        node = self._parameterNode
        return node.shownOn, node.threshold, node.opacity, node.showLegend

    def _showInViews(self, jump: bool = False) -> None:
        nodes, node, scene = self._resultNodes(), self._parameterNode, slicer.mrmlScene
        self._viewed = self._viewSettings()
        if nodes is None or nodes.t1 is None:
            return
        attention = nodes.attention
        if attention is not None:
            low, high = display_range(slicer.util.arrayFromVolume(attention))
            display.set_threshold(attention, low + node.threshold * (high - low))
            display.set_legend_visible(attention, node.showLegend and node.shownOn != ShownOn.NOTHING)
        overlay = None if node.shownOn == ShownOn.NOTHING else attention
        self._setLayout(node.shownOn == ShownOn.BOTH)
        if node.shownOn == ShownOn.BOTH:
            display.show_side_by_side(scene, nodes.t1, nodes.t2, overlay, node.opacity)
        else:
            image = nodes.t2 if node.shownOn == ShownOn.T2 else nodes.t1
            display.show_in_views(scene, image, overlay, node.opacity)
        if jump:
            display.jump_to(scene, display.most_attended_point(attention, nodes.roi))

    def _setLayout(self, side_by_side: bool) -> None:
        """The layout for two images, or back to the user's own."""
        scene = slicer.mrmlScene
        if side_by_side and self._layoutBefore is None:
            self._layoutBefore = display.current_layout(scene)
            display.set_layout(scene, display.side_by_side_layout())
        elif not side_by_side and self._layoutBefore is not None:
            display.set_layout(scene, self._layoutBefore)
            display.restore_orientations(scene)
            self._layoutBefore = None

    def _onTile(self, number: int) -> None:
        if self.tiles.shown is not None:
            display.jump_to(slicer.mrmlScene, self.tiles.shown.centres_ras[number])

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

    def _onSample(self) -> None:
        self.ui.sampleButton.setEnabled(False)
        self._say(_("Making a synthetic patient..."))
        self._poller.add(
            phantom_in_background(slicer.mrmlScene, self.logic.python), self._onSampleMade, self._onSampleFailed
        )

    def _onSampleMade(self, nodes: CaseNodes) -> None:
        self.ui.sampleButton.setEnabled(True)
        self._say("")
        node = self._parameterNode
        node.t1Volume, node.t2Volume, node.roi = _images(nodes)
        display.show_in_views(slicer.mrmlScene, nodes.t1, None, 0.0)
        display.jump_to(slicer.mrmlScene, ipmn.node_to_roi(nodes.roi).center_ras)

    def _onSampleFailed(self, error: CadxError) -> None:
        self.ui.sampleButton.setEnabled(True)
        self._say(str(error), problem=True)

    def _onPlace(self) -> None:
        if not self.ui.placeButton.checked:
            placing.stop_placing(slicer.mrmlScene)
            return
        self._parameterNode.roi = placing.start_placing(slicer.mrmlScene, self._parameterNode.roi, _("Pancreas"))

    def _onShowRoi(self) -> None:
        self._parameterNode.roi.SetDisplayVisibility(bool(self.ui.showRoiButton.checked))

    def _onFit(self) -> None:
        node = self._parameterNode
        with slicer.util.tryWithErrorDisplay(_("The ROI could not be fitted."), waitCursor=True):
            source = self._fitSources[int(self.ui.fitSelector.currentIndex)]
            roi = node.roi if node.roi is not None else placing.new_roi(slicer.mrmlScene, _("Pancreas"))
            try:
                fit_roi(roi, source, reference=node.t1Volume)
            except InputError:
                if roi is not node.roi:
                    slicer.mrmlScene.RemoveNode(roi)
                raise
            node.roi = roi

    def _onWindow(self, first: int) -> None:
        if not self._updating:
            self._setFirstSlice(first)

    def _setFirstSlice(self, first: int) -> None:
        if self._parameterNode is not None:
            self._parameterNode.firstSlice = first

    # export, model, device, batch

    def _onExport(self, folder: Path, formats: list[str]) -> None:
        try:
            if str(folder) in ("", "."):
                raise InputError(_("No folder is chosen; choose one to write to."))
            files = self.logic.export(self._graded, folder, formats)
        except CadxError as error:
            self.export.say(str(error))
            return
        names = ", ".join(file.name for file in files)
        self.export.say(_("Written to {folder}: {names}").format(folder=folder.name, names=names))

    def _onModelShown(self, collapsed: bool) -> None:
        if not collapsed and self._installed and self._parameterNode is not None:
            self.model.fill(Path(self._parameterNode.bundle) if self._parameterNode.bundle else None)

    def _onModel(self, folder: Path) -> None:
        self._parameterNode.bundle = str(folder)
        self._note(_("Model: {name}").format(name=folder.name))

    def _onDevice(self, device: str) -> None:
        self._parameterNode.device = device
        self.device.describe(None)
        if self._prepared is not None:
            self._loadModel()

    def _onReport(self) -> None:
        self.device.show_report(_("Making the report..."))
        self._poller.add(
            self.logic.reportInBackground(), self.device.show_report, lambda e: self.device.show_report(str(e))
        )

    def _onRepair(self) -> None:
        try:
            self.logic.end()
            ask_and_repair()
        except CadxError as error:
            self.device.show_report(str(error))
            return
        self._onReport()

    def _onBatch(self, cases: Path, folder: Path, resume: bool) -> None:
        try:
            self._install()
            if not cases.is_file():
                raise InputError(_("No table of cases is chosen; choose a CSV file."))
            if str(folder) in ("", "."):
                raise InputError(_("No folder is chosen; choose one to write to."))
            self._batch = self.logic.classifyBatchInBackground(
                cases, folder, **self._with(), resume=resume, progress=self._onBatchCase
            )
        except CadxError as error:
            self.batch.say(str(error))
            return
        self._batchDone = 0
        self.batch.set_running(True)
        self.batch.say(_("Starting"))
        self._poller.add(self._batch, self._onBatchDone, self._onBatchFailed)

    def _onBatchCase(self, case: str) -> None:
        self._batchDone += 1
        self.batch.say(_("{count} cases done, the last was {case}.").format(count=self._batchDone, case=case))

    def _onBatchDone(self, table: Any) -> None:
        self._endBatch(
            _("{count} cases in the table {name}. Research use only, not for clinical decisions.").format(
                count=table.GetNumberOfRows(), name=table.GetName()
            )
        )

    def _onBatchFailed(self, error: CadxError) -> None:
        cancelled = isinstance(error, CancelledError)
        self._endBatch(_("Cancelled; what is done stays in the folder.") if cancelled else str(error))

    def _endBatch(self, text: str) -> None:
        self._batch = None
        self.batch.set_running(False)
        self.batch.say(text)
        self._note(text)

    def _cancelBatch(self) -> None:
        if self._batch is not None:
            self._batch.cancel()

    # words

    def _say(self, text: str, problem: bool = False) -> None:
        """A line below the Classify button."""
        self.ui.stageLabel.setText(text)
        self.ui.stageLabel.setStyleSheet("color: #b00020;" if problem else "")
        self.ui.stageLabel.setVisible(bool(text))

    def _note(self, text: str) -> None:
        self.log.add(text)


def _images(nodes: CaseNodes) -> tuple[Any, Any, Any]:
    return nodes.t1, nodes.t2, nodes.roi


def _stageText(stage: str) -> str:
    """A stage of the work in words."""
    action, _space, channel = stage.partition(" ")
    if action == "correct":
        return _("Correcting {channel} (bias field, noise)").format(channel=channel)
    return {
        "register": _("Registering T2 to T1"),
        "crop": _("Cutting out the ROI"),
        "load model": _("Loading the model"),
        "classify": _("Grading"),
    }.get(stage, stage)


def _overall(stage: str, fraction: float) -> float:
    """How far all of the work is, 0..1."""
    if stage.startswith("correct"):
        return 0.6 * fraction
    if stage == "classify":
        return 0.85 + 0.15 * fraction
    return {"register": 0.62, "crop": 0.65, "load model": 0.7}.get(stage, 0.0)


def _setChecked(button: Any, checked: bool) -> None:
    """Show a state without announcing it as a user's."""
    blocked = button.blockSignals(True)
    button.setChecked(checked)
    button.blockSignals(blocked)


def _setIndex(box: Any, index: int) -> None:
    blocked = box.blockSignals(True)
    box.setCurrentIndex(index)
    box.blockSignals(blocked)


def _setRange(slider: Any, last: int, value: int) -> None:
    blocked = slider.blockSignals(True)
    slider.setRange(0, last)
    slider.setValue(value)
    slider.blockSignals(blocked)


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
            graded = logic.classify(*_images(nodes))
        finally:
            logic.close()
        self.assertIn(graded.label, graded.probabilities)
        self.assertAlmostEqual(sum(graded.probabilities.values()), 1.0, places=4)
        self.assertIsNotNone(graded.nodes.attention)
