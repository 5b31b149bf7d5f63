"""What the panel of IPMNClassifier costs: ``python Testing/host/measure.py [--t1 T1 --t2 T2] [--out FILE.json]``.

On the test host, with a phantom or the images that are given: opening the panel, new tiles after the ROI moved, the
event loop's longest answer while a worker stands still, and growth over 20 gradings. The aims are those of the project;
a machine under load does worse.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "IPMNClassifier" / "IPMNClassifier.py"
AIMS = {"open_s": 0.5, "tiles_s": 0.15, "longest_answer_s": 0.1, "growth_mb": 50}


def main() -> int:
    """Measure, print and perhaps write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--t1", type=Path)
    parser.add_argument("--t2", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    sys.path.insert(0, str(REPOSITORY / "Training"))
    from slicer_host import Host

    host = Host()
    # the application has loaded these
    import numpy
    import SimpleITK
    import slicer.util

    assert numpy and SimpleITK and slicer.util
    start = time.perf_counter()
    panel = host.open(MODULE)
    found: dict[str, Any] = {"open_s": time.perf_counter() - start}
    roi = choose(host, panel, given.t1, given.t2)
    found["tiles_s"] = tiles(host, panel, roi)
    found["longest_answer_s"] = longest_answer(host, panel)
    found["growth_mb"] = growth(host, panel)
    host.reset()
    document = {
        "measured": {name: round(value, 3) for name, value in found.items()},
        "aims": AIMS,
        "images": "phantom" if given.t1 is None else "given",
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "processor": platform.machine()},
    }
    text = json.dumps(document, indent=2) + "\n"
    print(text, end="")
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    return 0


def choose(host: Any, panel: Any, t1: Path | None, t2: Path | None) -> Any:
    """Choose images and a ROI, and wait for the tiles and the model; returns the ROI node."""
    import slicer

    from cadx.roi import Roi
    from cadx.slicer import node_to_volume, roi_to_node
    from cadx.slicer.sample import add_phantom

    if t1 is None or t2 is None:
        nodes = add_phantom(slicer.mrmlScene)
        chosen = (nodes.t1, nodes.t2, nodes.roi)
    else:
        first, second = (slicer.util.loadVolume(str(path)) for path in (t1, t2))
        middle = node_to_volume(first).geometry.center_ras
        chosen = (first, second, roi_to_node(slicer.mrmlScene, Roi(middle, numpy_array(110, 90, 80))))
    parameters = panel.logic.getParameterNode()
    parameters.t1Volume, parameters.t2Volume, parameters.roi = chosen
    if not host.until(lambda: panel.tiles.shown is not None, 120):
        raise SystemExit(panel.tiles.status)
    host.until(lambda: "GiB" in panel.device.text, 120)
    return chosen[2]


def tiles(host: Any, panel: Any, roi: Any) -> float:
    """Median seconds from a ROI's move to its tiles."""
    from cadx.roi import Roi
    from cadx.slicer import node_to_roi, set_roi

    box, taken = node_to_roi(roi), []
    for step in range(1, 12):
        before = panel.tiles.shown
        set_roi(roi, Roi(box.center_ras + numpy_array(step, 0, 0), box.size_mm, box.axes))
        start = time.perf_counter()
        host.until(lambda seen=before: panel.tiles.shown is not seen, 5)
        taken.append(time.perf_counter() - start)
    set_roi(roi, box)
    return statistics.median(taken)


def longest_answer(host: Any, panel: Any) -> float:
    """Longest turn of the event loop in two seconds, in seconds, while the worker stands still."""
    import slicer

    host.until(lambda: not panel.updatePending)
    os.killpg(panel.logic.workerId(), signal.SIGSTOP)
    panel.ui.classifyButton.click()
    longest, end = 0.0, time.monotonic() + 2.0
    while time.monotonic() < end:
        start = time.perf_counter()
        slicer.app.processEvents()
        longest = max(longest, time.perf_counter() - start)
        time.sleep(0.002)
    os.killpg(panel.logic.workerId(), signal.SIGCONT)
    host.until(lambda: not panel.running, 120)
    return longest


def growth(host: Any, panel: Any) -> float:
    """MB that the panel's process grows by in 20 gradings, after three (Linux)."""

    def grade(times: int) -> float:
        for _ in range(times):
            panel.ui.classifyButton.click()
            host.until(lambda: not panel.running, 120)
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    before = grade(3)
    return grade(20) - before


def numpy_array(*values: float) -> Any:
    """Three numbers as an array."""
    import numpy

    return numpy.array(values, dtype=float)


if __name__ == "__main__":
    sys.exit(main())
