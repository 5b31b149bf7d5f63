"""``cadx bench``: the measurements as commands."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

bench_app = typer.Typer(no_args_is_help=True, help="Measure speed and memory, as ratios against a baseline.")


class Part(StrEnum):
    """What to measure."""

    whole = "whole"
    steps = "steps"
    startup = "startup"
    memory = "memory"
    batch = "batch"


@bench_app.callback()
def _group() -> None:
    """Keeps ``cadx bench case`` a command of its own."""


@bench_app.command()
def case(
    pair: Annotated[
        Path, typer.Option("--pair", help="Folder with t1.nii.gz and t2.nii.gz; a phantom of that size if absent.")
    ] = Path("../shared/data/mri/brain_pair"),
    only: Annotated[list[Part] | None, typer.Option("--only", help="Parts to measure; all by default.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Interleaved runs of the whole chain.")] = 3,
    cases: Annotated[int, typer.Option("--cases", min=21, help="Length of the batch.")] = 200,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file to write.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """One case against the straightforward script; answers, start-up, peak memory, a long batch."""
    from cadx.bench.case import PARTS, bench_case
    from cadx.bench.report import machine, write_report

    parts = [part.value for part in only] if only else list(PARTS)
    rows = bench_case(pair, parts, repeats, cases, lambda text: print(text, file=sys.stderr, flush=True))
    found = machine()
    print(f"{found['processor']}, {found['cores']} cores, {found['memory_gib']} GiB")
    print("\n".join(str(row) for row in rows))
    if out is not None:
        chosen = [f"--only={part}" for part in parts]
        write_report(out, rows, ("cadx", "bench", "case", *chosen, f"--repeats={repeats}", f"--cases={cases}"))
    return 0
