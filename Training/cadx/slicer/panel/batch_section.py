"""Grading a table of cases."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from cadx.errors import CadxError, CancelledError, InputError
from cadx.picture_folder import cases_in
from cadx.slicer.panel.forms import button, form_with_room_below
from cadx.slicer.panel.poller import Poller
from cadx.slicer.results import batch_rows

_SHOWN_FAILURES = 5


class BatchSection:
    """A table, a folder, a button that becomes Cancel.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    columns
        What the table must hold.
    poller
        Listens to the batch.
    start
        Called with table, folder, whether to keep what is done, and what is to be called with each case's name; returns
        work whose result is a table node (:func:`cadx.slicer.results.create_table`), or raises a CadxError.
    folders
        Whether a folder of pictures and volumes will do for a table.
    """

    def __init__(
        self,
        parent: Any,
        columns: Sequence[str],
        poller: Poller,
        start: Callable[[Path, Path, bool, Any], Any],
        *,
        folders: bool = False,
    ) -> None:
        self._poller, self._start, self._folders = poller, start, folders
        self._work: Any = None
        self._done = self._total = 0
        form, below = form_with_room_below(parent)
        self.cases = ctk.ctkPathLineEdit()
        self.cases.filters = ctk.ctkPathLineEdit.Files
        self.cases.nameFilters = ["*.csv"]
        self.cases.setToolTip(_("CSV file; its paths count from where it lies."))
        self.folder = ctk.ctkPathLineEdit()
        self.folder.filters = ctk.ctkPathLineEdit.Dirs
        self.folder.setToolTip(_("Gets a folder a case, and summary.csv."))
        self.resume = qt.QCheckBox(_("Keep cases that are done"))
        self.resume.setChecked(True)
        self.resume.setToolTip(_("Skip cases that were graded before with this model on the same images."))
        self.button = qt.QPushButton()
        self._status = qt.QLabel()
        self._status.setWordWrap(True)
        self.ask_folder = button(
            _("A folder of pictures..."),
            _("Every picture and volume in a folder is a case, called by its file's name."),
        )
        self.ask_folder.connect("clicked()", self._ask_folder)
        self.ask_folder.setVisible(folders)
        form.addRow(_("Cases:"), self.cases)
        form.addRow(_("Results to:"), self.folder)
        self._columns = qt.QLabel()
        self._columns.setWordWrap(True)
        self.show_columns(columns)
        for widget in (self._columns, self.ask_folder, self.resume, self.button):
            below.addWidget(widget)
        below.addWidget(self._status)
        self.button.connect("clicked()", self._press)
        self._show()

    def show_columns(self, columns: Sequence[str]) -> None:
        """What the table must hold for the model that is chosen."""
        self._columns.setText(_("Columns: {names}").format(names=", ".join(columns)))

    @property
    def running(self) -> bool:
        """Whether a batch runs."""
        return self._work is not None

    @property
    def text(self) -> str:
        """The line below the button."""
        return str(self._status.text)

    def drop(self) -> None:
        """End a batch without a word: its scene is gone."""
        if self._work is not None:
            self._work.cancel()
            self._finish("")

    def _press(self) -> None:
        if self._work is not None:
            self._work.cancel()
            return
        cases, folder = str(self.cases.currentPath), str(self.folder.currentPath)
        try:
            if not Path(cases).is_file() and not (self._folders and cases and Path(cases).is_dir()):
                raise InputError(_("No table of cases is chosen; choose a CSV file."))
            if not folder:
                raise InputError(_("No folder is chosen; choose one to write to."))
            self._done, self._total = 0, _rows(Path(cases))
            self._work = self._start(Path(cases), Path(folder), bool(self.resume.checked), self._next)
        except OSError as error:
            self._status.setText(
                _("{name} cannot be read ({reason}); check it.").format(name=Path(cases).name, reason=error.strerror)
            )
            return
        except CadxError as error:
            self._status.setText(str(error))
            return
        self._show()
        self._status.setText(_("Starting"))
        self._poller.add(self._work, lambda table: self._finish(batch_text(table)), self._fail)

    def _ask_folder(self) -> None:
        path = qt.QFileDialog.getExistingDirectory(None, _("Folder of pictures"))
        if path:
            self.cases.setCurrentPath(path)

    def _next(self, case: str) -> None:
        self._done += 1
        self._status.setText(
            _("{done} of {total} done, the last was {case}.").format(done=self._done, total=self._total, case=case)
        )

    def _fail(self, error: CadxError) -> None:
        cancelled = isinstance(error, CancelledError)
        self._finish(_("Cancelled; what is done stays in the folder.") if cancelled else str(error))

    def _finish(self, text: str) -> None:
        self._work = None
        self._show()
        self._status.setText(text)

    def _show(self) -> None:
        start, stop = _("Grade every case of the table; Slicer stays free."), _("End the batch; what is done stays.")
        self.button.setText(_("Cancel batch") if self.running else _("Grade all cases"))
        self.button.setToolTip(stop if self.running else start)
        for widget in (self.cases, self.ask_folder, self.folder, self.resume):
            widget.setEnabled(not self.running)


def batch_text(table: Any) -> str:
    """How a batch ended, with the first cases that were not graded."""
    rows = batch_rows(table)
    others = [(case, text) for case, status, text in rows if status != "ok"]
    lines = [
        _("{graded} graded, {others} not; all are in the table {name}.").format(
            graded=len(rows) - len(others), others=len(others), name=table.GetName()
        )
    ]
    lines += [f"{case}: {text}" for case, text in others[:_SHOWN_FAILURES]]
    if len(others) > _SHOWN_FAILURES:
        lines.append(_("and {count} more").format(count=len(others) - _SHOWN_FAILURES))
    return "\n".join([*lines, _("Research use only, not for clinical decisions.")])


def _rows(cases: Path) -> int:
    if cases.is_dir():
        return len(cases_in(cases))
    with cases.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        return max(0, sum(1 for row in csv.reader(stream) if row) - 1)
