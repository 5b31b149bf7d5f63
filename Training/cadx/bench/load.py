"""How much of the processors other programs took while something was measured."""

from __future__ import annotations

import os
from pathlib import Path


class Elsewhere:
    """The share of all cores that other processes used since this was made; None where the system does not tell."""

    def __init__(self) -> None:
        self._start = _now()

    def share(self) -> float | None:
        """0 to 1; processes that this one started and waited for count as its own."""
        own, every, idle = (after - before for after, before in zip(_now(), self._start, strict=True))
        return None if every <= 0 else round(max(0.0, every - idle - own) / every, 3)


def _now() -> tuple[float, float, float]:
    """Seconds of this process and its children, of all cores, and of those the idle ones; zeros if unknown."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
        ticks = [int(word) / os.sysconf("SC_CLK_TCK") for word in first.split()[1:9]]
    except (OSError, ValueError, IndexError):
        return 0.0, 0.0, 0.0
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return own, sum(ticks), ticks[3] + ticks[4]
