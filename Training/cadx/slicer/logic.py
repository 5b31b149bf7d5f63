"""What the modules' logics share: a worker that stays with its bundle, batches, export. It opens no window.

Method names follow Slicer's convention for module logics. Nothing heavy is imported when a module is loaded: what a
method needs beyond Slicer's own packages is imported there, so that a module opens before its dependencies are
installed.
"""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from cadx.case import Case
from cadx.errors import FINISHED_WITH_FAILURES, InputError
from cadx.job import CommandJob, Pending
from cadx.slicer.results import CaseNodes, append_row, create_table, is_taken, next_case_name
from cadx.slicer.runtime import main_scene, python_program

if TYPE_CHECKING:
    from cadx.background import Background
    from cadx.classify import Reading
    from cadx.classify_picture import PictureReading
    from cadx.picture_case import PictureCase

BundleFolder = str | Path | None
Kind = TypeVar("Kind", bound="Background")
ProgressCall = Callable[[str, float], None]
FORMATS = ("json", "csv", "png")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, eq=False, repr=False)
class GradedCase:
    """A graded case: what went in, what came out, and the nodes that hold it in the scene."""

    case: Case | PictureCase
    reading: Reading | PictureReading
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

    def __repr__(self) -> str:
        shares = ", ".join(f"{name} {share:.3f}" for name, share in self.probabilities.items())
        return f"GradedCase({self.case.name}: {self.label}; {shares}; {self.reading.result.disclaimer})"


class GradingLogic(ABC, Generic[Kind]):
    """Keeps the worker of the bundle and device that were used last.

    Parameters
    ----------
    python
        Interpreter for the worker; by default PythonSlicer in the application, else this one.
    """

    def __init__(self, python: str | None = None) -> None:
        self._python = python
        self._used: Kind | None = None
        self._batches: list[CommandJob] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @abstractmethod
    def defaultBundle(self) -> Path:
        """The bundle that is used where none is named.

        Raises
        ------
        InputError
            If it is not there.
        """

    @abstractmethod
    def _open(self, bundle: Path, device: str) -> Kind:
        """A classifier in the background for a bundle."""

    def classifyBatch(self, cases: str | Path, outputFolder: str | Path, **options: Any) -> Any:
        """Grade every row of a table and wait; takes what :meth:`classifyBatchInBackground` takes."""
        return self.classifyBatchInBackground(cases, outputFolder, **options).result

    def classifyBatchInBackground(
        self,
        cases: str | Path,
        outputFolder: str | Path,
        *,
        bundle: BundleFolder = None,
        device: str = "auto",
        resume: bool = False,
        scene: Any = None,
        progress: Callable[[str], None] | None = None,
    ) -> Pending[Any]:
        """Grade every row of a table in a process of its own; the result is a new ``vtkMRMLTableNode``.

        A case that fails is recorded with its sentence, and the rest go on.

        Parameters
        ----------
        cases
            CSV with the columns of ``cadx batch``: case, t1, t2 and roi, or case and image or volume (with slice and
            plane if wanted); for a bundle for pictures also a folder of them.
        outputFolder
            A folder a case, and ``summary.csv``.
        bundle, device
            As for grading one case.
        resume
            Keep cases that were done with this bundle and these options.
        scene
            ``vtkMRMLScene`` that receives the table; by default the application's.
        progress
            Called with the name of each case when it is done, while the work is polled.

        Raises
        ------
        CadxError
            When the result is taken, if the table, the bundle or the folder cannot be used.
        """
        receiver = scene or main_scene()
        report = progress or (lambda case: None)
        arguments = ["-m", "cadx", "batch", f"--cases={cases}", f"--out={outputFolder}"]
        arguments += [f"--bundle={bundle or self.defaultBundle()}", f"--device={device}", "--json"]
        arguments += ["--resume"] if resume else []
        job = CommandJob(arguments, self.python, (0, FINISHED_WITH_FAILURES), lambda line: _report_case(line, report))
        self._batches = [known for known in self._batches if not known.done] + [job]
        return Pending(job, lambda lines: _table(receiver, Path(outputFolder) / "summary.csv"))

    def export(self, result: GradedCase, folder: str | Path, formats: str | Sequence[str] = FORMATS) -> list[Path]:
        """Write ``json``, ``csv`` and ``png`` of a graded case, or what of these was chosen; returns the files.

        Raises
        ------
        InputError
            If a format is unknown or the folder cannot be written.
        """
        from cadx import output

        if not isinstance(result, GradedCase):
            raise InputError("What is to be exported is no graded case; give what classify returned.")
        chosen = (formats,) if isinstance(formats, str) else formats
        return output.export_reading(Path(folder), result.case, result.reading, chosen)

    def background(self, bundle: BundleFolder = None, device: str = "auto") -> Kind:
        """The classifier behind it; another bundle or device ends the worker of the last.

        Raises
        ------
        BundleError
            If the bundle cannot be used.
        """
        if not isinstance(bundle, str | Path | None):
            raise InputError("The bundle is no path; give the folder of a model bundle.")
        if device not in DEVICES:
            raise InputError(f"There is no device '{device}'; choose one of {', '.join(DEVICES)}.")
        folder = Path(bundle or self.defaultBundle())
        used = self._used
        if used is None or (used.bundle.folder, used.device) != (folder, device):
            fresh = self._open(folder, device)
            if used is not None:
                used.close()
            self._used = used = fresh
        return used

    def describeInBackground(self, *, bundle: BundleFolder = None, device: str = "auto") -> Pending[dict[str, str]]:
        """Load the model and name the device that was chosen: kind, name, reason and precision."""
        return self.background(bundle, device).describe()

    @property
    def python(self) -> str:
        """The interpreter that workers run in."""
        return self._python or python_program()

    def reportInBackground(self) -> Pending[str]:
        """Versions, device, memory and what is missing, found out in a process of its own."""
        return Pending(CommandJob(["-m", "cadx.doctor"], self.python), "\n".join)

    def workerId(self) -> int | None:
        """Number of the worker's process, which leads its group; None where none runs."""
        return self._used.worker_id if self._used is not None else None

    def log(self) -> str:
        """What the worker wrote for developers."""
        return self._used.log() if self._used is not None else ""

    def end(self) -> None:
        """End the worker, if there is one; what was prepared is kept."""
        if self._used is not None:
            self._used.end()

    def forgetImages(self) -> None:
        """Let go of what was read from nodes: their scene is going."""

    def close(self) -> None:
        """End the worker and every batch, and remove what was prepared; the logic can be used again."""
        for batch in self._batches:
            batch.cancel()
        self._batches = []
        if self._used is not None:
            self._used.close()
            self._used = None


