"""Ends the process by SIGKILL at a chosen moment of a training run."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
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
