"""Where the model runs and why, and what is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from cadx.errors import CadxError
from cadx.slicer.panel.forms import button, form_with_room_below
from cadx.slicer.panel.poller import Poller

DEVICES = ("auto", "cpu", "cuda", "mps")


class DeviceSection:
    """The device, a report to copy, and repairing torch.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    poller
        Listens to the report being made.
    changed
        Called with the name of the device when the user chooses another.
    report
        Starts making the report: returns work whose result is its text.
    repair
        Asks and repairs torch, or raises a CadxError.
    """

    def __init__(
        self,
        parent: Any,
        poller: Poller,
        changed: Callable[[str], None],
        report: Callable[[], Any],
        repair: Callable[[], None],
    ) -> None:
        self._poller, self._make_report, self._repair = poller, report, repair
        form, below = form_with_room_below(parent)
        self.list = qt.QComboBox()
        self.list.addItems([_("automatic"), "CPU", "CUDA (NVIDIA)", "MPS (Apple)"])
        self.list.setToolTip(_("Where the model runs; automatic takes a GPU that passes a test, else the CPU."))
        self._line = qt.QLabel(_("Probed when the model is loaded."))
        self._line.setWordWrap(True)
        self.report_button = button(_("Report"), _("Versions, device, memory and what is missing."))
        self.repair_button = button(_("Repair torch..."), _("Install torch anew where it does not load."))
        self.copy_button = button(_("Copy"), _("Copy the report, to send it to whoever helps."))
        row = qt.QHBoxLayout()
        for widget in (self.report_button, self.copy_button, self.repair_button):
            row.addWidget(widget)
        self.report = qt.QPlainTextEdit()
        self.report.setReadOnly(True)
        self.report.setLineWrapMode(qt.QPlainTextEdit.NoWrap)
        self.report.setStyleSheet("font-family: monospace; font-size: 8pt;")
        self.report.setToolTip(_("What runs here."))
        self.report.setVisible(False)
        self.copy_button.setEnabled(False)
        form.addRow(_("Device:"), self.list)
        below.addWidget(self._line)
        below.addLayout(row)
        below.addWidget(self.report)
        self.list.connect("activated(int)", lambda index: changed(DEVICES[index]))
        self.report_button.connect("clicked()", self._ask_report)
        self.repair_button.connect("clicked()", self._ask_repair)
        self.copy_button.connect("clicked()", lambda: qt.QApplication.clipboard().setText(self.report.plainText))

    def choose(self, device: str) -> None:
        """Show a device as chosen."""
        self.list.setCurrentIndex(DEVICES.index(device) if device in DEVICES else 0)

    def describe(self, device: dict[str, str] | None) -> None:
        """Name the device that was chosen, and why; None before it is known."""
        if device is None:
            self._line.setText(_("Probed when the model is loaded."))
            return
        self._line.setText(
            _("{name}, {memory}, {precision}; because: {reason}").format(
                name=device.get("name", ""),
                memory=device.get("memory", ""),
                precision=device.get("precision", ""),
                reason=device.get("reason", ""),
            )
        )

    @property
    def text(self) -> str:
        """The line about the device."""
        return str(self._line.text)

    def _ask_report(self) -> None:
        self._show(_("Making the report..."))
        self._poller.add(self._make_report(), self._show, lambda error: self._show(str(error)))

    def _ask_repair(self) -> None:
        try:
            self._repair()
        except CadxError as error:
            self._show(str(error))
            return
        self._ask_report()

    def _show(self, text: str) -> None:
        self.report.setPlainText(text)
        self.report.setVisible(True)
        self.copy_button.setEnabled(True)
