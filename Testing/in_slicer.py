"""All module tests in the application itself, with a verdict as JSON:

Slicer --testing --no-splash --no-main-window --python-script Testing/in_slicer.py [--] [verdict.json] [MODULE ...]

Needs the extension's modules on Slicer's module paths and its packages installed; without names of modules all are
tested. Exit code 0 if all tests passed, else 1. On the test host: python Testing/in_slicer.py --host [verdict.json]
[MODULE ...].
"""

from __future__ import annotations

import json
import platform
import sys
import time
import unittest
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = ("IPMNClassifier", "TumorClassifier")


def run(module: str) -> dict[str, object]:
    """Run one module's tests; counts, and what failed with its last line."""
    folder = REPOSITORY / module / "Testing" / "Python"
    sys.path.insert(0, str(folder))
    start = time.monotonic()
    # a loader of its own: one that has looked into a module's folder takes it for the top of the next
    suite = unittest.TestLoader().discover(str(folder), "test_*.py")
    outcome = unittest.TextTestRunner(verbosity=2).run(suite)
    broken = [*outcome.failures, *outcome.errors]
    return {
        "tests": outcome.testsRun,
        "failed": {str(test): trace.strip().splitlines()[-1] for test, trace in broken},
        "skipped": {str(test): reason for test, reason in outcome.skipped},
        "seconds": round(time.monotonic() - start, 1),
    }


def on_host(module: str) -> AbstractContextManager[object]:
    """The stand-in for the application."""
    # slicer-core takes a folder called slicer for a part of its own, and there is one beside this file
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]
    sys.path[:0] = [str(REPOSITORY / "Training"), str(REPOSITORY / "Testing" / "host")]
    from slicer_host.opened import opened

    return opened(REPOSITORY / module / f"{module}.py")


def main(arguments: list[str]) -> int:
    """Run all tests and write the verdict."""
    if "--help" in arguments:
        print(__doc__)
        return 0
    host = "--host" in arguments
    names = [name for name in arguments if not name.startswith("--")]
    modules = [name for name in names if name in MODULES]
    files = [name for name in names if name not in MODULES]
    verdict = Path(files[0] if files else "in_slicer.json")
    results = {}
    for module in modules or MODULES:
        with ExitStack() as stack:
            stack.enter_context(on_host(module) if host else nullcontext())
            results[module] = run(module)
    import slicer

    passed = all(result["tests"] and not result["failed"] for result in results.values())
    where = "test host" if host else "3D Slicer"
    document = {
        "passed": passed,
        "where": f"{where} {slicer.app.applicationVersion}" if hasattr(slicer, "app") else where,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "modules": results,
    }
    verdict.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{'Passed' if passed else 'FAILED'}; {verdict}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
