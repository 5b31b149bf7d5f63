"""The preparation as data: every step a parameter of the bundle, checked field by field."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cadx.errors import InputError
from cadx.io.jsonfile import JsonError, read_json

SCHEMA = "cadx.preparation/1"
PRESETS = ("recommended", "paper", "authors-code")


class Strict(BaseModel):
    """Unknown keys are refused; values cannot change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def from_json(cls, document: Any, source: str) -> Self:
        """Check a parsed JSON document; ``source`` names it in the message.

        Raises
        ------
        InputError
            If a field is unknown or its value is not allowed.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise InputError(f"{source}: {first_complaint(error)}") from error


class BiasSpec(Strict):
    """N4 bias field correction, fitted on a grid of about ``working_samples`` along the longest axis.

    With ``coarse_samples`` all levels but the last are fitted on a grid of about so many.
    """

    method: Literal["n4"] = "n4"
    working_samples: Annotated[int, Field(ge=16, le=512)] = 50
    coarse_samples: Annotated[int, Field(ge=16, le=512)] | None = None
    levels: Annotated[int, Field(ge=1, le=8)] = 4
    iterations: Annotated[int, Field(ge=1, le=1000)] = 50


class SmoothSpec(Strict):
    """Edge-preserving smoothing: curvature anisotropic diffusion."""

    method: Literal["curvature-anisotropic-diffusion"] = "curvature-anisotropic-diffusion"
    iterations: Annotated[int, Field(ge=1, le=100)] = 5
    conductance: Annotated[float, Field(gt=0)] = 3.0


class StandardiseSpec(Strict):
    """Nyul histogram landmarks, learnt on the training part only; one ascending list a channel."""

    method: Literal["nyul"] = "nyul"
    percentiles: tuple[float, ...]
    landmarks: dict[str, tuple[float, ...]]

    @model_validator(mode="after")
    def _lists_agree(self) -> StandardiseSpec:
        ends = self.percentiles
        if len(ends) < 2 or list(ends) != sorted(set(ends)) or ends[0] < 0 or ends[-1] > 100:
            raise ValueError("the percentiles must be two or more, ascending, between 0 and 100")
        for channel, values in self.landmarks.items():
            if len(values) != len(self.percentiles) or list(values) != sorted(values):
                raise ValueError(f"the landmarks of {channel} must be as many as the percentiles, ascending")
        return self


class ScaleSpec(Strict):
    """To 0..1, each image by itself.

    ``roi-percentile`` and ``roi-range`` look at the ROI's cells; ``volume-zscore-range`` is the authors'
    loader: z-score, then 0..1, both over the whole file. ``roi-zscore`` is for a crop and does not end in 0..1: mean 0
    and standard deviation 1 over the ROI's voxels that are not 0, which stay 0.
    """

    method: Literal["roi-percentile", "roi-range", "volume-zscore-range", "roi-zscore"] = "roi-percentile"
    low: Annotated[float, Field(ge=0, lt=100)] = 0.5
    high: Annotated[float, Field(gt=0, le=100)] = 99.5

    @model_validator(mode="after")
    def _low_is_lower(self) -> ScaleSpec:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self


class GridSpec(Strict):
    """How slices of the ROI become the square grid of cells."""

    slices: Literal[4, 9, 16, 25] = 9
    cell_pixels: Annotated[int, Field(ge=8, le=512)] = 64
    fit: Literal["pad", "stretch"] = "pad"
    sampling: Literal["linear", "area"] = "linear"
    in_plane_pixels: Annotated[int, Field(ge=16, le=2048)] | None = None
    orientation: Literal["radiological", "authors"] = "radiological"

    @model_validator(mode="after")
    def _area_is_stretched(self) -> GridSpec:
        if self.sampling == "area" and self.fit != "stretch":
            raise ValueError('sampling "area" averages the whole crop into the cell, so it needs fit "stretch"')
        return self

    @property
    def side(self) -> int:
        """Cells along one edge of the grid."""
        return round(self.slices**0.5)

    @property
    def pixels(self) -> int:
        """Pixels along one edge of the grid."""
        return self.side * self.cell_pixels


class CropSpec(Strict):
    """How the whole ROI becomes one cube, for a network in three dimensions; stretched, along the slices' axes.

    ``sampling="area"`` reads the ROI at 1 mm and averages or repeats that into the cube, as Cyst-X's code does.
    ``orientation`` names the patient direction in which the index grows along each of the tensor's axes.
    ``masked`` says that the network was trained on images in which all but the organ was 0.
    """

    pixels: Annotated[int, Field(ge=16, le=256)] = 96
    sampling: Literal["linear", "area"] = "linear"
    orientation: Literal["SPL", "LPS"] = "SPL"
    masked: bool = False


class PreparationSpec(Strict):
    """All steps, in the order in which they run; None leaves a step out. ``crop`` stands in place of ``grid``."""

    schema_: Literal["cadx.preparation/1"] = Field(default="cadx.preparation/1", alias="schema")
    channels: tuple[str, ...] = ("T1", "T2")
    bias: BiasSpec | None = BiasSpec(coarse_samples=30)
    smooth: SmoothSpec | None = SmoothSpec()
    standardise: StandardiseSpec | None = None
    register_: Literal["none", "rigid"] = Field(default="none", alias="register")
    grid: GridSpec = GridSpec()
    crop: CropSpec | None = None
    scale: ScaleSpec = ScaleSpec()

    model_config = {**Strict.model_config, "populate_by_name": True}

    @model_validator(mode="after")
    def _channels_differ(self) -> PreparationSpec:
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise ValueError("the channels must be one or more, each named once")
        return self

    @model_validator(mode="after")
    def _grid_or_crop(self) -> PreparationSpec:
        if self.crop is not None and "grid" in self.model_fields_set:
            raise ValueError("a preparation makes a grid or a crop, not both")
        if self.crop is None and self.scale.method == "roi-zscore":
            raise ValueError('the scale "roi-zscore" is for a crop')
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the network is fed: (channels, pixels, pixels), or (channels, pixels, pixels, pixels)."""
        edges = (self.grid.pixels,) * 2 if self.crop is None else (self.crop.pixels,) * 3
        return (len(self.channels), *edges)

    def to_json(self) -> dict[str, Any]:
        """As plain data, every default written out; of grid and crop the one that is made."""
        return self.model_dump(mode="json", by_alias=True, exclude={"grid"} if self.crop else {"crop"})


