"""What an audit of the run found, from its ``audit.json``: one line a check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cadx.evaluate.table import Cell, Column, Row, Table

LISTS = ("checks", "findings")
NAMES = ("title", "name", "check")
VERDICTS = ("verdict", "status", "result", "passed", "ok")
TEXTS = ("text", "sentence", "detail", "message", "reason")


def audit_table(audit: Mapping[str, Any]) -> Table | None:
    """The checks, their verdicts and what was found; None where there is no audit."""
    listed: list[Any] = next((audit[key] for key in LISTS if isinstance(audit.get(key), list)), [])
    checks = [one for one in listed if isinstance(one, Mapping)]
    rows = tuple(Row((_first(one, NAMES),), (Cell(_first(one, VERDICTS)), Cell(_first(one, TEXTS)))) for one in checks)
    columns = (Column("Verdict", words=True), Column("Found", words=True))
    return Table("audit", "What the audit checked", ("Check",), columns, rows) if rows else None


def _first(check: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    value = next((check[key] for key in keys if check.get(key) is not None), "")
    if isinstance(value, bool):
        return "passed" if value else "failed"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value) or "nothing"
