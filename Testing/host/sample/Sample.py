"""A module as the template makes it: chooses nodes, binds parameters, runs a logic."""

import enum
import logging
import pathlib
from typing import Annotated, Optional

import slicer
import vtk
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class Sample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Sample")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Examples")]
        self.parent.dependencies = []
        self.parent.contributors = ["Nobody (Nowhere)"]
        self.parent.helpText = _("Halves what it is given.") + self.getDefaultModuleDocumentationLink()
        self.parent.acknowledgementText = ""
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="Sample", sampleName="Cube", uris="made:cube", customDownloader=loadCube
    )


def loadCube(source):
    import numpy as np

    return slicer.util.addVolumeFromArray(np.ones((4, 5, 6)), name=source.sampleName)


class Way(enum.Enum):
    FAST = "fast"
    CAREFUL = "careful"

    def label(self):
        return self.value.title()


@parameterNodeWrapper
class SampleParameterNode:
    inputVolume: vtkMRMLScalarVolumeNode
    roi: Optional[vtkMRMLMarkupsROINode]  # noqa: UP045
    threshold: Annotated[float, WithinRange(-100, 200)] = 100
    steps: Annotated[int, WithinRange(1, 9)] = 3
    invert: bool = False
    note: str = "hello"
    way: Way = Way.FAST
    unit: Annotated[str, Choice(["mm", "cm"])] = "mm"
    folder: Annotated[pathlib.Path, Default(pathlib.Path("data"))]


class SampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self.calls = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/Sample.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SampleLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneImported)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.wayComboBox.connect("currentIndexChanged(int)", lambda index: self.calls.append(("way", index)))
        self.initializeParameterNode()

    def cleanup(self):
        self.calls.append("cleanup")
        self.removeObservers()

    def enter(self):
        self.calls.append("enter")
        self.initializeParameterNode()

    def exit(self):
        self.calls.append("exit")
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None

    def onSceneStartClose(self, caller, event):
        self.calls.append("start close")
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        self.calls.append("end close")
        if self.parent.isEntered():
            self.initializeParameterNode()

    def onSceneStartImport(self, caller, event):
        # a selector without None takes the first node that arrives, before the parameters that name another
        self.setParameterNode(None)

    def onSceneImported(self, caller, event):
        self.calls.append("imported")
        if self.parent.isEntered():
            self.initializeParameterNode()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.inputVolume:
            first = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            if first:
                self._parameterNode.inputVolume = first

    def setParameterNode(self, inputParameterNode):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanApply)
        self._parameterNode = inputParameterNode
        if self._parameterNode:
            # connectGui itself gives no tag to disconnect by
            named = {widget.property("SlicerParameterName"): widget for widget in vars(self.ui).values()}
            self._parameterNodeGuiTag = self._parameterNode.connectParametersToGui(
                {k: w for k, w in named.items() if k}
            )
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanApply)
            self._checkCanApply()

    def _checkCanApply(self, caller=None, event=None):
        ready = bool(self._parameterNode and self._parameterNode.inputVolume)
        self.ui.applyButton.enabled = ready
        self.ui.applyButton.toolTip = _("Halve the volume") if ready else _("Select an input volume")

    def onApplyButton(self):
        with slicer.util.tryWithErrorDisplay(_("Failed to compute results."), waitCursor=True):
            self.ui.resultLabel.text = _("Mean: {mean:.1f}").format(
                mean=self.logic.process(self._parameterNode.inputVolume, self._parameterNode.invert)
            )


class SampleLogic(ScriptedLoadableModuleLogic):
    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)

    def getParameterNode(self):
        return SampleParameterNode(super().getParameterNode())

    def process(self, volume, invert):
        if volume.GetImageData() is None:
            raise ValueError("The volume is empty")
        array = slicer.util.arrayFromVolume(volume)
        array[:] = array * (-0.5 if invert else 0.5)
        slicer.util.arrayFromVolumeModified(volume)
        logging.info("Processing completed")
        return float(array.mean())


class SampleTest(ScriptedLoadableModuleTest):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.delayDisplay("Starting the test")
        self.assertEqual(loadCube(type("Source", (), {"sampleName": "Cube"})).GetName(), "Cube")
        self.delayDisplay("Test passed")
