"""Getting at Slicer: its Python modules, imported only when a function here needs them."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

from cadx.errors import InputError, MissingDependencyError

# PythonSlicer knows the scene's classes and not those of the application's modules
_NEEDED = ("vtkSlicerApplicationLogic", "vtkSlicerMarkupsLogic", "vtkMRMLMarkupsROINode")
EGL_DRIVERS = ("/usr/share/glvnd/egl_vendor.d", "/etc/glvnd/egl_vendor.d", "/usr/local/share/glvnd/egl_vendor.d")


@cache
def slicer_module() -> Any:
    """The ``slicer`` package with ``slicer.util`` loaded: the application's own, or slicer-core's.

    Raises
    ------
    MissingDependencyError
        Where neither is installed.
    """
    draw_without_display()
    try:
        import slicer.util
    except ImportError as error:
        raise MissingDependencyError(
            "Slicer's scene classes are not installed; run this inside 3D Slicer, or: pip install slicer-core"
        ) from error
    if not hasattr(slicer, "vtkMRMLScene"):
        raise MissingDependencyError(
            "The installed 'slicer' package is not 3D Slicer's; install the right one: pip install slicer-core"
        )
    if not all(hasattr(slicer, name) for name in _NEEDED):
        raise MissingDependencyError("PythonSlicer has no scene outside the application; run this inside 3D Slicer.")
    return slicer


def draw_without_display() -> None:
    """On Linux without a screen let VTK draw through EGL; must come before the first render window is made."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")


@cache
def require_drawing() -> None:
    """Make sure that VTK can draw, before it is asked to: without a screen and without EGL it ends the process.

    Mesa's software renderer and triton each bring their own LLVM: torch's import of triton crashes the process
    when Mesa's is there first, and not the other way round, so triton's is loaded here (0.2 s, once).

    Raises
    ------
    MissingDependencyError
        On Linux without a screen, where no EGL driver is installed.
    """
    if os.environ.get("VTK_DEFAULT_OPENGL_WINDOW") != "vtkEGLRenderWindow":
        return
    drivers = [file for folder in EGL_DRIVERS for file in Path(folder).glob("*.json")]
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        drivers = []
    if not drivers:
        raise MissingDependencyError(
            "There is no screen and no OpenGL driver to draw with; install one with: "
            "apt-get install libegl1 libgl1-mesa-dri"
        )
    with contextlib.suppress(ImportError):
        importlib.import_module("triton._C.libtriton")


def vtk_module() -> Any:
    """The ``vtk`` package that Slicer was built with."""
    slicer_module()
    import vtk

    return vtk


def main_scene() -> Any:
    """The application's scene.

    Raises
    ------
    InputError
        Outside the application, where there is none.
    """
    scene = getattr(slicer_module(), "mrmlScene", None)
    if scene is None:
        raise InputError("There is no scene outside 3D Slicer; name one (scene=...).")
    return scene


def python_program() -> str:
    """The interpreter for processes of our own: PythonSlicer in the application, else this one."""
    app = getattr(slicer_module(), "app", None)
    if app is None:
        return sys.executable
    programs = Path(app.slicerHome) / "bin"
    where = os.pathsep.join((str(programs), os.environ.get("PATH", "")))
    # on Windows a launcher does not hand on its input; the application's environment is the interpreter's too
    names = ("python-real", "PythonSlicer") if sys.platform == "win32" else ("PythonSlicer",)
    return next((found for name in names if (found := shutil.which(name, path=where))), sys.executable)


def nodes_of_class(scene: Any, class_name: str) -> list[Any]:
    """All nodes of a class or its subclasses, in scene order (``slicer.util``'s own looks only at the main scene)."""
    return [scene.GetNthNodeByClass(i, class_name) for i in range(scene.GetNumberOfNodesByClass(class_name))]
