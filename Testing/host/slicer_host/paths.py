"""``ctkPathLineEdit`` and ``ctkDirectoryButton``."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from slicer_host.pythonqt import leaf
from slicer_host.stand_in import QWidget, setters, stand_in, stored


@stand_in
@setters("currentPath", "nameFilters", "filters", "settingKey")
class ctkPathLineEdit(QWidget):
    """A line for a path and a button to browse; the browse window is never opened here."""

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)
    # CTK's flags
    Dirs, Files, Drives, NoSymLinks, AllEntries = 0x001, 0x002, 0x004, 0x008, 0x007
    Readable, Writable, Executable, Hidden, System = 0x010, 0x020, 0x040, 0x100, 0x200

    def __init__(self, *arguments: Any) -> None:
        super().__init__(next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None))
        self._line, self._browse = QtWidgets.QLineEdit(self), QtWidgets.QToolButton(self)
        self._browse.setText("…")
        self._browse.setToolTip("Browse")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._line, 1)
        row.addWidget(self._browse)
        self._line.textChanged.connect(self.currentPathChanged.emit)

    currentPath = QtCore.Property(
        str, lambda self: self._line.text, lambda self, path: self._line.setText("" if path == "." else path)
    )
    nameFilters = stored("QStringList", "name_filters", [])
    filters = stored(int, "filters", 0x077)
    label = stored(str, "label", "")
    settingKey = stored(str, "setting_key", "")
    showHistoryButton = stored(bool, "show_history", True)
    showBrowseButton = QtCore.Property(
        bool, lambda self: not self._browse.isHidden(), lambda self, shown: self._browse.setVisible(shown)
    )

    def addCurrentPathToHistory(self) -> None:
        """The history is not kept."""


@stand_in
@setters("directory")
class ctkDirectoryButton(leaf(QtWidgets.QPushButton)):
    """A button that shows a folder."""

    directoryChanged = QtCore.Signal(str)
    directorySelected = QtCore.Signal(str)
    directory = stored(str, "directory", ".", "_show")
    caption = stored(str, "caption", "")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None))

    def _show(self) -> None:
        self.setText(self.directory)
        self.directoryChanged.emit(self.directory)
