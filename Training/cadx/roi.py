"""A region of interest: a box in patient space, perhaps rotated, and the forms it is given in."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadx.errors import InputError
from cadx.geometry import Array, lps_to_ras
from cadx.io.jsonfile import JsonError, read_json
from cadx.volume import Volume

DEFAULT_MASK_MARGIN_MM = 10.0
SMALLEST_MM = 1e-3
FARTHEST_MM = 1e5
_WORDS = {"center_ras": "a centre", "size_mm": "a size", "axes": "axes"}


@dataclass(frozen=True, eq=False)
class Roi:
    """A box in RAS millimetres.

    Parameters
    ----------
    center_ras
        Centre, RAS mm.
    size_mm
        Full edge lengths along the three columns of ``axes``, mm.
    axes
        (3, 3) with orthonormal columns in RAS; identity when the box lies along R, A, S.
    source
        Where it came from, for messages and the result.

    Raises
    ------
    InputError
        If a number is not finite or absurd, a size is not positive, or the axes are not orthonormal.

    Examples
    --------
    >>> roi = Roi.from_text("-12.5,30,10,80,60,70")
    >>> roi.center_ras.tolist(), roi.size_mm.tolist()
    ([-12.5, 30.0, 10.0], [80.0, 60.0, 70.0])
    """

    center_ras: Array
    size_mm: Array
    axes: Array = field(default_factory=lambda: np.eye(3))
    source: str = "box"

    def __post_init__(self) -> None:
        for name, shape in (("center_ras", (3,)), ("size_mm", (3,)), ("axes", (3, 3))):
            value = np.asarray(getattr(self, name), dtype=float)
            if value.shape != shape or not np.isfinite(value).all():
                raise InputError(
                    f"The ROI ({self.source}) has {_WORDS[name]} not made of finite numbers; draw it again."
                )
            object.__setattr__(self, name, value)
        if max(self.size_mm.max(), np.abs(self.center_ras).max()) > FARTHEST_MM:
            raise InputError(f"The ROI ({self.source}) reaches beyond {FARTHEST_MM:.0f} mm; give millimetres, RAS.")
        if (self.size_mm < SMALLEST_MM).any():
            raise InputError(
                f"The ROI ({self.source}) is empty, its size {_millimetres(self.size_mm)}; give three sizes above 0 mm."
            )
        if np.abs(self.axes.T @ self.axes - np.eye(3)).max() > 1e-3:
            raise InputError(f"The ROI ({self.source}) has axes that are not at right angles; draw the box again.")

    @classmethod
    def from_text(cls, text: str) -> Roi:
        """From ``R,A,S,size_R,size_A,size_S``: centre and size in mm, RAS."""
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != 6:
            raise InputError(
                f"The ROI '{PurePath(text).name[:60]}' is neither a file nor six comma-separated numbers; give "
                "centre and size in mm, RAS, such as -12.5,30,10,80,60,70."
            )
        return cls(np.array(numbers[:3]), np.array(numbers[3:]), source="six numbers")

    @classmethod
    def from_markups(cls, path: Path) -> Roi:
        """From a Slicer markups file (``.mrk.json``) in the coordinate system that the file names."""
        return _roi_from_markups(_read_markups(path), path.name)

    @classmethod
    def from_mask(cls, mask: Volume, axes: ArrayLike, margin_mm: float = DEFAULT_MASK_MARGIN_MM) -> Roi:
        """Bounding box, along ``axes`` (columns, RAS), of the mask's voxels above zero plus a margin in mm."""
        if not np.isfinite(margin_mm) or margin_mm < 0:
            raise InputError(f"The margin around the mask is {margin_mm} mm; give 0 mm or more.")
        kji = _row_ends(np.asarray(mask.voxels) > 0)
        if not len(kji):
            raise InputError(f"{mask.name}: the mask is empty, so there is no ROI; give one with voxels above zero.")
        axes = np.asarray(axes, dtype=float)
        centres = mask.geometry.to_ras(kji[:, ::-1]) @ axes
        half_voxel = np.abs(axes.T @ mask.geometry.axes) @ mask.geometry.spacing / 2
        low = centres.min(axis=0) - half_voxel - margin_mm
        high = centres.max(axis=0) + half_voxel + margin_mm
        return cls(axes @ ((low + high) / 2), high - low, axes, source=mask.name)

    def corners_ras(self) -> Array:
        """(8, 3) corners, RAS mm."""
        signs = np.array(list(product((-0.5, 0.5), repeat=3)))
        return self.center_ras + (signs * self.size_mm) @ self.axes.T

    def on_axes(self, axes: ArrayLike) -> Roi:
        """The bounding box of this box along other axes (columns, RAS); itself where they agree."""
        axes = np.asarray(axes, dtype=float)
        half = np.abs(axes.T @ self.axes) @ self.size_mm / 2
        return Roi(self.center_ras, 2 * half, axes, self.source)

    def tilt_degrees(self, axes: ArrayLike) -> float:
        """Largest angle between an edge of the box and the nearest of the given axes, degrees."""
        cosines = np.abs(np.asarray(axes, dtype=float).T @ self.axes).max(axis=0)
        return float(np.degrees(np.arccos(np.clip(cosines.min(), 0, 1))))

    def to_markups(self) -> dict[str, Any]:
        """As a Slicer markups document holding one box ROI, in LPS as Slicer itself writes."""
        return {
            "@schema": "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
            "Resources/Schema/markups-schema-v1.0.3.json#",
            "markups": [
                {
                    "type": "ROI",
                    "coordinateSystem": "LPS",
                    "coordinateUnits": "mm",
                    "locked": False,
                    "roiType": "Box",
                    "center": lps_to_ras(self.center_ras).tolist(),
                    "orientation": lps_to_ras(self.axes.T).T.ravel().tolist(),
                    "size": self.size_mm.tolist(),
                    "insideOut": False,
                    "controlPoints": [{"position": lps_to_ras(self.center_ras).tolist()}],
                    "display": {"visibility": True, "opacity": 1.0, "fillOpacity": 0.0},
                }
            ],
        }


