"""``slicer.app.coreIOManager()``: loads and saves through the modules' logics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cadx.slicer.scene import same_working_folder

TYPES = (
    ((".mrb", ".mrml"), "SceneFile"),
    ((".mrk.json", ".fcsv"), "MarkupsFile"),
    ((".seg.nrrd",), "SegmentationFile"),
    ((".vtk", ".vtp", ".stl", ".ply", ".obj"), "ModelFile"),
    ((".csv", ".tsv"), "TableFile"),
    ((".txt", ".json", ".xml"), "TextFile"),
)


class FileManager:
    """The file types a panel is likely to use."""

    def __init__(self, scene: Any, logics: dict[str, Any], application_logic: Any) -> None:
        self._scene, self._logics, self._application_logic = scene, logics, application_logic

    def fileType(self, name: str) -> str:
        lower = str(name).lower()
        return next((kind for endings, kind in TYPES if lower.endswith(endings)), "VolumeFile")

    def fileWriterFileType(self, node: Any) -> str:
        return "NodeFile"

    def loadNodes(self, kind: str, properties: dict[str, Any], loaded: Any, messages: Any = None) -> bool:
        """Load one file; what was loaded is added to ``loaded``."""
        path = Path(properties["fileName"])
        if not path.exists():
            return False
        if kind == "SceneFile":
            return self.load_scene(path, clear=bool(properties.get("clear", False)))
        loader = getattr(self, f"_{kind}", None)
        if loader is None:
            raise NotImplementedError(f"the test host does not load {kind}")
        node = loader(path, properties)
        if node is None:
            return False
        if properties.get("name"):
            node.SetName(properties["name"])
        loaded.AddItem(node)
        return True

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None) -> bool:
        if kind == "SceneFile":
            return self.save_scene(Path(properties["fileName"]))
        node = self._scene.GetNodeByID(properties["nodeID"])
        storage = node.GetStorageNode()
        if storage is None:
            node.AddDefaultStorageNode(str(properties["fileName"]))
            storage = node.GetStorageNode()
        storage.SetFileName(str(properties["fileName"]))
        return bool(storage.WriteData(node))

    def _VolumeFile(self, path: Path, properties: dict[str, Any]) -> Any:
        label = int(bool(properties.get("labelmap")))
        node = self._logics["volumes"].AddArchetypeVolume(str(path), path.name.split(".")[0], label)
        if node is not None and properties.get("show", True):
            selection = self._application_logic.GetSelectionNode()
            selection.SetActiveLabelVolumeID(node.GetID()) if label else selection.SetActiveVolumeID(node.GetID())
            self._application_logic.PropagateVolumeSelection()
        return node

    def _SegmentationFile(self, path: Path, properties: dict[str, Any]) -> Any:
        return self._logics["segmentations"].LoadSegmentationFromFile(str(path))

    def _MarkupsFile(self, path: Path, properties: dict[str, Any]) -> Any:
        node_id = self._logics["markups"].LoadMarkups(str(path), path.name.split(".")[0])
        return self._scene.GetNodeByID(node_id) if node_id else None

    def _ModelFile(self, path: Path, properties: dict[str, Any]) -> Any:
        return self._logics["models"].AddModel(str(path))

    def save_scene(self, path: Path) -> bool:
        with same_working_folder():
            return bool(self._scene.WriteToMRB(str(path.resolve())))

    def load_scene(self, path: Path, clear: bool) -> bool:
        with same_working_folder():
            if path.suffix == ".mrb":
                return bool(self._scene.ReadFromMRB(str(path.resolve()), clear))
            self._scene.SetURL(str(path.resolve()))
            return bool(self._scene.Connect() if clear else self._scene.Import())
