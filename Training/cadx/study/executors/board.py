"""The trainings of a phase on their way: which wait, which run, and what became of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from cadx.study.executors.executor import TaskReport, WorkersError
from cadx.study.progress import Reporter
from cadx.study.spec import TrainingSpec
from cadx.study.task import Task

TRIES = 4


class Board:
    """Each training goes by its number in ``tasks``; those that are done need no worker.

    When one fails, those before it are still waited for, so that the same one is complained of whatever the order.
    """

    def __init__(self, tasks: Sequence[Task], training: TrainingSpec, report: Reporter) -> None:
        self.tasks = tasks
        self.running: set[int] = set()
        self._told = [TaskReport(task, training, report) for task in tasks]
        self._waiting: deque[int] = deque()
        self._lost: Counter[int] = Counter()
        self._failed: tuple[int, BaseException] | None = None
        for number, task in enumerate(tasks):
            if task.done:
                self._told[number].ended()
            else:
                self._waiting.append(number)

    @property
    def waiting(self) -> int:
        """How many no worker has taken yet."""
        return len(self._waiting)

    @property
    def over(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and not self.running

    def take(self) -> int | None:
        """The next training that a worker may take; None where none waits."""
        if not self._waiting:
            return None
        number = self._waiting.popleft()
        self.running.add(number)
        return number

    def told(self, number: int, kind: str, said: Any) -> None:
        """What a worker says of its training: ``round`` with its line, ``tick`` with samples seen and wanted."""
        if kind == "round":
            self._told[number].round(said)
        elif kind == "tick":
            self._told[number].tick(*said)

    def ended(self, number: int, error: BaseException | None) -> None:
        """A training is done, or failed with ``error``; later ones are not begun then."""
        self.running.discard(number)
        if error is None:
            self._told[number].ended()
        elif self._failed is None or number < self._failed[0]:
            self._failed = (number, error)
            self._waiting = deque(other for other in self._waiting if other < number)

    def lost(self, number: int, how: str) -> None:
        """A training's worker is gone; another goes on with it from its checkpoint.

        Raises
        ------
        WorkersError
            If that has happened too often.
        """
        self.running.discard(number)
        if self._failed is not None and number > self._failed[0]:
            return
        self._lost[number] += 1
        place = self._told[number].place
        if self._lost[number] >= TRIES:
            raise WorkersError(
                f"{place} was begun {TRIES} times, and each time its worker was lost ({how}), perhaps for want of "
                "memory; use fewer workers or a smaller batch, and run again with --resume."
            )
        self._told[number].event("lost", f"lost its worker ({how}); another goes on with it.")
        self._waiting.appendleft(number)

    def needless(self) -> list[int]:
        """Those that run although an earlier one failed; they are not waited for from now on."""
        if self._failed is None:
            return []
        found = sorted(number for number in self.running if number > self._failed[0])
        self.running.difference_update(found)
        return found

    def conclude(self) -> None:
        """Raise what the first training that failed raised."""
        if self._failed is not None:
            raise self._failed[1]
