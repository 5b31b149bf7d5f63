"""What was found slice by slice, as a table node: for the modules Tables and Plots, and saved with the scene."""

from __future__ import annotations

from typing import Any

from cadx import DISCLAIMER
from cadx.slicer.runtime import vtk_module

SLICES_ATTRIBUTE = "cadx.slices"


def store_slices(scene: Any, document: dict[str, Any], case: str, node: Any = None) -> Any:
    """Keep the slices of a result as a ``vtkMRMLTableNode``, one row a slice by place in the patient.

    Columns are slice (from 0 in the volume's stored order), position_mm (along the patient's axis, RAS), label,
    ``p:<class>``, suspicion where the bundle has a negative class, and disclaimer.

    Parameters
    ----------
    document
        ``cadx.result/1`` document.
    node
        One that this function made before, to be brought up to date.

    Returns
    -------
    vtkMRMLTableNode or None
        None, and an earlier node removed, for a result that is not of slices.
    """
    rows = (document.get("slices") or {}).get("table") or []
    if not rows:
        if node is not None:
            scene.RemoveNode(node)
        return None
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", f"Slices {case}")
        node.SetAttribute(SLICES_ATTRIBUTE, str(document.get("schema", "")))
        node.SetLocked(True)
    node.RemoveAllColumns()
    for name, values in _columns(rows, str(document.get("disclaimer") or DISCLAIMER)).items():
        node.AddColumn(_column(name, values))
    return node


def _columns(rows: list[dict[str, Any]], disclaimer: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in ("slice", "position_mm", "label")}
    for name in rows[0]["probabilities"]:
        columns[f"p:{name}"] = [row["probabilities"][name] for row in rows]
    if "suspicion" in rows[0]:
        columns["suspicion"] = [row["suspicion"] for row in rows]
    return {**columns, "disclaimer": [disclaimer] * len(rows)}


def _column(name: str, values: list[Any]) -> Any:
    vtk = vtk_module()
    kinds = {int: vtk.vtkIntArray, float: vtk.vtkDoubleArray, str: vtk.vtkStringArray}
    column = kinds[type(values[0])]()
    column.SetName(name)
    column.SetNumberOfValues(len(values))
    for row, value in enumerate(values):
        column.SetValue(row, value)
    return column
