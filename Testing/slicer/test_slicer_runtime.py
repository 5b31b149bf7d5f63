"""Importing cadx.slicer is cheap, and says what to install where Slicer is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slicer_samples import needs_drawing

HERE = Path(__file__).resolve().parent


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = [p for p in sys.path if p and Path(p).resolve() not in (HERE, HERE.parent)]  # see conftest.py
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), **variables}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def test_import_loads_neither_slicer_nor_vtk_nor_torch():
    done = run(
        "import sys, cadx.slicer; print([m for m in ('slicer', 'vtk', 'vtkmodules', 'torch') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_missing_slicer_names_the_command_that_installs_it():
    done = run(
        "import sys; sys.modules['slicer'] = None\n"
        "from cadx.errors import MissingDependencyError\n"
        "from cadx.slicer import own_scene\n"
        "try:\n    own_scene().__enter__()\n"
        "except MissingDependencyError as error:\n    print(error, error.exit_code)"
    )
    assert "pip install slicer-core" in done.stdout, done.stdout + done.stderr
    assert done.stdout.strip().endswith("3")


def test_another_package_called_slicer_is_not_taken_for_slicer():
    done = run(
        "import sys, types\n"
        "sys.modules['slicer'] = types.ModuleType('slicer'); sys.modules['slicer'].__path__ = []\n"
        "sys.modules['slicer.util'] = types.ModuleType('slicer.util')\n"
        "from cadx.slicer.runtime import slicer_module\n"
        "try:\n    slicer_module()\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    assert done.stdout.startswith("MissingDependencyError"), done.stdout + done.stderr
    assert "pip install slicer-core" in done.stdout


def test_a_scene_leaves_nothing_behind_and_prints_nothing(tmp_path):
    done = run(
        "import os, tempfile\n"
        "from cadx.slicer import own_scene\n"
        "before = set(os.listdir(tempfile.gettempdir()))\n"
        "for _ in range(3):\n"
        "    with own_scene() as scene:\n        scene.AddNewNodeByClass('vtkMRMLMarkupsROINode')\n"
        "print([n for n in set(os.listdir(tempfile.gettempdir())) - before if n.startswith('cadx')])",
        TMPDIR=str(tmp_path),  # other tests make scenes of their own meanwhile
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
    assert done.returncode == 0


@needs_drawing
def test_a_picture_may_be_drawn_before_torch_is_loaded(tmp_path):
    """Mesa and triton both bring LLVM; the wrong order ends the process."""
    pytest.importorskip("timm")
    code = (
        "import sys; from pathlib import Path; from slicer_samples import case, result\n"
        "from cadx.slicer import write_case_scene\n"
        "write_case_scene(Path(sys.argv[1]), result=result(), **case())\n"
        "import timm; print('both')"
    )
    done = run(code.replace("sys.argv[1]", repr(str(tmp_path))))
    assert done.stdout.split() == ["both"], done.stderr[-500:]


def test_pythonslicer_knows_too_little_and_says_so():
    """Outside the application's process Slicer's own interpreter imports a slicer package without its modules."""
    done = run(
        "import sys, types\n"
        "util, crippled = types.ModuleType('slicer.util'), types.ModuleType('slicer')\n"
        "crippled.util, crippled.vtkMRMLScene = util, object\n"
        "sys.modules.update({'slicer': crippled, 'slicer.util': util})\n"
        "from cadx.errors import MissingDependencyError\n"
        "from cadx.slicer import own_scene\n"
        "try:\n    own_scene().__enter__()\n"
        "except MissingDependencyError as error:\n    print(error)"
    )
    assert "PythonSlicer has no scene outside the application" in done.stdout, done.stdout + done.stderr
