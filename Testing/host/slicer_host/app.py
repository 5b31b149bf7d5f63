"""``slicer.app``."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PySide6 import QtCore, QtWidgets

from slicer_host.files import FileManager
from slicer_host.layout import qSlicerLayoutManager
from slicer_host.modules import qSlicerModuleManager
from slicer_host.pythonqt import leaf
from slicer_host.scene import ApplicationScene

VERSION = (5, 12, 3)


def make_folders() -> Path:
    """A temporary home, gone when the process ends; its ``bin/PythonSlicer`` starts this Python."""
    home = Path(tempfile.mkdtemp(prefix="slicer-host-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    for folder in ("bin", "temp", "cache", "settings", "extensions", "share/ColorFiles"):
        (home / folder).mkdir(parents=True)
    launcher = home / "bin" / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    launcher.chmod(0o755)
    # the application's launcher does the same
    os.environ["PATH"] = f"{launcher.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return home


class qSlicerApplication(leaf(QtWidgets.QApplication)):
    """The real Qt application with what Slicer's has beside it."""

    _stand_in = True
    startupCompleted = QtCore.Signal()

    def __init__(self, home: Path) -> None:
        super().__init__(["Slicer", "-platform", os.environ["QT_QPA_PLATFORM"]])
        self.setOrganizationName("NA-MIC")
        self.setApplicationName("Slicer")
        self.setQuitOnLastWindowClosed(False)
        ini = QtCore.QSettings.Format.IniFormat
        QtCore.QSettings.setDefaultFormat(ini)
        QtCore.QSettings.setPath(ini, QtCore.QSettings.Scope.UserScope, str(home / "settings"))
        self._home, self._temporary = home, str(home / "temp")
        self._settings = leaf(QtCore.QSettings)()
        self._testing, self._requests = False, []
        self._options = SimpleNamespace(
            noMainWindow=True, noSplash=True, runPythonAndExit=False, isTestingEnabled=self.testingEnabled
        )

    def attach(self, owner: ApplicationScene) -> None:
        """The parts that need the scene."""
        self._scene = owner
        self._layout_manager = qSlicerLayoutManager(owner)
        self._module_manager = qSlicerModuleManager()
        self._files = FileManager(owner.scene, owner.module_logics, owner.logic)

    applicationName = property(lambda self: "Slicer")
    applicationVersion = property(lambda self: ".".join(map(str, VERSION)))
    majorVersion, minorVersion = property(lambda self: VERSION[0]), property(lambda self: VERSION[1])
    revision = repositoryRevision = property(lambda self: "0")
    slicerHome = property(lambda self: str(self._home))
    slicerUserSettingsFilePath = property(lambda self: self.userSettings().fileName())
    extensionsInstallPath = property(lambda self: str(self._home / "extensions"))
    documentationBaseUrl = property(lambda self: "https://slicer.readthedocs.io/en/latest/")

    def _set_temporary_path(self, path: str) -> None:
        self._temporary = path

    temporaryPath = property(lambda self: self._temporary, _set_temporary_path)

    def applicationLogic(self) -> Any:
        return self._scene.logic

    def mrmlScene(self) -> Any:
        return self._scene.scene

    def layoutManager(self) -> Any:
        return self._layout_manager

    def moduleManager(self) -> Any:
        return self._module_manager

    def coreIOManager(self) -> Any:
        return self._files

    ioManager = coreIOManager

    def settings(self) -> Any:
        return self._settings

    userSettings = revisionUserSettings = settings

    def commandOptions(self) -> Any:
        return self._options

    def testingEnabled(self) -> bool:
        return self._testing

    def startupEnvironment(self) -> Any:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def moduleDocumentationUrl(self, module: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{module.lower()}.html"

    def translate(self, context: str, text: str, *_: Any) -> str:
        return text

    def pauseRender(self) -> None:
        """Nothing is drawn."""

    def resumeRender(self) -> None:
        """Nothing is drawn."""

    def restart(self) -> None:
        self._requests.append("restart")

    def exit(self, status: int = 0) -> None:
        self._requests.append(f"exit {status}")

    def quit(self) -> None:
        self.exit(0)
