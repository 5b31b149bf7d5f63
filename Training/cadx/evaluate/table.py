"""A table of a report, and its forms: Markdown, CSV, LaTeX. HTML is written by the report's template."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

EMPTY = "–"
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "…": r"\ldots{}",
}
CSV_COLUMNS = (
    "table",
    "row",
    "subrow",
    "group",
    "column",
    "text",
    "value",
    "sd",
    "low",
    "high",
    "empty_because",
    "notes",
)


@dataclass(frozen=True)
class Cell:
    """What one place of a table says.

    ``text`` as printed, ``detail`` the smaller line below it, the rest unrounded; ``reason``: why it is empty.
    """

    text: str = EMPTY
    detail: str = ""
    value: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    @classmethod
    def empty(cls, reason: str) -> Cell:
        """A place without a figure, and why."""
        return cls(reason=reason)


@dataclass(frozen=True)
class Column:
    """A column's heading; neighbours of the same ``group`` share a heading above. ``words``: text, set to the left."""

    name: str
    group: str = ""
    words: bool = False


@dataclass(frozen=True)
class Row:
    """A row: its headings, as many as the table's ``corner``, and a cell a column."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table. ``corner``: headings of the rows' headings. ``notes``: sentences below it."""

    key: str
    title: str
    corner: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def marks(self) -> dict[str, str]:
        """Reason of an empty cell to the letter that stands for it, in order of appearance."""
        reasons = dict.fromkeys(cell.reason for row in self.rows for cell in row.cells if cell.reason)
        return {reason: _letter(number) for number, reason in enumerate(reasons)}

    @property
    def grouped(self) -> bool:
        """Whether columns share headings."""
        return any(column.group for column in self.columns)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The shared headings in order, with how many columns each spans."""
        return [(name, len(list(run))) for name, run in groupby(column.group for column in self.columns)]

    @property
    def spans(self) -> list[int]:
        """For each row over how many rows its first heading runs; 0 where the one above does."""
        runs = [len(list(run)) for _, run in groupby(row.labels[0] for row in self.rows)]
        if len(self.corner) < 2:
            return [1] * len(self.rows)
        return [span for run in runs for span in [run, *[0] * (run - 1)]]

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``report.json``."""
        return asdict(self)


def markdown(tables: Iterable[Table], title: str, statements: Sequence[str]) -> str:
    """All tables as one Markdown document."""
    parts = [f"# {_md(title)}", "\n".join(f"> {_md(sentence)}  " for sentence in statements)]
    for table in tables:
        parts += [f"## {_md(table.title)}", _markdown_table(table), _markdown_notes(table, statements)]
    return "\n\n".join(parts) + "\n"


