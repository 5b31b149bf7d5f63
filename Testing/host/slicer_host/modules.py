"""``slicer.modules``, the modules in it, and ``slicer.app.moduleManager()``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from slicer_host.mrml_widgets import qMRMLWidget
from slicer_host.pythonqt import leaf


class Modules(SimpleNamespace):
    """``slicer.modules``: one attribute per module, by its name in lower case."""

    @property
    def moduleNames(self) -> list[str]:
        return [module.name for module in vars(self).values() if hasattr(module, "widgetRepresentation")]


class LoadableModule:
    """A module written in C++: only its logic is here."""

    def __init__(self, name: str, logic: Any) -> None:
        self.name = self.title = name
        self.path = ""
        self._logic = logic

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> None:
        return None


class qSlicerScriptedLoadableModule:
    """A scripted module; it is the ``parent`` that the module's class gets."""

    icon: Any = None

    def __init__(self, path: Path, scene: Any) -> None:
        self.name, self.path = path.stem, str(path)
        self.title, self.helpText, self.acknowledgementText, self.hidden = path.stem, "", "", False
        self.categories, self.dependencies, self.contributors = [], [], []
        self._scene, self._representation = scene, None
        self._logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
        self._logic.SetMRMLScene(scene)

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> Any:
        """The panel; made at the first call."""
        if self._representation is None:
            self._representation = qSlicerScriptedLoadableModuleWidget(self)
            self._representation.setMRMLScene(self._scene)
            self._representation.reload()
        return self._representation

    def forget(self) -> None:
        self._representation = None


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The panel's outer widget, ``self.parent`` of the module's widget class."""

    _stand_in = True

    def __init__(self, module: qSlicerScriptedLoadableModule) -> None:
        super().__init__()
        self._module, self._instance, self._entered = module, None, False
        self.setObjectName(f"{module.name}ModuleWidget")
        self.setLayout(leaf(QtWidgets.QVBoxLayout)())

    def module(self) -> qSlicerScriptedLoadableModule:
        return self._module

    def self(self) -> Any:
        """The module's own widget object."""
        return self._instance

    def reload(self) -> None:
        """Make the widget object from the module's file as it is imported now, set it up, enter it if it was."""
        name = self._module.name
        self._instance = getattr(sys.modules[name], f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._instance)
        self._instance.setup()
        if self._entered:
            self._call("enter")

    def isEntered(self) -> bool:
        return self._entered

    def enter(self) -> None:
        self._entered = True
        self._call("enter")

    def exit(self) -> None:
        self._entered = False
        self._call("exit")

    def _call(self, method: str) -> None:
        getattr(self._instance, method, lambda: None)()


class qSlicerModuleManager(leaf(QtCore.QObject)):
    """Knows the modules that are loaded."""

    _stand_in = True
    moduleAboutToBeUnloaded = QtCore.Signal(str)
    moduleLoaded = QtCore.Signal(str)
    SIGNALS = {
        "moduleAboutToBeUnloaded(QString)": "moduleAboutToBeUnloaded",
        "moduleLoaded(QString)": "moduleLoaded",
    }

    def module(self, name: str) -> Any:
        return getattr(slicer.modules, name.lower(), None)

    def modulesNames(self) -> list[str]:
        return slicer.modules.moduleNames

    def isLoaded(self, name: str) -> bool:
        return self.module(name) is not None

    def factoryManager(self) -> Any:
        return SimpleNamespace(
            loadedModuleNames=self.modulesNames,
            isLoaded=self.isLoaded,
            isRegistered=self.isLoaded,
            registeredModuleNames=self.modulesNames,
        )


class ModuleSelector:
    """What ``slicer.util.selectModule`` needs: leaves the module that is open, enters the other."""

    def __init__(self, select: Callable[[str], None]) -> None:
        self.selectedModule = ""
        self._select = select

    def selectModule(self, name: str) -> None:
        self.selectedModule = name
        self._select(name)


def import_file(path: Path) -> ModuleType:
    """Import a module's file under its stem, with its folder on the search path, as the application does."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
