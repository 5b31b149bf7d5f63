"""Photograph a module's panel in each of its states: ``python Testing/host/screenshots.py IPMNClassifier --out DIR``.

The states are those of the module's ``Testing/Python/states.py``. They are made on the test host, with fonts and style
of its own: in the application the panel looks alike, not the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    """Write ``<state>.png`` for each state, 400 pixels wide; 1 if a panel did not fit into that."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=400)
    given = parser.parse_args()
    if not (REPOSITORY / given.module / "Testing" / "Python" / "states.py").is_file():
        parser.error(f"there is no module {given.module} with states to photograph")
    tests = REPOSITORY / given.module / "Testing" / "Python"
    sys.path[:0] = [str(REPOSITORY / "Training"), str(tests), str(REPOSITORY / "Testing" / "modules")]
    from slicer_host import Host
    from slicer_host.opened import opened

    given.out.mkdir(parents=True, exist_ok=True)
    too_wide = []
    with opened(REPOSITORY / given.module / f"{given.module}.py") as panel:
        from states import states

        for name in states(panel):
            Host().process(0.1)
            width, height = Host().grab(panel.parent, given.out / f"{name}.png", given.width)
            print(f"{name}.png  {width} x {height}", flush=True)
            too_wide += [name] if width > given.width else []
    if too_wide:
        print(f"Wider than {given.width} pixels: {', '.join(too_wide)}", file=sys.stderr)
    return 1 if too_wide else 0


if __name__ == "__main__":
    sys.exit(main())
