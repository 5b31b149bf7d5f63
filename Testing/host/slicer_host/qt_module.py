"""The module ``qt`` as scripted modules know it: one flat namespace, windows that never block."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtWidgets

from slicer_host.messages import Messages
from slicer_host.pythonqt import SOURCES, install_properties, leaf
from slicer_host.ui_loader import UiLoader

RENAMED = {"QUiLoader": UiLoader}


def make(messages: Messages) -> types.ModuleType:
    """Build the module; dialogs that would wait for the user are noted in ``messages`` and answered from there."""
    install_properties()
    module = types.ModuleType("qt", __doc__)

    def lookup(name: str) -> Any:
        found = RENAMED.get(name) or _find(name)
        setattr(module, name, found)
        return found

    module.__getattr__ = lookup
    _answer_dialogs(module, messages)
    for name in ("QCoreApplication", "QApplication", "QEventLoop"):
        getattr(module, name).exec_ = _find(name).exec
    return module


def _find(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'qt' has no attribute '{name}'")
    for source in SOURCES:
        found = getattr(source, name, None)
        if found is not None:
            return leaf(found) if isinstance(found, type) and issubclass(found, QtCore.QObject) else found
    raise AttributeError(f"module 'qt' has no attribute '{name}'")


def _answer_dialogs(module: types.ModuleType, messages: Messages) -> None:
    def run(self: Any, *_: Any) -> int:
        return messages.ask_dialog(self)

    for name in ("QDialog", "QMessageBox", "QFileDialog", "QInputDialog", "QProgressDialog", "QColorDialog"):
        getattr(module, name).exec_ = getattr(module, name).exec = run

    def box(kind: str) -> Callable[..., Any]:
        def show(parent: Any, title: str, text: str, buttons: Any = QtWidgets.QMessageBox.StandardButton.Ok, *_: Any):
            return messages.ask(kind, text, buttons)

        return staticmethod(show)

    kinds = {"critical": "error", "warning": "warning", "information": "info", "question": "confirm", "about": "info"}
    for name, kind in kinds.items():
        setattr(module.QMessageBox, name, box(kind))
    for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory", "getOpenFileNames"):
        setattr(module.QFileDialog, name, staticmethod(_choose_file(messages, name)))


def _choose_file(messages: Messages, name: str) -> Callable[..., Any]:
    def choose(parent: Any = None, caption: str = "", *_: Any) -> Any:
        empty: Any = [] if name.endswith("s") else ""
        messages.shown.append(("file", caption))
        return messages.answers.get("file", empty)

    return choose
