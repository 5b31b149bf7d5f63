"""A worker that stands still once when it has come to a stage: ``pausing_worker.py STAGE -m cadx.worker ...``."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, TextIO

from cadx import worker


def pausing(stream: TextIO, stage: str) -> Any:
    """The worker's own writer, which stops the process after its stage was said."""
    emit = write(stream)
    paused: list[int] = []

    def emit_and_pause(event: dict[str, Any]) -> None:
        emit(event)
        come = event.get("event") == "progress" and str(event.get("stage", "")).startswith(stage)
        if come and not paused:
            paused.append(os.getpid())
            os.kill(os.getpid(), signal.SIGSTOP)

    return emit_and_pause


if __name__ == "__main__":
    write = worker._writer
    worker._writer = lambda stream: pausing(stream, sys.argv[1])  # type: ignore[assignment]
    sys.exit(worker.main(sys.argv[4:]))
