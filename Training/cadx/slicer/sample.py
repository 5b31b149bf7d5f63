"""A synthetic patient in the scene, to try a module with: no real image ships."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from cadx.job import CommandJob, Pending
from cadx.roi import Roi
from cadx.slicer.case_scene import add_case
from cadx.slicer.results import CaseNodes
from cadx.volume import Volume

SEED = 1003
NAMES = {"t1": "IPMN phantom T1", "t2": "IPMN phantom T2", "roi": "IPMN phantom ROI"}


def add_phantom(scene: Any, seed: int = SEED) -> CaseNodes:
    """Make a phantom, which takes seconds, and add T1, T2 and ROI; the same seed gives the same patient."""
    from cadx.phantom import make_patient

    patient = make_patient(seed, 0)
    return _added(scene, patient.t1, patient.t2, patient.roi)


def phantom_in_background(scene: Any, python: str, seed: int = SEED) -> Pending[CaseNodes]:
    """:func:`add_phantom` with the phantom made in a process of its own; needs the packages of reading images."""
    folder = Path(tempfile.mkdtemp(prefix="cadx-phantom-"))
    job = CommandJob(["-m", "cadx.phantom", "--seed", str(seed), "--out", str(folder / "cohort")], python)

    def read(lines: list[str]) -> CaseNodes:
        try:
            return _read(scene, folder / "cohort" / "phantom-0000")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return Pending(job, read)


def _read(scene: Any, folder: Path) -> CaseNodes:
    from cadx.io.files import read_volume

    t1, t2 = (read_volume(str(folder / f"{name}.nii.gz")) for name in ("t1", "t2"))
    return _added(scene, t1, t2, Roi.from_markups(folder / "roi.mrk.json"))


def _added(scene: Any, t1: Volume, t2: Volume, roi: Roi) -> CaseNodes:
    nodes = add_case(scene, t1=t1, t2=t2, roi=roi)
    for role, name in NAMES.items():
        getattr(nodes, role).SetName(scene.GenerateUniqueName(name))
    return nodes
