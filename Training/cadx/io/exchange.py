"""Volumes passed between two processes of one user, through a folder: NumPy files that are mapped, not copied."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.io.jsonfile import JsonError, read_json
from cadx.volume import Volume


def put_volume(folder: Path, key: str, volume: Volume) -> None:
    """Write ``key.npy`` (K, J, I) and ``key.json`` (IJK-to-RAS matrix, name, what warnings need).

    No patient's id leaves the process, and a hash stands for the frame of reference: it is only compared.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    try:
        np.save(folder / f"{key}.npy", np.ascontiguousarray(volume.voxels), allow_pickle=False)
        frame = volume.frame_of_reference
        place = {
            "ijk_to_ras": volume.geometry.ijk_to_ras.tolist(),
            "name": volume.name,
            "frame": hashlib.sha256(frame.encode()).hexdigest() if frame else None,
            "oriented": volume.oriented,
        }
        (folder / f"{key}.json").write_text(json.dumps(place), encoding="utf-8")
    except OSError as error:
        raise InputError(f"The folder {folder.name} cannot be written ({error.strerror}); make room there.") from error


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
