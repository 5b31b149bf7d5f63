"""``cadx bench``: the measurements as commands."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadx.command_line import Debug, DeviceName, DeviceOption, note

if TYPE_CHECKING:
    from cadx.bench.report import Measured

bench_app = typer.Typer(no_args_is_help=True, help="Measure speed and memory, as ratios against a baseline.")


class Part(StrEnum):
    """What to measure."""

    whole = "whole"
    steps = "steps"
    startup = "startup"
    memory = "memory"
    batch = "batch"


class TrainingPart(StrEnum):
    """What to measure of training."""

    volumes = "volumes"
    pictures = "pictures"
    frozen = "frozen"
    start = "start"
    bound = "bound"
    profile = "profile"


Json = Annotated[Path | None, typer.Option("--out", help="JSON file to write.")]


@bench_app.command()
def case(
    pair: Annotated[
        Path, typer.Option("--pair", help="Folder with t1.nii.gz and t2.nii.gz; a phantom of that size if absent.")
    ] = Path("../shared/data/mri/brain_pair"),
    only: Annotated[list[Part] | None, typer.Option("--only", help="Parts to measure; all by default.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Interleaved runs of the whole chain.")] = 3,
    cases: Annotated[int, typer.Option("--cases", min=21, help="Length of the batch.")] = 200,
    out: Json = None,
    debug: Debug = False,
) -> int:
    """One case against the straightforward script; answers, start-up, peak memory, a long batch."""
    from cadx.bench.case import PARTS, bench_case

    parts = [part.value for part in only] if only else list(PARTS)
    rows = bench_case(pair, parts, repeats, cases, note)
    chosen = [f"--only={part}" for part in parts]
    return _told(rows, out, ("cadx", "bench", "case", *chosen, f"--repeats={repeats}", f"--cases={cases}"))


@bench_app.command()
def training(
    only: Annotated[list[TrainingPart] | None, typer.Option("--only", help="Parts to measure; all by default.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Interleaved runs of each side.")] = 5,
    device: DeviceOption = DeviceName.auto,
    figure: Annotated[Path | None, typer.Option("--figure", help="PNG of a cross-validation's cost to draw.")] = None,
    out: Json = None,
    debug: Debug = False,
) -> int:
    """Training against the straightforward loop: volumes, pictures, a frozen body, a start, the bound, a profile."""
    from cadx import device as devices
    from cadx.bench.training import PARTS, bench_training

    parts = [part.value for part in only] if only else list(PARTS)
    where = devices.choose(device.value)
    rows = bench_training(parts, repeats, where, note, figure=figure)
    chosen = [f"--only={part}" for part in parts]
    return _told(rows, out, ("cadx", "bench", "training", *chosen, f"--repeats={repeats}", f"--device={where.kind}"))


def _told(rows: Sequence[Measured], out: Path | None, command: Sequence[str]) -> int:
    """Print the lines and write them where asked."""
    from cadx.bench.report import machine, write_report

    found = machine()
    print(f"{found['processor']}, {found['cores']} cores, {found['memory_gib']} GiB")
    print("\n".join(str(row) for row in rows))
    if out is not None:
        write_report(out, rows, command)
    return 0
