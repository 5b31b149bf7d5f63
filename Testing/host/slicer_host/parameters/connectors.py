"""How a widget shows a parameter and changes it: the pairs in upstream's table of connectors, by exact class."""

from __future__ import annotations

import enum
import logging
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import slicer
from PySide6 import QtWidgets

from slicer_host.ctk_small import ctkCheckBox, ctkComboBox, ctkDoubleSpinBox
from slicer_host.node_combo_box import qMRMLNodeComboBox
from slicer_host.parameters.annotations import Choice, Decimals, Maximum, Minimum, SingleStep, WithinRange, first, split
from slicer_host.parameters.serializers import PATHS
from slicer_host.paths import ctkDirectoryButton, ctkPathLineEdit
from slicer_host.pythonqt import leaf
from slicer_host.sliders import ctkSliderWidget

CHECKED = (leaf(QtWidgets.QCheckBox), ctkCheckBox, leaf(QtWidgets.QPushButton))
WHOLE = (leaf(QtWidgets.QSlider), leaf(QtWidgets.QSpinBox))
REAL = (leaf(QtWidgets.QDoubleSpinBox), ctkSliderWidget, ctkDoubleSpinBox)
BOUNDED = (leaf(QtWidgets.QSlider), ctkSliderWidget)
CHOICES = (leaf(QtWidgets.QComboBox), ctkComboBox)
_registered: list[type[GuiConnector]] = []


class GuiConnector(ABC):
    """Between one widget and one parameter."""

    signal = ""

    @staticmethod
    @abstractmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        """Whether the widget can show values of this, possibly annotated, type."""

    @classmethod
    def create(cls, widget: Any, datatype: Any) -> GuiConnector:
        return cls(widget, datatype)

    def __init__(self, widget: Any, datatype: Any = None) -> None:
        self._widget, self._callback = widget, None
        self._type, self._annotations = split(datatype)
        self.prepare()

    def prepare(self) -> None:  # noqa: B027
        """Set range, entries and the like on the widget; most need nothing."""

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        """Call back when the widget changes; None ends it."""
        was, self._callback = self._callback, callback
        if callback is not None and was is None:
            getattr(self._widget, self.signal).connect(self.changed)
        elif callback is None and was is not None:
            getattr(self._widget, self.signal).disconnect(self.changed)

    def changed(self) -> None:
        if self._callback:
            self._callback()

    def widget(self) -> Any:
        return self._widget

    @abstractmethod
    def read(self) -> Any:
        """The widget's value."""

    @abstractmethod
    def write(self, value: Any) -> None:
        """Show the value."""


def parameterNodeGuiConnector(classtype: type[GuiConnector] | None = None) -> Any:
    """Class decorator: use this connector for what it can represent."""

    def register(cls: type[GuiConnector]) -> type[GuiConnector]:
        _registered.append(cls)
        return cls

    return register if classtype is None else register(classtype)


def createGuiConnector(widget: Any, datatype: Any) -> GuiConnector:
    """The connector for a widget and a type; RuntimeError if there is none."""
    for candidate in _registered:
        if candidate.canRepresent(widget, datatype):
            return candidate.create(widget, datatype)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{datatype}' to widget type '{type(widget)}'")


class PropertyConnector(GuiConnector):
    """For widgets whose value is one Qt property."""

    name = ""

    def read(self) -> Any:
        return getattr(self._widget, self.name)

    def write(self, value: Any) -> None:
        setattr(self._widget, self.name, value)


@parameterNodeGuiConnector
class ButtonConnector(PropertyConnector):
    """Check boxes and checkable buttons; like upstream it makes a button checkable."""

    signal, name = "toggled", "checked"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is bool and type(widget) in CHECKED

    def prepare(self) -> None:
        if not self._widget.checkable:
            logging.warning("Making push button checkable for conversion to bool: %s", self._widget.objectName)
            self._widget.setCheckable(True)


