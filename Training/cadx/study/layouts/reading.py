"""Any picture or mask that a layout may name, decoded: image files, figshare's MATLAB files, single DICOM images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cadx.errors import InputError
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


def read_any_mask(path: str) -> Picture:
    """A finding's outline as a picture of 0 and 255: of figshare's ``.mat`` its own mask, else what is
    brighter than half of its brightest pixel.

    Raises
    ------
    InputError
        If it cannot be read, or a ``.mat`` file holds none.
    """
    place = Path(path)
    if place.suffix.lower() != ".mat":
        picture = read_picture_file(place)
        values = picture.pixels if picture.pixels.ndim == 2 else picture.pixels.max(axis=2)
        return Picture(np.where(2 * values.astype(int) > values.max(), 255, 0).astype(np.uint8), picture.name)
    mask = read_figshare_image(place)[1]
    if mask is None:
        raise InputError(f"{place.name} holds no outline of the tumour; leave training.lesion_weight out.")
    return Picture(np.where(mask, 255, 0).astype(np.uint8), place.name)
