"""Reading slices of a volume node, or a picture, with a bundle for pictures: what the TumorClassifier module does."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from cadx.errors import InputError
from cadx.job import Pending
from cadx.notices import Notice
from cadx.planes import PLANES, Plane
from cadx.slicer.display import jump_to
from cadx.slicer.logic import (
    BundleFolder,
    GradedCase,
    GradingLogic,
    ProgressCall,
    case_name,
    require_present,
    require_scene,
)
from cadx.slicer.overlay import attended_point
from cadx.slicer.picture_nodes import COLOURED, SourceReader, on_node, open_picture
from cadx.slicer.results import CaseNodes, find_cases
from cadx.slicer.runtime import main_scene, nodes_of_class
from cadx.slicer.segments import MaskSource, mask_stamp
from cadx.slicer.slice_selection import go_to_slice, slice_alone, slice_in_view, touched_slices
from cadx.slicer.storing import store_answer
from cadx.slicer.volumes import node_to_volume, view_of_node

if TYPE_CHECKING:
    from cadx.background_pictures import BackgroundPictureClassifier
    from cadx.classify_picture import PictureOptions, PictureReading, SliceReading
    from cadx.picture_case import PictureCase
    from cadx.prepare.stack import Stack

Slices = SupportsIndex | str | Sequence[int] | None
SCALAR = "vtkMRMLScalarVolumeNode"
_KEPT_CASES = 4


class TumorClassifierLogic(GradingLogic["BackgroundPictureClassifier"]):
    """Reads slices and pictures in a worker process, so that torch never loads into the process that asks.

    The same in the application and, with slicer-core, outside it. An image is a ``vtkMRMLScalarVolumeNode``, read slice
    by slice, or a picture: a node of one slice, such as :meth:`openImage` makes. Every method raises the exceptions of
    :mod:`cadx.errors`.
    """

    def __init__(self, python: str | None = None) -> None:
        super().__init__(python)
        self._sources = SourceReader()
        self._cases: list[PictureCase] = []
        self._touched: tuple[tuple[object, ...], tuple[int, ...]] | None = None

    def defaultBundle(self) -> Path:
        """The bundle for kinds of brain tumour that ships; as :meth:`cadx.slicer.logic.GradingLogic.defaultBundle`."""
        from cadx.library import PICTURES_DEFAULT, shipped_bundle

        return shipped_bundle(PICTURES_DEFAULT)

    def _open(self, bundle: Path, device: str) -> BackgroundPictureClassifier:
        from cadx.background_pictures import BackgroundPictureClassifier

        return BackgroundPictureClassifier(bundle, device, self.python)

    def openImage(self, path: str | Path, scene: Any = None) -> Any:
        """Add an image file to the scene as :func:`cadx.slicer.picture_nodes.open_picture` does; returns its node."""
        return open_picture(scene or main_scene(), path)

    def classify(self, image: Any, **options: Any) -> GradedCase:
        """Read and wait; takes what :meth:`classifyInBackground` takes."""
        return self.classifyInBackground(image, **options).result

    def classifyInBackground(
        self,
        image: Any,
        *,
        bundle: BundleFolder = None,
        device: str = "auto",
        slices: Slices = None,
        plane: str | None = None,
        rule: str | None = None,
        explain: bool = True,
        name: str | None = None,
        progress: ProgressCall | None = None,
    ) -> Pending[GradedCase]:
        """Start reading; the map, table rows and result join the image in its scene when it is taken.

        Parameters
        ----------
        image
            Node of a volume or of a picture.
        bundle
            Folder; by default the bundle that ships.
        device
            auto, cpu, cuda or mps.
        slices
            Of a volume: numbers from 0 in its own stored order, as Slicer's Data Probe counts; one, several, or text
            such as "3,5-9"; None or "all" takes all.
        plane
            Of a volume: axial, coronal or sagittal; by default that of the acquisition.
        rule
            Of several slices: "mean" of their probabilities, or those of the "most-confident" or "most-suspicious" one;
            by default the most suspicious one's where the bundle has a class that means "none", else the mean.
        explain
            The map too: attention rollout, Grad-CAM or HiResCAM, as the bundle says.
        name, progress
            As :meth:`cadx.slicer.ipmn.IPMNClassifierLogic.classifyInBackground` takes them, and what is returned.

        Raises
        ------
        InputError
            At once, if the node, the bundle, an option or the name cannot be used, or the slices show nothing.
        CadxError
            When the result is taken, for what comes up in the worker, such as a device that does not work.
        """
        nodes = _nodes(image)
        options, background = _options(rule, explain), self.background(bundle, device)
        case = self._case(image, slices, plane)
        scene = require_scene(nodes)
        case_name(nodes, name)
        pending = background.classify(case, options, progress=progress)
        return pending.then(lambda reading: _added(case, reading, nodes, scene, name))

    def stack(self, image: Any, plane: str | None = None) -> Stack | None:
        """The slices of a volume; None of a picture."""
        return self._case(image, None, plane).stack

    def sliceInView(self, image: Any, plane: str | None = None) -> int | None:
        """Number of the slice nearest to where Slicer's slice view of its plane is.

        None outside the volume, of a picture, and where there is no such view.
        """
        stack = self.stack(image, plane)
        return None if stack is None else slice_in_view(image.GetScene(), stack)

    def touchedSlices(self, image: Any, mask: MaskSource, plane: str | None = None) -> tuple[int, ...]:
        """Numbers of the slices that a segment or label map (:func:`cadx.slicer.segments.mask_sources`) touches."""
        stack = self.stack(image, plane)
        if stack is None:
            raise InputError(f"{image.GetName()} is a single picture and has no slices for a segment to touch.")
        stamp = (stack.volume, stack.axis, *mask_stamp(mask))
        if self._touched is None or self._touched[0] != stamp:
            self._touched = stamp, touched_slices(stack, mask)
        return self._touched[1]

    def forgetImages(self) -> None:
        self._sources.forget()
        self._cases, self._touched = [], None

    def check(
        self,
        image: Any,
        *,
        slices: Slices = None,
        plane: str | None = None,
        rule: str | None = None,
        bundle: BundleFolder = None,
        device: str = "auto",
    ) -> list[Notice]:
        """What is noteworthy before anything is computed; a result of this image will say so too.

        Raises
        ------
        CadxError
            What stands against reading it.
        """
        from cadx.classify_picture import PRESUMES

        case, background = self._case(image, slices, plane), self.background(bundle, device)
        background.check(case, _options(rule))
        return [*([] if background.bundle.settings.negative else [PRESUMES]), *case.notices()]

    def view(self, image: Any, index: int | None = None, plane: str | None = None) -> Any:
        """A picture, or a slice of a volume, as displayed: :class:`cadx.picture_case.View`."""
        return self._case(image, None, plane).view(index)

    def requestHash(
        self,
        image: Any,
        *,
        slices: Slices = None,
        plane: str | None = None,
        rule: str | None = None,
        explain: bool = True,
        bundle: BundleFolder = None,
        device: str = "auto",
    ) -> str:
        """The ``request_sha256`` that a result of this image has: whether one still fits."""
        case = self._case(image, slices, plane)
        return self.background(bundle, device).request_sha256(case, _options(rule, explain))

    def restored(self, nodes: CaseNodes) -> GradedCase:
        """A case that was read before its scene was saved: for pictures and export.

        Parameters
        ----------
        nodes
            Of :func:`cadx.slicer.results.find_cases`.

        Raises
        ------
        InputError
            If the scene's result is not whole.
        """
        from cadx.classify_picture import PictureReading
        from cadx.result import Result

        result = Result.from_json(nodes.result())
        table = result.slices.get("table", ())
        numbers, plane = ([row["slice"] for row in table] or None), result.slices.get("plane")
        case = replace(self._case(nodes.image, numbers, plane), name=nodes.case)
        drawn = None if nodes.attention is None else node_to_volume(nodes.attention)
        slices = tuple(_slices(case, result, drawn))
        shown = next((n for n, row in enumerate(table) if row["slice"] == result.slices["shown"]), 0)
        return GradedCase(case, PictureReading(result, case, slices, shown, drawn if table else None), nodes)

    def _case(self, image: Any, slices: Slices, plane: str | None) -> PictureCase:
        """The very same case where the same is asked again: it has looked which slices are empty."""
        from cadx.picture_case import PictureCase

        nodes = _nodes(image)
        source, name = self._sources.read(nodes.image), str(nodes.image.GetName() or "image")
        asked = (_numbers(slices), name, _plane(plane))
        same = [case for case in self._cases if case.source is source]
        for case in same:
            if (case.slices, case.name, case.plane) == asked:
                return case
        made = PictureCase(source, *asked)
        self._cases = [*same[1 - _KEPT_CASES :], made]
        return made


def candidates(scene: Any) -> list[Any]:
    """Volumes and pictures of a scene that may be chosen: no label maps, no maps that were laid over an image."""
    laid = [case.attention for case in find_cases(scene)]
    # label maps, tensors and diffusion series are scalar volumes to Slicer
    nodes = (node for node in nodes_of_class(scene, SCALAR) if node.GetClassName() in (SCALAR, COLOURED))
    usable = [node for node in nodes if node.GetImageData() is not None and not node.GetHideFromEditors()]
    return [node for node in usable if node not in laid]


def go_to_strongest(scene: Any, stored: CaseNodes) -> None:
    """Bring the views to the slice that a result shows, where its map is strongest; of a picture, to that place."""
    from cadx.prepare.stack import Stack

    slices = stored.result().get("slices") or {}
    drawn = None if stored.attention is None else view_of_node(stored.attention)
    if not slices.get("table"):
        if drawn is not None:
            jump_to(scene, attended_point(drawn))
        return
    stack, number = Stack.of(view_of_node(stored.image), slices["plane"]), slices["shown"]
    point = stack.center_ras(number)
    if drawn is not None:
        alone = slice_alone(Stack.of(drawn, slices["plane"]), number)
        point = attended_point(alone) if alone.voxels.any() else point
    jump_to(scene, point)
    go_to_slice(scene, stored.image, stack, number)


def _nodes(image: Any) -> CaseNodes:
    if not hasattr(image, "IsA") or not image.IsA("vtkMRMLVolumeNode"):
        raise InputError("No image is chosen; choose a volume, or open a picture.")
    return CaseNodes(image=image)


def _plane(plane: str | None) -> Plane | None:
    if plane is not None and plane not in PLANES:
        raise InputError(f"There is no plane '{plane}'; choose axial, coronal or sagittal.")
    return plane


def _numbers(slices: Slices) -> tuple[int, ...] | None:
    from cadx.picture_case import chosen_slices

    if slices is None or isinstance(slices, str):
        return None if slices is None else chosen_slices(slices)
    try:
        several = (slices,) if isinstance(slices, SupportsIndex) else slices
        return tuple(operator.index(number) for number in several)
    except TypeError as error:
        raise InputError(f"slices is {slices!r}; give whole numbers from 0, text such as '3,5-9', or None.") from error


def _options(rule: str | None = None, explain: bool = True) -> PictureOptions:
    from cadx.classify_picture import RULES, PictureOptions

    chosen = next((known for known in RULES if known == rule), None)
    if rule is not None and chosen is None:
        raise InputError(f"There is no rule '{rule}'; choose {', '.join(RULES[:-1])} or {RULES[-1]}.")
    return PictureOptions(rule=chosen, explain=explain)


def _added(case: PictureCase, reading: PictureReading, nodes: CaseNodes, scene: Any, name: str | None) -> GradedCase:
    """The scene is touched here and not before, in the thread that takes the result."""
    require_present(nodes, scene)
    # other jobs may have been stored since this one was started
    named = replace(case, name=case_name(nodes, name))
    own_map = reading.slices[0].own_map
    drawn = reading.attention
    if case.stack is None and own_map is not None:
        drawn = on_node(nodes.image, own_map)
    return GradedCase(named, reading, store_answer(nodes, reading.result, drawn, named.name))


def _slices(case: PictureCase, result: Any, drawn: Any) -> list[SliceReading]:
    """The readings of a stored result, with the maps that the scene holds."""
    from cadx.classify_picture import SliceReading
    from cadx.prepare.stack import Stack

    maps = None if drawn is None else Stack.of(drawn, result.slices.get("plane"))
    rows = result.slices.get("table") or [{"slice": None, "probabilities": result.probabilities}]
    found = []
    for row in rows:
        own_map = None if maps is None else maps.values(row["slice"] or 0)
        drawn_here = own_map is not None and bool(np.any(own_map))
        shares = np.array(list(row["probabilities"].values()))
        view = case.view(row["slice"])
        found.append(SliceReading(view, shares, own_map if drawn_here else None, row.get("suspicion")))
    return found