def comma_separated(tables: Iterable[Table], statements: Sequence[str]) -> str:
    """All tables as one CSV file, one line a cell, figures unrounded."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        notes = " ".join([*table.notes, *statements])
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                line = _csv_cell(cell) | {
                    "table": table.title,
                    "row": row.labels[0],
                    "subrow": " / ".join(row.labels[1:]),
                    "group": column.group,
                    "column": column.name,
                    "notes": notes,
                }
                writer.writerow({key: _harmless(value) for key, value in line.items()})
    return stream.getvalue()


def latex(tables: Iterable[Table], title: str, statements: Sequence[str]) -> str:
    r"""All tables as floats to ``\input``; they need the packages booktabs and graphicx."""
    head = [f"% {line}" for line in _comment(title, statements)]
    parts = ["\n".join([*head, r"% \usepackage{booktabs,graphicx}"])]
    parts += [_latex_table(table, statements) for table in tables]
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    names = [f"{c.group}, {c.name}" if c.group else c.name for c in table.columns]
    sides = ["---"] * len(table.corner) + ["---" if c.words else "---:" for c in table.columns]
    lines = [_md_row([*table.corner, *names]), "| " + " | ".join(sides) + " |"]
    for row, span in zip(table.rows, table.spans, strict=True):
        labels = row.labels if span else ("", *row.labels[1:])
        lines.append(_md_row([*labels, *(_plain(cell, table.marks) for cell in row.cells)]))
    return "\n".join(lines)


def _markdown_notes(table: Table, statements: Sequence[str]) -> str:
    reasons = [f"({mark}) {reason}" for reason, mark in table.marks.items()]
    return "\n".join(f"- {_md(line)}" for line in [*reasons, *table.notes, *statements])


def _plain(cell: Cell, marks: dict[str, str]) -> str:
    if cell.reason:
        return f"{cell.text} ({marks[cell.reason]})"
    return f"{cell.text} ({cell.detail})" if cell.detail else cell.text


def _md_row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(_md(text) for text in texts) + " |"


def _md(text: str) -> str:
    r"""Text that Markdown takes as it stands.

    >>> _md("a|b <i>")
    'a\\|b &lt;i>'
    """
    flat = re.sub(r"\s+", " ", text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", flat)


def _csv_cell(cell: Cell) -> dict[str, Any]:
    text = "" if cell.reason else f"{cell.text} ({cell.detail})" if cell.detail else cell.text
    figures = {key: getattr(cell, key) for key in ("value", "sd", "low", "high")}
    return {"text": text, "empty_because": cell.reason, **figures}


def _harmless(value: Any) -> Any:
    """No spreadsheet takes text for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _latex_table(table: Table, statements: Sequence[str]) -> str:
    sides = "l" * len(table.corner) + "".join("l" if column.words else "r" for column in table.columns)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{tex(table.title)}}}",
        rf"\label{{tab:{table.key}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        *_latex_head(table),
        r"\midrule",
    ]
    for row, span in zip(table.rows, table.spans, strict=True):
        labels = row.labels if span else ("", *row.labels[1:])
        lines.append(_tex_row([*map(tex, labels), *(_tex_cell(cell, table.marks) for cell in row.cells)]))
    lines += [r"\bottomrule", r"\end{tabular}}", r"\par\smallskip\begin{minipage}{\linewidth}\footnotesize"]
    lines += [rf"\textsuperscript{{{mark}}} {tex(reason)}\par" for reason, mark in table.marks.items()]
    lines += [rf"{tex(line)}\par" for line in [*table.notes, *statements]]
    return "\n".join([*lines, r"\end{minipage}", r"\end{table}"])


def _latex_head(table: Table) -> list[str]:
    names = _tex_row([*map(tex, table.corner), *(tex(column.name) for column in table.columns)])
    if not table.grouped:
        return [names]
    at = len(table.corner) + 1
    cells, rules = [""] * len(table.corner), []
    for name, span in table.groups:
        cells.append(rf"\multicolumn{{{span}}}{{c}}{{{tex(name)}}}")
        if name:
            rules.append(rf"\cmidrule(lr){{{at}-{at + span - 1}}}")
        at += span
    return [_tex_row(cells), "".join(rules), names]


def _tex_cell(cell: Cell, marks: dict[str, str]) -> str:
    if cell.reason:
        return rf"{tex(cell.text)}\textsuperscript{{{marks[cell.reason]}}}"
    return rf"{tex(cell.text)} {{\small ({tex(cell.detail)})}}" if cell.detail else tex(cell.text)


def _tex_row(texts: Iterable[str]) -> str:
    return " & ".join(texts) + r" \\"


def tex(text: str) -> str:
    r"""Text that LaTeX takes as it stands.

    >>> tex("50 % of T1_cohort ± 1")
    '50 \\% of T1\\_cohort $\\pm$ 1'
    """
    return "".join(LATEX.get(sign, sign) for sign in re.sub(r"\s+", " ", text))


def _comment(title: str, statements: Sequence[str]) -> list[str]:
    return [re.sub(r"\s+", " ", line) for line in (title, *statements)]


def _letter(number: int) -> str:
    """a to z, then aa.

    >>> _letter(0), _letter(26)
    ('a', 'aa')
    """
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)
