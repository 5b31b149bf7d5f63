"""Writing a result to files of the user's choice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer.util
from slicer.i18n import tr as _

from cadx.errors import CadxError, InputError
from cadx.slicer.panel.forms import form_with_room_below


class ExportSection:
    """A folder, what to write, and a button.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    export
        Called with the folder and the formats ("json", "csv", "png"); returns the files, or raises a CadxError.
    """

    def __init__(self, parent: Any, export: Callable[[Path, list[str]], list[Path]]) -> None:
        self._export = export
        form, below = form_with_room_below(parent)
        self.folder = ctk.ctkPathLineEdit()
        self.folder.filters = ctk.ctkPathLineEdit.Dirs
        self.folder.setToolTip(_("Folder for the files; names of patients are not written into them."))
        self.boxes = {
            "csv": _box(_("Table (CSV)"), _("summary.csv: one row with grade, probabilities and warnings.")),
            "json": _box(_("Result (JSON)"), _("result.json: everything that was found and what it was made with.")),
            "png": _box(_("Pictures (PNG)"), _("grid.png: the tiles, and the map over them.")),
        }
        self.button = qt.QPushButton(_("Export"))
        self._status = qt.QLabel()
        self._status.setWordWrap(True)
        self._status.setVisible(False)
        form.addRow(_("Write to:"), self.folder)
        for widget in (*self.boxes.values(), self.button, self._status):
            below.addWidget(widget)
        self.button.connect("clicked()", self._press)
        self.allow(_("There is no result to export yet."))

    @property
    def formats(self) -> list[str]:
        """What is ticked."""
        return [name for name, box in self.boxes.items() if box.checked]

    def allow(self, problem: str) -> None:
        """Whether there is something to export; ``problem`` says why not."""
        if problem or not self.button.enabled:
            self._say(problem)
        self.button.setEnabled(not problem)
        self.button.setToolTip(problem or _("Write what is ticked into the folder."))

    @property
    def text(self) -> str:
        """The line below the button."""
        return str(self._status.text)

    def _press(self) -> None:
        folder = str(self.folder.currentPath)
        try:
            if not folder:
                raise InputError(_("No folder is chosen; choose one to write to."))
            with slicer.util.WaitCursor():
                files = self._export(Path(folder), self.formats)
        except CadxError as error:
            self._say(str(error))
            return
        names = ", ".join(file.name for file in files)
        self._say(_("Written to {folder}: {names}").format(folder=Path(folder).name, names=names))

    def _say(self, text: str) -> None:
        self._status.setText(text)
        self._status.setVisible(bool(text))


def _box(text: str, tip: str) -> Any:
    box = qt.QCheckBox(text)
    box.setChecked(True)
    box.setToolTip(tip)
    return box
