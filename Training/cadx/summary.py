"""``summary.csv``: one row a case, for a batch and for a single one."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from cadx import DISCLAIMER


def failure_record(case: str, sentence: str) -> dict[str, str]:
    """The row of a case that could not be graded, with the reason."""
    return {"case": case, "status": "failed", "label": "", "warnings": "", "error": sentence}


def case_record(case: str, document: Mapping[str, object]) -> dict[str, str]:
    """The row of a case with a result (a document of ``result.json``)."""
    warnings = " ".join(w["text"] for w in document["warnings"])  # type: ignore[attr-defined]
    record = {
        "case": case,
        "status": str(document["status"]),
        "label": str(document["label"] or ""),
        "warnings": warnings,
        "error": str(document.get("reason", "")),
        "bundle": f"{document['bundle']['name']} {document['bundle']['version']}",  # type: ignore[index]
    }
    for name, value in document["probabilities"].items():  # type: ignore[attr-defined]
        record[f"p:{name}"] = f"{value:.6f}"
    return record


def summary_text(records: list[dict[str, str]], classes: tuple[str, ...]) -> str:
    """All rows as CSV: case, status, label, one column a class, warnings, error, bundle, disclaimer."""
    stream = io.StringIO()
    shares = [f"p:{name}" for name in classes]
    names = ["case", "status", "label", *shares, "warnings", "error", "bundle", "disclaimer"]
    writer = csv.DictWriter(stream, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**record, "disclaimer": DISCLAIMER} for record in records)
    return stream.getvalue()
