"""Message windows: noted instead of opened, and answered as the test says."""

from __future__ import annotations

import logging
from typing import Any

from PySide6.QtWidgets import QDialog, QMessageBox

Button = QMessageBox.StandardButton
REFUSALS = (Button.Cancel, Button.No, Button.Close, Button.Abort)
AGREEMENTS = (Button.Ok, Button.Yes, Button.Retry, Button.Save, Button.Apply)
LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.NOTSET, "info"))
DEFAULT_ANSWERS = {"confirm": True, "retry": False}


class Messages:
    """What would have been shown, as (kind, text), and what the user answers, by kind."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []
        self.answers: dict[str, Any] = dict(DEFAULT_ANSWERS)

    def ask(self, kind: str, text: str, buttons: Any) -> Button:
        """Note the message; return the button pressed, or what the test put there itself."""
        self.shown.append((kind, str(text)))
        answer = self.answers.get(kind, True)
        if not isinstance(answer, bool):
            return answer
        given = Button(int(buttons) if isinstance(buttons, int) else buttons.value)
        wanted = AGREEMENTS if answer else REFUSALS
        return next((button for button in wanted if button & given), Button.Ok)

    def ask_dialog(self, dialog: QDialog) -> int:
        """A module's own modal dialog: accepted unless ``answers["dialog"]`` is False."""
        if isinstance(dialog, QMessageBox):
            return int(self.ask(self._box_kind(dialog), dialog.text, dialog.standardButtons).value)
        self.shown.append(("dialog", dialog.windowTitle))
        return int(bool(self.answers.get("dialog", True)))

    @staticmethod
    def _box_kind(box: QMessageBox) -> str:
        icons = {QMessageBox.Icon.Critical: "error", QMessageBox.Icon.Warning: "warning"}
        asks = any(box.standardButtons & button for button in REFUSALS)
        return "confirm" if asks else icons.get(box.icon, "info")

    def display(
        self,
        log_level: int,
        text: str,
        testing_value: Any,
        mainWindowNeeded: bool = False,
        parent: Any = None,
        windowTitle: str | None = None,
        standardButtons: Any = Button.Ok,
        **_: Any,
    ) -> Any:
        """In the place of ``slicer.util._messageDisplay``, on which all of its message functions rest."""
        import slicer

        logging.log(log_level, text)
        if slicer.app.testingEnabled():
            return testing_value
        given = Button(int(standardButtons) if isinstance(standardButtons, int) else standardButtons.value)
        kind = next(name for level, name in LEVELS if log_level >= level)
        if given & Button.Retry:
            kind = "retry"
        elif any(given & button for button in REFUSALS):
            kind = "confirm"
        return self.ask(kind, text, given)

    def box(self, text: str, parent: Any = None, standardButtons: Any = Button.Ok, **_: Any) -> Any:
        """In the place of ``slicer.util.messageBox``."""
        return self.ask("message", text, standardButtons)

    def delay(self, message: str, autoCloseMsec: int = 1000, parent: Any = None, **_: Any) -> None:
        """In the place of ``slicer.util.delayDisplay``: noted; events are processed, nothing waits."""
        import slicer

        logging.info(message)
        self.shown.append(("delay", str(message)))
        slicer.app.processEvents()