def _row_ends(inside: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(n, 3) K, J, I of the first and the last voxel in every row: no voxel lies further out in any direction."""
    k, j = np.nonzero(inside.any(axis=2))
    rows = inside[k, j]
    first, last = rows.argmax(axis=1), rows.shape[1] - 1 - rows[:, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([k, j, ends], axis=1) for ends in (first, last)])


def _millimetres(size: Array) -> str:
    return " x ".join(f"{value:g}" for value in size) + " mm"


def _read_markups(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except JsonError as error:
        raise InputError(f"{path.name} cannot be read as a Slicer markups file; save the ROI again.") from error
    if not isinstance(document, dict):
        raise InputError(f"{path.name} is not a Slicer markups file; give the ROI that Slicer saved (.mrk.json).")
    return document


def _roi_from_markups(document: dict[str, Any], name: str) -> Roi:
    markups = document.get("markups")
    rois = [m for m in markups if isinstance(m, dict) and m.get("type") == "ROI"] if isinstance(markups, list) else []
    if len(rois) != 1:
        count = "no ROI" if not rois else f"{len(rois)} ROIs"
        raise InputError(f"{name} holds {count}; save exactly one box ROI into it.")
    roi = rois[0]
    system = str(roi.get("coordinateSystem", "LPS")).upper()
    if system not in ("LPS", "RAS", "0", "1"):
        raise InputError(f"{name}: the coordinate system '{system}' is neither LPS nor RAS; save the ROI again.")
    if roi.get("coordinateUnits", "mm") not in ("mm", ["mm", "UCUM", "millimeter"]):
        raise InputError(f"{name}: the ROI is not in millimetres; save it in mm.")
    if roi.get("insideOut"):
        raise InputError(f"{name}: the ROI is turned inside out; draw it as an ordinary box.")
    to_ras = (lambda v: np.asarray(v, dtype=float)) if system in ("RAS", "0") else lps_to_ras
    try:
        columns = np.asarray(roi["orientation"], dtype=float).reshape(3, 3) if "orientation" in roi else None
        axes_ras = np.eye(3) if columns is None else to_ras(columns.T).T
        return Roi(to_ras(roi["center"]), np.asarray(roi["size"], dtype=float), axes_ras, source=name)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: the ROI has no complete centre, size and orientation; save it again.") from error
