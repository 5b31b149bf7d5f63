"""What the tests of the modules' panels share: nothing here is a test of its own, and most needs the application."""

from __future__ import annotations

collect_ignore_glob = ["*.py"]
