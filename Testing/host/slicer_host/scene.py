"""The application's scene: logics, slice views, file managers, subject hierarchy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import vtk

SLICE_VIEWS = (
    ("Red", "Axial", "R", (0.953, 0.290, 0.200)),
    ("Green", "Coronal", "G", (0.431, 0.690, 0.294)),
    ("Yellow", "Sagittal", "Y", (0.929, 0.835, 0.298)),
)
# module name, its logic's class, the name under which the application logic has it
LOGICS = (
    ("colors", "vtkSlicerColorLogic", "Colors"),
    ("markups", "vtkSlicerMarkupsLogic", "Markups"),
    ("volumes", "vtkSlicerVolumesLogic", "Volumes"),
    ("segmentations", "vtkSlicerSegmentationsModuleLogic", "Segmentations"),
    ("models", "vtkSlicerModelsLogic", "Models"),
    ("transforms", "vtkSlicerTransformLogic", "Transforms"),
    ("tables", "vtkSlicerTablesLogic", "Tables"),
    ("texts", "vtkSlicerTextsLogic", "Texts"),
    ("cropvolume", "vtkSlicerCropVolumeLogic", "CropVolume"),
    ("subjecthierarchy", "vtkSlicerSubjectHierarchyModuleLogic", "SubjectHierarchy"),
)


class ApplicationScene:
    """``slicer.mrmlScene`` and all that the application hangs on it."""

    def __init__(self, folder: Path) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.logic = slicer.vtkSlicerApplicationLogic()
        self.logic.SetHomeDirectory(str(folder.parent))
        self.logic.SetShareDirectory("share")
        self.logic.SetTemporaryPath(str(folder.parent / "temp"))
        self.slice_logics = vtk.vtkCollection()
        self.logic.SetSliceLogics(self.slice_logics)
        self.logic.SetViewLogics(vtk.vtkCollection())
        self.logic.SetMRMLScene(self.scene)
        self.module_logics = {
            module: self._add_logic(getattr(slicer, class_name), name)
            for module, class_name, name in LOGICS
            if hasattr(slicer, class_name)
        }
        self._attach_file_managers(folder)
        self._add_singletons()
        self.views = {name: self._add_slice_view(*view) for view in SLICE_VIEWS for name in view[:1]}

    def _add_logic(self, logic_class: type, name: str) -> Any:
        logic = logic_class()
        logic.SetMRMLApplicationLogic(self.logic)
        logic.SetMRMLScene(self.scene)
        self.logic.SetModuleLogic(name, logic)
        return logic

    def _attach_file_managers(self, folder: Path) -> None:
        cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
        cache.SetRemoteCacheDirectory(str(folder))
        cache.SetMRMLScene(self.scene)
        manager.SetCacheManager(cache)
        self.scene.SetCacheManager(cache)
        self.scene.SetDataIOManager(manager)

    def _add_singletons(self) -> None:
        self.singleton("vtkMRMLSelectionNode", "Singleton")
        self.singleton("vtkMRMLInteractionNode", "Singleton")
        crosshair = self.singleton("vtkMRMLCrosshairNode", "default")
        crosshair.SetCrosshairName("default")
        self.layout_logic = slicer.vtkMRMLLayoutLogic()
        self.layout_logic.SetMRMLScene(self.scene)  # makes the layout node with the standard layouts
        self.layout_node = self.layout_logic.GetLayoutNode()
        self.layout_node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)

    def singleton(self, class_name: str, tag: str) -> Any:
        """The scene's node of that kind; made if there is none."""
        node = self.scene.GetSingletonNode(tag, class_name)
        if node is None:
            node = self.scene.CreateNodeByClass(class_name)
            node.UnRegister(None)
            node.SetSingletonTag(tag)
            node = self.scene.AddNode(node)
        return node

    def _add_slice_view(self, name: str, orientation: str, label: str, color: tuple[float, float, float]) -> Any:
        node = self.singleton("vtkMRMLSliceNode", name)
        node.SetName(name)
        node.SetLayoutName(name)
        node.SetLayoutLabel(label)
        node.SetLayoutColor(*color)
        node.SetOrientation(orientation)
        node.SetMappedInLayout(1)
        layers = self.singleton("vtkMRMLSliceCompositeNode", name)
        layers.SetName(name)
        layers.SetLayoutName(name)
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self.logic)
        logic.SetMRMLScene(self.scene)
        logic.SetSliceNode(node)
        logic.SetSliceCompositeNode(layers)
        logic.ResizeSliceNode(320, 320)
        self.slice_logics.AddItem(logic)
        return logic