@parameterNodeGuiConnector
class NumberConnector(PropertyConnector):
    """Integers on spin boxes and sliders, floating point on double spin boxes and CTK's sliders."""

    signal, name = "valueChanged", "value"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        kind = split(datatype)[0]
        return (kind is int and type(widget) in WHOLE) or (kind is float and type(widget) in REAL)

    def prepare(self) -> None:
        for annotation, name in ((Decimals, "decimals"), (SingleStep, "singleStep")):
            found = first(self._annotations, annotation)
            if found is not None:
                setattr(self._widget, name, found.value)
        both = first(self._annotations, WithinRange)
        low, high = both or first(self._annotations, Minimum), both or first(self._annotations, Maximum)
        if type(self._widget) in BOUNDED and not (low and high):
            raise RuntimeError(f"A {type(self._widget).__name__} needs a parameter with a range")
        widest = 2**31 - 1 if self._type is int else float("inf")
        self._widget.setMinimum(low.minimum if low else -widest)
        self._widget.setMaximum(high.maximum if high else widest)


@parameterNodeGuiConnector
class TextConnector(PropertyConnector):
    """A line of text."""

    signal, name = "textChanged", "text"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is str and type(widget) is leaf(QtWidgets.QLineEdit)


@parameterNodeGuiConnector
class LabelConnector(GuiConnector):
    """A label; one way only."""

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is str and type(widget) is leaf(QtWidgets.QLabel)

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        """A label does not change by itself."""

    def read(self) -> str:
        return self._widget.text

    def write(self, value: str) -> None:
        self._widget.text = value


@parameterNodeGuiConnector
class PlainTextConnector(GuiConnector):
    """Several lines of text."""

    signal = "textChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is str and type(widget) is leaf(QtWidgets.QTextEdit)

    def read(self) -> str:
        return self._widget.toPlainText()

    def write(self, value: str) -> None:
        if value != self.read():
            self._widget.setPlainText(value)


@parameterNodeGuiConnector
class ComboBoxConnector(GuiConnector):
    """An enum, or a type with a Choice; upstream fills the box itself, with ``label()`` of an enum if it has one."""

    signal = "currentIndexChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        kind = split(datatype)[0]
        fits = kind in (int, float, str, bool) or (isinstance(kind, type) and issubclass(kind, enum.Enum))
        return type(widget) in CHOICES and fits

    def prepare(self) -> None:
        if isinstance(self._type, type) and issubclass(self._type, enum.Enum):
            label = getattr(self._type, "label", lambda member: member.name)
            self._values = list(self._type)
        else:
            choice, label = first(self._annotations, Choice), str
            if choice is None:
                raise RuntimeError("A QComboBox needs a parameter with a Choice")
            self._values = list(choice.choices)
        self._widget.clear()
        for value in self._values:
            self._widget.addItem(label(value))

    def read(self) -> Any:
        return self._values[self._widget.currentIndex]

    def write(self, value: Any) -> None:
        if value not in self._values:
            raise ValueError(f"Unable to find value {value} in choices {self._values}")
        self._widget.setCurrentIndex(self._values.index(value))


@parameterNodeGuiConnector
class PathConnector(GuiConnector):
    """A path in a line or on a button."""

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] in PATHS and type(widget) in (ctkPathLineEdit, ctkDirectoryButton)

    def prepare(self) -> None:
        line = type(self._widget) is ctkPathLineEdit
        self._name, self.signal = ("currentPath", "currentPathChanged") if line else ("directory", "directoryChanged")

    def read(self) -> Any:
        return self._type(getattr(self._widget, self._name))

    def write(self, value: Any) -> None:
        if self.read() != value:
            setattr(self._widget, self._name, str(value))


@parameterNodeGuiConnector
class NodeConnector(GuiConnector):
    """A node selector; upstream sets its node types from the parameter's type."""

    signal = "currentNodeChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is qMRMLNodeComboBox and bool(_node_types(datatype))

    def prepare(self) -> None:
        self._widget.nodeTypes = _node_types(self._type)

    def read(self) -> Any:
        return self._widget.currentNode()

    def write(self, value: Any) -> None:
        self._widget.setCurrentNode(value)


def _node_types(datatype: Any) -> list[str]:
    """Class names if the type is a node class or a union of such (and None); else empty."""
    kinds = [split(kind)[0] for kind in typing.get_args(split(datatype)[0])] or [split(datatype)[0]]
    nodes = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)]
    others = [kind for kind in kinds if kind not in nodes and kind is not type(None)]
    return [] if others else [kind().GetClassName() for kind in nodes]
