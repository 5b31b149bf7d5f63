"""``qt.QUiLoader``: Designer files with Slicer's own widgets, properties and connections."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from slicer_host.pythonqt import connect, leaf

custom_widgets: dict[str, type] = {}


def widget_class(name: str) -> type:
    """The class a .ui file means.

    Raises
    ------
    RuntimeError
        If neither Qt nor the host has it.
    """
    if name in custom_widgets:
        return custom_widgets[name]
    found = getattr(QtWidgets, name, None) or {"Line": QtWidgets.QFrame}.get(name)
    if found is None:
        raise RuntimeError(f"The widget class '{name}' is not provided by the test host")
    return leaf(found)


class UiLoader(QtUiTools.QUiLoader):
    """Makes every widget, layout and action one of the classes modules expect, and keeps them alive."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._made: list[Any] = []

    def load(self, source: Any, parent: Any = None) -> Any:
        """Load from a path or an open device; None if it cannot be read, as in Qt."""
        text = Path(source).read_bytes() if isinstance(source, str | Path) else bytes(source.readAll())
        root = ElementTree.fromstring(text)
        for widget in root.iter("widget"):
            widget_class(widget.get("class", ""))
        connections = root.findall("connections/connection")
        for element in root.findall("connections"):
            root.remove(element)  # Qt does not know the signals of the custom widgets
        flags = _take_flags(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        loaded = super().load(buffer, parent)
        if loaded is not None:
            named = {widget.objectName: widget for widget in [*self._made, loaded]}
            for name, attribute, value in flags:
                setattr(named[name], attribute, value)
            _connect(named, connections)
            loaded.__dict__["_made"] = self._made
        return loaded

    def createWidget(self, name: str, parent: Any = None, object_name: str = "") -> Any:
        made = widget_class(name)(parent)
        if name == "Line":
            made.setFrameShadow(QtWidgets.QFrame.Shadow.Sunken)
        made.setObjectName(object_name)
        self._made.append(made)
        return made

    def createLayout(self, name: str, parent: Any = None, object_name: str = "") -> Any:
        layout_class = leaf(getattr(QtWidgets, name))
        # Qt itself adds a layout to the one around it
        made = layout_class(parent) if isinstance(parent, QtWidgets.QWidget) else layout_class()
        made.setObjectName(object_name)
        self._made.append(made)
        return made


def _take_flags(root: ElementTree.Element) -> list[tuple[str, str, int]]:
    """Flags of the custom widgets' own enums, which Qt cannot know: taken out, as (widget, property, value)."""
    taken = []
    for widget in root.iter("widget"):
        own = custom_widgets.get(widget.get("class", ""))
        for element in widget.findall("property") if own else []:
            words = (element.findtext("set") or element.findtext("enum") or "").split("|")
            names = [word.rpartition("::")[2] for word in words]
            if all(isinstance(getattr(own, name, None), int) for name in names):
                value = sum({getattr(own, name) for name in names})
                taken.append((widget.get("name", ""), element.get("name", ""), value))
                widget.remove(element)
    return taken


def _connect(named: dict[str, Any], connections: list[ElementTree.Element]) -> None:
    for connection in connections:
        sender, receiver = (named.get(connection.findtext(end, "")) for end in ("sender", "receiver"))
        if sender is not None and receiver is not None:
            connect(sender, connection.findtext("signal", ""), receiver, connection.findtext("slot", ""))
