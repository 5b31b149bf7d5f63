"""A MRML scene of our own, saved as one ``.mrb`` file and loaded again."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from cadx.errors import InputError
from cadx.slicer.runtime import slicer_module, vtk_module

FOREGROUND_OPACITY = 0.5
# Slicer's own three slice views: layout name and singleton tag, orientation, bar colour
SLICE_VIEWS = (
    ("Red", "Axial", (0.953, 0.290, 0.200)),
    ("Green", "Coronal", (0.431, 0.690, 0.294)),
    ("Yellow", "Sagittal", (0.929, 0.835, 0.298)),
)
_EXTRA_CLASSES = ("vtkMRMLColorLegendDisplayNode",)
_application_logics: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


@contextmanager
def own_scene() -> Iterator[Any]:
    """A new ``vtkMRMLScene`` with the logics it needs, apart from the application's; emptied at the end.

    Yields a ``vtkMRMLScene``. Its nodes must not be used after the ``with`` block.
    """
    slicer = slicer_module()
    scene = slicer.vtkMRMLScene()
    with tempfile.TemporaryDirectory(prefix="cadx-scene-", ignore_cleanup_errors=True) as folder:
        logics = _attach_logics(scene, folder)
        _application_logics[scene] = logics[0]
        try:
            yield scene
        finally:
            del _application_logics[scene]
            scene.Clear(1)
            scene.SetDataIOManager(None)
            scene.SetCacheManager(None)
            for logic in reversed(logics):
                logic.SetMRMLScene(None)


def application_logic(scene: Any) -> Any:
    """The ``vtkMRMLApplicationLogic`` of a scene from :func:`own_scene`, or else the application's.

    Raises
    ------
    InputError
        If the scene is neither.
    """
    logic = _application_logics.get(scene)
    app = getattr(slicer_module(), "app", None)
    if logic is None and app is not None:
        logic = app.applicationLogic()
    if logic is None:
        raise InputError("Outside Slicer only a scene made by cadx.slicer.scene.own_scene can be drawn.")
    return logic


def _attach_logics(scene: Any, cache_folder: str) -> list[Any]:
    slicer, vtk = slicer_module(), vtk_module()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    logics = [application]
    for name, logic in (("Colors", slicer.vtkMRMLColorLogic()), ("Markups", slicer.vtkSlicerMarkupsLogic())):
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        application.SetModuleLogic(name, logic)
        logics.append(logic)
    for name in _EXTRA_CLASSES:
        if hasattr(slicer, name):
            scene.RegisterNodeClass(getattr(slicer, name)())
    _attach_file_managers(scene, cache_folder)
    return logics


def _attach_file_managers(scene: Any, cache_folder: str) -> None:
    slicer = slicer_module()
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(cache_folder)
    cache.SetMRMLScene(scene)
    manager = slicer.vtkDataIOManager()
    manager.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(manager)


def save_scene(scene: Any, path: Path) -> Path:
    """Write a scene as ``.mrb``: beside its place first, then renamed, so that no half-written file is left.

    Parameters
    ----------
    scene
        ``vtkMRMLScene``.
    path
        File to write, ending in ``.mrb``; its folder must exist.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    path = Path(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".cadx-", dir=path.parent) as folder:
            # the name inside the bundle follows the file's, so only the folder differs
            beside = Path(folder) / path.name
            with same_working_folder():
                written = scene.WriteToMRB(str(beside.resolve()))
            if not written or not _whole_archive(beside):
                raise OSError("WriteToMRB failed")
            os.replace(beside, path)
    except OSError as error:
        raise InputError(f"{path.name} cannot be written; check the folder's space and permissions.") from error
    return path


