"""The class decorator: each annotated member becomes a property kept in the parameter node."""

from __future__ import annotations

import logging
import typing
from dataclasses import dataclass
from typing import Any

import shiboken6
import slicer
import slicer.util
import vtk

from slicer_host.parameters.annotations import Default, split
from slicer_host.parameters.connectors import GuiConnector, createGuiConnector
from slicer_host.parameters.serializers import ValidatedSerializer, createSerializer
from slicer_host.pythonqt import find_children

SlicerParameterNamePropertyName = "SlicerParameterName"
# VTK tells Python's garbage collector about its observers, which then may take apart a callback still in use when
# nothing but the node itself refers to it; upstream has the same callback without this
_in_use: dict[tuple[int, int], Any] = {}


@dataclass
class ParameterInfo:
    """One member of the class."""

    basename: str
    serializer: ValidatedSerializer
    default: Default
    unalteredType: Any


def isParameterNodeWrapper(classOrObj: Any) -> bool:
    return getattr(classOrObj, "_is_parameter_node_wrapper", False)


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    """Class decorator, with or without brackets."""
    return _process if classtype is None else _process(classtype)


def _process(cls: type) -> type:
    parameters = {
        name: _describe(cls, name, kind) for name, kind in typing.get_type_hints(cls, include_extras=True).items()
    }
    for name in parameters:
        setattr(cls, name, _member(name))
    for name, value in vars(_Wrapper).items():
        if name.startswith("__") and name != "__init__":
            continue
        if name != "__init__" and (name in parameters or hasattr(cls, name)):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(cls, name, value)
    cls.allParameters = parameters
    return cls


def _describe(cls: type, name: str, annotated: Any) -> ParameterInfo:
    kind, annotations = split(annotated)
    try:
        serializer, annotations = createSerializer(kind, annotations)
    except Exception as error:
        raise Exception(f"Unable to create serializer for {cls} member {name}") from error
    defaults = [a for a in annotations if isinstance(a, Default)]
    if len(defaults) > 1:
        raise Exception("Multiple defaults found")
    if hasattr(cls, name):
        default = Default(getattr(cls, name))
    else:
        default = defaults[0] if defaults else Default(generator=serializer.default)
    return ParameterInfo(name, serializer, default, annotated)


def _member(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


class _Wrapper:
    """The members every wrapper class gets. Upstream caches values; here each read asks the node."""

    _is_parameter_node_wrapper = True

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._prefix = prefix or ""
        self._guis: dict[int, tuple[dict[str, GuiConnector], int]] = {}
        self._nextTag, self._updatingGui = 0, False
        for parameter in self.allParameters.values():
            if not parameter.serializer.isIn(parameterNode, self._prefix + parameter.basename):
                self.setValue(parameter.basename, parameter.default.value)

    def _info(self, name: str) -> ParameterInfo:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}; there are {list(self.allParameters)}")
        return self.allParameters[name]

    def getValue(self, name: str) -> Any:
        info, key = self._info(name), self._prefix + name
        if not info.serializer.isIn(self.parameterNode, key):
            info.serializer.write(self.parameterNode, key, info.default.value)
        return info.serializer.read(self.parameterNode, key)

    def setValue(self, name: str, value: Any) -> None:
        with slicer.util.NodeModify(self.parameterNode):
            self._info(name).serializer.write(self.parameterNode, self._prefix + name, value)

    def default(self, name: str) -> Default:
        return self._info(name).default

    def isCached(self, name: str) -> bool:
        self._info(name)
        return False

    def dataType(self, name: str) -> Any:
        return self._info(name).unalteredType

    # --- widgets

    def connectGui(self, gui: Any) -> None:
        """Bind every widget that names a parameter in its ``SlicerParameterName``; upstream's returns no tag."""
        widgets = find_children(gui) if getattr(gui, "isWidgetType", bool)() else list(vars(gui).values())
        named = {}
        for widget in widgets:
            name = widget.property(SlicerParameterNamePropertyName) if hasattr(widget, "property") else None
            if name:
                named[name] = widget
        self.connectParametersToGui(named)

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        for name in mapping:
            self._info(name)
        connectors = {
            name: widget if isinstance(widget, GuiConnector) else createGuiConnector(widget, self.dataType(name))
            for name, widget in mapping.items()
        }
        tag, self._nextTag = self._nextTag, self._nextTag + 1

        def follow(caller: Any, event: str) -> None:
            self._updateGui()

        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, follow)
        self._guis[tag] = (connectors, observer)
        _in_use[id(self), tag] = follow
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.onChanged(lambda name=name, connector=connector: self._onGui(name, connector))
        return tag

    def disconnectGui(self, tag: int) -> None:
        connectors, observer = self._guis.pop(tag, ({}, None))
        for connector in connectors.values():
            if shiboken6.isValid(connector.widget()):
                connector.onChanged(None)
        if observer is not None:
            self.RemoveObserver(observer)
        _in_use.pop((id(self), tag), None)

    def _onGui(self, name: str, connector: GuiConnector) -> None:
        if not self._updatingGui:
            self.setValue(name, connector.read())

    def _updateGui(self) -> None:
        if self._updatingGui:
            return
        self._updatingGui = True
        try:
            for connectors, _ in list(self._guis.values()):
                for name, connector in connectors.items():
                    if shiboken6.isValid(connector.widget()):
                        connector.write(self.getValue(name))
        finally:
            self._updatingGui = False

    # --- the node's own

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: int) -> int:
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def HasObserver(self, event: Any) -> int:
        return self.parameterNode.HasObserver(event)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def findChildWidgetForParameter(widget: Any, parameter: str) -> Any:
    """The child widget that names the parameter, or None."""
    for child in find_children(widget):
        if child.property(SlicerParameterNamePropertyName) == parameter:
            return child
    logging.debug("no widget for parameter %s", parameter)
    return None
