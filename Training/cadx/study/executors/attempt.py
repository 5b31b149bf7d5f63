"""One training in a worker: what it says on the way, and how it ended, as what can be sent."""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cadx.study.executors.attempts import Attempts
from cadx.study.executors.orders import Orders, workshop
from cadx.study.task import Task, run_task

Tell = Callable[[str, Any], None]
TICK_EVERY_S = 2.0


def in_place(orders: Orders, task: Task, tell: Tell) -> Exception | None:
    """Train in the task's own folder, which no other process works in; returns what it failed with."""
    try:
        _train(orders, task, tell)
    except Exception as error:
        return _portable(error)
    return None


def aside(orders: Orders, task: Task, tell: Tell) -> Exception | None:
    """Train in a folder of this attempt's own, and put it in its place when it is whole; returns what it failed with.

    Another machine may work on the same task without knowing.
    """
    try:
        orders.require_mark()
        if not task.done:
            attempts = Attempts(orders.run)
            attempt = attempts.begin(task.folder)
            _train(orders, replace(task, folder=attempt), tell)
            attempts.finish(attempt, task.folder)
    except Exception as error:
        return _portable(error)
    return None


def _train(orders: Orders, task: Task, tell: Tell) -> None:
    last = time.monotonic()

    def tick(seen: int, wanted: int) -> None:
        nonlocal last
        if time.monotonic() - last >= TICK_EVERY_S:
            last = time.monotonic()
            tell("tick", (seen, wanted))

    run_task(workshop(orders), task, lambda line: tell("round", line), tick)


def _portable(error: Exception) -> Exception:
    """The same error, with the worker's traceback; where it cannot be sent, one that can, with its text."""
    error.add_note("In the worker:\n" + "".join(traceback.format_exception(error)))
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
