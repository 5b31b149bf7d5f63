"""Any picture that a layout may name, decoded: image files, figshare's MATLAB files, single DICOM images."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.io.dicomfile import inspect, is_dicom
from cadx.prepare.picture import Picture, picture_of, read_picture
from cadx.study.layouts.figshare import read_figshare_image


def read_any_picture(path: str) -> Picture:
    """Read by suffix: ``.mat`` of figshare 1512427, ``.dcm``, everything else as an image file.

    Raises
    ------
    InputError
        If it cannot be read, or shows nothing.
    """
    place = Path(path)
    suffix = place.suffix.lower()
    if suffix == ".mat":
        return picture_of(read_figshare_image(place)[0], place.name)
    return picture_of(_dicom(place), place.name) if suffix == ".dcm" else read_picture(place)


def _dicom(path: Path) -> NDArray[Any]:
    """The image as a viewer shows it first: rescaled, windowed, black on white turned round."""
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    if not is_dicom(path):
        raise InputError(f"{path.name} is no DICOM file; export it again.")
    inspect(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            values = dataset.pixel_array
            if values.ndim == 2:
                values = apply_voi_lut(apply_modality_lut(values, dataset), dataset)
            inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    except Exception as error:  # pydicom raises whatever a damaged value leads it to
        raise InputError(f"{path.name} cannot be read as a DICOM image; export it as PNG.") from error
    if values.ndim == 3 and values.shape[2] != 3:
        raise InputError(f"{path.name} holds {values.shape[0]} images; give one a file.")
    return values.max() - values.astype(np.float64) if inverted else values