def read_preparation(text: str) -> PreparationSpec:
    """A preset by name, or a JSON file of the same form.

    Raises
    ------
    InputError
        If it is neither, or a field is not allowed.
    """
    if not text.endswith(".json"):
        return preset(text)
    path = Path(text)
    try:
        document = read_json(path)
    except JsonError as error:
        raise InputError(f"{path.name} cannot be read as JSON; give a preset's name or a preparation file.") from error
    return PreparationSpec.from_json(document, path.name)


def preset(name: str) -> PreparationSpec:
    """The preparation of a preset: ``recommended``, ``paper`` or ``authors-code``.

    >>> preset("paper").grid.fit
    'stretch'
    """
    if name not in PRESETS:
        raise InputError(f"There is no preset '{name}'; choose one of {', '.join(PRESETS)}.")
    text = resources.files("cadx.prepare").joinpath(f"presets/{name}.json").read_text(encoding="utf-8")
    return PreparationSpec.from_json(json.loads(text), f"preset {name}")


def first_complaint(error: ValidationError) -> str:
    """The first complaint of pydantic as one sentence."""
    complaint = error.errors()[0]
    place = ".".join(str(part) for part in complaint["loc"]) or "the document"
    said = complaint["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{place} is not allowed as it stands ({said}); correct it."
