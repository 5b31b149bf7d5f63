"""What runs the trainings of a phase, none of which needs another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cadx.errors import CadxError
from cadx.study.progress import Reporter
from cadx.study.spec import TrainingSpec
from cadx.study.task import Task
from cadx.study.trainer import rounds_of


class WorkersError(CadxError):
    """Workers cannot be had, were lost, or see something else than this process; no other model would fare better."""


class Executor(Protocol):
    """Runs trainings in any order and place; the same bits come out of each."""

    @property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` says of it: ``executor``, how many ``workers`` at once."""
        ...

    def run(self, tasks: Sequence[Task]) -> None:
        """Run every task that is not done, and return when all are.

        Raises
        ------
        InputError, MissingDependencyError
            What the first task, in their order, raises that cannot be trained; later ones may have been ended before
            their time, and go on when run again.
        WorkersError
            If a worker cannot be had, or a training is lost with its worker again and again.
        """
        ...


class TaskReport:
    """What one training says, told to a reporter; what is said twice, by two copies, is told once."""

    def __init__(self, task: Task, training: TrainingSpec, report: Reporter) -> None:
        self.place = " ".join(part for part in (task.entry.name, task.fold, task.inner) if part)
        self._report, self._samples = report, len(task.training)
        self._total = rounds_of(training)
        self._rounds = task.rounds or self._total
        self._last, self._told = -1, 0

    def round(self, line: dict[str, Any]) -> None:
        """A check, by its line of ``rounds.jsonl``."""
        if line["round"] > self._last:
            self._last, self._told = line["round"], self._told + 1
            self._report.round(self.place, self._rounds, self._samples, line)

    def tick(self, seen: int, wanted: int) -> None:
        """Samples seen since the last check, and how many the next one waits for."""
        self._report.tick(self.place, self._samples, seen, wanted)

    def event(self, kind: str, text: str) -> None:
        """Something that happened to it, as the rest of a sentence."""
        self._report.event(kind, f"{self.place} {text}", place=self.place)

    def ended(self) -> None:
        """It is done; what it did not tell was done before, or was not needed."""
        self._report.skip(self._samples * (self._total - self._told))
