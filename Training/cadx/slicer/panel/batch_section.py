"""Grading a table of cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from cadx.slicer.panel.forms import form_with_room_below


class BatchSection:
    """A table, a folder, a button that becomes Cancel.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    columns
        What the table must hold, for the tooltip.
    start
        Called with table, folder and whether to keep what is done.
    cancel
        Called when the user cancels.
    """

    def __init__(
        self,
        parent: Any,
        columns: str,
        start: Callable[[Path, Path, bool], None],
        cancel: Callable[[], None],
    ) -> None:
        self._start, self._cancel = start, cancel
        self._running = False
        form, below = form_with_room_below(parent)
        self.cases = ctk.ctkPathLineEdit()
        self.cases.filters = ctk.ctkPathLineEdit.Files
        self.cases.nameFilters = ["*.csv"]
        self.cases.setToolTip(_("CSV file with the columns {columns}; paths count from it.").format(columns=columns))
        self.folder = ctk.ctkPathLineEdit()
        self.folder.filters = ctk.ctkPathLineEdit.Dirs
        self.folder.setToolTip(_("Gets a folder a case, and summary.csv."))
        self.resume = qt.QCheckBox(_("Keep cases that are done"))
        self.resume.setChecked(True)
        self.resume.setToolTip(_("Skip cases that were graded before with this model on the same images."))
        self.button = qt.QPushButton()
        self._status = qt.QLabel()
        self._status.setWordWrap(True)
        form.addRow(_("Cases:"), self.cases)
        form.addRow(_("Folder:"), self.folder)
        for widget in (self.resume, self.button, self._status):
            below.addWidget(widget)
        self.button.connect("clicked()", self._press)
        self.set_running(False)

    def set_running(self, running: bool) -> None:
        """Whether a batch runs."""
        self._running = running
        self.button.setText(_("Cancel batch") if running else _("Grade all cases"))
        self.button.setToolTip(
            _("End the batch; what is done stays.")
            if running
            else _("Grade every case of the table; Slicer stays free.")
        )
        for widget in (self.cases, self.folder, self.resume):
            widget.setEnabled(not running)

    def say(self, text: str) -> None:
        """A line below the button."""
        self._status.setText(text)

    @property
    def text(self) -> str:
        """The line below the button."""
        return str(self._status.text)

    def _press(self) -> None:
        if self._running:
            self._cancel()
        else:
            self._start(Path(self.cases.currentPath), Path(self.folder.currentPath), bool(self.resume.checked))
