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

Layout = Annotated[str, typer.Option("--layout", help="auto, table, cystx, figshare or folders.")]
Preparing = Annotated[int, typer.Option("--prepare-workers", min=1, help="Processes that read pictures.")]
Cache = Annotated[
    Path | None, typer.Option("--cache", help="Where prepared pictures are kept; by default DATA/.cells.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
REPORT, SHEET = "check.json", "contact-sheet.png"
ERRORS = 2


@cohort_app.command()
def check(
    data: Annotated[Path, typer.Option("--data", help="Folder or table of the cohort.")],
    study: Annotated[
        str | None, typer.Option("--study", help="Study that it is for (name or YAML); else all that is there.")
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Of the study; recommended by default.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help=f"Folder for {SHEET} and {REPORT}.")] = None,
    layout: Layout = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    debug: Debug = False,
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


@cohort_app.command()
def group(
    data: Annotated[Path, typer.Option("--data", help="Folder or table of a cohort of pictures.")],
    study: Annotated[str, typer.Option("--study", help="Study that it is for (name or YAML).")],
    out: Annotated[Path, typer.Option("--out", help="Table to write: the same pictures, with joined groups.")],
    layout: Layout = "auto",
    preparing: Preparing = 1,
    cache: Cache = None,
    debug: Debug = False,
) -> None:
    """Join groups whose pictures show the same, however turned or retouched, into units that do not leak."""
    from cadx.study.joining import join_groups, write_joined
    from cadx.study.labelled import read_labelled
    from cadx.study.presets import read_study

    labelled = read_labelled(read_study(study), data, layout)
    joined = join_groups(labelled, cache, preparing, _progress())
    write_joined(out, labelled, joined)
    print(f"{joined.text()} Written to {out}; give it as --data.")


@cohort_app.command()
def shortcuts(
    data: Annotated[Path, typer.Option("--data", help="Folder or table of a cohort of pictures.")],
    study: Annotated[str, typer.Option("--study", help="Study that it is for (name or YAML).")],
    out: Annotated[Path | None, typer.Option("--out", help="JSON file to write.")] = None,
    layout: Layout = "auto",
    preparing: Preparing = 1,
    cache: Cache = None,
    debug: Debug = False,
) -> None:
    """Measure how well a picture's border alone, or a thumbnail of 16 x 16 pixels, tells the classes."""
    from cadx import DISCLAIMER
    from cadx.study.labelled import read_labelled
    from cadx.study.presets import read_study
    from cadx.study.shortcuts import find_shortcuts, lines, write_shortcuts

    labelled = read_labelled(read_study(study), data, layout)
    document = find_shortcuts(labelled, cache, preparing, _progress())
    if out is not None:
        write_shortcuts(out, document)
    print("\n".join(lines(document)))
    print(f"A network's figures on these images are to be read beside them. {DISCLAIMER}")


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
