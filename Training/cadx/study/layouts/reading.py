"""Any picture that a layout may name, decoded: image files, figshare's MATLAB files, single DICOM images."""

from __future__ import annotations

from pathlib import Path

from cadx.prepare.picture import Picture, picture_of
from cadx.prepare.picture_file import read_picture_file
from cadx.study.layouts.figshare import read_figshare_image


def read_any_picture(path: str) -> Picture:
    """Read by suffix: ``.mat`` of figshare 1512427, everything else as in use.

    Raises
    ------
    InputError
        If it cannot be read, or shows nothing.
    """
    place = Path(path)
    if place.suffix.lower() == ".mat":
        return picture_of(read_figshare_image(place)[0], place.name)
    return read_picture_file(place)
