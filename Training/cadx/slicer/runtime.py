"""Getting at Slicer: its Python modules, imported only when a function here needs them."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from functools import cache
from typing import Any

from cadx.errors import MissingDependencyError


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
    return slicer


def draw_without_display() -> None:
    """On Linux without a screen let VTK draw through EGL; must come before the first render window is made."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")


def load_triton_before_mesa() -> None:
    """Load triton's library, where it is installed, before anything is drawn without a display.

    Mesa's software renderer and triton each bring their own LLVM: torch's import of triton crashes the process
    when Mesa's is there first, and not the other way round. Costs 0.2 s, once.
    """
    if os.environ.get("VTK_DEFAULT_OPENGL_WINDOW") == "vtkEGLRenderWindow":
        with contextlib.suppress(ImportError):
            importlib.import_module("triton._C.libtriton")


def vtk_module() -> Any:
    """The ``vtk`` package that Slicer was built with."""
    slicer_module()
    import vtk

    return vtk


def nodes_of_class(scene: Any, class_name: str) -> list[Any]:
    """All nodes of a class or its subclasses, in scene order (``slicer.util``'s own looks only at the main scene)."""
    return [scene.GetNthNodeByClass(i, class_name) for i in range(scene.GetNumberOfNodesByClass(class_name))]
