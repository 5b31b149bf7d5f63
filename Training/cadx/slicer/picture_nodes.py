"""Nodes that a bundle for pictures reads: volumes, and pictures, which are volume nodes of a single slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.slicer.runtime import slicer_module
from cadx.slicer.volumes import VolumeReader, geometry_of_node, node_to_volume, volume_to_node
from cadx.volume import Volume

COLOURED = "vtkMRMLVectorVolumeNode"
# first row anterior, first column at the patient's right: an axial view then shows the picture the right way up
_AXES = np.diag([-1.0, -1.0, 1.0])


def open_picture(scene: Any, path: str | Path) -> Any:
    """Add a PNG, JPEG, BMP, TIFF or DICOM image as a volume node of one slice, as a radiologist sees it.

    What a DICOM file says of its grey values (MONOCHROME1, VOI LUT, rescale) is applied. The node lies in the axial
    plane, a millimetre a pixel; it holds 8 bits, of a coloured picture three components.

    Raises
    ------
    InputError
        If the file cannot be read, or shows nothing.
    """
    from cadx.prepare.picture_file import read_picture_file

    picture = read_picture_file(path)
    rows, columns = picture.shape
    geometry = Geometry.from_axes((columns, rows, 1), (1, 1, 1), _AXES, (0, 0, 0))
    if picture.pixels.ndim == 2:
        return volume_to_node(scene, Volume(picture.pixels[None], geometry, picture.name), shown_range=(0, 255))
    node = scene.AddNewNodeByClass(COLOURED, picture.name)
    util = slicer_module().util
    util.updateVolumeFromArray(node, picture.pixels[None])
    node.SetIJKToRASMatrix(util.vtkMatrixFromArray(np.array(geometry.ijk_to_ras)))
    node.CreateDefaultDisplayNodes()
    return node


class SourceReader:
    """Reads what a bundle for pictures takes from nodes, and keeps it until the node changes."""

    def __init__(self) -> None:
        self._volumes = VolumeReader()
        self._kept: tuple[tuple[object, ...], Any] | None = None

    def forget(self) -> None:
        """Keep nothing: the scene is going."""
        self._volumes.forget()
        self._kept = None

    def read(self, node: Any) -> Any:
        """A Volume to be read slice by slice, or a Picture.

        A node of one slice is a picture where it is coloured, holds 8 bits, or came from a DICOM file that is at hand,
        which is then read itself: Slicer's volumes do not know of MONOCHROME1.

        Raises
        ------
        InputError
            If the node is missing or cannot be used.
        """
        if not is_picture(node):
            return self._volumes.read(node)
        image = node.GetImageData()
        stamp = (node.GetID(), image.GetMTime(), node.GetName(), node.GetAttribute("DICOM.instanceUIDs"))
        if self._kept is None or self._kept[0] != stamp:
            self._kept = stamp, _picture(node)
        return self._kept[1]


def is_picture(node: Any) -> bool:
    """Whether a volume node is one picture and no stack of slices."""
    image = node.GetImageData() if hasattr(node, "GetImageData") else None
    if image is None or min(image.GetDimensions()) != 1:
        return False
    eight_bits = image.GetScalarTypeAsString() == "unsigned char"
    return bool(node.IsA(COLOURED)) or eight_bits or _dicom_file(node) is not None


def on_node(node: Any, own_map: NDArray[np.float32]) -> Volume:
    """A map over a picture (rows, columns), as displayed, as a volume on its node's grid, RAS mm."""
    from cadx.prepare.stack import Stack

    geometry = geometry_of_node(node)
    shape = geometry.size_ijk[::-1]
    return Stack.of(Volume(np.zeros(shape, dtype=np.float32), geometry)).put_back({0: own_map})


def _picture(node: Any) -> Any:
    from cadx.prepare.picture import picture_of
    from cadx.prepare.picture_file import read_picture_file
    from cadx.prepare.stack import Stack

    file, name = _dicom_file(node), node.GetName() or "picture"
    if file is not None:
        picture = read_picture_file(file)
        if sorted(picture.shape) == sorted(node.GetImageData().GetDimensions())[1:]:
            return picture
    if not node.IsA(COLOURED):
        return picture_of(Stack.of(node_to_volume(node)).values(0), name)
    values, geometry = np.array(slicer_module().util.arrayFromVolume(node)), geometry_of_node(node)
    if values.shape[-1] < 3 or values.dtype != np.uint8:
        raise InputError(f"{name} is no picture of three colours in 8 bits; export it as PNG and open that.")
    stacks = [Stack.of(Volume(values[..., channel], geometry, name)) for channel in range(3)]
    return picture_of(np.stack([stack.values(0) for stack in stacks], axis=-1), name)


def _dicom_file(node: Any) -> str | None:
    """The one DICOM file that Slicer loaded a node from, if its database still has it."""
    database = getattr(slicer_module(), "dicomDatabase", None)
    instances = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    if database is None or len(instances) != 1:
        return None
    file = str(database.fileForInstance(instances[0]) or "")
    return file if file and Path(file).is_file() else None
