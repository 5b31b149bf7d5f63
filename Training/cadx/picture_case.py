"""What a bundle for pictures reads: one picture, or slices of a volume, the way a radiologist sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx.errors import InputError
from cadx.geometry import Array
from cadx.notices import Notice
from cadx.planes import Plane
from cadx.prepare.picture import Picture
from cadx.prepare.stack import Stack
from cadx.volume import Volume

# of the grey values that the strongest slice spans: air lies near 0.03, the faintest slice of a body beyond 0.2
FAINT = 0.1
FEW_PIXELS = 32
INTENSITY = "each slice from its own minimum (0) to its own maximum (255)"


@dataclass(frozen=True, eq=False)
class View:
    """One picture to read.

    Parameters
    ----------
    source
        The picture, or the stack that the slice is of.
    index
        Stored number of the slice; None of a picture.
    """

    source: Picture | Stack
    index: int | None = None

    @cached_property
    def picture(self) -> Picture:
        """Of a slice made at the first use, so that many views cost nothing.

        Raises
        ------
        InputError
            If the slice shows nothing or holds values that are no numbers.
        """
        if isinstance(self.source, Picture):
            return self.source
        return self.source.picture(self._number)

    @property
    def position_mm(self) -> float | None:
        """Place of a slice along the patient's axis, mm."""
        return None if isinstance(self.source, Picture) else self.source.position_mm(self._number)

    @property
    def center_ras(self) -> Array | None:
        """Middle of a slice, (3,) RAS mm."""
        return None if isinstance(self.source, Picture) else self.source.center_ras(self._number)

    @property
    def _number(self) -> int:
        assert self.index is not None
        return self.index


@dataclass(frozen=True, eq=False)
class PictureCase:
    """One picture, or slices of a volume.

    Parameters
    ----------
    source
        A picture (:func:`cadx.prepare.picture_file.read_picture_file`) or a volume, stored in any way.
    slices
        Of a volume: numbers from 0 in its own stored order; None takes all.
    name
        For messages and tables; not a patient's name.
    plane
        Of a volume: "axial", "coronal" or "sagittal"; None takes that of the acquisition.

    Raises
    ------
    InputError
        If there is no such slice or plane, or one is chosen of a picture.
    """

    source: Picture | Volume
    slices: Sequence[int] | None = None
    name: str = "case"
    plane: Plane | None = None

    def __post_init__(self) -> None:
        stack = self.stack
        if stack is None and (self.slices is not None or self.plane is not None):
            what = "slices" if self.slices is not None else "plane"
            raise InputError(f"{self.name} is a single picture and has no {what} to choose; leave the choice out.")
        if stack is not None and self.slices is not None:
            if not len(self.slices):
                raise InputError(f"{self.name}: no slice was chosen; choose at least one.")
            for index in self.slices:
                stack.require(index)

    @cached_property
    def stack(self) -> Stack | None:
        """The volume's slices; None for a picture."""
        return Stack.of(self.source, self.plane) if isinstance(self.source, Volume) else None

    @cached_property
    def wanted(self) -> tuple[int, ...]:
        """Stored numbers of the slices to read, by place in the patient; none for a picture."""
        if self.stack is None:
            return ()
        return self.stack.indices if self.slices is None else self.stack.ordered(self.slices)

    @cached_property
    def empty(self) -> tuple[int, ...]:
        """Those of them that show nothing: all their pixels have one value."""
        return tuple(i for i in self.wanted if _is_even(self._stack.values(i)))

    @cached_property
    def faint(self) -> tuple[int, ...]:
        """Those that span a small part of the grey values that the others span: air, whose noise fills 0..255."""
        empty = set(self.empty)
        spans = {i: _span(self._stack.values(i)) for i in self.wanted if i not in empty}
        least = FAINT * max(spans.values(), default=0.0)
        return tuple(i for i, span in spans.items() if span < least)

    def views(self) -> list[View]:
        """The pictures to read, by place in the patient; empty slices are left out, faint ones unless they are named.

        Raises
        ------
        InputError
            If none is left.
        """
        self.require_visible()
        if isinstance(self.source, Picture):
            return [self.view()]
        left_out = {*self.empty, *(self.faint if self.slices is None else ())}
        return [self.view(i) for i in self.wanted if i not in left_out]

    def view(self, index: int | None = None) -> View:
        """The picture itself, or a slice of the volume by its stored number."""
        return View(self.source if isinstance(self.source, Picture) else self._stack, index)

    def require_visible(self) -> None:
        """Raise :class:`InputError` where all chosen slices are empty; looks no further than the first that is not."""
        if isinstance(self.source, Volume) and all(_is_even(self._stack.values(i)) for i in self.wanted):
            raise InputError(f"{self.source.name} shows nothing in the chosen slices; choose others.")

    def notices(self) -> list[Notice]:
        """What is noteworthy before anything is computed."""
        if isinstance(self.source, Picture):
            return _few_pixels(self.source)
        notices = self._stack.notices()
        if self.empty:
            text = (
                f"{len(self.empty)} of {len(self.wanted)} slices show nothing and were left out: {listed(self.empty)}."
            )
            notices.append(Notice("empty-slices", text))
        if self.faint:
            others = in_ranges(set(self.wanted) - {*self.faint, *self.empty})
            done = "they were left out" if self.slices is None else "the model sees their noise at full contrast"
            text = (
                f"{len(self.faint)} of {len(self.wanted)} slices are faint beside the others and may show air alone; "
                f"{done}. The others are {others}."
            )
            notices.append(Notice("faint-slices", text))
        return notices

    def identity(self) -> dict[str, Any]:
        """What is read, the same for every storage."""
        if isinstance(self.source, Picture):
            return {"images": {"image": self.source.sha256}}
        slices = None if self.slices is None else sorted(self._stack.from_first(i) for i in self.wanted)
        return {"images": {"volume": self.source.sha256()}, "plane": self._stack.plane, "slices": slices}

    def describe(self) -> dict[str, Any]:
        """As ``result.json`` says it under ``inputs``."""
        if isinstance(self.source, Picture):
            rows, columns = self.source.shape
            return {
                "role": "image",
                "source": self.source.name,
                "size": [columns, rows],
                "sha256": self.source.sha256,
            }
        return {
            **self.source.describe("volume"),
            "plane": self._stack.plane,
            "intensity": INTENSITY,
        }

    @property
    def _stack(self) -> Stack:
        assert self.stack is not None
        return self.stack


