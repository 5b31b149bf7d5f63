"""3D Slicer module: reads slices of an MR volume, or a picture, for brain tumours and what else a bundle tells.

Research use only, not for clinical decisions.
"""

import importlib.util
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import qt
import slicer
import slicer.util
import vtk
from slicer import vtkMRMLScalarVolumeNode
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

from cadx.errors import CadxError, InputError
from cadx.explain.display import LOWEST_SHOWN, kind_of, percent
from cadx.planes import position_text
from cadx.slicer import display, tumor
from cadx.slicer.panel.classifier_panel import ClassifierPanel
from cadx.slicer.panel.installing import packages_missing
from cadx.slicer.panel.node_watch import image_events, segment_events
from cadx.slicer.panel.picture_view import PictureView
from cadx.slicer.panel.setting import show_line
from cadx.slicer.panel.slice_chooser import SliceChooser
from cadx.slicer.panel.slices_section import SlicesSection
from cadx.slicer.picture_nodes import is_picture
from cadx.slicer.results import CaseNodes
from cadx.slicer.sample import add_head, head_in_background, register_sample
from cadx.slicer.segments import mask_sources
from cadx.slicer.slice_selection import go_to_slice
from cadx.slicer.tiles import fed_picture

PICTURES = "*.png *.jpg *.jpeg *.bmp *.tif *.tiff *.dcm"
BRAIN_BINARY, BRAIN_TYPE, CHEST = "brain-tumor-binary", "brain-tumor-type", "chest-xray"


class TumorClassifier(ScriptedLoadableModule):
    """The module's description for the application."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Tumor Classifier")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Machine Learning")]
        self.parent.dependencies = []
        self.parent.contributors = ["SlicerCADx developers"]
        self.parent.helpText = _(
            "Reads brain tumours slice by slice on MR volumes, and single pictures such as chest radiographs, with any "
            "model for 2-D images, and shows where it looked. Research use only, not for clinical decisions."
        )
        self.parent.acknowledgementText = _("The maps are HiResCAM, Grad-CAM and attention rollout.")
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Add the synthetic head to the Sample Data module."""
    register_sample("HeadPhantom", Path(__file__), lambda source=None: list(add_head(slicer.mrmlScene)))


class SlicesFrom(Enum):
    """Which slices of a volume are read; serialised by name."""

    IN_VIEW = 0
    NAMED = 1
    ALL = 2
    TOUCHED = 3


class Plane(Enum):
    """The plane of the slices; serialised by name."""

    ACQUIRED = 0
    AXIAL = 1
    CORONAL = 2
    SAGITTAL = 3


class Rule(Enum):
    """How several slices make one answer; serialised by name."""

    AUTOMATIC = 0
    MEAN = 1
    MOST_CONFIDENT = 2
    MOST_SUSPICIOUS = 3


class Task(Enum):
    """What the model is to tell; serialised by name."""

    TUMOUR = 0
    TYPE = 1
    RADIOGRAPH = 2
    OTHER = 3


class ShownOn(Enum):
    """Whether the map is laid over the image; serialised by name."""

    IMAGE = 0
    NOTHING = 1


@parameterNodeWrapper
class TumorClassifierParameterNode:
    """What is chosen; saved with the scene.

    ``numbers`` are slices in words, counted from 0 in the volume's own order; ``maskLabel`` names a segment or label
    map; ``threshold`` is a part of the colour scale, ``opacity`` that of the overlay; ``bundle`` is the folder of a
    model, empty for the first one for the task. Results are found by the nodes that they belong to.
    """

    image: vtkMRMLScalarVolumeNode
    caseName: str
    slicesFrom: SlicesFrom = SlicesFrom.IN_VIEW
    numbers: str
    maskLabel: str
    plane: Plane = Plane.ACQUIRED
    rule: Rule = Rule.AUTOMATIC
    task: Task = Task.TYPE
    bundle: str
    device: str = "auto"
    shownOn: ShownOn = ShownOn.IMAGE
    threshold: Annotated[float, WithinRange(0.0, 1.0)] = LOWEST_SHOWN
    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    showLegend: bool = True
    mapOnTiles: bool = True


