"""``qMRMLNodeComboBox``: chooses a node and follows the scene."""

from __future__ import annotations

from typing import Any

import vtk
from PySide6 import QtCore, QtWidgets

from slicer_host.stand_in import QWidget, setters, stand_in, stored

NODE, ACTION = "node", "action"
ROLE = QtCore.Qt.ItemDataRole.UserRole
PROPERTIES = ("noneEnabled", "addEnabled", "removeEnabled", "renameEnabled", "editEnabled", "showHidden")


@stand_in
@setters(*PROPERTIES, "showChildNodeTypes", "selectNodeUponCreation", "baseName", "noneDisplay", "nodeTypes")
class qMRMLNodeComboBox(QWidget):
    """Entries: None if enabled, the nodes in scene order, then what the user can do with them."""

    currentNodeChanged = QtCore.Signal(object)
    currentNodeIDChanged = QtCore.Signal(str)
    nodeAdded = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    nodeAddedByUserAction = QtCore.Signal(object)
    nodeAboutToBeRemoved = QtCore.Signal(object)
    nodeAboutToBeEdited = QtCore.Signal(object)
    nodeActivated = QtCore.Signal(object)
    currentNodeRenamed = QtCore.Signal(str)
    mrmlSceneChanged = QtCore.Signal(object)
    _valid = QtCore.Signal(bool)
    SIGNALS = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "_valid",
        "nodeAdded(vtkMRMLNode*)": "nodeAdded",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
        "nodeAddedByUserAction(vtkMRMLNode*)": "nodeAddedByUserAction",
        "nodeAboutToBeRemoved(vtkMRMLNode*)": "nodeAboutToBeRemoved",
        "nodeAboutToBeEdited(vtkMRMLNode*)": "nodeAboutToBeEdited",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
        "mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged",
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene, self._id, self._requested = None, "", ""
        self._attributes: list[tuple[str, str, Any]] = []
        self._tags: list[tuple[Any, int]] = []
        self._watched: dict[str, tuple[Any, int]] = {}
        self._box = QtWidgets.QComboBox(self)
        self._box.setMinimumContentsLength(8)
        self._box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.activated.connect(self._on_activated)
        tags, watched = self._tags, self._watched
        self.destroyed.connect(lambda: _release(tags, watched))  # must not hold the widget
        self._fill()
        self.setEnabled(False)

    nodeTypes = stored("QStringList", "node_types", [], "_refresh")
    noneEnabled = stored(bool, "none_enabled", False, "_refresh")
    addEnabled = stored(bool, "add_enabled", True, "_refresh")
    removeEnabled = stored(bool, "remove_enabled", True, "_refresh")
    renameEnabled = stored(bool, "rename_enabled", False, "_refresh")
    editEnabled = stored(bool, "edit_enabled", False, "_refresh")
    showHidden = stored(bool, "show_hidden", False, "_refresh")
    showChildNodeTypes = stored(bool, "show_child_types", True, "_refresh")
    selectNodeUponCreation = stored(bool, "select_upon_creation", True)
    baseName = stored(str, "base_name", "")
    noneDisplay = stored(str, "none_display", "None", "_refresh")
    interactionNodeSingletonTag = stored(str, "interaction_tag", "")

    # --- the scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        _release(self._tags, self._watched)
        self._scene = scene
        if scene is not None:
            for event, method in (
                (scene.NodeAddedEvent, self._on_node_added),
                (scene.NodeAboutToBeRemovedEvent, self._on_node_leaves),
                (scene.NodeRemovedEvent, self._on_node_removed),
            ):
                self._tags.append((scene, scene.AddObserver(event, method)))
        self._refresh()
        self.setEnabled(scene is not None)
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene

    def nodes(self) -> list[Any]:
        """The nodes on offer."""
        if self._scene is None:
            return []
        every = (self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes()))
        return [node for node in every if self._offers(node)]

    def nodeCount(self) -> int:
        return len(self.nodes())

    def nodeFromIndex(self, index: int) -> Any:
        nodes = self.nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        """Offer nodes of a type only if they have an attribute (with this value, if one is given)."""
        self._attributes.append((node_type, name, value))
        self._refresh()

    def removeAttribute(self, node_type: str, name: str) -> None:
        self._attributes = [a for a in self._attributes if a[:2] != (node_type, name)]
        self._refresh()

    def _offers(self, node: Any) -> bool:
        types = [t for t in self.nodeTypes if t]
        fits = node.IsA if self.showChildNodeTypes else lambda name: node.GetClassName() == name
        if not any(fits(t) for t in types) or (node.GetHideFromEditors() and not self.showHidden):
            return False
        for node_type, name, value in self._attributes:
            if node.IsA(node_type):
                found = node.GetAttribute(name)
                if found is None or (value is not None and found != str(value)):
                    return False
        return True

    # --- the current node

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._id) if self._scene is not None and self._id else None

    def setCurrentNode(self, node: Any) -> None:
        """Select a node, or nothing; a node that is not on offer selects nothing."""
        if isinstance(node, str):
            self.setCurrentNodeID(node)
        else:
            self._select(node.GetID() if node is not None and self._scene is not None else "")

    def setCurrentNodeID(self, node_id: str | None) -> None:
        if self._scene is None:
            self._requested = node_id or ""  # kept until there is a scene
            return
        self._select(node_id or "")

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    currentNodeID = QtCore.Property(str, lambda self: self._id, setCurrentNodeID)

    def _select(self, node_id: str) -> None:
        if node_id not in [node.GetID() for node in self.nodes()]:
            node_id = ""
        changed, self._id = node_id != self._id, node_id
        self._show()
        if changed:
            node = self.currentNode()
            self.currentNodeChanged.emit(node)
            self._valid.emit(node is not None)
            self.currentNodeIDChanged.emit(self._id)

    def _refresh(self) -> None:
        """Fill anew and keep the selection; where it is gone, QComboBox takes the entry now in its place."""
        before = max(self._place(), 0)
        self._fill()
        ids = [node.GetID() for node in self.nodes()]
        if self._scene is not None and self._requested in ids:
            wanted, self._requested = self._requested, ""
        elif self._id in ids:
            wanted = self._id
        else:
            was_chosen = bool(self._id)
            wanted = ids[min(before, len(ids) - 1)] if ids and (was_chosen or not self.noneEnabled) else ""
        self._select(wanted)

    # --- the entries

    def _place(self) -> int:
        """Which of the shown nodes is the current one; -1 if none is."""
        shown = [self._box.itemData(i) for i in range(self._box.count)]
        ids = [data[1] for data in shown if data and data[0] == NODE and data[1]]
        return ids.index(self._id) if self._id in ids else -1

    def _fill(self) -> None:
        nodes = self.nodes()
        self._watch(nodes)
        self._box.blockSignals(True)
        self._box.clear()
        if self.noneEnabled:
            self._box.addItem(self.noneDisplay, (NODE, ""))
        for node in nodes:
            self._box.addItem(node.GetName() or "", (NODE, node.GetID()))
        types = [t for t in self.nodeTypes if t]
        self._box.setPlaceholderText(f"Select a {self._title(types[0])}" if types else "")
        actions = self._actions()
        if actions:
            self._box.insertSeparator(self._box.count)
        for text, action in actions:
            self._box.addItem(text, (ACTION, action))
        self._box.blockSignals(False)
        self._show()

    def _actions(self) -> list[tuple[str, str]]:
        if self._scene is None:
            return []
        types = [t for t in self.nodeTypes if t]
        label = self._title(types[0]) if len(types) == 1 else "node"
        wanted = [(f"Rename current {label}", "rename")] if self.renameEnabled else []
        wanted += [(f"Edit current {label}", "edit")] if self.editEnabled else []
        if self.addEnabled:
            wanted += [(f"Create new {self._title(t)}", f"add {t}") for t in types]
        return wanted + ([(f"Delete current {label}", "remove")] if self.removeEnabled else [])

    def _title(self, node_type: str) -> str:
        """What the node's class is called in texts."""
        known = self._scene is not None and hasattr(self._scene, "GetTypeDisplayNameByClassName")
        return (self._scene.GetTypeDisplayNameByClassName(node_type) if known else "") or "node"

    def _show(self) -> None:
        places = [i for i in range(self._box.count) if self._box.itemData(i) == (NODE, self._id)]
        self._box.blockSignals(True)
        self._box.setCurrentIndex(places[0] if places else -1)
        self._box.blockSignals(False)

    def _on_activated(self, index: int) -> None:
        """The user picked an entry."""
        kind, what = self._box.itemData(index)
        if kind == NODE:
            self._select(what)
            self.nodeActivated.emit(self.currentNode())
            return
        self._show()
        if what == "remove":
            self.removeCurrentNode()
        elif what == "rename":
            self.renameCurrentNode()
        elif what == "edit":
            self.nodeAboutToBeEdited.emit(self.currentNode())
        else:
            node = self.addNode(what.partition(" ")[2])
            self.setCurrentNode(node)
            self.nodeAddedByUserAction.emit(node)

    # --- what the user can do

    def addNode(self, node_type: str = "") -> Any:
        """Create a node as the user does by "Create new"; returns it."""
        node_type = node_type or next((t for t in self.nodeTypes if t), "")
        node = self._scene.CreateNodeByClass(node_type)
        node.UnRegister(None)
        node.SetName(self._scene.GenerateUniqueName(self.baseName or self._scene.GetTagByClassName(node_type)))
        for wanted_type, name, value in self._attributes:
            if node.IsA(wanted_type):
                node.SetAttribute(name, "" if value is None else str(value))
        node = self._scene.AddNode(node)
        if self.selectNodeUponCreation:
            self._select(node.GetID())
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        node = self.currentNode()
        if node is not None:
            self._scene.RemoveNode(node)

    def renameCurrentNode(self) -> None:
        """Slicer asks for the name; the host's user leaves it."""

    # --- following the scene

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_added(self, scene: Any, event: str, node: Any) -> None:
        if self._offers(node):
            self._refresh()
            self.nodeAdded.emit(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_leaves(self, scene: Any, event: str, node: Any) -> None:
        if node.GetID() in self._watched:
            observed, tag = self._watched.pop(node.GetID())
            observed.RemoveObserver(tag)
            self.nodeAboutToBeRemoved.emit(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_removed(self, scene: Any, event: str, node: Any) -> None:
        if any(self._box.itemData(i) == (NODE, node.GetID()) for i in range(self._box.count)):
            self._refresh()

    def _watch(self, nodes: list[Any]) -> None:
        """Names and attributes of the nodes on offer."""
        wanted = {node.GetID(): node for node in nodes}
        for gone in set(self._watched) - set(wanted):
            observed, tag = self._watched.pop(gone)
            observed.RemoveObserver(tag)
        for node_id in set(wanted) - set(self._watched):
            node = wanted[node_id]
            self._watched[node_id] = (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_node_modified))

    def _on_node_modified(self, node: Any, event: str) -> None:
        for index in range(self._box.count):
            if self._box.itemData(index) == (NODE, node.GetID()) and self._box.itemText(index) != node.GetName():
                self._box.setItemText(index, node.GetName() or "")


def _release(tags: list[tuple[Any, int]], watched: dict[str, tuple[Any, int]]) -> None:
    """Take the observers off."""
    for observed, tag in [*tags, *watched.values()]:
        observed.RemoveObserver(tag)
    tags.clear()
    watched.clear()
