"""A picture from any file that may hold one; training and use read through this one function."""

from __future__ import annotations

from pathlib import Path

from cadx.errors import InputError
from cadx.io.dicomfile import is_dicom
from cadx.io.dicomimage import read_dicom_image
from cadx.io.imagefile import SUFFIXES
from cadx.io.names import require_plain_name
from cadx.prepare.picture import Picture, picture_of, read_picture
from cadx.prepare.stack import upright


def read_picture_file(path: str | Path) -> Picture:
    """Read a DICOM image (by its content or the suffix ``.dcm``), else PNG, JPEG, BMP or TIFF.

    A DICOM image is turned as :mod:`cadx.prepare.stack` says where it states its orientation, and its grey values
    become 0..255 from minimum to maximum.

    Raises
    ------
    InputError
        If it cannot be read, or shows nothing.
    """
    place = Path(path)
    require_plain_name(place)
    try:
        there, folder = place.is_file(), place.is_dir()
    except OSError:
        there = folder = False
    if folder:
        raise InputError(f"{place.name[:80]} is a folder; give one image in it, or a DICOM series as a volume.")
    if not there:
        raise InputError(f"{place.name[:80]} is not there or no file; give a PNG, JPEG, BMP, TIFF or DICOM image.")
    if place.suffix.lower() == ".dcm" or is_dicom(place):
        image = read_dicom_image(place)
        return picture_of(image.values if image.axes is None else upright(image.values, image.axes), place.name)
    if place.name.lower().endswith(SUFFIXES):
        raise InputError(f"{place.name} is a volume and no picture; give it as a volume and choose its slices.")
    return read_picture(place)
