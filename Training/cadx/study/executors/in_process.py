"""Trainings one after the other in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cadx.study.executors.executor import TaskReport
from cadx.study.progress import Reporter
from cadx.study.task import Task, Workshop, run_task


class InProcess:
    """An :class:`cadx.study.executors.executor.Executor` without any other process."""

    def __init__(self, shop: Workshop, report: Reporter) -> None:
        self._shop, self._report = shop, report

    @property
    def record(self) -> dict[str, Any]:
        """As :attr:`Executor.record`."""
        return {"executor": "process", "workers": 1}

    def run(self, tasks: Sequence[Task]) -> None:
        """As :meth:`Executor.run`."""
        for task in tasks:
            told = TaskReport(task, self._shop.study.training, self._report)
            run_task(self._shop, task, told.round, told.tick)
            told.ended()
