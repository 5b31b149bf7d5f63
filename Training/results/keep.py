"""Copy the small files of a run into a folder that is kept: predictions, curves, choices, tables; no weights.

    python Training/results/keep.py RUN FOLDER [--light]

What is kept is a run's folder in form: ``cadx report`` and ``cadx compare`` read it. ``--light`` leaves out the lists
of all samples, which runs on one data set have in common. ``kept.json`` says when the last file was made.
"""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

KEPT = (
    "study.yaml",
    "run.json",
    "audit.json",
    "localisation*.json",
    "tables.md",
    "*/failed.json",
    "*/*/predictions.csv",
    "*/*/opening.json",
    "*/*/selection.json",
    "*/*/settings-*/*/done.json",
    "*/*/settings-*/*/rounds.jsonl",
    "*/*/settings-*/*/range_test.json",
    "*/*/final/done.json",
    "*/*/final/rounds.jsonl",
)
LISTS = ("folds.json", "samples.csv")


def keep(run: Path, folder: Path, light: bool) -> list[Path]:
    """The files' new places; what lay in ``folder`` before is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    found = sorted(path for pattern in (*KEPT, *(() if light else LISTS)) for path in run.glob(pattern))
    for path in found:
        place = folder / path.relative_to(run)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    finished = max(path.stat().st_mtime for path in found)
    document = {"date": f"{datetime.fromtimestamp(finished, tz=UTC):%Y-%m-%d}"}
    (folder / "kept.json").write_text(json.dumps(document) + "\n", encoding="utf-8")
    return [folder / path.relative_to(run) for path in found]


if __name__ == "__main__":
    light = "--light" in sys.argv
    source, target = [Path(word) for word in sys.argv[1:] if word != "--light"]
    copied = keep(source, target, light)
    print(f"{len(copied)} files, {sum(path.stat().st_size for path in copied) / 1e6:.2f} MB")
