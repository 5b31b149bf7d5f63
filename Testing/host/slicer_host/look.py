"""How panels look in pictures: Qt's Fusion style, light, with a font that is really there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

FAMILIES = ("DejaVu Sans", "Noto Sans", "Liberation Sans", "Arial")
Role = QtGui.QPalette.ColorRole
COLORS = {
    Role.Window: "#f0f0f0",
    Role.WindowText: "#1e1e1e",
    Role.Base: "#ffffff",
    Role.AlternateBase: "#f5f5f5",
    Role.ToolTipBase: "#ffffe1",
    Role.ToolTipText: "#1e1e1e",
    Role.Text: "#1e1e1e",
    Role.PlaceholderText: "#8a8a8a",
    Role.Button: "#e6e6e6",
    Role.ButtonText: "#1e1e1e",
    Role.BrightText: "#ffffff",
    Role.Link: "#1a66c2",
    Role.Highlight: "#3d7ec8",
    Role.HighlightedText: "#ffffff",
    Role.Mid: "#b4b4b4",
}
DISABLED = (Role.WindowText, Role.Text, Role.ButtonText)


def apply(app: QtWidgets.QApplication) -> None:
    """Set style, palette and font."""
    QtCore.qInstallMessageHandler(_print)
    app.setStyle("Fusion")
    palette = QtGui.QPalette()
    for role, color in COLORS.items():
        palette.setColor(role, QtGui.QColor(color))
    for role in DISABLED:
        palette.setColor(QtGui.QPalette.ColorGroup.Disabled, role, QtGui.QColor("#9a9a9a"))
    app.setPalette(palette)
    app.setFont(QtGui.QFont(_family(), 9))


def _family() -> str:
    present = QtGui.QFontDatabase.families()
    for family in FAMILIES:
        if family in present:
            return family
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"):
        QtGui.QFontDatabase.addApplicationFont(str(folder / name))
    return FAMILIES[0]


def _print(kind: Any, context: Any, text: str) -> None:
    if "This plugin does not support" not in text:  # the off-screen platform says so of every window
        print(text, file=sys.stderr)