def _whole_archive(path: Path) -> bool:
    """A full disk leaves an archive that Slicer's code takes for written."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def load_scene(scene: Any, path: Path) -> None:
    """Read a ``.mrb`` file into a scene, which is emptied first.

    Raises
    ------
    InputError
        If the file is missing or is not a scene.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path.name} does not exist; give a scene that Slicer saved (.mrb).")
    readable = zipfile.is_zipfile(path)
    if readable:
        with same_working_folder():
            readable = scene.ReadFromMRB(str(path.resolve()), True)
    if not readable:
        raise InputError(f"{path.name} cannot be read as a Slicer scene; save it again.")


@contextmanager
def same_working_folder() -> Iterator[None]:
    """Slicer's archive code changes the process's working folder, and after a failure does not change it back."""
    before = Path.cwd()
    try:
        yield
    finally:
        os.chdir(before)


def set_slice_views(scene: Any, *, background: Any, foreground: Any, point_ras: Any, field_of_view_mm: float) -> None:
    """Make the scene open in Slicer's four-up layout with images, overlay and position as wanted.

    Parameters
    ----------
    background, foreground
        Volume nodes; ``foreground`` may be None.
    point_ras
        (3,) RAS mm: where all three slice views are, and the crosshair.
    field_of_view_mm
        Width and height shown in each slice view.
    """
    point = [float(v) for v in point_ras]
    for name, orientation, color in SLICE_VIEWS:
        view = _singleton(scene, "vtkMRMLSliceNode", name)
        view.SetName(name)
        view.SetLayoutName(name)
        view.SetLayoutLabel(name[0])
        view.SetLayoutColor(*color)
        view.SetOrientation(orientation)
        view.SetFieldOfView(field_of_view_mm, field_of_view_mm, view.GetFieldOfView()[2])
        view.JumpSliceByCentering(*point)
        layers = _singleton(scene, "vtkMRMLSliceCompositeNode", name)
        layers.SetLayoutName(name)
        layers.SetBackgroundVolumeID(background.GetID())
        layers.SetForegroundVolumeID(foreground.GetID() if foreground else None)
        layers.SetForegroundOpacity(FOREGROUND_OPACITY if foreground else 0.0)
        layers.SetLinkedControl(True)
    _select_volumes(scene, background, foreground)
    crosshair = _singleton(scene, "vtkMRMLCrosshairNode", "default")
    crosshair.SetCrosshairName("default")
    crosshair.SetCrosshairMode(slicer_module().vtkMRMLCrosshairNode.ShowSmallBasic)
    crosshair.SetCrosshairRAS(*point)
    layout = _singleton(scene, "vtkMRMLLayoutNode", "vtkMRMLLayoutNode")
    four_up = slicer_module().vtkMRMLLayoutNode.SlicerLayoutFourUpView
    if not layout.IsLayoutDescription(four_up):
        # outside the application no layout is described; only the number is saved
        layout.AddLayoutDescription(four_up, "<layout></layout>")
    layout.SetViewArrangement(four_up)


def _select_volumes(scene: Any, background: Any, foreground: Any) -> None:
    """The selection node is what the application reads when a scene has been loaded."""
    selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton") or _singleton(
        scene, "vtkMRMLSelectionNode", "Singleton"
    )
    selection.SetActiveVolumeID(background.GetID())
    selection.SetSecondaryVolumeID(foreground.GetID() if foreground else None)


def _singleton(scene: Any, class_name: str, tag: str) -> Any:
    node = scene.GetSingletonNode(tag, class_name)
    if node is None:
        node = scene.CreateNodeByClass(class_name)
        node.SetSingletonTag(tag)
        node = scene.AddNode(node)
    return node


def group_nodes(scene: Any, name: str, nodes: list[Any]) -> None:
    """Put nodes into one folder of the subject hierarchy, which the Data module shows."""
    tree = slicer_module().vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)  # made if there is none
    folder = tree.CreateFolderItem(tree.GetSceneItemID(), name)
    for node in nodes:
        if node is not None:
            item = tree.GetItemByDataNode(node)
            if item:
                tree.SetItemParent(item, folder)
            else:
                tree.CreateItem(folder, node)
