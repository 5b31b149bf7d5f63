"""Results in a scene: a table with one row a case, and per case a text node that ties everything together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any

from cadx import DISCLAIMER
from cadx.errors import InputError
from cadx.slicer.runtime import nodes_of_class, slicer_module, vtk_module

ROLE_T1 = "cadx.t1"
ROLE_T2 = "cadx.t2"
ROLE_ROI = "cadx.roi"
ROLE_ATTENTION = "cadx.attention"
ROLE_TABLE = "cadx.table"
RESULT_ATTRIBUTE = "cadx.result"
TABLE_ATTRIBUTE = "cadx.table"
CASE_ATTRIBUTE = "cadx.case"

_FIRST_COLUMNS = ("case", "status", "label")
_LAST_COLUMNS = ("warnings", "bundle", "disclaimer")


@dataclass(frozen=True)
class CaseNodes:
    """One case's nodes in a scene; ``attention``, ``text`` and ``table`` may be None."""

    t1: Any
    t2: Any
    roi: Any
    attention: Any = None
    text: Any = None
    table: Any = None

    @property
    def case(self) -> str:
        """What the case is called."""
        return str(self.text.GetAttribute(CASE_ATTRIBUTE) or "") if self.text else ""

    def result(self) -> dict[str, Any]:
        """The ``cadx.result/1`` document kept in the scene.

        Raises
        ------
        InputError
            If there is none or it is not JSON.
        """
        try:
            document = json.loads(self.text.GetText()) if self.text else None
        except (TypeError, ValueError):
            document = None
        if not isinstance(document, dict):
            raise InputError("The scene holds no readable result for this case; classify it again.")
        return document


def store_result(nodes: CaseNodes, result: dict[str, Any], *, case: str = "case", table: Any = None) -> CaseNodes:
    """Keep a result beside its images: a row in the table, and a text node whose references name the others.

    Parameters
    ----------
    nodes
        The case's image nodes, all in one scene.
    result
        ``cadx.result/1`` document; input files keep only their base names.
    case
        What to call the case in the table; never a patient's name.
    table
        Table to append to; a new one by default.

    Returns
    -------
    CaseNodes
        The same nodes with ``text`` and ``table``.
    """
    scene = nodes.t1.GetScene()
    table = table or create_table(scene)
    append_row(table, result, case)
    text = scene.AddNewNodeByClass("vtkMRMLTextNode", f"Result {case}")
    text.SetText(json.dumps(_without_folders(result), indent=2, ensure_ascii=False))
    text.SetForceCreateStorageNode(slicer_module().vtkMRMLTextNode.CreateStorageNodeAlways)
    text.SetAttribute(RESULT_ATTRIBUTE, str(result.get("schema", "")))
    text.SetAttribute(CASE_ATTRIBUTE, case)
    for role, node in _roles(nodes, table):
        if node is not None:
            text.SetNodeReferenceID(role, node.GetID())
    return CaseNodes(nodes.t1, nodes.t2, nodes.roi, nodes.attention, text, table)


def find_cases(scene: Any) -> list[CaseNodes]:
    """Every case with a result in the scene, in the order they were added; for one that was loaded as well."""
    found = []
    for text in nodes_of_class(scene, "vtkMRMLTextNode"):
        if text.GetAttribute(RESULT_ATTRIBUTE) is not None:
            t1, t2, roi, attention, table = (
                text.GetNodeReference(role) for role in (ROLE_T1, ROLE_T2, ROLE_ROI, ROLE_ATTENTION, ROLE_TABLE)
            )
            found.append(CaseNodes(t1, t2, roi, attention, text, table))
    return found


def find_table(scene: Any) -> Any:
    """The scene's first table of results, or None."""
    tables = nodes_of_class(scene, "vtkMRMLTableNode")
    return next((t for t in tables if t.GetAttribute(TABLE_ATTRIBUTE) is not None), None)


def create_table(scene: Any, name: str = "Results") -> Any:
    """Add an empty ``vtkMRMLTableNode`` for results; :func:`append_row` makes its columns."""
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    table.SetAttribute(TABLE_ATTRIBUTE, "cadx.result/1")
    table.SetLocked(True)
    return table


def append_row(table: Any, result: dict[str, Any], case: str) -> int:
    """Add a case's row to a table of results and return its index.

    Columns are case, status, label, ``p:<class>`` for every class met so far (empty, not 0, where a
    case has none), warnings, bundle and disclaimer. The label is empty for a refused case.
    """
    probabilities = {f"p:{name}": float(p) for name, p in (result.get("probabilities") or {}).items()}
    _ensure_columns(table, list(probabilities))
    bundle = result.get("bundle") or {}
    row = table.AddEmptyRow()
    texts = {
        "case": case,
        "status": str(result.get("status", "")),
        "label": str(result.get("label") or ""),
        "warnings": " ".join(str(w.get("text", "")) for w in result.get("warnings") or []),
        "bundle": " ".join(str(bundle[key]) for key in ("name", "version") if bundle.get(key)),
        "disclaimer": str(result.get("disclaimer") or DISCLAIMER),
    }
    columns = table.GetTable()
    for index in range(table.GetNumberOfColumns()):
        column = columns.GetColumn(index)
        name = table.GetColumnName(index)
        if name in texts:
            column.SetValue(row, texts[name])
        elif name.startswith("p:"):
            column.SetValue(row, probabilities.get(name, float("nan")))
    columns.Modified()
    table.Modified()
    return row


def _ensure_columns(table: Any, probability_names: list[str]) -> None:
    """Rebuild the columns in their order if one is missing; rows that are there keep their values."""
    vtk = vtk_module()
    old = {table.GetColumnName(i): table.GetTable().GetColumn(i) for i in range(table.GetNumberOfColumns())}
    known = [name for name in old if name.startswith("p:")]
    wanted = [*_FIRST_COLUMNS, *known, *(n for n in probability_names if n not in known), *_LAST_COLUMNS]
    if all(name in old for name in wanted):
        return
    rows = table.GetNumberOfRows()
    table.RemoveAllColumns()
    for name in wanted:
        column = old.get(name)
        if column is None:
            column = vtk.vtkDoubleArray() if name.startswith("p:") else vtk.vtkStringArray()
            column.SetName(name)
            column.SetNumberOfValues(rows)
            for row in range(rows):
                column.SetValue(row, float("nan") if name.startswith("p:") else "")
        table.AddColumn(column)


def _without_folders(result: dict[str, Any]) -> dict[str, Any]:
    """The document with base names for input files: a scene is handed on, folders often hold patients' names."""
    inputs = [
        {**entry, "source": PureWindowsPath(str(entry["source"])).name} if entry.get("source") else entry
        for entry in result.get("inputs") or []
    ]
    return {**result, "inputs": inputs} if inputs else result


def _roles(nodes: CaseNodes, table: Any) -> list[tuple[str, Any]]:
    return [
        (ROLE_T1, nodes.t1),
        (ROLE_T2, nodes.t2),
        (ROLE_ROI, nodes.roi),
        (ROLE_ATTENTION, nodes.attention),
        (ROLE_TABLE, table),
    ]
