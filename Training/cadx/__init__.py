"""SlicerCADx: computer-aided diagnosis in 3D Slicer, and headless.

Research use only, not for clinical decisions.
"""

__version__ = "0.1.0"

DISCLAIMER = "Research use only, not for clinical decisions."
