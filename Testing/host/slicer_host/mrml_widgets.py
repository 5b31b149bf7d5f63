"""``qMRMLWidget``, ``qSlicerWidget`` and a few that only hold a scene or a node."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore

from slicer_host.stand_in import QWidget, stand_in, stored


@stand_in
class qMRMLWidget(QWidget):
    """A widget with a scene."""

    mrmlSceneChanged = QtCore.Signal(object)
    SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self.__dict__.get("_scene"):
            return
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self.__dict__.get("_scene")


@stand_in
class qSlicerWidget(qMRMLWidget):
    """The same in Slicer's own base library."""


@stand_in
class qMRMLMarkupsPlaceWidget(qMRMLWidget):
    """Remembers the markups node; the place buttons are not drawn."""

    placeMultipleMarkups = stored(int, "place_multiple", 0)
    buttonsVisible = stored(bool, "buttons_visible", True)
    deleteAllMarkupsOptionVisible = stored(bool, "delete_all", True)
    activeMarkupsFiducialPlaceModeChanged = QtCore.Signal(bool)

    def setCurrentNode(self, node: Any) -> None:
        self._node = node

    def currentNode(self) -> Any:
        return self.__dict__.get("_node")

    def setPlaceModeEnabled(self, enabled: bool) -> None:
        self._place = bool(enabled)

    placeModeEnabled = QtCore.Property(bool, lambda self: self.__dict__.get("_place", False), setPlaceModeEnabled)
