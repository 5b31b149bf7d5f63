"""``cadx demo``: a new phantom patient through the whole chain, on Slicer's data model where it is there."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from cadx import output
from cadx.case import Case
from cadx.classify import Classifier, Reading
from cadx.dataset import MARKER, is_synthetic
from cadx.errors import MissingDependencyError
from cadx.io.atomic import require_writable
from cadx.models.bundle import Bundle

log = logging.getLogger(__name__)


def run_demo(
    folder: Path, seed: int, bundle: Path, device: str, say: Callable[[str], None], command: tuple[str, ...] = ()
) -> Reading:
    """Make a phantom, grade it and leave input and output files in ``folder``."""
    require_writable(folder)
    classifier = Classifier(Bundle.load(bundle), device)
    say("Making a synthetic patient (T1, T2, ROI) ...")
    table = _new_patient(folder / "patient", seed)
    case, truth = _load(table, say)
    say("Preparing and grading ...")
    reading = classifier.classify(case, command=command)
    output.write_reading(folder, case, reading, say)
    say(f"The phantom was made as: {truth}")
    return reading


def _new_patient(folder: Path, seed: int) -> Path:
    """One phantom in ``folder``; only an earlier phantom is replaced."""
    from cadx.phantom import write_cohort

    if is_synthetic(folder) and all(path.name in ("cases.csv", MARKER, "phantom-0000") for path in folder.iterdir()):
        shutil.rmtree(folder)
    return write_cohort(folder, 1, seed)


def _load(table: Path, say: Callable[[str], None]) -> tuple[Case, str]:
    from cadx.batch import read_case, read_cases, read_table

    row = read_cases(table)[0]
    truth = read_table(table, ("label",))[0]["label"]
    case = read_case(row, say, 0.0)
    try:
        return _through_mrml(case), truth
    except MissingDependencyError as error:
        say(f"Without MRML: {error}")
        return case, truth


def _through_mrml(case: Case) -> Case:
    """The case as the nodes of a Slicer scene hold it."""
    from cadx.slicer import add_case, case_from_nodes, own_scene

    with own_scene() as scene:
        nodes = add_case(scene, t1=case.images["T1"], t2=case.images["T2"], roi=case.roi)
        t1, t2, roi = case_from_nodes(nodes.t1, nodes.t2, nodes.roi)
    return Case({"T1": t1, "T2": t2}, roi, case.name)
