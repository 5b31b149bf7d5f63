"""``slicer.app.layoutManager()``: three slice views, no 3D view."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore

from slicer_host.pythonqt import leaf
from slicer_host.scene import SLICE_VIEWS, ApplicationScene
from slicer_host.stand_in import QWidget, stand_in


@stand_in
class qMRMLSliceView(QWidget):
    """Counts what it was asked to draw; nothing is drawn."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._renders = 0

    def scheduleRender(self) -> None:
        self._renders += 1

    forceRender = scheduleRender


@stand_in
class qMRMLSliceWidget(QWidget):
    """One slice view with its logic and nodes."""

    def __init__(self, logic: Any) -> None:
        super().__init__()
        self._logic, self._view, self._controller = logic, qMRMLSliceView(self), QWidget(self)

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> Any:
        return self._view

    def sliceController(self) -> Any:
        return self._controller


@stand_in
class qSlicerLayoutManager(leaf(QtCore.QObject)):
    """The layout is the layout node's view arrangement."""

    layoutChanged = QtCore.Signal(int)

    def __init__(self, owner: ApplicationScene) -> None:
        super().__init__()
        self._owner = owner
        self._widgets = {name: qMRMLSliceWidget(logic) for name, logic in owner.views.items()}

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(view[0] for view in SLICE_VIEWS)

    def sliceWidget(self, name: str) -> Any:
        return self._widgets.get(name)

    def setLayout(self, layout: int) -> None:
        if layout != self.layout:
            self._owner.layout_node.SetViewArrangement(layout)
            self.layoutChanged.emit(layout)

    layout = QtCore.Property(int, lambda self: self._owner.layout_node.GetViewArrangement(), setLayout)
    threeDViewCount = QtCore.Property(int, lambda self: 0)
    tableViewCount = QtCore.Property(int, lambda self: 0)
    plotViewCount = QtCore.Property(int, lambda self: 0)

    def layoutLogic(self) -> Any:
        return self._owner.layout_logic

    def mrmlSliceLogics(self) -> Any:
        return self._owner.slice_logics

    def resetSliceViews(self) -> None:
        for logic in self._owner.views.values():
            logic.FitSliceToAll()

    def resetThreeDViews(self) -> None:
        """There is no 3D view."""

    def threeDWidget(self, index: int) -> None:
        return None
