"""``cadx bench training``: the package's training against the straightforward loop, and what both could reach."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cadx import device
from cadx.bench.load import Elsewhere
from cadx.bench.report import Measured
from cadx.bench.setting import Setting
from cadx.bench.training_bound import bound
from cadx.bench.training_frozen import frozen
from cadx.bench.training_pictures import pictures
from cadx.bench.training_profile import profile
from cadx.bench.training_start import start
from cadx.bench.training_volumes import volumes
from cadx.study import memory

PARTS = ("volumes", "pictures", "frozen", "start", "bound", "profile")


def bench_training(
    parts: Sequence[str],
    repeats: int,
    where: device.Device,
    note: Callable[[str], None],
    *,
    figure: Path | None = None,
    tiny: bool = False,
) -> list[Measured]:
    """Measure the parts asked for (:data:`PARTS`), all in this process and in turns but for the start.

    Parameters
    ----------
    repeats
        Interleaved runs of each side, after one that is not counted.
    figure
        PNG to draw the cost of a cross-validation into, of the part "bound".
    tiny
        Small networks and data, for tests: the numbers mean nothing.

    Raises
    ------
    InputError
        If the figure cannot be written, or a command fails that is measured.
    """
    measures: dict[str, Callable[[Setting], list[Measured]]] = {
        "volumes": volumes,
        "pictures": pictures,
        "frozen": frozen,
        "start": start,
        "bound": lambda setting: bound(setting, figure),
        "profile": profile,
    }
    # as every process that trains does; the straightforward side has a process of its own
    memory.keep_freed()
    rows: list[Measured] = []
    for part in PARTS:
        if part in parts:
            note(f"{part} ...")
            with tempfile.TemporaryDirectory(prefix="cadx-bench-") as scratch:
                others = Elsewhere()
                measured = measures[part](Setting(where, repeats, Path(scratch), note, tiny))
            measured[0].detail["share of the processors that other programs took"] = others.share()
            rows += measured
    return rows
