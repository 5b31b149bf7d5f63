"""The panel that the modules share: its life in the application, and one case from what is chosen to its export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import qt
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from cadx.errors import CadxError, CancelledError
from cadx.explain.display import ATTENTION, kind_of
from cadx.slicer.dependencies import plan_installation
from cadx.slicer.panel.attention_views import AttentionViews, Showing
from cadx.slicer.panel.batch_section import BatchSection
from cadx.slicer.panel.device_section import DeviceSection
from cadx.slicer.panel.explanation_section import ExplanationSection
from cadx.slicer.panel.export_section import ExportSection
from cadx.slicer.panel.installing import ask_and_repair, ensure_installed
from cadx.slicer.panel.loading import ModelLoading
from cadx.slicer.panel.log_section import LogSection
from cadx.slicer.panel.model_section import ModelSection
from cadx.slicer.panel.node_watch import NodeWatch
from cadx.slicer.panel.poller import Poller
from cadx.slicer.panel.result_view import ResultView
from cadx.slicer.panel.run_controls import RunControls, Stages
from cadx.slicer.panel.setting import set_quietly
from cadx.slicer.results import CaseNodes, find_cases, is_same, next_case_name


class ClassifierPanel(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Shows what is chosen and what the logic finds, and never waits for work.

    A module's panel derives from it. What it must say comes first; what it may add calls what is here too. Its ``.ui``,
    called as the module, holds ``classifyButton``, ``progressBar``, ``stageLabel``, ``sampleButton``, ``caseEdit``,
    ``warningsLabel``, a frame (``...Frame``) for each of result, explanation, export, model, device, batch and log, and
    the collapsible ``modelButton`` and ``deviceButton``. Its parameters are ``caseName``, ``bundle``, ``device``,
    ``shownOn`` (an enumeration whose values count from 0 and end with ``NOTHING``), ``threshold``, ``opacity``,
    ``showLegend`` and ``mapOnTiles``.
    """

    STAGES: ClassVar[Stages]
    FOLDERS: ClassVar[bool] = False
    """Whether a folder will do for a table of cases."""

    # what a module must say

    def makeLogic(self) -> Any:
        """A :class:`cadx.slicer.logic.GradingLogic` that is the module's logic too."""
        raise NotImplementedError

    def tasks(self) -> Sequence[tuple[str, str | Callable[[], Any]]]:
        """Each task in words, and the bundles for it, as :class:`cadx.slicer.panel.model_section.ModelSection` asks."""
        raise NotImplementedError

    def placesOfMap(self) -> list[str]:
        """The places of the map in words, in the order of ``shownOn``."""
        raise NotImplementedError

    def batchColumns(self) -> tuple[str, ...]:
        """What a table of cases must hold."""
        raise NotImplementedError

    def watchedNodes(self) -> list[tuple[Any, Any]]:
        """Pairs of node and event after which what is shown must be renewed."""
        raise NotImplementedError

    def isInput(self, node: Any) -> bool:
        """Whether a node that was added or removed may change what can be chosen."""
        raise NotImplementedError

    def guessInputs(self) -> None:
        """Choose what is not chosen yet."""
        raise NotImplementedError

    def findProblem(self) -> str:
        """Look at what is chosen; what stands against grading it, in one sentence, or nothing."""
        raise NotImplementedError

    def showChosen(self, problem: str) -> None:
        """Show what is chosen, before the result is shown."""
        raise NotImplementedError

    def showFed(self, problem: str) -> None:
        """Show what the model is fed, after the result is known."""
        raise NotImplementedError

    def chosenNodes(self) -> CaseNodes | None:
        """The case that is chosen; None while something of it is missing."""
        raise NotImplementedError

    def startCase(self, name: str | None) -> Any:
        """Start grading what is chosen: work whose result is a :class:`cadx.slicer.logic.GradedCase`."""
        raise NotImplementedError

    def requestHash(self, document: dict[str, Any]) -> str | None:
        """What ``request_sha256`` a result of what is chosen has; None where that cannot be said."""
        raise NotImplementedError

    def restoredCase(self, stored: CaseNodes, document: dict[str, Any]) -> Any:
        """A result from a scene that was loaded, as far as the scene keeps it; None where it cannot be yet."""
        raise NotImplementedError

    def placesFor(self, stored: CaseNodes) -> Mapping[Any, tuple[Any, ...]]:
        """The places where a case's map can be shown, with the images of each."""
        raise NotImplementedError

    def goToStrongest(self, stored: CaseNodes) -> None:
        """Bring the views to where to look first."""
        raise NotImplementedError

    def startSample(self) -> Any:
        """Start making sample data."""
        raise NotImplementedError

    def chooseSample(self, nodes: Any) -> None:
        """Sample data is there."""
        raise NotImplementedError

    # what a module may add

    def makeOwnSections(self) -> None:
        """Build what only this module has; everything else of the panel is there."""

    def ownBindings(self) -> dict[str, Any]:
        """Further widgets by the parameter that they show."""
        return {}

    def busyWidgets(self) -> list[Any]:
        """What is disabled while a case is graded."""
        return [self.ui.inputsButton, self.ui.modelButton, self.ui.deviceButton]

    def forgetCase(self) -> None:
        """Another scene comes: nothing of the last one is known."""
        self._drawn: Any = None
        self._graded: Any = None
        self._imagesBefore: Any = None
        self._read: tuple[Any, dict[str, Any]] | None = None

    def chooseTask(self, task: int) -> None:
        """The user chose one of the tasks."""

    def shownTask(self) -> int:
        """Which of the tasks is chosen."""
        return 0

    def isReady(self) -> bool:
        """Whether the model is worth loading before the user asks."""
        return False

    def modelOptions(self) -> dict[str, Any]:
        """``bundle`` and ``device``, as the logic takes them."""
        return {"bundle": self._parameterNode.bundle or None, "device": self._parameterNode.device}

    def whyNoExport(self, document: dict[str, Any]) -> str:
        """Why a result that fits what is chosen cannot be exported; nothing where it can."""
        return "" if self._graded is not None else _("The images are being prepared for the pictures.")

    def showResultOf(self, document: dict[str, Any] | None, stale: bool) -> None:
        """Show more of a result than the panel does; None where there is no result."""

    # its life

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self._parameterNode: Any = None
        self._guiTag: Any = None
        self._watch = NodeWatch(self, self._updateSoon)
        self.forgetCase()
        self._guessAgain = False
        self._entered = False
        self._installed = True
        self._sample: Any = None
        self._updating = False

    def setup(self) -> None:
        """Build the panel; called once."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = self.makeLogic()
        self._poller = Poller()
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(10)
        self._soon.connect("timeout()", self._update)
        self._makeSections()
        self.makeOwnSections()
        self.ui.sampleButton.connect("clicked()", self._onSample)
        self.ui.modelButton.connect("contentsCollapsed(bool)", self._onModelShown)
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

    def _makeSections(self) -> None:
        ui, poller, run = self.ui, self._poller, (self.ui.classifyButton, self.ui.progressBar, self.ui.stageLabel)
        self.run = RunControls(*run, poller, self._startGrading, self.busyWidgets(), self.STAGES)
        self.views = AttentionViews(slicer.mrmlScene)
        self.resultView = ResultView(ui.resultFrame)
        self.explanation = ExplanationSection(
            ui.explanationFrame, self.placesOfMap(), self._onPlaceOfAttention, self._onStrongest
        )
        self.export = ExportSection(ui.exportFrame, self._export)
        own = Path(slicer.app.slicerUserSettingsFilePath).parent / "SlicerCADx" / "Models"
        self.model = ModelSection(ui.modelFrame, self.tasks(), own, self._onModel)
        self.device = DeviceSection(
            ui.deviceFrame, poller, self.choose_device, self.logic.reportInBackground, self._repairTorch
        )
        columns, folders = self.batchColumns(), self.FOLDERS
        self.batch = BatchSection(ui.batchFrame, columns, poller, self._startBatch, folders=folders)
        self.log = LogSection(ui.logFrame)
        self.loading = ModelLoading(self.logic, poller, self.device.describe, self.log.add)

    def _observeScene(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStart)
        self.addObserver(scene, scene.StartImportEvent, self._onSceneStart)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneEnd)
        self.addObserver(scene, scene.NodeAddedEvent, self._onNodesChanged)
        self.addObserver(scene, scene.NodeRemovedEvent, self._onNodesChanged)

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
        self._watch.follow(self.watchedNodes())

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
            **self.ownBindings(),
        }

    def _disconnectGui(self) -> None:
        if self._guiTag is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self._guiTag = None

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        self._watch.follow(self.watchedNodes())
        self._updateSoon()

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
        if self.isInput(node):
            self._watch.follow(self.watchedNodes())
            self._guessAgain = True
            self._updateSoon()

    def _release(self) -> None:
        """Let go of the scene: end work, forget the case."""
        if self._poller.busy:
            # an idle worker stays: it has its model loaded
            self.logic.end()
            self.loading.worker_ended()
        self._poller.forget()
        self.run.drop()
        self.batch.drop()
        if self._sample is not None:
            self._sample.cancel()
            self._endSample()
        self._setParameterNode(None)
        self.views.forget()
        self.forgetCase()
        self.logic.forgetImages()

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
                self._guessAgain = False
                self.guessInputs()
            problem = self.findProblem()
            self._nameCase()
            self.showChosen(problem)
            self._showResult()
            self.showFed(problem)
            self.run.allow(problem, _("Grade this case; Slicer stays free meanwhile."))
        finally:
            self._updating = False

    def _nameCase(self) -> None:
        """A name belongs to its images: other images begin without one."""
        node, chosen = self._parameterNode, self.chosenNodes()
        images = chosen.images if chosen is not None else {}
        if self._imagesBefore is not None and images != self._imagesBefore:
            stored = self._storedCase()
            node.caseName = stored.case if stored is not None else ""
        self._imagesBefore = images
        name = next_case_name(chosen) if chosen is not None else "case 1"
        self.ui.caseEdit.setPlaceholderText(_("{name} (no patient name)").format(name=name))

    def _showResult(self) -> None:
        stored = self._storedCase()
        if stored is None:
            self._showNoResult()
            return
        document = self._documentOf(stored)
        stale = self._isStale(document)
        if stale:
            self._graded = None
            self.run.outdated()
        elif self._graded is None or self._graded.nodes.text is not stored.text:
            self._graded = self.restoredCase(stored, document)
        names = [str(node.GetName()) for node in stored.inputs]
        title = _("{case}: {names}").format(case=stored.case, names=", ".join(names))
        self.resultView.show(document, title, stale)
        self.showResultOf(document, stale)
        self._showExplanation(stored, stale)
        self.export.allow(
            _("The result is outdated; classify again to export.") if stale else self.whyNoExport(document)
        )

    def _showNoResult(self) -> None:
        self._graded = None
        others = bool(find_cases(slicer.mrmlScene))
        self.resultView.clear(_("No result for what is chosen yet.") if others else _("No result yet."))
        self.showResultOf(None, stale=False)
        self.explanation.set_enabled(False, _("There is no map to show yet."))
        self.export.allow(_("There is no result to export yet."))
        chosen = self.chosenNodes()
        self.views.clear(chosen.reference if chosen is not None else None)

    def _showExplanation(self, stored: CaseNodes, stale: bool) -> None:
        attention, node, document = stored.attention, self._parameterNode, self._documentOf(stored)
        said = str((document.get("explanation") or {}).get("text", ""))
        reason = _("The result is outdated.") if stale else said or _("There is no map to show.")
        self.explanation.show_kind(kind_of(document.get("explanation")) or ATTENTION)
        self.explanation.set_enabled(attention is not None and not stale, reason)
        places = self.placesFor(stored)
        place = node.shownOn if node.shownOn in places else next(iter(places))
        set_quietly(self.explanation.place.setCurrentIndex, self.explanation.place, place.value)
        if attention is not None and not stale:
            shown = attention.GetDisplayNode()
            self.explanation.show_scale((shown.GetWindowLevelMin(), shown.GetWindowLevelMax()), node.threshold)
        self.views.show(self._showing(stored, stale))

    def _showing(self, stored: CaseNodes, stale: bool) -> Showing:
        node, places = self._parameterNode, self.placesFor(stored)
        hidden = stale or node.shownOn.name == "NOTHING"
        possible = node.shownOn in places and not hidden
        return Showing(
            images=places[node.shownOn] if possible else (stored.reference,),
            attention=None if hidden else stored.attention,
            threshold=node.threshold,
            opacity=node.opacity,
            legend=node.showLegend,
        )

    def _storedCase(self) -> CaseNodes | None:
        """The result of the nodes that are chosen; the one of the chosen name where there are several."""
        chosen = self.chosenNodes()
        if chosen is None:
            return None
        found = [case for case in find_cases(slicer.mrmlScene) if is_same(case, chosen)]
        named = [case for case in found if case.case == self._parameterNode.caseName.strip()]
        return next(reversed(named or found), None)

    def _documentOf(self, stored: CaseNodes) -> dict[str, Any]:
        """Read once and again only when it changes: one of many slices is long, and views move often."""
        stamp = (stored.text, stored.text.GetMTime())
        if self._read is None or self._read[0] != stamp:
            self._read = stamp, stored.result()
        return self._read[1]

    def _isStale(self, document: dict[str, Any]) -> bool:
        """Whether something was changed since; not before the packages are there that can tell."""
        wanted = self.requestHash(document)
        return self._installed if wanted is None else document.get("request_sha256") != wanted

    # grading

    def _startGrading(self) -> None:
        self._install()
        self.run.run(self.startCase(self._parameterNode.caseName.strip() or None), self._onGraded, self._onFailed)

    def _install(self) -> None:
        if not self._installed:
            ensure_installed()
            self._installed = True

    def _onProgress(self, stage: str, fraction: float) -> None:
        self.run.progress(stage, fraction)

    def _onGraded(self, graded: Any) -> None:
        self._graded = graded
        self.log.add(f"{graded.nodes.case}\n{graded.reading.result.summary()}")
        self.loading.load(self.modelOptions(), again=True)
        if self._entered:
            self.views.renew(self._showing(graded.nodes, stale=False))
            self._onStrongest()
        else:
            self.views.expect()
        self._updateSoon()

    def _onFailed(self, error: CadxError) -> None:
        self.loading.worker_ended()
        self.log.add(str(error))
        if not isinstance(error, CancelledError):
            self.log.add(self.logic.log())
        self._updateSoon()

    def _onPlaceOfAttention(self, index: int) -> None:
        places: type[Enum] = type(self._parameterNode.shownOn)
        self._parameterNode.shownOn = places(index)

    def _onStrongest(self) -> None:
        stored = self._storedCase()
        if stored is not None:
            self.goToStrongest(stored)

    # sample data, export, model, device, batch

    def _onSample(self) -> None:
        self.ui.sampleButton.setEnabled(False)
        self.run.say(_("Making a synthetic patient..."))
        self._sample = self.startSample()
        self._poller.add(self._sample, self._onSampleMade, self._onSampleFailed)

    def _endSample(self) -> None:
        self._sample = None
        self.ui.sampleButton.setEnabled(True)

    def _onSampleMade(self, nodes: Any) -> None:
        self._endSample()
        self.run.say("")
        self.chooseSample(nodes)

    def _onSampleFailed(self, error: CadxError) -> None:
        self._endSample()
        self.run.say(str(error), problem=True)

    def _export(self, folder: Path, formats: list[str]) -> list[Path]:
        return list(self.logic.export(self._graded, folder, formats))

    def _onModelShown(self, collapsed: bool) -> None:
        if not collapsed and self._installed and self._parameterNode is not None:
            chosen = self._parameterNode.bundle
            self.model.fill(Path(chosen) if chosen else None, self.shownTask())

    def _onModel(self, task: int, folder: Path | None) -> None:
        self.chooseTask(task)
        self._parameterNode.bundle = str(folder or "")
        if folder is not None:
            self.log.add(_("Model: {name}").format(name=folder.name))

    def choose_device(self, device: str) -> None:
        """As a user's choice: auto, cpu, cuda or mps."""
        self._parameterNode.device = device
        self.device.describe(None)
        if self.isReady():
            self.loading.load(self.modelOptions())

    def _repairTorch(self) -> None:
        self.logic.end()
        self.loading.worker_ended()
        ask_and_repair()

    def _startBatch(self, cases: Path, folder: Path, resume: bool, progress: Any) -> Any:
        self._install()
        return self.logic.classifyBatchInBackground(
            cases, folder, **self.modelOptions(), resume=resume, progress=progress
        )
