"""``ctkCollapsibleButton`` and ``ctkCollapsibleGroupBox``: a header that hides what is below it."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from slicer_host.pythonqt import leaf
from slicer_host.stand_in import QWidget, setters, stand_in

HEADER = 26


@stand_in
@setters("collapsed", "text")
class ctkCollapsibleButton(QWidget):
    """The header is painted above the contents margin, as in CTK, so that a layout set on the widget lies below it."""

    contentsCollapsed = QtCore.Signal(bool)
    toggled = QtCore.Signal(bool)
    clicked = QtCore.Signal(bool)

    def __init__(self, *arguments: Any) -> None:
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        super().__init__(next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None))
        self._text, self._collapsed, self._hidden_by_us = text, False, []
        self.setContentsMargins(0, HEADER, 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)

    def _read_text(self) -> str:
        return self._text

    def _write_text(self, text: str) -> None:
        self._text = text
        self.update()

    def _read_collapsed(self) -> bool:
        return self._collapsed

    def _write_collapsed(self, collapsed: bool) -> None:
        if bool(collapsed) == self._collapsed:
            return
        self._collapsed = bool(collapsed)
        self._apply()
        self.contentsCollapsed.emit(self._collapsed)
        self.toggled.emit(not self._collapsed)

    def _read_checked(self) -> bool:
        return not self._collapsed

    def _write_checked(self, checked: bool) -> None:
        self._write_collapsed(not checked)

    text = QtCore.Property(str, _read_text, _write_text)
    collapsed = QtCore.Property(bool, _read_collapsed, _write_collapsed)
    checked = QtCore.Property(bool, _read_checked, _write_checked)

    def click(self) -> None:
        """What the user's click on the header does."""
        self._write_collapsed(not self._collapsed)
        self.clicked.emit(not self._collapsed)

    toggle = click

    def _apply(self) -> None:
        if self._collapsed:
            self._hide_contents()
        else:
            shown, self._hidden_by_us = self._hidden_by_us, []
            for child in shown:
                child.setVisible(True)
        self.setMaximumHeight(HEADER if self._collapsed else 16777215)
        self.updateGeometry()
        self.update()

    def _hide_contents(self) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget) and not child.isHidden():
                child.setVisible(False)
                self._hidden_by_us.append(child)

    def event(self, event: QtCore.QEvent) -> bool:
        # contents that a .ui file adds after it has set "collapsed"
        if event.type() in (QtCore.QEvent.Type.LayoutRequest, QtCore.QEvent.Type.Polish) and self._collapsed:
            self._hide_contents()
        return super().event(event)

    def sizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(super().sizeHint().width(), HEADER) if self._collapsed else super().sizeHint()

    def minimumSizeHint(self) -> QtCore.QSize:
        hint = super().minimumSizeHint()
        wanted = self.fontMetrics().horizontalAdvance(self._text) + 2 * HEADER
        return QtCore.QSize(max(hint.width(), wanted), HEADER if self._collapsed else max(hint.height(), HEADER))

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        palette, header = self.palette, QtCore.QRect(0, 0, self.width, HEADER - 2)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setPen(QtGui.QPen(palette.color(QtGui.QPalette.ColorRole.Mid)))
        painter.setBrush(palette.color(QtGui.QPalette.ColorRole.Button))
        painter.drawRoundedRect(QtCore.QRectF(header).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
        option = QtWidgets.QStyleOption()
        option.initFrom(self)
        option.rect = QtCore.QRect(6, (HEADER - 14) // 2, 12, 12)
        arrow = QtWidgets.QStyle.PrimitiveElement
        element = arrow.PE_IndicatorArrowRight if self._collapsed else arrow.PE_IndicatorArrowDown
        self.style().drawPrimitive(element, option, painter, self)
        painter.setPen(palette.color(QtGui.QPalette.ColorRole.ButtonText))
        painter.drawText(header.adjusted(24, 0, -6, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, self._text)
        painter.end()

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        if event.position().y() <= HEADER:
            self.click()


@stand_in
@setters("collapsed")
class ctkCollapsibleGroupBox(leaf(QtWidgets.QGroupBox)):
    """A group box whose check mark shows and hides its contents."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setCheckable(True)
        self.toggled.connect(self._show_contents)

    def _show_contents(self, shown: bool) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(shown)

    collapsed = QtCore.Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))
