"""What opening the panel may load, and a grid that follows the ROI; Testing/host/measure.py says how long it takes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cadx.child import package_environment

HEAVY = ("torch", "timm", "monai", "torchvision", "pydantic", "typer", "matplotlib", "safetensors")

OPEN = """
import sys
sys.path.insert(0, {host!r})
from slicer_host import Host
host = Host()
panel = host.open({module!r})
print(*(name for name in {heavy!r} if name in sys.modules))
host.reset()
"""


def opening(repository, module) -> list[str]:
    code = OPEN.format(host=str(repository / "Testing" / "host"), module=str(module), heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=package_environment(), check=True
    )
    return done.stdout.split()


def test_opening_the_panel_loads_nothing_heavy(repository, module):
    assert opening(repository, module) == []


def test_the_module_opens_without_the_packages_that_slicer_does_not_bring(repository, module):
    blocked = f"import sys\nfor name in {HEAVY!r}: sys.modules[name] = None\n"
    code = blocked + OPEN.format(host=str(repository / "Testing" / "host"), module=str(module), heavy=())
    code += "\nassert not host.errors, host.errors"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=package_environment(), check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_grid_follows_the_roi(ipmn_panel):
    import slicer

    from cadx.roi import Roi
    from cadx.slicer import node_to_roi, set_roi
    from cadx.slicer.sample import add_phantom

    from slicer_host import Host

    nodes = add_phantom(slicer.mrmlScene)
    parameters = ipmn_panel.logic.getParameterNode()
    parameters.t1Volume, parameters.t2Volume, parameters.roi = nodes.t1, nodes.t2, nodes.roi
    assert Host().until(lambda: ipmn_panel.tiles.shown is not None, 60)
    Host().until(lambda: not ipmn_panel.preparing, 60)
    box = node_to_roi(nodes.roi)
    for step in range(1, 4):
        before = ipmn_panel.tiles.shown
        set_roi(nodes.roi, Roi(box.center_ras + np.array([step, 0, 0]), box.size_mm, box.axes))
        assert Host().until(lambda seen=before: ipmn_panel.tiles.shown is not seen, 30)
        moved = ipmn_panel.tiles.shown.centres_ras - before.centres_ras
        np.testing.assert_allclose(moved @ box.axes[:, 0], box.axes[0, 0], atol=1e-6)


@pytest.mark.parametrize("name", ["torch", "timm", "monai"])
def test_grading_leaves_the_heavy_packages_to_the_worker(repository, module, name):
    room = repository / "Training" / "cadx" / "slicer"
    text = module.read_text() + "".join(path.read_text() for path in room.rglob("*.py"))
    assert f"import {name}" not in text
