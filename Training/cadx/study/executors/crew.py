"""The program of a process that trains: ``python -m cadx.study.executors.crew``.

Its input are lines, each a pickled object in base 64: first its orders, then one task at a time. So is its output:
``(kind, what)`` while it trains, and ``("ended", error or None)``. It ends with its input, also in the middle of a
training, so that it does not outlive who gave its orders.
"""

from __future__ import annotations

import base64
import os
import pickle
import queue
import sys
import threading
from typing import Any

from cadx.child import keep_standard_output


def packed(what: Any) -> str:
    """One line, without its end.

    >>> unpacked(packed(("round", {"loss": 0.5})))
    ('round', {'loss': 0.5})
    """
    return base64.b64encode(pickle.dumps(what)).decode()


def unpacked(line: str | bytes) -> Any:
    """What :func:`packed` was given; only lines of a process that this one started, or was started by."""
    return pickle.loads(base64.b64decode(line))


def main() -> None:
    """Serve until standard input ends."""
    answers = keep_standard_output()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    orders = unpacked(lines.get())
    from cadx.study.executors.attempt import in_place

    def tell(kind: str, what: Any) -> None:
        answers.write(packed((kind, what)) + "\n")
        answers.flush()

    while True:
        task = unpacked(lines.get())
        tell("ended", in_place(orders, task, tell))


def _listen(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    # whoever asked is gone, and nothing is lost: everything is written beside and renamed
    os._exit(0)


if __name__ == "__main__":
    main()