class TumorClassifierLogic(ScriptedLoadableModuleLogic, tumor.TumorClassifierLogic):
    """Reads nodes; opens no window and needs no panel. See :class:`cadx.slicer.tumor.TumorClassifierLogic`."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        tumor.TumorClassifierLogic.__init__(self)

    def getParameterNode(self) -> TumorClassifierParameterNode:
        """The scene's parameters."""
        return TumorClassifierParameterNode(super().getParameterNode())


class TumorClassifierWidget(ClassifierPanel):
    """The panel: a volume or a picture, its slices, what the model is fed, and what was found slice by slice."""

    FOLDERS = True
    STAGES = {"prepare": (0.0, 0.1), "load": (0.1, 0.1), "classify": (0.2, 1.0)}

    def makeLogic(self) -> TumorClassifierLogic:
        return TumorClassifierLogic()

    def tasks(self) -> Sequence[tuple[str, Any]]:
        return (
            (_("Brain tumour: yes or no"), BRAIN_BINARY),
            (_("Brain tumour: which type"), BRAIN_TYPE),
            (_("Chest radiograph"), CHEST),
            (_("Other pictures"), _others),
        )

    def placesOfMap(self) -> list[str]:
        return [_("the image"), _("nothing")]

    def batchColumns(self) -> tuple[str, ...]:
        return (_("case, and image or volume"), _("slice and plane if wanted"))

    def makeOwnSections(self) -> None:
        ui = self.ui
        self.slices = SliceChooser(ui.slicesFrame, self._onChosen)
        self.picture = PictureView(ui.pictureFrame)
        self.along = SlicesSection(ui.alongFrame, self._onSlice)
        ui.openButton.connect("clicked()", self._askPicture)

    def ownBindings(self) -> dict[str, Any]:
        return {"numbers": self.slices.numbers}

    def busyWidgets(self) -> list[Any]:
        return [*super().busyWidgets(), self.ui.slicesButton]

    def forgetCase(self) -> None:
        super().forgetCase()
        self._stack: Any = None
        self._numbers: Any = None
        self._inView: int | None = None
        self._notices: list[Any] = []
        self._offered: dict[Task, Path | None] = {}

    def isReady(self) -> bool:
        if self._parameterNode.image is None or not self._installed:
            return False
        try:
            return bool(self.modelOptions())
        except CadxError:
            return False

    # what is chosen

    def watchedNodes(self) -> list[tuple[Any, Any]]:
        """An image that is edited, views that move, segments that come and change."""
        wanted = [*image_events(self._parameterNode.image), *segment_events()]
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            wanted.append((view, vtk.vtkCommand.ModifiedEvent))
        for segmentation in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            wanted.append((segmentation, slicer.vtkSegmentation.SourceRepresentationModified))
        for labels in slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeNode"):
            wanted.append((labels, labels.ImageDataModifiedEvent))
        return wanted

    def isInput(self, node: Any) -> bool:
        kinds = ("vtkMRMLSegmentationNode", "vtkMRMLVolumeNode", "vtkMRMLSliceNode")
        return any(node.IsA(kind) for kind in kinds)

    def guessInputs(self) -> None:
        """The only image there is; a map that was laid over one is none."""
        node = self._parameterNode
        if node.image is None:
            images = tumor.candidates(slicer.mrmlScene)
            node.image = images[0] if len(images) == 1 else None

    def chosenNodes(self) -> CaseNodes | None:
        image = self._parameterNode.image
        return None if image is None else CaseNodes(image=image)

    def findProblem(self) -> str:
        node = self._parameterNode
        self._stack = self._inView = None
        # none, unless what is chosen can be told: a result of all slices does not fit then
        self._numbers = ()
        self._notices = []
        if node.image is None:
            return _("Choose a volume, or open a picture.")
        if not self._installed:
            return ""
        try:
            if self.logic.stack(node.image) is not None:
                self._stack = self.logic.stack(node.image, self._plane())
                self._inView = self.logic.sliceInView(node.image, self._plane())
            options = self.modelOptions()
            if self._stack is not None:
                self._numbers = self._chosenNumbers()
            self._notices = self.logic.check(node.image, **self._asked(), **options, rule=self._rule())
        except CadxError as error:
            return str(error)
        return ""

    def _plane(self) -> str | None:
        plane = self._parameterNode.plane
        return None if plane == Plane.ACQUIRED else plane.name.lower()

    def _chosenNumbers(self) -> Any:
        """As the logic takes them; None for all."""
        node, chosen = self._parameterNode, self._parameterNode.slicesFrom
        if chosen == SlicesFrom.ALL:
            return None
        if chosen == SlicesFrom.NAMED:
            if not node.numbers.strip():
                raise InputError(_("No slices are named; give numbers from 0, such as 7 or 3,5-9."))
            from cadx.picture_case import chosen_slices

            return chosen_slices(node.numbers)
        if chosen == SlicesFrom.TOUCHED:
            mask = self._mask()
            if mask is None:
                raise InputError(_("The scene has no segment and no label map; draw one, or choose other slices."))
            return self.logic.touchedSlices(node.image, mask, self._plane())
        if self._inView is None:
            raise InputError(
                _("No {plane} slice of {name} is in view; bring one there, or choose other slices.").format(
                    plane=self._stack.plane, name=node.image.GetName()
                )
            )
        return (self._inView,)

    def _mask(self) -> Any:
        """The segment that is chosen; the first one where its label is gone."""
        masks = mask_sources(slicer.mrmlScene)
        named = [mask for mask in masks if mask.label == self._parameterNode.maskLabel]
        return next(iter(named or masks), None)

    def _asked(self) -> dict[str, Any]:
        """Slices and plane; a picture has neither."""
        return {} if self._stack is None else {"slices": self._numbers, "plane": self._plane()}

    def modelOptions(self) -> dict[str, Any]:
        """Raises InputError where there is no model for the task."""
        node = self._parameterNode
        if node.task not in self._offered:
            self._offered[node.task] = next(iter(self.model.offered(node.task.value)), None)
        bundle = node.bundle or self._offered[node.task]
        if not bundle:
            raise InputError(
                _("There is no model for this task ({task}); import one in the section Model.").format(
                    task=self.tasks()[node.task.value][0]
                )
            )
        return {"bundle": bundle, "device": node.device}

    def chooseTask(self, task: int) -> None:
        self._offered = {}
        self._parameterNode.task = Task(task)

    def shownTask(self) -> int:
        return int(self._parameterNode.task.value)

    def _onChosen(self, what: str, index: int) -> None:
        node = self._parameterNode
        if what == "slices":
            node.slicesFrom = SlicesFrom(index)
        elif what == "plane":
            node.plane = Plane(index)
        elif what == "rule":
            node.rule = Rule(index)
        elif self.slices.chosen_mask is not None:
            node.maskLabel = self.slices.chosen_mask.label

    def _askPicture(self) -> None:
        path = qt.QFileDialog.getOpenFileName(None, _("Picture"), "", f"{_('Pictures')} ({PICTURES});;{_('All')} (*)")
        if path:
            with slicer.util.tryWithErrorDisplay(_("The picture could not be opened."), waitCursor=True):
                self.open_picture(Path(path))

    def open_picture(self, path: Path) -> None:
        """As a user's choice of a file.

        Raises
        ------
        CadxError
            If it cannot be read, or the packages for that are missing.
        """
        self._install()
        node = self.logic.openImage(path, slicer.mrmlScene)
        self._parameterNode.image = node
        display.show_in_views(slicer.mrmlScene, node, None, 0.0)
        display.fit_views(slicer.mrmlScene)

    # showing what is chosen

    def showChosen(self, problem: str) -> None:
        """Slices and warnings; the model is loaded meanwhile."""
        node = self._parameterNode
        self.slices.show_masks(mask_sources(slicer.mrmlScene), node.maskLabel)
        self.slices.show(node.slicesFrom.value, node.plane.value, node.rule.value)
        self.slices.set_enabled(not self._isPicture())
        self.slices.say(self._slicesText(), problem if node.image is not None else "")
        show_line(self.ui.warningsLabel, "\n".join(notice.text for notice in self._notices))
        if not problem and self._installed:
            self.loading.load(self.modelOptions())

    def _isPicture(self) -> bool:
        return self._parameterNode.image is not None and is_picture(self._parameterNode.image)

    def _slicesText(self) -> str:
        if self._stack is None:
            return _("A single picture is read as it is.") if self._isPicture() else ""
        said = {"count": self._stack.count, "plane": self._stack.plane, "last": self._stack.count - 1}
        if self._parameterNode.slicesFrom == SlicesFrom.IN_VIEW and self._inView is not None:
            return _("Slice {number} of {count} {plane} slices, 0 to {last}.").format(number=self._inView, **said)
        chosen = self._numbers
        if chosen and max(chosen) < self._stack.count:
            ends = (min(chosen), max(chosen))
            return _("{chosen} of {count} {plane} slices, {low} to {high}.").format(
                chosen=len(set(chosen)), low=ends[0], high=ends[1], **said
            )
        return _("{count} {plane} slices, 0 to {last}.").format(**said)

    def showFed(self, problem: str) -> None:
        """The slice in view, or the picture, with the map of the result that fits."""
        node = self._parameterNode
        if node.image is None:
            self.picture.clear(_("Choose an image to see what the model is fed."))
        elif not self._installed:
            self.picture.clear(packages_missing())
        elif problem and (self._stack is None or self._inView is None):
            self.picture.clear(_("No picture: see above."))
        elif self._stack is not None and self._inView is None:
            self.picture.clear(_("None of its slices is in view."))
        else:
            self._drawFed()

    def _drawFed(self) -> None:
        node, read = self._parameterNode, self._readInView()
        kind = kind_of(self._graded.reading.result.explanation) if self._graded is not None else None
        own_map = read.own_map if read is not None and node.mapOnTiles else None
        try:
            view = self.logic.view(node.image, self._inView, self._plane() if self._stack is not None else None)
            pixels = view.picture.pixels
            spec = self.logic.background(**self.modelOptions()).bundle.pictures
        except CadxError as error:
            self.picture.clear(str(error))
            return
        scale = (0.0, 1.0) if kind is None or own_map is None else kind.range(self._strongest())
        fed = fed_picture(pixels, spec, own_map, scale=scale, threshold=node.threshold, opacity=node.opacity)
        caption, edges = "", ("", "")
        if self._stack is not None:
            place = position_text(self._stack.plane, self._stack.position_mm(self._inView))
            caption, edges = f"{self._inView}  {place}", self._stack.edges
        self.picture.show(fed, self._fedText(read), caption, edges)

    def _strongest(self) -> Any:
        """The highest value of each slice's map: all are drawn on one scale."""
        maps = [one.own_map for one in self._graded.reading.slices if one.own_map is not None]
        return np.array([own_map.max() for own_map in maps])

    def _readInView(self) -> Any:
        """What was found in the slice in view, or the picture."""
        if self._graded is None:
            return None
        slices = self._graded.reading.slices
        return next((one for one in slices if one.view.index == self._inView), None)

    def _fedText(self, read: Any) -> str:
        if read is not None:
            names = tuple(self._graded.reading.result.probabilities)
            answer = f"{names[int(read.probabilities.argmax())]} {percent(float(read.probabilities.max()))}"
            if read.own_map is None:
                answer += _("; no map: it is 0 everywhere")
            return answer
        if self._graded is not None:
            return _("This slice was not read; the result is of others.")
        return _("The slice in view, as fed to the model.") if self._stack else _("As fed to the model.")

    def showResultOf(self, document: dict[str, Any] | None, stale: bool) -> None:
        rows = ((document or {}).get("slices") or {}).get("table")
        self.ui.alongButton.setVisible(bool(rows) or (document is None and not self._isPicture()))
        if document is None or not rows:
            self.along.clear(_("No result yet."))
            return
        self.along.show(document, stale)
        self.along.mark(self._inViewOf(document))

    def _inViewOf(self, document: dict[str, Any]) -> int | None:
        """The slice in view in the plane of a result, which need not be the one that is chosen now."""
        plane = document["slices"]["plane"]
        if self._stack is not None and self._stack.plane == plane:
            return self._inView
        if not self._installed:
            return None
        try:
            return self.logic.sliceInView(self._parameterNode.image, plane)
        except CadxError:
            return None

    def _onSlice(self, row: int) -> None:
        stored = self._storedCase()
        if stored is None or not self._installed:
            return
        slices = self._documentOf(stored)["slices"]
        try:
            stack, number = self.logic.stack(stored.image, slices["plane"]), slices["table"][row]["slice"]
            stack.require(number)
        except CadxError as error:
            self.run.say(str(error), problem=True)
            return
        go_to_slice(slicer.mrmlScene, stored.image, stack, number)

    # reading

    def startCase(self, name: str | None) -> Any:
        node = self._parameterNode
        return self.logic.classifyInBackground(
            node.image, **self._asked(), **self.modelOptions(), rule=self._rule(), name=name, progress=self._onProgress
        )

    def _rule(self) -> str | None:
        rule = self._parameterNode.rule
        return None if rule == Rule.AUTOMATIC else rule.name.lower().replace("_", "-")

    def requestHash(self, document: dict[str, Any]) -> str | None:
        """A result of one slice stays one when the user looks at another."""
        if not self._installed or self._parameterNode.image is None:
            return None
        asked = self._asked()
        rows = (document.get("slices") or {}).get("table") or []
        if self._parameterNode.slicesFrom == SlicesFrom.IN_VIEW and len(rows) == 1:
            asked["slices"] = rows[0]["slice"]
        try:
            return str(
                self.logic.requestHash(self._parameterNode.image, **asked, **self.modelOptions(), rule=self._rule())
            )
        except CadxError:
            return ""

    def restoredCase(self, stored: CaseNodes, document: dict[str, Any]) -> Any:
        return self.logic.restored(stored) if self._installed else None

    def placesFor(self, stored: CaseNodes) -> dict[Any, tuple[Any, ...]]:
        return {ShownOn.IMAGE: (stored.image,), ShownOn.NOTHING: (stored.image,)}

    def goToStrongest(self, stored: CaseNodes) -> None:
        tumor.go_to_strongest(slicer.mrmlScene, stored)

    # sample data

    def startSample(self) -> Any:
        return head_in_background(slicer.mrmlScene, self.logic.python)

    def chooseSample(self, nodes: tuple[Any, Any]) -> None:
        """The synthetic head goes with the model for such heads: the one for patients says nothing of it."""
        self.chooseTask(Task.TUMOUR.value)
        self._parameterNode.bundle = ""
        self._onModelShown(self.ui.modelButton.collapsed)
        self._parameterNode.image = nodes[0]
        display.show_in_views(slicer.mrmlScene, nodes[0], None, 0.0)
        display.fit_views(slicer.mrmlScene)


def _others() -> Any:
    from cadx.library import BundleFilter

    return BundleFilter(kind="pictures", but_tasks=(BRAIN_BINARY, BRAIN_TYPE, CHEST))


class TumorClassifierTest(ScriptedLoadableModuleTest):
    """The self test that the application offers: a synthetic head is read and explained."""

    def runTest(self) -> None:
        """Run everything."""
        slicer.mrmlScene.Clear()
        self.test_phantom()

    def test_phantom(self) -> None:
        """A phantom through the logic; needs the packages to be installed."""
        from cadx.library import BRAIN_PHANTOM_DEMO, shipped_bundle

        volume, _mask = add_head(slicer.mrmlScene)
        logic = TumorClassifierLogic()
        try:
            graded = logic.classify(volume, bundle=shipped_bundle(BRAIN_PHANTOM_DEMO))
        finally:
            logic.close()
        self.assertIn(graded.label, graded.probabilities)
        self.assertAlmostEqual(sum(graded.probabilities.values()), 1.0, places=4)
        self.assertIsNotNone(graded.nodes.attention)
