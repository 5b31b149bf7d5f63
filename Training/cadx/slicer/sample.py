"""A synthetic patient in the scene, to try a module with: no real image ships."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cadx.job import CommandJob, Pending
from cadx.roi import Roi
from cadx.slicer.case_scene import add_case
from cadx.slicer.results import CaseNodes
from cadx.slicer.volumes import fill_volume_node, volume_to_node
from cadx.volume import Volume

Made = TypeVar("Made")
SEED = 1003
NAMES = {"t1": "IPMN phantom T1", "t2": "IPMN phantom T2", "roi": "IPMN phantom ROI"}


HEAD_NAMES = ("Head phantom", "Head phantom tumour")


def register_sample(name: str, module_file: Path, load: Callable[..., list[Any]]) -> None:
    """Offer sample data in the application's Sample Data module.

    Parameters
    ----------
    name
        What it is called there.
    module_file
        The module that offers it; its icon is the thumbnail.
    load
        Called with Sample Data's own source; returns the nodes that it added.
    """
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SlicerCADx",
        sampleName=name,
        # made on the spot: Slicer asks for an address, and the loader does not use it
        uris="cadx:phantom",
        fileNames=name,
        nodeNames=name,
        thumbnailFileName=str(module_file.parent / "Resources" / "Icons" / f"{module_file.stem}.png"),
        customDownloader=load,
    )


def add_phantom(scene: Any, seed: int = SEED) -> CaseNodes:
    """Make a phantom, which takes seconds, and add T1, T2 and ROI; the same seed gives the same patient."""
    from cadx.phantom import make_patient

    patient = make_patient(seed, 0)
    return _added(scene, patient.t1, patient.t2, patient.roi)


def phantom_in_background(scene: Any, python: str, seed: int = SEED) -> Pending[CaseNodes]:
    """:func:`add_phantom` with the phantom made in a process of its own; needs the packages of reading images."""
    return _made([f"--seed={seed}"], python, lambda folder: _read(scene, folder / "phantom-0000"))


def add_head(scene: Any, seed: int = SEED) -> tuple[Any, Any]:
    """Make a head with a tumour, and add it and the tumour's mask; the same seed gives the same head."""
    from cadx.phantom.head import make_head

    head = make_head(seed, 0, tumour=True)
    return _added_head(scene, head.volume, head.tumour)


def head_in_background(scene: Any, python: str, seed: int = SEED) -> Pending[tuple[Any, Any]]:
    """:func:`add_head` with the head made in a process of its own; needs the packages of reading images."""
    from cadx.io.files import read_volume

    def read(folder: Path) -> tuple[Any, Any]:
        return _added_head(scene, *(read_volume(str(folder / f"{name}.nii.gz")) for name in ("volume", "tumour")))

    return _made(["--head", f"--seed={seed}"], python, read)


def _made(options: list[str], python: str, read: Callable[[Path], Made]) -> Pending[Made]:
    """What another process makes, read from its folder."""
    folder = Path(tempfile.mkdtemp(prefix="cadx-phantom-"))
    job = CommandJob(["-m", "cadx.phantom", *options, "--out", str(folder / "made")], python)

    def finish(lines: list[str]) -> Made:
        try:
            return read(folder / "made")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return Pending(job, finish)


def _added_head(scene: Any, volume: Volume, mask: Volume) -> tuple[Any, Any]:
    """The volume, and the mask as a label map."""
    image = volume_to_node(scene, volume, scene.GenerateUniqueName(HEAD_NAMES[0]))
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", scene.GenerateUniqueName(HEAD_NAMES[1]))
    fill_volume_node(labels, mask)
    labels.CreateDefaultDisplayNodes()
    return image, labels


def _read(scene: Any, folder: Path) -> CaseNodes:
    from cadx.io.files import read_volume

    t1, t2 = (read_volume(str(folder / f"{name}.nii.gz")) for name in ("t1", "t2"))
    return _added(scene, t1, t2, Roi.from_markups(folder / "roi.mrk.json"))


def _added(scene: Any, t1: Volume, t2: Volume, roi: Roi) -> CaseNodes:
    nodes = add_case(scene, t1=t1, t2=t2, roi=roi)
    for role, name in NAMES.items():
        getattr(nodes, role).SetName(scene.GenerateUniqueName(name))
    return nodes
