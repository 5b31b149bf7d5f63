"""Results in a scene: a table with one row a case, and per case a text node that ties everything together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx import DISCLAIMER
from cadx.errors import InputError
from cadx.slicer.runtime import nodes_of_class, slicer_module, vtk_module

ROLES = {name: f"cadx.{name}" for name in ("t1", "t2", "image", "roi", "attention", "table", "slices")}
"""Names of the references from a case's text node, by the field of :class:`CaseNodes`."""
RESULT_ATTRIBUTE = "cadx.result"
TABLE_ATTRIBUTE = "cadx.table"
CASE_ATTRIBUTE = "cadx.case"
ROW_ATTRIBUTE = "cadx.row"
MAP_ATTRIBUTE = "cadx.map"

_FIRST_COLUMNS = ("case", "status", "label")
_LAST_COLUMNS = ("warnings", "bundle", "disclaimer")


@dataclass(frozen=True)
class CaseNodes:
    """One case's nodes in a scene.

    Either ``roi`` with ``t1`` and ``t2``, of which the model may use one alone and the other is None then; or
    ``image``, a volume that is read slice by slice, or a picture. ``attention`` (the map of whichever kind), ``text``,
    ``table`` (of all cases) and ``slices`` (the case's own table) may be None.
    """

    t1: Any = None
    t2: Any = None
    roi: Any = None
    attention: Any = None
    text: Any = None
    table: Any = None
    image: Any = None
    slices: Any = None

    @property
    def reference(self) -> Any:
        """The image on whose grid the map lies; with a ROI, along whose slices it was cut."""
        return next(iter(self.images.values()), None)

    @property
    def images(self) -> dict[str, Any]:
        """The image nodes by role."""
        roles = (("T1", self.t1), ("T2", self.t2), ("image", self.image))
        return {role: node for role, node in roles if node is not None}

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The nodes that the case is made of."""
        return (*self.images.values(), *(() if self.roi is None else (self.roi,)))

    @property
    def scene(self) -> Any:
        """The scene of them all."""
        return self.reference.GetScene()

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
        What to call the case in the table; never a patient's name. The same nodes stored again under the same name:
        their row and text are replaced.
    table
        Table to append to; a new one by default.

    Returns
    -------
    CaseNodes
        The same nodes with ``text`` and ``table``.
    """
    scene = nodes.scene
    before = find_stored(nodes, case)
    table = (before.table if before else None) or table or create_table(scene)
    text = before.text if before else _new_text(scene, case)
    row = _row_of(table, text, case)
    if row is None:
        row = append_row(table, result, case)
    else:
        _fill_row(table, row, result, case)
    text.SetText(json.dumps(_without_folders(result), indent=2, ensure_ascii=False))
    text.SetAttribute(RESULT_ATTRIBUTE, str(result.get("schema", "")))
    text.SetAttribute(ROW_ATTRIBUTE, str(row))
    stored = replace(nodes, text=text, table=table)
    for name, role in ROLES.items():
        node = getattr(stored, name)
        text.SetNodeReferenceID(role, node.GetID() if node is not None else None)
    return stored


def find_stored(nodes: CaseNodes, case: str) -> CaseNodes | None:
    """What is stored of these very inputs under this name, or None."""
    for stored in find_cases(nodes.scene):
        if stored.case == case and is_same(stored, nodes):
            return stored
    return None


def is_taken(nodes: CaseNodes, case: str) -> bool:
    """Whether other images are stored under this name."""
    return any(one.case == case and not _is_same(one, nodes, ("t1", "t2", "image")) for one in find_cases(nodes.scene))


def next_case_name(nodes: CaseNodes) -> str:
    """The name under which these nodes are stored, or else "case N" with the next number that is free."""
    stored = find_cases(nodes.scene)
    for one in stored:
        if is_same(one, nodes):
            return one.case
    names = {one.case for one in stored}
    return next(name for n in range(1, len(names) + 2) if (name := f"case {n}") not in names)


