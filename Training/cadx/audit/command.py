"""``cadx audit``: the checks as a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

LEAK = 4


def audit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that a cross-validation wrote, finished or not.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print audit.json instead of a line a check.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Prove from a run folder alone that nothing leaked; exit 4 where something did. Writes RUN/audit.json."""
    from cadx.audit.audit import audit_run

    report = audit_run(run)
    if as_json:
        print(json.dumps(report.to_json(), indent=1, ensure_ascii=False))
    else:
        print("\n".join(report.lines()))
    return 0 if report.passed else LEAK
