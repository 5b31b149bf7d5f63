"""How values are kept in a ``vtkMRMLScriptedModuleNode``, under upstream's key names."""

from __future__ import annotations

import enum
import pathlib
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import slicer
import slicer.util

from slicer_host.parameters.annotations import IsInstance, IsNone, NotNone, Validator, split

PATHS = (pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath)
PATHS += (pathlib.PurePath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
_registered: list[type[Serializer]] = []


class Serializer(ABC):
    """Writes and reads one kind of value."""

    @staticmethod
    @abstractmethod
    def canSerialize(type_: Any) -> bool:
        """Whether this class is for the type."""

    @staticmethod
    @abstractmethod
    def create(type_: Any) -> Serializer:
        """A serializer for the type, with the validators every value of it gets."""

    @abstractmethod
    def default(self) -> Any:
        """The value if no default is given."""

    def isIn(self, parameterNode: Any, name: str) -> bool:
        return parameterNode.HasParameter(name)

    @abstractmethod
    def write(self, parameterNode: Any, name: str, value: Any) -> None:
        """Keep the value."""

    @abstractmethod
    def read(self, parameterNode: Any, name: str) -> Any:
        """Get it back."""

    def remove(self, parameterNode: Any, name: str) -> None:
        parameterNode.UnsetParameter(name)


def parameterNodeSerializer(classtype: type[Serializer] | None = None) -> Any:
    """Class decorator: use this serializer for the types it takes."""

    def register(cls: type[Serializer]) -> type[Serializer]:
        _registered.append(cls)
        return cls

    return register if classtype is None else register(classtype)


class ValidatedSerializer(Serializer):
    """Asks the validators before it writes."""

    def __init__(self, serializer: Serializer, validators: list[Any]) -> None:
        inner = isinstance(serializer, ValidatedSerializer)
        self.serializer = serializer.serializer if inner else serializer
        self.validators = (serializer.validators if inner else []) + validators

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return False

    @staticmethod
    def create(type_: Any) -> Serializer:
        raise NotImplementedError("made by createSerializer only")

    def default(self) -> Any:
        return self.serializer.default()

    def isIn(self, parameterNode: Any, name: str) -> bool:
        return self.serializer.isIn(parameterNode, name)

    def validate(self, value: Any) -> None:
        for validator in self.validators:
            validator.validate(value)

    def write(self, parameterNode: Any, name: str, value: Any) -> None:
        self.validate(value)
        self.serializer.write(parameterNode, name, value)

    def read(self, parameterNode: Any, name: str) -> Any:
        return self.serializer.read(parameterNode, name)

    def remove(self, parameterNode: Any, name: str) -> None:
        self.serializer.remove(parameterNode, name)


def createSerializer(type_: Any, annotations: list[Any]) -> tuple[ValidatedSerializer, list[Any]]:
    """The serializer for a type, and the annotations that are not its business."""
    validators = [a for a in annotations if isinstance(a, Validator)]
    own = [a for a in annotations if isinstance(a, Serializer)]
    rest = [a for a in annotations if not isinstance(a, Validator | Serializer)]
    found = own[0] if own else _serializer_for(type_)
    return ValidatedSerializer(found, validators), rest


def _serializer_for(type_: Any) -> Serializer:
    for candidate in _registered:
        if candidate.canSerialize(type_):
            return candidate.create(type_)
    raise TypeError(f"Unable to create serializer for type: {type_}")


def _for_annotated(annotated: Any) -> ValidatedSerializer:
    return createSerializer(*split(annotated))[0]


@parameterNodeSerializer
class TextSerializer(Serializer):
    """Values that are written as ``str(value)``: numbers, texts, paths."""

    def __init__(self, kind: Callable[[str], Any]) -> None:
        self.kind = kind

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return type_ in (int, float, str, *PATHS)

    @staticmethod
    def create(type_: Any) -> Serializer:
        accepted = (int, float) if type_ is float else type_
        return ValidatedSerializer(TextSerializer(type_), [NotNone(), IsInstance(accepted)])

    def default(self) -> Any:
        return 0 if self.kind is float else self.kind()

    def write(self, parameterNode: Any, name: str, value: Any) -> None:
        parameterNode.SetParameter(name, str(value))

    def read(self, parameterNode: Any, name: str) -> Any:
        return self.kind(parameterNode.GetParameter(name))


@parameterNodeSerializer
class BoolSerializer(Serializer):
    """``True`` or ``False`` as words."""

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return type_ is bool

    @staticmethod
    def create(type_: Any) -> Serializer:
        return ValidatedSerializer(BoolSerializer(), [NotNone(), IsInstance(bool)])

    def default(self) -> bool:
        return False

    def write(self, parameterNode: Any, name: str, value: bool) -> None:
        parameterNode.SetParameter(name, "True" if value else "False")

    def read(self, parameterNode: Any, name: str) -> bool:
        return parameterNode.GetParameter(name) == "True"


@parameterNodeSerializer
class EnumSerializer(Serializer):
    """An enum's member by its name."""

    def __init__(self, kind: type[enum.Enum]) -> None:
        self.kind = kind

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return isinstance(type_, type) and issubclass(type_, enum.Enum)

    @staticmethod
    def create(type_: Any) -> Serializer:
        return ValidatedSerializer(EnumSerializer(type_), [IsInstance(type_)])

    def default(self) -> enum.Enum:
        return next(iter(self.kind))

    def write(self, parameterNode: Any, name: str, value: enum.Enum) -> None:
        parameterNode.SetParameter(name, value.name)

    def read(self, parameterNode: Any, name: str) -> enum.Enum:
        word = parameterNode.GetParameter(name)
        try:
            return self.kind[word]
        except KeyError as error:
            raise ValueError(f"Found {word!r} in parameter node, which is no name in {self.kind!r}") from error


@parameterNodeSerializer
class NodeSerializer(Serializer):
    """A node by reference; the empty parameter beside it tells a node that was set to None from one never set."""

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return isinstance(type_, type) and issubclass(type_, slicer.vtkMRMLNode)

    @staticmethod
    def create(type_: Any) -> Serializer:
        return ValidatedSerializer(NodeSerializer(), [IsInstance(type_)])

    def default(self) -> None:
        return None

    def write(self, parameterNode: Any, name: str, value: Any) -> None:
        parameterNode.SetParameter(name, "")
        parameterNode.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, parameterNode: Any, name: str) -> Any:
        return parameterNode.GetNodeReference(name)

    def remove(self, parameterNode: Any, name: str) -> None:
        parameterNode.UnsetParameter(name)
        parameterNode.RemoveNodeReferenceIDs(name)


