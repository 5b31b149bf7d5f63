"""Ends processes by SIGKILL at a chosen moment of a training run."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def arm(kind: str, moment: int) -> None:
    """Kill at the ``moment``-th step of training, half-way through a checkpoint, or among the steps of evaluation."""
    from cadx.study import crossval, opening, recording, trainer

    count = 0

    def fatal(function: Callable[..., Any], before: bool = True) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == moment and before:
                os.kill(os.getpid(), signal.SIGKILL)
            out = function(*given, **named)
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return out

        return wrapped

    if kind == "training":
        trainer.training_step = fatal(trainer.training_step)
    elif kind == "checkpoint":
        import torch

        # the file beside is whole or cut off, and was not renamed
        torch.save = fatal(torch.save, before=False)
        assert recording.CHECKPOINT
    else:
        crossval.predict_with = fatal(crossval.predict_with)
        crossval.record_opening = fatal(crossval.record_opening)
        crossval.write_json = fatal(crossval.write_json)
        opening.write_text = fatal(opening.write_text)


def children(number: int) -> list[int]:
    """Processes that a process has started, and those that they have; Linux."""
    found = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{number}/task").iterdir():
            found += [int(text) for text in (thread / "children").read_text().split()]
    return found + [below for one in found for below in children(one)]


def in_training(number: int) -> bool:
    """Whether a process is in the middle of a training: it writes where there is a checkpoint."""
    with contextlib.suppress(OSError):
        for handle in Path(f"/proc/{number}/fd").iterdir():
            if (handle.readlink().parent / "checkpoint.pt").is_file():
                return True
    return False


def kill_in_training(number: int, besides: tuple[int, ...] = ()) -> None:
    """In a thread: as soon as one below process ``number`` is in the middle of a training, end it.

    Where ``besides`` are given, those are ended with all that is below ``number``.
    """

    def wait() -> None:
        while not (found := [one for one in children(number) if in_training(one)]):
            time.sleep(0.02)
        for one in [*besides, *children(number)] if besides else found[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
