"""What a module does with nodes, panel or none: it opens no window, and torch stays in the worker's process.

Method names follow Slicer's convention for module logics.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx import output
from cadx.background import BackgroundClassifier
from cadx.case import Case
from cadx.classify import Options, Reading
from cadx.demo import shipped_bundle
from cadx.errors import CadxError, InputError
from cadx.job import BY_EXIT_CODE, Pending, package_environment
from cadx.slicer.case_scene import case_from_nodes
from cadx.slicer.classify import store_reading
from cadx.slicer.results import CaseNodes, append_row, create_table

ProgressCall = Callable[[str, float], None]
BATCH_FAILURES = 4


@dataclass(frozen=True, eq=False)
class GradedCase:
    """A graded case: what went in, what came out, and the nodes that hold it in the scene."""

    case: Case
    reading: Reading
    nodes: CaseNodes

    @property
    def label(self) -> str | None:
        """The grade."""
        return self.reading.result.label

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Class name to probability."""
        return self.reading.result.probabilities

    def toJson(self) -> dict[str, Any]:
        """The document of ``result.json``."""
        return self.reading.result.to_json()


class GradingLogic:
    """Grades nodes in a worker process; keeps the worker of the bundle and device that were used last.

    Parameters
    ----------
    python
        Interpreter for the worker; in Slicer, PythonSlicer.
    """

    def __init__(self, python: str = sys.executable) -> None:
        self._python = python
        self._used: BackgroundClassifier | None = None

    def buildGrid(
        self, t1: Any, t2: Any, roi: Any, *, bundle: str | Path | None = None, firstSlice: int | None = None
    ) -> NDArray[np.float32]:
        """The tensor that the model is fed: (channels, pixels, pixels) float32 in 0..1; waits for the preparation.

        Parameters
        ----------
        t1, t2
            ``vtkMRMLScalarVolumeNode``.
        roi
            ``vtkMRMLMarkupsROINode``.
        bundle
            Folder; by default the bundle that ships.
        firstSlice
            First slice of the window, counted from the ROI's lowest (0); by default the central window.

        Raises
        ------
        CadxError
            If the nodes cannot be used.
        """
        case = _case(t1, t2, roi)
        background = self.background(bundle)
        background.check(case)
        job = background.prepare(case)
        if job is not None:
            job.wait()
        prepared = background.prepared(case)
        assert prepared is not None
        return prepared.grid(prepared.window(firstSlice))

    def classify(self, t1: Any, t2: Any, roi: Any, **options: Any) -> GradedCase:
        """Grade and wait; takes what :meth:`classifyInBackground` takes."""
        return self.classifyInBackground(t1, t2, roi, **options).result

    def classifyInBackground(
        self,
        t1: Any,
        t2: Any,
        roi: Any,
        *,
        bundle: str | Path | None = None,
        device: str = "auto",
        firstSlice: int | None = None,
        allWindows: bool = False,
        explain: bool = True,
        register: bool = False,
        pad: bool = False,
        name: str = "case",
        progress: ProgressCall | None = None,
    ) -> Pending[GradedCase]:
        """Start grading; attention, table row and result join the nodes in their scene when it is taken.

        Parameters
        ----------
        t1, t2, roi, bundle, firstSlice
            As for :meth:`buildGrid`.
        device
            auto, cpu, cuda or mps.
        allWindows
            Grade every window of nine slices and average.
        explain
            Attention rollout too.
        register
            Register T2 to T1 rigidly first.
        pad
            Repeat the last slice where the ROI holds too few.
        name
            What to call the case in the table; never a patient's name.
        progress
            Called with stage and fraction while the job is polled.

        Raises
        ------
        CadxError
            At once, where the case cannot be graded as it stands.
        """
        if allWindows and firstSlice is not None:
            raise InputError("firstSlice chooses one window and allWindows takes every one; give one of the two.")
        case = _case(t1, t2, roi, name)
        chosen = Options(firstSlice, "all" if allWindows else "central", explain, register, pad)
        pending = self.background(bundle, device).classify(case, chosen, progress=progress)
        nodes, scene = CaseNodes(t1, t2, roi), t1.GetScene()
        return pending.then(lambda reading: _added(case, reading, nodes, scene))

    def classifyBatch(
        self,
        cases: str | Path,
        outputFolder: str | Path,
        *,
        scene: Any,
        bundle: str | Path | None = None,
        device: str = "auto",
        resume: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> Any:
        """Grade every row of a table in a process of its own, and wait; returns a new ``vtkMRMLTableNode``.

        A case that fails is recorded with its sentence, and the rest go on.

        Parameters
        ----------
        cases
            CSV with the columns case, t1, t2 and roi.
        outputFolder
            A folder a case, and ``summary.csv``.
        scene
            ``vtkMRMLScene`` that receives the table.
        progress
            Called with the name of each case when it is done.

        Raises
        ------
        CadxError
            If the table, the bundle or the folder cannot be used.
        """
        arguments = [f"--cases={cases}", f"--out={outputFolder}", f"--bundle={bundle or shipped_bundle()}"]
        arguments += [f"--device={device}", "--json", *(["--resume"] if resume else [])]
        # a file: a pipe that nobody reads while the cases go on would fill up and stop them
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            process = subprocess.Popen(
                [self._python, "-m", "cadx", "batch", *arguments],
                stdout=subprocess.PIPE,
                stderr=said,
                env=package_environment(),
                text=True,
            )
            assert process.stdout is not None
            for line in process.stdout:
                if progress:
                    progress(str(json.loads(line)["case"]))
            if process.wait() not in (0, BATCH_FAILURES):
                said.seek(0)
                raise _raised(process.returncode, said.read())
        return _table(scene, Path(outputFolder) / "summary.csv")

    def export(self, result: GradedCase, folder: str | Path, formats: Sequence[str] = output.FORMATS) -> list[Path]:
        """Write ``json``, ``csv`` and ``png`` of a graded case, or what of these was chosen; returns the files."""
        return output.export_reading(Path(folder), result.case, result.reading, formats)

    def background(self, bundle: str | Path | None = None, device: str = "auto") -> BackgroundClassifier:
        """The classifier behind it; another bundle or device ends the worker of the last."""
        folder = Path(bundle or shipped_bundle())
        used = self._used
        if used is None or (used.bundle.folder, used.device) != (folder, device):
            fresh = BackgroundClassifier(folder, device, self._python)
            self.close()
            self._used = used = fresh
        return used

    def close(self) -> None:
        """End the worker and remove what was prepared."""
        if self._used is not None:
            self._used.close()
            self._used = None


def _case(t1: Any, t2: Any, roi: Any, name: str = "case") -> Case:
    first, second, box = case_from_nodes(t1, t2, roi)
    return Case({"T1": first, "T2": second}, box, name)


def _added(case: Case, reading: Reading, nodes: CaseNodes, scene: Any) -> GradedCase:
    """The scene is touched here and not before, in the thread that takes the result."""
    if not all(scene.IsNodePresent(node) for node in (nodes.t1, nodes.t2, nodes.roi)):
        raise InputError("A volume or the ROI was removed from the scene meanwhile; nothing was added, choose again.")
    return GradedCase(case, reading, store_reading(nodes, reading, case.name))


def _table(scene: Any, summary: Path) -> Any:
    """``summary.csv`` as a table node; a case that failed has its sentence among the warnings."""
    table = create_table(scene, "Batch")
    with summary.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            probabilities = {key[2:]: float(value) for key, value in row.items() if key.startswith("p:") and value}
            texts = [text for text in (row["warnings"], row["error"]) if text]
            document = {
                "status": row["status"],
                "label": row["label"],
                "probabilities": probabilities,
                "warnings": [{"text": text} for text in texts],
            }
            append_row(table, document, row["case"])
    return table


def _raised(code: int, said: str) -> CadxError:
    lines = [line.removeprefix("cadx: ") for line in said.splitlines() if line.startswith("cadx: ")]
    text = lines[-1] if lines else f"The batch ended with code {code}; run cadx batch by itself to see why."
    return BY_EXIT_CODE.get(code, InputError)(text)
