"""CTK classes that differ from Qt's by their name only, as far as panels use them."""

from __future__ import annotations

from PySide6 import QtWidgets

from slicer_host.pythonqt import leaf
from slicer_host.stand_in import stand_in


@stand_in
class ctkCheckBox(leaf(QtWidgets.QCheckBox)):
    """A check box."""


@stand_in
class ctkComboBox(leaf(QtWidgets.QComboBox)):
    """A combo box."""


@stand_in
class ctkDoubleSpinBox(leaf(QtWidgets.QDoubleSpinBox)):
    """A spin box."""


@stand_in
class ctkMessageBox(leaf(QtWidgets.QMessageBox)):
    """A message box; its "don't show again" is not drawn."""
