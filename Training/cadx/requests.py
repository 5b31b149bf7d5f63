"""What a panel may ask of its worker, field by field; both sides use these, so that they cannot drift apart."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from cadx.classify import Options
from cadx.classify_picture import PictureOptions
from cadx.planes import Plane
from cadx.prepare.spec import Strict
from cadx.roi import Roi

Triple = tuple[float, float, float]


class RoiData(Strict):
    """A box in RAS mm; ``axes`` are its unit vectors, one a row."""

    center_ras: Triple
    size_mm: Triple
    axes: tuple[Triple, Triple, Triple]
    source: str = "ROI"

    @classmethod
    def of(cls, roi: Roi) -> RoiData:
        """From a Roi."""
        return cls.model_validate(
            {
                "center_ras": roi.center_ras.tolist(),
                "size_mm": roi.size_mm.tolist(),
                "axes": roi.axes.T.tolist(),
                "source": roi.source,
            }
        )

    def to_roi(self) -> Roi:
        """Raises :class:`cadx.errors.InputError` where the numbers make no box."""
        return Roi(np.array(self.center_ras), np.array(self.size_mm), np.array(self.axes).T, self.source)


class Prepare(Strict):
    """Correct the images in ``folder`` and leave the corrected ones beside them."""

    do: Literal["prepare"] = "prepare"
    id: int
    folder: str


class Load(Strict):
    """Load the model, so that the first answer does not wait for it."""

    do: Literal["load"] = "load"
    id: int


class Describe(Strict):
    """Name the device that was chosen, and why."""

    do: Literal["describe"] = "describe"
    id: int


class Classify(Strict):
    """Grade the case in ``folder``; cells, map and attention are left in ``answers``, a folder of its own."""

    do: Literal["classify"] = "classify"
    id: int
    folder: str
    answers: str
    roi: RoiData
    options: Options = Options()
    name: str = "case"
    command: tuple[str, ...] = ()


class Read(Strict):
    """Read the picture, or slices of the volume, in ``folder``; the map is left in ``answers``, a folder of its own.

    ``slices`` count from 0 in the volume's stored order, None takes all; ``plane`` None takes that of the acquisition.
    """

    do: Literal["read"] = "read"
    id: int
    folder: str
    answers: str
    slices: tuple[int, ...] | None = None
    plane: Plane | None = None
    options: PictureOptions = PictureOptions()
    name: str = "case"
    command: tuple[str, ...] = ()


Request = Prepare | Load | Describe | Classify | Read
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="do")])