def _is_even(values: NDArray[Any]) -> bool:
    return bool(values.min() == values.max())


def _span(values: NDArray[Any]) -> float:
    """Between the 1st and the 99th percentile of every third pixel of each direction."""
    # what is no number is refused when its slice is read
    with np.errstate(invalid="ignore"):
        low, high = np.percentile(values[::3, ::3], (1, 99))
        return float(high - low)


def _few_pixels(picture: Picture) -> list[Notice]:
    rows, columns = picture.shape
    if min(rows, columns) >= FEW_PIXELS:
        return []
    text = f"{picture.name} has {columns} x {rows} pixels only, which are blown up for the model; give the original."
    return [Notice("few-pixels", text)]


def chosen_slices(text: str) -> tuple[int, ...] | None:
    """Slices in words, numbered from 0: "all" or nothing (None), "7", "3,5-9".

    Raises
    ------
    InputError
        If it is none of these.

    >>> chosen_slices("3,5-7"), chosen_slices("all")
    ((3, 5, 6, 7), None)
    """
    if text.strip().lower() in ("", "all"):
        return None
    found: list[int] = []
    for part in text.split(","):
        numbers = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", part)
        if numbers is None:
            raise InputError(f"'{text[:40]}' names no slices; give a number from 0, such as 7, or 3,5-9, or all.")
        first, last = int(numbers[1]), int(numbers[2] or numbers[1])
        if last < first:
            raise InputError(f"'{part.strip()}' counts slices backwards; give the lower number first: {last}-{first}.")
        found += range(first, last + 1)
    return tuple(found)


def in_ranges(numbers: Iterable[int]) -> str:
    """Numbers as :func:`chosen_slices` takes them.

    >>> in_ranges((7, 3, 5, 6))
    '3,5-7'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def listed(numbers: Sequence[int], most: int = 12) -> str:
    """Numbers in words.

    >>> listed((1, 2, 5), 2)
    '1, 2 and 1 more'
    """
    rest = len(numbers) - most
    return ", ".join(str(n) for n in numbers[:most]) + (f" and {rest} more" if rest > 0 else "")
