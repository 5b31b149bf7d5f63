"""Outside the application these tests run on the test host; skipped as a whole where its parts are not installed."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[2] / "Testing" / "modules")]

from on_host import IGNORED, no_error_is_swallowed, panel_fixture  # noqa: E402

collect_ignore_glob = IGNORED
_panel = panel_fixture(HERE.parents[1] / "TumorClassifier.py")
_no_error_is_swallowed = no_error_is_swallowed
