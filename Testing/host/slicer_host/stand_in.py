"""What the stand-ins for Slicer's own C++ widgets share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtWidgets

from slicer_host.pythonqt import install_properties, leaf

install_properties()
QWidget = leaf(QtWidgets.QWidget)


def stand_in(cls: type) -> type:
    """Mark a class as C++ in Slicer: modules can use it, derive from it, but not invent attributes on it."""
    cls._stand_in = True
    return cls


def stored(kind: Any, name: str, default: Any, changed: str | None = None) -> QtCore.Property:
    """A Qt property kept on the Python side; ``changed`` names a method to call after a change."""
    key = f"_{name}"

    def read(self: Any) -> Any:
        return self.__dict__.get(key, default)

    def write(self: Any, value: Any) -> None:
        if value != read(self):
            self.__dict__[key] = value
            if changed:
                getattr(self, changed)()

    return QtCore.Property(kind, read, write)


def setters(*names: str) -> Callable[[type], type]:
    """Add ``setX()`` for properties ``x``, as C++ classes have them beside the property."""

    def add(cls: type) -> type:
        for name in names:

            def write(self: Any, value: Any, name: str = name) -> None:
                setattr(self, name, value)

            method = f"set{name[0].upper()}{name[1:]}"
            if method not in cls.__dict__:
                setattr(cls, method, write)
        return cls

    return add