def require_scene(nodes: CaseNodes) -> Any:
    """The one scene that a case's inputs are of.

    Raises
    ------
    InputError
        If they are of none, or of several.
    """
    scene = nodes.reference.GetScene()
    if scene is None or any(node.GetScene() is not scene for node in nodes.inputs):
        names = ", ".join([*nodes.images, *(["ROI"] if nodes.roi is not None else [])])
        raise InputError(f"What was chosen ({names}) are not nodes of one scene; choose some that are.")
    return scene


def require_present(nodes: CaseNodes, scene: Any) -> None:
    """Refuse a case of which something has gone since it was taken up.

    Raises
    ------
    InputError
        If an input is not in the scene any more.
    """
    if not all(scene.IsNodePresent(node) for node in nodes.inputs):
        gone = "A volume or the ROI" if nodes.roi is not None else "The image"
        raise InputError(f"{gone} was removed from the scene meanwhile; nothing was added, choose again.")


def case_name(nodes: CaseNodes, name: str | None) -> str:
    """What a case is called, which no other images in the scene may be.

    Raises
    ------
    InputError
        If the name is no text, or taken.
    """
    if not isinstance(name, str | None):
        raise InputError("The case name is no text; give one such as 'case 7'.")
    chosen = name or next_case_name(nodes)
    if is_taken(nodes, chosen):
        raise InputError(f"The case name {chosen} belongs to other images in this scene; give another name.")
    return chosen


def _report_case(line: str, report: Callable[[str], None]) -> None:
    """Libraries print lines of their own; only those of the batch name a case."""
    try:
        record = json.loads(line)
    except ValueError:
        return
    if isinstance(record, dict) and "case" in record:
        report(str(record["case"]))


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
