"""PythonQt's ways on PySide6: Qt properties are plain attributes, signals connect by their C++ signature.

The properties are put into PySide6's own classes, so that an object which Qt itself made has them too. ``connect`` can
be replaced only in a Python class's own dictionary: modules therefore get the subclasses made by :func:`leaf`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

SOURCES = (QtCore, QtGui, QtWidgets, QtUiTools)
# Qt calls these virtual functions by name: a property of that name would look like an override
VIRTUAL = {("QWidget", "sizeHint"), ("QWidget", "minimumSizeHint"), ("QLayout", "spacing"), ("QProgressBar", "text")}
# classes with static getters or with virtual getters all over; no panel touches the latter
SPARED = ("QCoreApplication", "QGuiApplication", "QApplication", "QWindow", "QScreen", "QOffscreenSurface")
SPARED_FAMILIES = ("QGraphics", "QRaster", "QPaint", "QAbstractAnimation", "QVariantAnimation", "QAnimation")
CALLABLE_SETTERS = {"spacing": "setSpacing"}
_leaves: dict[type, type] = {}


def install_properties() -> None:
    """Turn the Qt properties of all widget, layout and object classes into Python attributes; once is enough."""
    if "name" in QtCore.QObject.__dict__:
        return
    for qt_class in _object_classes():
        if qt_class.__name__ in SPARED or qt_class.__name__.startswith(SPARED_FAMILIES):
            continue
        meta = qt_class.staticMetaObject
        for index in range(meta.propertyOffset(), meta.propertyCount()):
            described = meta.property(index)
            key = (qt_class.__name__, described.name())
            if key not in VIRTUAL and not isinstance(qt_class.__dict__.get(described.name()), staticmethod):
                setattr(qt_class, described.name(), _attribute(qt_class, described))
    QtCore.QObject.name = QtCore.QObject.__dict__["objectName"]


def _object_classes() -> Iterator[type]:
    """Every QObject class, base classes first."""
    found = [getattr(source, name) for source in SOURCES for name in dir(source)]
    classes = {c for c in found if isinstance(c, type) and issubclass(c, QtCore.QObject)}
    return iter(sorted(classes, key=lambda c: (len(c.__mro__), c.__name__)))


def _attribute(qt_class: type, described: QtCore.QMetaProperty) -> property:
    name, type_name = described.name(), described.typeName()
    getter = getattr(qt_class, name, None)
    setter = getattr(qt_class, f"set{name[0].upper()}{name[1:]}", None)

    def read(self: Any) -> Any:
        return getter(self) if getter else QtCore.QObject.property(self, name)

    def write(self: Any, value: Any) -> None:
        value = _accepted(value, type_name, name, lambda: read(self))
        if setter:
            setter(self, value)
        else:
            self.setProperty(name, value)

    return property(read, write if described.isWritable() else None, doc=f"Qt property of type {type_name}")


def _accepted(value: Any, type_name: str, name: str, current: Callable[[], Any]) -> Any:
    """The value as PythonQt converts it: numbers among themselves, anything to text, else an AttributeError."""
    if type_name in ("bool", "int", "double", "float"):
        if not hasattr(value, "__index__") and not hasattr(value, "__float__"):
            kind = type(value).__name__
            raise AttributeError(f"Property '{name}' of type '{type_name}' does not accept an object of type {kind}")
        return {"bool": bool, "int": int}.get(type_name, float)(value)
    if type_name == "QString":
        return str(value)
    if type(value) is int and hasattr(type(current()), "__members__"):
        return type(current())(value)
    return value


class LeafMeta(type(QtCore.QObject)):
    """Lets ``isinstance(label, qt.QWidget)`` hold although the two are sibling subclasses of PySide6's classes."""

    def __instancecheck__(cls, instance: Any) -> bool:
        stands_for = cls.__dict__.get("_stands_for")
        return isinstance(instance, stands_for) if stands_for else type.__instancecheck__(cls, instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        stands_for = cls.__dict__.get("_stands_for")
        return issubclass(subclass, stands_for) if stands_for else type.__subclasscheck__(cls, subclass)


def leaf(qt_class: type) -> type:
    """The class that modules see as ``qt.<name>``."""
    if qt_class not in _leaves:
        members = {**_members(qt_class), "_stands_for": qt_class, "__module__": "qt", "__doc__": qt_class.__doc__}
        try:
            _leaves[qt_class] = LeafMeta(qt_class.__name__, (qt_class,), members)
        except TypeError:
            _leaves[qt_class] = qt_class  # a class that cannot be derived from
    return _leaves[qt_class]


def _members(qt_class: type) -> dict[str, Any]:
    base_set = qt_class.__setattr__

    def __setattr__(self: Any, name: str, value: Any) -> None:
        if name.startswith("_"):
            base_set(self, name, value)
        elif name in CALLABLE_SETTERS and hasattr(self, CALLABLE_SETTERS[name]):
            getattr(self, CALLABLE_SETTERS[name])(value)
        elif _is_known(self, name):
            base_set(self, name, value)
        elif name in [bytes(n).decode() for n in self.dynamicPropertyNames()]:
            self.setProperty(name, value)
        else:
            raise AttributeError(f"'{name}' does not exist on {type(self).__name__} or cannot be assigned")

    def __getattr__(self: Any, name: str) -> Any:
        if not name.startswith("_") and name in [bytes(n).decode() for n in self.dynamicPropertyNames()]:
            return self.property(name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __init_subclass__(cls: type, **options: Any) -> None:
        super(_leaves[qt_class], cls).__init_subclass__(**options)
        for name in ("connect", "disconnect"):
            if name not in cls.__dict__:
                setattr(cls, name, globals()[name])

    members = {
        "__setattr__": __setattr__,
        "__getattr__": __getattr__,
        "__init_subclass__": classmethod(__init_subclass__),
        "connect": connect,
        "disconnect": disconnect,
        "className": lambda self: type(self)._stands_for.__name__ if _is_bare(self) else self.metaObject().className(),
        "delete": lambda self: __import__("shiboken6").delete(self),
        "findChildren": find_children,
        "findChild": find_child,
    }
    if qt_class is QtCore.QTimer:
        members["singleShot"] = _SingleShot()
    return members


def _is_bare(instance: Any) -> bool:
    """Whether PythonQt would have no Python class of the module's own behind it."""
    return "_stands_for" in type(instance).__dict__ or "_stand_in" in type(instance).__dict__


def _is_known(instance: Any, name: str) -> bool:
    if not _is_bare(instance):
        return True
    for owner in type(instance).__mro__:
        if name in owner.__dict__:
            return hasattr(owner.__dict__[name], "__set__") or isinstance(owner.__dict__[name], QtCore.Property)
    return False


class _SingleShot:
    """On the class the static function, on a timer the property: PythonQt has both under one name."""

    def __get__(self, timer: Any, owner: type) -> Any:
        return QtCore.QTimer.__dict__["singleShot"].__func__ if timer is None else timer.isSingleShot()

    def __set__(self, timer: Any, value: bool) -> None:
        timer.setSingleShot(bool(value))


def connect(self: Any, signal: str, *receiver: Any) -> bool:
    """``connect("clicked(bool)", f)``: f gets no more arguments than the signature names, and than f takes.

    Slicer prints a warning for a signal that does not exist; here it is an error, so that a test sees it.
    """
    bound, count = _signal(self, signal)
    target = receiver[0] if len(receiver) == 1 else getattr(receiver[0], receiver[1].partition("(")[0])
    most = min(count, _most_arguments(target))

    def receive(*arguments: Any) -> None:
        target(*arguments[:most])

    # an extra parameter would let PySide6 choose how many arguments to hand over
    slot = receive if count else (lambda: receive())
    bound.connect(slot)
    self.__dict__.setdefault("_connections", []).append((_normalized(signal), target, bound, slot))
    return True


def disconnect(self: Any, signal: str, *receiver: Any) -> bool:
    """The reverse of :func:`connect`; False if there was no such connection."""
    target = receiver[0] if len(receiver) == 1 else getattr(receiver[0], receiver[1].partition("(")[0])
    connections = self.__dict__.get("_connections", [])
    for entry in connections:
        if entry[0] == _normalized(signal) and entry[1] == target:
            connections.remove(entry)
            return bool(entry[2].disconnect(entry[3]))
    return False


def _normalized(signal: str) -> str:
    return bytes(QtCore.QMetaObject.normalizedSignature(signal.lstrip("0123456789"))).decode()


def _signal(sender: Any, signal: str) -> tuple[Any, int]:
    signature = _normalized(signal)
    name, _, types = signature.rstrip(")").partition("(")
    count = len([t for t in types.split(",") if t])
    own = getattr(type(sender), "SIGNALS", {})
    if signature in own:
        return getattr(sender, own[signature]), count
    if sender.metaObject().indexOfSignal(signature) < 0:
        raise ValueError(f"{type(sender).__name__} has no signal '{signal}'")
    bound = getattr(sender, name)
    try:
        return bound[types], count
    except (IndexError, TypeError, KeyError):
        return bound, count


def _most_arguments(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 99  # a built-in function does not tell
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 99
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def find_children(self: Any, kind: Any = None, name: Any = "") -> list[Any]:
    """All descendants of a class (given as class or as its name) and, if wanted, of a name or pattern."""
    found = []
    for child in self.children():
        if _matches(child, kind, name):
            found.append(child)
        found += find_children(child, kind, name)
    return found


def find_child(self: Any, kind: Any = None, name: Any = "") -> Any:
    """The first of :func:`find_children`, or None."""
    return next(iter(find_children(self, kind, name)), None)


def _matches(child: Any, kind: Any, name: Any) -> bool:
    right = child.inherits(kind) if isinstance(kind, str) else kind is None or isinstance(child, kind)
    if isinstance(name, QtCore.QRegularExpression):
        return right and name.match(child.objectName).hasMatch()
    if isinstance(name, re.Pattern):
        return right and bool(name.search(child.objectName))
    return right and (not name or child.objectName == name)
