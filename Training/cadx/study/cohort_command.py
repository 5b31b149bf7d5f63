"""``cadx cohort``: what is in a cohort, before anything learns from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cadx.study.check import Progress
    from cadx.study.spec import StudySpec

cohort_app = typer.Typer(no_args_is_help=True, help="Look at a cohort before training.")

REPORT, SHEET = "check.json", "contact-sheet.png"
ERRORS = 2


@cohort_app.callback()
def _group() -> None:
    """Keeps ``cadx cohort check`` a command of its own."""


@cohort_app.command()
def check(
    data: Annotated[Path, typer.Option("--data", help="Folder or table of the cohort.")],
    study: Annotated[
        str | None, typer.Option("--study", help="Study that it is for (name or YAML); else all that is there.")
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Of the study; recommended by default.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help=f"Folder for {SHEET} and {REPORT}.")] = None,
    layout: Annotated[str, typer.Option("--layout", help="auto, table, cystx, figshare or folders.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Count, open and compare every image; exit 0 when clean, 2 with every error as one sentence."""
    from cadx import DISCLAIMER
    from cadx.io.atomic import require_writable, staged_folder
    from cadx.study.check import check_cohort
    from cadx.study.contact_sheet import draw_contact_sheet

    if out is not None:
        require_writable(out)
    report = check_cohort(data, _study(study, preset), layout=layout, progress=_progress())
    document = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
    if out is not None:
        with staged_folder(out, (REPORT, SHEET)) as folder:
            (folder / REPORT).write_text(document + "\n", encoding="utf-8")
            draw_contact_sheet(folder / SHEET, report)
    if as_json:
        print(document)
    else:
        print("\n".join(_one_line(line) for line in report.lines()))
        print(f"{report.verdict().capitalize()}. {DISCLAIMER}")
        print(f"Look at {out / SHEET}." if out else f"--out FOLDER draws {SHEET}.")
    return ERRORS if report.errors else 0


def _study(name: str | None, preset: str | None) -> StudySpec | None:
    from cadx.study.presets import read_study

    return read_study(name, preset) if name else None


def _one_line(text: str) -> str:
    """Whatever a file's name holds."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _progress() -> Progress:
    """One line that is written over on a terminal, now and then a line elsewhere."""
    terminal = sys.stderr is not None and sys.stderr.isatty()

    def show(stage: str, done: int, total: int) -> None:
        if terminal:
            print(f"\r{done} of {total} {stage}", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif done == total or done % 500 == 0:
            print(f"{done} of {total} {stage}", file=sys.stderr, flush=True)

    return show
