"""Wall-clock times of two or more ways to do one thing, taken in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Times = dict[str, list[float]]


def interleaved(
    sides: Mapping[str, Callable[[], object]], repeats: int, note: Callable[[str], None] = lambda text: None
) -> Times:
    """Seconds of every run of every side, one of each a round, so that what slows the machine slows all.

    >>> times = interleaved({"nothing": lambda: None, "sum": lambda: sum(range(10))}, 3)
    >>> sorted(times), len(times["sum"])
    (['nothing', 'sum'], 3)
    """
    times: Times = {name: [] for name in sides}
    for turn in range(repeats):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
            note(f"{turn + 1} of {repeats}: {name} {times[name][-1]:.3f} s")
    return times


def medians(times: Times) -> dict[str, float]:
    """Median seconds of each side."""
    return {name: statistics.median(seconds) for name, seconds in times.items()}
