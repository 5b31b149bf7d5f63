"""What happened, for whoever helps."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _


class LogSection:
    """Lines of text with a button that copies them.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    """

    def __init__(self, parent: Any) -> None:
        layout = qt.QVBoxLayout(parent)
        layout.setContentsMargins(0, 0, 0, 0)
        self._text = qt.QPlainTextEdit()
        self._text.setReadOnly(True)
        self._text.setMaximumBlockCount(1000)
        self._text.setToolTip(_("What happened, and what the worker wrote."))
        copy = qt.QPushButton(_("Copy log"))
        copy.setToolTip(_("Copy the log, to send it to whoever helps."))
        copy.connect("clicked()", lambda: qt.QApplication.clipboard().setText(self._text.plainText))
        layout.addWidget(self._text)
        layout.addWidget(copy)

    def add(self, text: str) -> None:
        """Append what is not empty."""
        if text.strip():
            self._text.appendPlainText(text.rstrip())

    @property
    def text(self) -> str:
        """All lines."""
        return str(self._text.plainText)