@parameterNodeSerializer
class NoneSerializer(Serializer):
    """The None in ``Optional``."""

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return type_ is type(None)

    @staticmethod
    def create(type_: Any) -> Serializer:
        return ValidatedSerializer(NoneSerializer(), [IsNone()])

    def default(self) -> None:
        return None

    def write(self, parameterNode: Any, name: str, value: None) -> None:
        parameterNode.SetParameter(name, "True")

    def read(self, parameterNode: Any, name: str) -> None:
        return None


@parameterNodeSerializer
class UnionSerializer(Serializer):
    """One of several types; the place in the union is part of the key (``name_0``)."""

    def __init__(self, serializers: list[ValidatedSerializer]) -> None:
        self.serializers = serializers

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return typing.get_origin(type_) in (typing.Union, types.UnionType)

    @staticmethod
    def create(type_: Any) -> Serializer:
        return UnionSerializer([_for_annotated(kind) for kind in typing.get_args(type_)])

    def default(self) -> Any:
        optional = len(self.serializers) == 2 and isinstance(self.serializers[1].serializer, NoneSerializer)
        return None if optional else self.serializers[0].default()

    def _present(self, parameterNode: Any, name: str) -> list[tuple[str, ValidatedSerializer]]:
        keyed = [(f"{name}_{index}", serializer) for index, serializer in enumerate(self.serializers)]
        return [(key, serializer) for key, serializer in keyed if serializer.isIn(parameterNode, key)]

    def isIn(self, parameterNode: Any, name: str) -> bool:
        return bool(self._present(parameterNode, name))

    def write(self, parameterNode: Any, name: str, value: Any) -> None:
        raised: Exception | None = None
        for index, serializer in enumerate(self.serializers):
            if serializer.serializer.canSerialize(type(value)):
                try:
                    serializer.validate(value)
                except Exception as error:
                    raised = error
                    continue
                with slicer.util.NodeModify(parameterNode):
                    self.remove(parameterNode, name)
                    serializer.write(parameterNode, f"{name}_{index}", value)
                return
        raise raised or TypeError(f"Unable to write value '{value}' of type '{type(value)}'")

    def read(self, parameterNode: Any, name: str) -> Any:
        for key, serializer in self._present(parameterNode, name):
            return serializer.read(parameterNode, key)
        raise KeyError(f"Unable to find value for name: {name}")

    def remove(self, parameterNode: Any, name: str) -> None:
        with slicer.util.NodeModify(parameterNode):
            for key, serializer in self._present(parameterNode, name):
                serializer.remove(parameterNode, key)


@parameterNodeSerializer
class ListSerializer(Serializer):
    """A list: its length under ``name_len``, its members under ``name_0`` and so on.

    Upstream hands out a list that writes its changes back; here it is a tuple, so that code which changes it fails.
    """

    def __init__(self, member: ValidatedSerializer) -> None:
        self.member = member

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return typing.get_origin(type_) is list

    @staticmethod
    def create(type_: Any) -> Serializer:
        return ListSerializer(_for_annotated(typing.get_args(type_)[0]))

    def default(self) -> list[Any]:
        return []

    def isIn(self, parameterNode: Any, name: str) -> bool:
        return parameterNode.HasParameter(f"{name}_len")

    def write(self, parameterNode: Any, name: str, value: Any) -> None:
        for one in value:
            self.member.validate(one)
        with slicer.util.NodeModify(parameterNode):
            self.remove(parameterNode, name)
            for index, one in enumerate(value):
                self.member.write(parameterNode, f"{name}_{index}", one)
            parameterNode.SetParameter(f"{name}_len", str(len(value)))

    def read(self, parameterNode: Any, name: str) -> Any:
        count = int(parameterNode.GetParameter(f"{name}_len") or 0)
        return tuple(self.member.read(parameterNode, f"{name}_{index}") for index in range(count))

    def remove(self, parameterNode: Any, name: str) -> None:
        for index in range(int(parameterNode.GetParameter(f"{name}_len") or 0)):
            self.member.remove(parameterNode, f"{name}_{index}")
        parameterNode.UnsetParameter(f"{name}_len")