def store_map(nodes: CaseNodes, indices: Sequence[int], grid_map: NDArray[np.floating] | None) -> None:
    """Keep the map (h, w) or (d, h, w) and the slices of its window, so that the tiles come back with the scene."""
    kept = {"window": list(indices), "map": None if grid_map is None else np.round(grid_map, 4).tolist()}
    nodes.text.SetAttribute(MAP_ATTRIBUTE, json.dumps(kept))


def stored_map(nodes: CaseNodes) -> tuple[tuple[int, ...], NDArray[np.float32] | None]:
    """What :func:`store_map` kept; no slices and no map where there is nothing."""
    try:
        kept = json.loads(nodes.text.GetAttribute(MAP_ATTRIBUTE) or "{}")
        grid_map = kept.get("map")
        indices = tuple(int(index) for index in kept.get("window", ()))
        return indices, None if grid_map is None else np.array(grid_map, dtype=np.float32)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError("The scene's result has a damaged map; classify it again.") from error


def find_cases(scene: Any) -> list[CaseNodes]:
    """Every case with a result in the scene, in the order they were added; for one that was loaded as well."""
    found = []
    for text in nodes_of_class(scene, "vtkMRMLTextNode"):
        if text.GetAttribute(RESULT_ATTRIBUTE) is not None:
            nodes = {name: text.GetNodeReference(role) for name, role in ROLES.items()}
            found.append(CaseNodes(**nodes, text=text))
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


def batch_rows(table: Any) -> list[tuple[str, str, str]]:
    """Case, status and warnings of each row of a table of results."""
    names = [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())]
    columns = [names.index(name) for name in ("case", "status", "warnings")] if names else []
    return [
        (table.GetCellText(row, columns[0]), table.GetCellText(row, columns[1]), table.GetCellText(row, columns[2]))
        for row in range(table.GetNumberOfRows() if names else 0)
    ]


def append_row(table: Any, result: dict[str, Any], case: str) -> int:
    """Add a case's row to a table of results and return its index.

    Columns are case, status, label, ``p:<class>`` for every class met so far (empty, not 0, where a
    case has none), warnings, bundle and disclaimer. The label is empty for a refused case.
    """
    _ensure_columns(table, list(_shares(result)))
    row = table.AddEmptyRow()
    _fill_row(table, row, result, case)
    return int(row)


def _fill_row(table: Any, row: int, result: dict[str, Any], case: str) -> None:
    probabilities = _shares(result)
    _ensure_columns(table, list(probabilities))
    bundle = result.get("bundle") or {}
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


def _shares(result: dict[str, Any]) -> dict[str, float]:
    return {f"p:{name}": float(p) for name, p in (result.get("probabilities") or {}).items()}


def _row_of(table: Any, text: Any, case: str) -> int | None:
    """The row that was made for a text node; None where there is none, or the table was changed."""
    names = [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())]
    row = int(text.GetAttribute(ROW_ATTRIBUTE) or -1)
    if "case" not in names or not 0 <= row < table.GetNumberOfRows():
        return None
    return row if table.GetCellText(row, names.index("case")) == case else None


def _new_text(scene: Any, case: str) -> Any:
    text = scene.AddNewNodeByClass("vtkMRMLTextNode", f"Result {case}")
    text.SetForceCreateStorageNode(slicer_module().vtkMRMLTextNode.CreateStorageNodeAlways)
    text.SetAttribute(CASE_ATTRIBUTE, case)
    return text


def is_same(one: CaseNodes, other: CaseNodes) -> bool:
    """Whether two whole cases are made of the same nodes."""
    whole = one.roi is not None or one.image is not None
    return whole and _is_same(one, other, ("t1", "t2", "image", "roi"))


def _is_same(one: CaseNodes, other: CaseNodes, names: Sequence[str]) -> bool:
    return all(getattr(one, name) is getattr(other, name) for name in names)


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
