"""Who runs the trainings of a phase, none of which needs another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cadx.study.progress import Reporter
from cadx.study.task import Task, Workshop, run_task
from cadx.study.trainer import rounds_of


class Executor(Protocol):
    """Runs trainings in any order and place; the same bits come out of each."""

    def run(self, tasks: Sequence[Task]) -> None:
        """Run every task that is not done, and return when all are.

        Raises
        ------
        InputError
            The first that a task raises; the others may have been ended before their time, and go on when run again.
        """
        ...


class InProcess:
    """One after the other in this process."""

    def __init__(self, shop: Workshop, report: Reporter) -> None:
        self._shop, self._report = shop, report

    def run(self, tasks: Sequence[Task]) -> None:
        """As :meth:`Executor.run`."""
        for task in tasks:
            self._one(task)

    def _one(self, task: Task) -> None:
        total = rounds_of(self._shop.study.training)
        rounds = task.rounds or total
        if task.done:
            self._report.skip(len(task.training) * total)
            return
        place = " ".join(part for part in (task.entry.name, task.fold, task.inner) if part)
        seen = 0

        def told(line: dict[str, Any]) -> None:
            nonlocal seen
            seen += 1
            self._report.round(place, rounds, len(task.training), line)

        run_task(self._shop, task, told, lambda *steps: self._report.tick(place, len(task.training), *steps))
        self._report.skip(len(task.training) * (total - seen))
