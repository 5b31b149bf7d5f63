"""A stand-in for the Slicer application: a scripted module's own files run on it, unchanged, in a test.

Real MRML from slicer-core, real Qt widgets and a real event loop from PySide6, off screen. See :class:`Host`.
"""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # Qt reads it when it loads

from slicer_host.host import Host

__all__ = ["Host"]
