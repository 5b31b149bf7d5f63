"""Volumes and pictures passed between two processes of one user, through a folder: NumPy files, mapped or read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.io.jsonfile import JsonError, read_json
from cadx.prepare.picture import Picture
from cadx.volume import Volume

VOLUME, PICTURE = "volume", "picture"


def put_volume(folder: Path, key: str, volume: Volume) -> None:
    """Write ``key.npy`` (K, J, I) and ``key.json`` (IJK-to-RAS matrix, name, what warnings need).

    No patient's id leaves the process, and a hash stands for the frame of reference: it is only compared.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    frame = volume.frame_of_reference
    place = {
        "ijk_to_ras": volume.geometry.ijk_to_ras.tolist(),
        "name": volume.name,
        "frame": hashlib.sha256(frame.encode()).hexdigest() if frame else None,
        "oriented": volume.oriented,
    }
    _put(folder, key, volume.voxels, place)


def get_volume(folder: Path, key: str) -> Volume:
    """The volume that :func:`put_volume` wrote; its voxels are mapped and read-only.

    Raises
    ------
    InputError
        If it is not there, or not whole.
    """
    try:
        place = read_json(folder / f"{key}.json")
        voxels = np.load(folder / f"{key}.npy", mmap_mode="r", allow_pickle=False)
        geometry = Geometry(voxels.shape[::-1], np.array(place["ijk_to_ras"]))
        return Volume(voxels, geometry, place["name"], None, place["frame"], place["oriented"])
    except (JsonError, OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"The volume {key} was not handed over whole; start the job again.") from error


def put_picture(folder: Path, key: str, picture: Picture) -> None:
    """Write ``key.npy`` (rows, columns) or (rows, columns, 3) and ``key.json`` (name).

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    _put(folder, key, picture.pixels, {"name": picture.name})


def get_picture(folder: Path, key: str) -> Picture:
    """The picture that :func:`put_picture` wrote.

    Raises
    ------
    InputError
        If it is not there, or not whole.
    """
    try:
        name = read_json(folder / f"{key}.json")["name"]
        pixels = np.load(folder / f"{key}.npy", allow_pickle=False)
    except (JsonError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The picture {key} was not handed over whole; start the job again.") from error
    return Picture(pixels, name)


def put_source(folder: Path, source: Volume | Picture) -> None:
    """Write what a picture case reads, whichever it is.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    if isinstance(source, Picture):
        put_picture(folder, PICTURE, source)
    else:
        put_volume(folder, VOLUME, source)


def get_source(folder: Path) -> Volume | Picture:
    """What :func:`put_source` wrote; a volume's voxels are mapped and read-only.

    Raises
    ------
    InputError
        If it is not there, or not whole.
    """
    return get_picture(folder, PICTURE) if (folder / f"{PICTURE}.json").is_file() else get_volume(folder, VOLUME)


def _put(folder: Path, key: str, values: NDArray[Any], beside: dict[str, Any]) -> None:
    try:
        np.save(folder / f"{key}.npy", np.ascontiguousarray(values), allow_pickle=False)
        (folder / f"{key}.json").write_text(json.dumps(beside), encoding="utf-8")
    except OSError as error:
        raise InputError(f"The folder {folder.name} cannot be written ({error.strerror}); make room there.") from error
