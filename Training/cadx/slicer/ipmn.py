"""Grading IPMN from T1 and T2 nodes and a ROI node: what the IPMNClassifier module does, panel or none."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx.case import Case
from cadx.errors import InputError
from cadx.job import Job, Pending
from cadx.notices import Notice
from cadx.slicer.classify import store_reading, used_nodes
from cadx.slicer.logic import (
    BundleFolder,
    GradedCase,
    GradingLogic,
    ProgressCall,
    case_name,
    require_present,
    require_scene,
)
from cadx.slicer.results import CaseNodes, stored_map
from cadx.slicer.rois import node_to_roi
from cadx.slicer.volumes import VolumeReader

if TYPE_CHECKING:
    from cadx.background import BackgroundClassifier
    from cadx.classify import Options, Reading
    from cadx.prepare.pipeline import CellLayout, Prepared


class IPMNClassifierLogic(GradingLogic["BackgroundClassifier"]):
    """Grades IPMN in a worker process, so that torch never loads into the process that asks.

    The same in the application and, with slicer-core, outside it. Nodes are ``vtkMRMLScalarVolumeNode`` (t1, t2)
    and ``vtkMRMLMarkupsROINode`` (roi); an image that the bundle does not use is left aside and may be None. Every
    method raises the exceptions of :mod:`cadx.errors`.
    """

    def __init__(self, python: str | None = None) -> None:
        super().__init__(python)
        self._volumes = VolumeReader()

    def defaultBundle(self) -> Path:
        """The demonstration bundle that ships; as :meth:`cadx.slicer.logic.GradingLogic.defaultBundle`."""
        from cadx.library import shipped_bundle

        return shipped_bundle()

    def _open(self, bundle: Path, device: str) -> BackgroundClassifier:
        from cadx.background import BackgroundClassifier

        return BackgroundClassifier(bundle, device, self.python)

    def forgetImages(self) -> None:
        self._volumes.forget()

    def buildGrid(
        self, t1: Any, t2: Any, roi: Any, *, bundle: BundleFolder = None, firstSlice: int | None = None
    ) -> NDArray[np.float32]:
        """The tensor that the model is fed; waits for the preparation.

        (channels, pixels, pixels) float32 in 0..1, or the cube (channels, pixels, pixels, pixels).

        Parameters
        ----------
        t1, t2, roi
            Nodes.
        bundle
            Folder; by default the bundle that ships.
        firstSlice
            First slice of the window, counted from the ROI's lowest (0); by default the central window.

        Raises
        ------
        CadxError
            If the nodes cannot be used.
        """
        self.layout(t1, t2, roi, bundle=bundle)
        job = self.prepareInBackground(t1, t2, roi, bundle=bundle)
        if job is not None:
            job.wait()
        prepared = self.prepared(t1, t2, roi, bundle=bundle)
        assert prepared is not None
        return prepared.tensor(prepared.window(firstSlice))

    def classify(self, t1: Any, t2: Any, roi: Any, **options: Any) -> GradedCase:
        """Grade and wait; takes what :meth:`classifyInBackground` takes."""
        return self.classifyInBackground(t1, t2, roi, **options).result

    def classifyInBackground(
        self,
        t1: Any,
        t2: Any,
        roi: Any,
        *,
        bundle: BundleFolder = None,
        device: str = "auto",
        firstSlice: int | None = None,
        allWindows: bool = False,
        explain: bool = True,
        register: bool = False,
        pad: bool = False,
        name: str | None = None,
        progress: ProgressCall | None = None,
    ) -> Pending[GradedCase]:
        """Start grading; the map, table row and result join the nodes in their scene when it is taken.

        Parameters
        ----------
        t1, t2, roi, bundle, firstSlice
            As for :meth:`buildGrid`.
        device
            auto, cpu, cuda or mps.
        allWindows
            Grade every window of nine slices and average.
        explain
            The map too: attention rollout, Grad-CAM or HiResCAM, as the bundle says.
        register
            Register T2 to T1 rigidly first.
        pad
            Repeat the last slice where the ROI holds too few.
        name
            What to call the case in the table, never a patient's name; by default the name under which these nodes
            are stored, or else "case 1" and so on. Grading the same nodes under the same name again replaces what was
            stored.
        progress
            Called with stage and fraction while the job is polled.

        Returns
        -------
        Pending of GradedCase
            ``poll()`` returns at once and says whether it is done, ``result`` waits, ``cancel()`` ends the worker. All
            jobs of a logic share one worker, which answers in turn: cancelling one, or asking for another bundle or
            device, cancels all.

        Raises
        ------
        InputError
            At once, if a node, the bundle, an option or the name cannot be used.
        RefusedError
            At once, if the ROI holds too few slices.
        CadxError
            When the result is taken, for what comes up in the worker, such as a device that does not work.
        """
        from cadx.prepare.pipeline import window_of

        options = _options(firstSlice, allWindows, explain, register, pad)
        channels = self.channels(bundle=bundle, device=device)
        nodes = used_nodes(t1, t2, roi, channels)
        case = self._case(t1, t2, roi, channels)
        scene = require_scene(nodes)
        case_name(nodes, name)
        layout = self.layout(t1, t2, roi, bundle=bundle, device=device, pad=pad)
        if layout.whole and options.start is not None:
            raise InputError("This bundle is fed the whole ROI at once, so there is no first slice to choose.")
        if not layout.whole:
            window_of(len(layout.slices), self.slicesInWindow(bundle=bundle, device=device), options.start)
        pending = self.background(bundle, device).classify(case, options, progress=progress)
        return pending.then(lambda reading: _added(case, reading, nodes, scene, name))

    def layout(
        self, t1: Any, t2: Any, roi: Any, *, bundle: BundleFolder = None, device: str = "auto", pad: bool = False
    ) -> CellLayout:
        """Which slices the ROI holds, within milliseconds.

        Raises
        ------
        CadxError
            What stands against grading these nodes.
        """
        background = self.background(bundle, device)
        return background.check(self._case(t1, t2, roi, background.bundle.volumes.channels), pad=pad)

    def noticesAhead(
        self,
        t1: Any,
        t2: Any,
        roi: Any,
        layout: CellLayout | Prepared,
        *,
        bundle: BundleFolder = None,
        device: str = "auto",
    ) -> list[Notice]:
        """What is noteworthy before a case is graded; a result of these nodes will say so too."""
        case = self._case(t1, t2, roi, self.channels(bundle=bundle, device=device))
        return [*case.notices(), *layout.notices]

    def channels(self, *, bundle: BundleFolder = None, device: str = "auto") -> tuple[str, ...]:
        """The images that the bundle's model is fed, in their order; the first is the reference."""
        return self.background(bundle, device).bundle.volumes.channels

    def slicesInWindow(self, *, bundle: BundleFolder = None, device: str = "auto") -> int:
        """How many slices the bundle's model is fed at once, or of a cube: how many planes are shown."""
        return self.background(bundle, device).bundle.volumes.grid.slices

    def prepareInBackground(
        self,
        t1: Any,
        t2: Any,
        roi: Any,
        *,
        bundle: BundleFolder = None,
        device: str = "auto",
        progress: ProgressCall | None = None,
    ) -> Job | None:
        """Start correcting the images, which does not depend on the ROI; None where that was done before."""
        background = self.background(bundle, device)
        return background.prepare(self._case(t1, t2, roi, background.bundle.volumes.channels), progress)

    def prepared(
        self, t1: Any, t2: Any, roi: Any, *, bundle: BundleFolder = None, device: str = "auto", pad: bool = False
    ) -> Prepared | None:
        """The cells of the ROI as it stands, within milliseconds; None until the images were prepared."""
        background = self.background(bundle, device)
        return background.prepared(self._case(t1, t2, roi, background.bundle.volumes.channels), pad=pad)

    def requestHash(
        self, t1: Any, t2: Any, roi: Any, *, bundle: BundleFolder = None, device: str = "auto", **options: Any
    ) -> str:
        """The ``request_sha256`` that a result of these nodes has: whether one still fits.

        ``options`` are firstSlice, allWindows, explain, register and pad, as for :meth:`classifyInBackground`.
        """
        from cadx.classify import request_sha256

        found = self.background(bundle, device).bundle
        return request_sha256(found, self._case(t1, t2, roi, found.volumes.channels), _options(**options))

    def imagesHash(
        self, t1: Any, t2: Any, roi: Any, *, bundle: BundleFolder = None, device: str = "auto"
    ) -> tuple[str, ...]:
        """Tells the content of the images that are used apart, whatever their nodes are called."""
        case = self._case(t1, t2, roi, self.channels(bundle=bundle, device=device))
        return tuple(volume.sha256() for volume in case.images.values())

    def restored(self, nodes: CaseNodes, prepared: Prepared) -> GradedCase:
        """A case that was graded before its scene was saved, as far as the scene keeps it: for pictures and export.

        Parameters
        ----------
        nodes
            Of :func:`cadx.slicer.results.find_cases`.
        prepared
            The cells of its images and ROI.

        Raises
        ------
        InputError
            If the scene's result is not whole.
        """
        from cadx.classify import Reading, WindowReading
        from cadx.prepare.pipeline import Window
        from cadx.result import Result

        case = self._case(nodes.t1, nodes.t2, nodes.roi, tuple(nodes.images))
        result = Result.from_json(nodes.result())
        indices, grid_map = stored_map(nodes)
        first = None if prepared.crop is not None else int(result.slices["first"])
        window = Window(indices or prepared.window(first).indices)
        shares = np.array(list(result.probabilities.values()))
        shown = WindowReading(window, prepared.tensor(window), shares, grid_map)
        return GradedCase(
            Case(case.images, case.roi, nodes.case), Reading(result, prepared, shown, attention=None), nodes
        )

    def _case(self, t1: Any, t2: Any, roi: Any, channels: Sequence[str]) -> Case:
        nodes = used_nodes(t1, t2, roi, channels).images
        return Case({role: self._volumes.read(nodes[role]) for role in channels}, node_to_roi(roi))


def _options(
    firstSlice: int | None = None,
    allWindows: bool = False,
    explain: bool = True,
    register: bool = False,
    pad: bool = False,
) -> Options:
    from cadx.classify import Options

    try:
        first = None if firstSlice is None else operator.index(firstSlice)
    except TypeError as error:
        raise InputError(f"firstSlice is {firstSlice!r}; give a whole number, 0 for the ROI's lowest slice.") from error
    if allWindows and first is not None:
        raise InputError("firstSlice chooses one window and allWindows takes every one; give one of the two.")
    return Options(first, "all" if allWindows else "central", explain, register, pad)


def _added(case: Case, reading: Reading, nodes: CaseNodes, scene: Any, name: str | None) -> GradedCase:
    """The scene is touched here and not before, in the thread that takes the result."""
    require_present(nodes, scene)
    # other jobs may have been stored since this one was started
    named = Case(case.images, case.roi, case_name(nodes, name))
    return GradedCase(named, reading, store_reading(nodes, reading, named.name))
