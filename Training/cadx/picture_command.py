"""Which form ``cadx classify`` or ``cadx batch`` was given: T1 and T2 with a ROI, or pictures and slices."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cadx.errors import InputError

if TYPE_CHECKING:
    from cadx.classify_picture import PictureOptions


class PlaneName(StrEnum):
    """Which way a volume is cut."""

    axial = "axial"
    coronal = "coronal"
    sagittal = "sagittal"


class RuleName(StrEnum):
    """How slices make the case's answer."""

    mean = "mean"
    most_confident = "most-confident"
    most_suspicious = "most-suspicious"


ImageOption = Annotated[str, typer.Option("--image", help="For a 2-D bundle: PNG, JPEG, BMP, TIFF or DICOM image.")]
VolumeOption = Annotated[
    str, typer.Option("--volume", help="For a 2-D bundle: a volume, or a DICOM folder, whose slices are read.")
]
SliceOption = Annotated[
    str, typer.Option("--slice", help="Of --volume: number in its own order from 0, such as 7 or 3,5-9, or all.")
]
PlaneOption = Annotated[
    PlaneName | None, typer.Option("--plane", help="Of --volume: which way it is cut; by default as it was acquired.")
]
RuleOption = Annotated[
    RuleName | None, typer.Option("--rule", help="How several slices make one answer; see the README.")
]


def asks_for_picture(pictures: Mapping[str, object], volumes: Mapping[str, object]) -> bool:
    """Whether ``cadx classify`` was given a picture or slices; each option with its value, empty where not given.

    Raises
    ------
    InputError
        If options of the two forms are mixed, or one lacks what it needs.
    """
    ours, theirs = (tuple(name for name, value in given.items() if value) for given in (pictures, volumes))
    if "--image" in ours and "--volume" in ours:
        raise InputError("--image and --volume are two cases; give one of the two.")
    if ours and theirs:
        raise InputError(f"{ours[0]} belongs to pictures and {theirs[0]} to T1 and T2 with a ROI; give one of the two.")
    if ours and ours[0] not in ("--image", "--volume"):
        raise InputError(f"{ours[0]} needs --volume; name the volume whose slices are meant.")
    if len(ours) > 1 and ours[0] == "--image":
        raise InputError(f"{ours[1]} is for the slices of a --volume; leave it out with --image.")
    if not ours and "--roi" not in theirs:
        raise InputError("Missing option '--roi' (or give --image, or --volume with --slice); see cadx --help.")
    return bool(ours)


def require_only(given: Mapping[str, object], form: str) -> None:
    """Refuse options that do not go with the bundle's form.

    Raises
    ------
    InputError
        If any is given.
    """
    strange = next((name for name, value in given.items() if value), None)
    if strange:
        raise InputError(f"{strange} does not go with a bundle for {form}; leave it out.")


def picture_options(rule: RuleName | None, explain: bool) -> PictureOptions:
    """As the classifier takes them."""
    from cadx.classify_picture import PictureOptions

    return PictureOptions(rule=rule.value if rule else None, explain=explain)
