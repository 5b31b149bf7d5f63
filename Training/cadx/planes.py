"""How planes through a patient and places along them are called; imports nothing, so that a panel can open with it."""

from __future__ import annotations

from typing import Literal

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
DIRECTIONS = (("R", "L"), ("A", "P"), ("S", "I"))


def position_text(plane: Plane, position_mm: float, digits: int = 0) -> str:
    """A slice's place with its letter instead of a sign.

    Parameters
    ----------
    position_mm
        Along the patient's axis across the plane, RAS mm.

    Raises
    ------
    ValueError
        If there is no such plane.

    Examples
    --------
    >>> position_text("axial", -12.0), position_text("sagittal", 3.0)
    ('I 12 mm', 'R 3 mm')
    """
    letter = DIRECTIONS[PLANES.index(plane)][position_mm < 0]
    return f"{letter} {abs(position_mm):.{digits}f} mm"
