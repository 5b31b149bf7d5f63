"""Several runs side by side, such as a paper's protocol and the leak-free one: the difference is a finding."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cadx import DISCLAIMER
from cadx.errors import InputError
from cadx.evaluate import page, protocol
from cadx.evaluate.metrics import TITLES
from cadx.evaluate.rundata import PHANTOMS, Run, read_run
from cadx.evaluate.scored import Scored, score
from cadx.evaluate.table import Cell, Column, Row, Table, comma_separated, latex, markdown
from cadx.evaluate.tables import figure_cell, unfinished_sentence
from cadx.io.atomic import staged_folder

WRITTEN = ("comparison.html", "comparison.json", "comparison.md", "comparison.csv", "comparison.tex")
METRICS = ("accuracy", "balanced_accuracy", "f1", "auc")
TITLE = "The same models under different protocols"


def make_comparison(runs: Sequence[Path], out: Path) -> Path:
    """Write tables of several runs' figures side by side, one a metric, into a folder.

    Rows are the models, by name; of two runs the difference is printed too.

    Returns
    -------
    Path
        The page, ``OUT/comparison.html``.

    Raises
    ------
    InputError
        If fewer than two runs are given, one cannot be read, their classes differ, or ``out`` cannot be written.
    """
    if len(runs) < 2:
        raise InputError("A comparison takes two runs or more; give their folders.")
    found = [read_run(run) for run in runs]
    for run, other in zip(runs, found, strict=True):
        if other.study.class_names != found[0].study.class_names:
            raise InputError(f"{run.name} has other classes than {runs[0].name}; compare runs of the same question.")
    labels = _labels(found)
    tables = _tables(labels, found)
    statements = _statements(labels, found)
    with staged_folder(out, replaces=WRITTEN) as stage:
        document = {
            "schema": "cadx.comparison/1",
            "statements": statements,
            "tables": [table.to_json() for table in tables],
        }
        texts = (
            page.render(WRITTEN[0], title=TITLE, tables=tables, statements=statements, disclaimer=DISCLAIMER),
            json.dumps(document, indent=1, ensure_ascii=False) + "\n",
            markdown(tables, TITLE, statements),
            comma_separated(tables, statements),
            latex(tables, TITLE, statements),
        )
        for name, text in zip(WRITTEN, texts, strict=True):
            (stage / name).write_text(text, encoding="utf-8", newline="")
    return out / WRITTEN[0]


def _labels(runs: Sequence[Run]) -> list[str]:
    """The presets where they tell the runs apart, else the studies' names, else letters."""
    for names in ([run.study.preset for run in runs], [run.study.name for run in runs]):
        if len(set(names)) == len(runs):
            return names
    return [f"run {number + 1}" for number in range(len(runs))]


def _tables(labels: Sequence[str], runs: Sequence[Run]) -> list[Table]:
    scored = [{model.entry.name: score(run, model) for model in run.shown} for run in runs]
    titles = {model.entry.name: model.entry.title for run in runs for model in run.models}
    columns = tuple(Column(name) for name in [*labels, *(["difference"] if len(runs) == 2 else [])])
    notes = tuple(_notes(labels, runs))
    return [
        Table(
            metric,
            TITLES[metric],
            ("Model",),
            columns,
            tuple(Row((title,), tuple(_cells(runs, scored, name, metric))) for name, title in titles.items()),
            notes,
        )
        for metric in METRICS
    ]


def _cells(runs: Sequence[Run], scored: Sequence[dict[str, Scored]], name: str, metric: str) -> list[Cell]:
    cells = []
    for run, own in zip(runs, scored, strict=True):
        if name in own:
            cells.append(figure_cell(own[name].pooled[metric], own[name].intervals[metric]))
        else:
            reasons = {model.entry.name: model.reason for model in run.models}
            cells.append(Cell.empty(reasons.get(name, "not among this study's models")))
    if len(runs) == 2:
        values = [cell.value for cell in cells]
        if values[0] is None or values[1] is None:
            cells.append(Cell.empty("one of the two is missing"))
        else:
            cells.append(Cell(f"{values[1] - values[0]:+.3f}".replace("-", "−"), value=values[1] - values[0]))
    return cells


def _notes(labels: Sequence[str], runs: Sequence[Run]) -> list[str]:
    notes = [
        f"{label}: {run.study.title}. {protocol.split_sentence(run)}" for label, run in zip(labels, runs, strict=True)
    ]
    notes.append("All test predictions pooled; ranges: 95 % interval over resampled patients.")
    if len(runs) == 2:
        notes.append(f"Difference: {labels[1]} less {labels[0]}.")
    for label, run in zip(labels, runs, strict=True):
        sentences = (unfinished_sentence(run, model) for model in run.models)
        notes += [f"{label}: {sentence}" for sentence in sentences if sentence]
    if len({str((run.record.get("data") or {}).get("sha256")) for run in runs}) > 1:
        notes.append("The runs did not see the same images.")
    return notes


def _statements(labels: Sequence[str], runs: Sequence[Run]) -> list[str]:
    leaks = [f"{label} leaks: {leak}" for label, run in zip(labels, runs, strict=True) for leak in run.leaks]
    caveats = [run.study.caveat for run in runs if run.study.caveat]
    phantoms = [PHANTOMS] if any(run.synthetic for run in runs) else []
    return [*dict.fromkeys([*leaks, *caveats, *phantoms]), DISCLAIMER]
