"""``--folds-at-once``: trainings of one model in one batch, in this process; see :mod:`cadx.study.batched`."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cadx import device
from cadx.errors import InputError
from cadx.io import held
from cadx.study import runfolder
from cadx.study.batched import free_for, reason_against, train_together
from cadx.study.executors.executor import Executor, TaskReport
from cadx.study.executors.hiring import Workers, hired
from cadx.study.executors.orders import Orders
from cadx.study.progress import Reporter
from cadx.study.runfolder import write_json
from cadx.study.sampler import batches_of
from cadx.study.task import Task, Workshop, prepare, run_task

AtOnce = Literal["auto"] | int
PLACE = ".together"
ONE_BY_ONE = "Folds are trained one after the other: "
# in run.json: what was asked for, and where that is "auto" what it came to for each model
ASKED, CHOSEN = "folds_at_once", "folds_at_once_of"


def at_once_of(text: str | None) -> AtOnce | None:
    """From the command line.

    >>> at_once_of(None), at_once_of("auto"), at_once_of("4")
    (None, 'auto', 4)

    Raises
    ------
    InputError
        If it is neither.
    """
    if text is None or text == "auto":
        return "auto" if text else None
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"--folds-at-once is auto or a number from 1, and not '{text}'.")
    return int(text)


@dataclass(frozen=True)
class Grouping:
    """How many folds a run trains in one batch. It is part of the run: its numbers are rounded accordingly."""

    at_once: AtOnce = 1

    @classmethod
    def of(cls, wanted: AtOnce | None, begun: dict[str, Any] | None, kind: str, workers: Workers) -> Grouping:
        """What is wanted, else as the run was begun (by the document of ``run.json``), else one after the other.

        Raises
        ------
        InputError
            If the run was begun otherwise, or the workers take their trainings one by one.
        """
        if kind == "cpu" and wanted == "auto":
            # there a batch of folds takes longer than one after the other
            wanted = 1
        before = None if begun is None else begun.get(ASKED, 1)
        if before is not None and wanted not in (None, before):
            raise InputError(
                f"The run was begun with --folds-at-once {before}, and only that gives the same numbers; resume so."
            )
        alone = workers.wanted != "ray" and workers.cards(kind) == [None]
        chosen = before or wanted or 1
        if chosen != 1 and not alone:
            raise InputError(f"--folds-at-once {chosen} goes with one process; add --workers 1, or give 1.")
        return cls(chosen)

    def described(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {ASKED: self.at_once}

    @contextlib.contextmanager
    def executor(self, workers: Workers, orders: Orders, shop: Workshop, report: Reporter) -> Iterator[Executor]:
        """What runs the trainings, for as long as the block lasts.

        Raises
        ------
        CadxError
            If the workers cannot be had.
        """
        if self.at_once == 1:
            with hired(workers, orders, shop, report) as executor:
                yield executor
        else:
            yield Batched(shop, report, orders.run, self.at_once)


class Batched:
    """An :class:`cadx.study.executors.executor.Executor` that trains up to ``at_once`` folds in one batch.

    Which trainings go together follows from the tasks of a phase alone, done or not. Those of which one is left, or
    that cannot be trained together, are trained one after the other, and why is said.
    """

    def __init__(self, shop: Workshop, report: Reporter, run: Path, at_once: AtOnce) -> None:
        self._shop, self._report, self._run, self._at_once = shop, report, run, at_once
        self._said: set[str] = set()

    @property
    def record(self) -> dict[str, Any]:
        """As :attr:`Executor.record`."""
        return {"executor": "batched", "workers": 1}

    def run(self, tasks: Sequence[Task]) -> None:
        """As :meth:`Executor.run`."""
        for group in self._groups(tasks):
            told = [TaskReport(task, self._shop.study.training, self._report) for task in group]
            if not all(task.done for task in group):
                self._train(group, told)
            for one in told:
                one.ended()

    def _groups(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """Of one model, settings and number of batches, as many at once as there may be, evenly."""
        reason = reason_against(self._shop.study.training)
        if reason:
            self._say(ONE_BY_ONE + reason)
            return [[task] for task in tasks]
        alike: dict[str, list[Task]] = {}
        for task in tasks:
            batches = batches_of(len(task.training), self._shop.study.training.batch)
            alike.setdefault(json.dumps([task.entry.name, task.settings, batches]), []).append(task)
        return [group for some in alike.values() for group in evenly(some, self._most(some))]

    def _train(self, group: Sequence[Task], told: Sequence[TaskReport]) -> None:
        reason = self._together(group, told) if len(group) > 1 else "there is none to go with"
        if not reason:
            return
        if len(group) > 1:
            self._say(ONE_BY_ONE + reason)
        for task, one in zip(group, told, strict=True):
            run_task(self._shop, task, one.round, one.tick)

    def _together(self, group: Sequence[Task], told: Sequence[TaskReport]) -> str:
        place = self._run / PLACE / _name(self._run, group)
        with contextlib.ExitStack() as stack:
            for task in group:
                task.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held.lock(task.folder))
            ready = [prepare(self._shop, task, folds_at_once=len(group)) for task in group]
            if any(hasattr(module, "running_mean") for module in ready[0].model.modules()):
                self._say(f"{group[0].entry.name} normalises by the batch, so in fp32 its folds drift from the loop's")
            try:
                reason = train_together(place, ready, self._shop.where, told, self._shop.checkpoint_every_s)
            except RuntimeError as error:
                if not device.is_out_of_memory(error):
                    raise
                raise InputError(
                    f"{len(group)} folds of {group[0].entry.name} at once do not fit into the device's memory; begin "
                    "a new run with fewer --folds-at-once."
                ) from error
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            place.parent.rmdir()
        return reason

    def _most(self, tasks: Sequence[Task]) -> int:
        """How many of these at once; what memory decided once stays so for the whole run."""
        if self._at_once != "auto":
            return self._at_once
        run, name = runfolder.read_run(self._run), tasks[0].entry.name
        chosen = run.get(CHOSEN, {})
        if name not in chosen:
            tasks[0].folder.mkdir(parents=True, exist_ok=True)
            chosen[name] = free_for(
                prepare(self._shop, max(tasks, key=lambda task: len(task.training))), self._shop.where
            )
            write_json(self._run / runfolder.RUN, {**run, CHOSEN: chosen})
        return int(chosen[name])

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._report.event("note", f"{text}.")


def evenly(tasks: Sequence[Task], most: int) -> list[list[Task]]:
    """In order, cut into as few groups as there can be, of sizes that differ by one at most.

    >>> evenly([1, 2, 3, 4, 5, 6, 7], 3)
    [[1, 2, 3], [4, 5], [6, 7]]
    """
    count = -(-len(tasks) // most)
    least, more = divmod(len(tasks), count)
    bounds = [number * least + min(number, more) for number in range(count + 1)]
    return [list(tasks[low:high]) for low, high in itertools.pairwise(bounds)]


def _name(run: Path, group: Sequence[Task]) -> str:
    """Of a group's folder: by which trainings are in it."""
    places = [task.folder.relative_to(run).as_posix() for task in group]
    return f"{group[0].entry.name}-{hashlib.sha256(json.dumps(places).encode()).hexdigest()[:12]}"
