"""A single 2-D image from file to network and a map of the network back onto it; the same in training and in use."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cadx.errors import InputError
from cadx.prepare.spec import Strict

if TYPE_CHECKING:
    from PIL import Image

SCHEMA = "cadx.picture/1"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
# three times the largest radiograph; a small file can declare far more than memory holds
MAX_PIXELS = 64_000_000
Deviation = Annotated[float, Field(gt=0)]
Bytes = NDArray[np.uint8]


class PictureSpec(Strict):
    """How a picture becomes ``pixels`` x ``pixels`` values of ``channels`` channels.

    ``channels`` 3 repeats a grey picture, 1 takes the luminance of a coloured one. ``fit``: "stretch" squeezes the
    whole picture into the square (what the papers' "224 x 224" says; no bars that give the source's format away),
    "pad" keeps its proportions and fills up with black, "crop" keeps them and takes the middle. ``mean`` and ``std``
    (of values in 0..1) normalise each channel; None leaves 0..1.
    """

    schema_: Literal["cadx.picture/1"] = Field(default="cadx.picture/1", alias="schema")
    pixels: Annotated[int, Field(ge=16, le=1024)] = 224
    channels: Literal[1, 3] = 3
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    mean: tuple[float, ...] | None = None
    std: tuple[Deviation, ...] | None = None

    model_config = {**Strict.model_config, "populate_by_name": True}

    @model_validator(mode="after")
    def _one_number_a_channel(self) -> PictureSpec:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std must be given together")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.channels:
                raise ValueError(f"{name} holds {len(values)} numbers for {self.channels} channels")
        return self

    def to_json(self) -> dict[str, Any]:
        """As plain data, every default written out."""
        return self.model_dump(mode="json", by_alias=True)

    def normalised(self, by: Literal["unit", "imagenet"]) -> PictureSpec:
        """The same with 0..1 left alone, or with ImageNet's mean and deviation (for one channel their averages)."""
        if by == "unit":
            return self.model_copy(update={"mean": None, "std": None})
        mean, std = IMAGENET_MEAN, IMAGENET_STD
        if self.channels == 1:
            return self.model_copy(update={"mean": (sum(mean) / 3,), "std": (sum(std) / 3,)})
        return self.model_copy(update={"mean": mean, "std": std})


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, the right way up.

    ``pixels``: (rows, columns), or (rows, columns, 3) where it is coloured; ``name`` is for messages.
    """

    pixels: Bytes
    name: str

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def sha256(self) -> str:
        """Of the content: the same for copies under other names and in other lossless formats."""
        return hashlib.sha256(repr(self.pixels.shape).encode() + self.pixels.tobytes()).hexdigest()


def read_picture(path: str | Path) -> Picture:
    """Read a PNG, JPEG, BMP or TIFF file.

    Turned as its EXIF orientation says; what is transparent becomes black; a palette becomes its colours; values of
    more than 8 bits become 0..255 from the picture's own minimum to its maximum.

    Raises
    ------
    InputError
        If it cannot be read, is too large, holds several pages or one value only.
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path.name} is not there or no file; give a PNG, JPEG, BMP or TIFF image.")
    try:
        with warnings.catch_warnings():
            # our own limit is lower, and damaged metadata need not trouble anybody
            warnings.simplefilter("ignore")
            # from a stream: pillow maps named files into memory, and then gets the size of turned TIFF files wrong
            with path.open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
                _require_readable(image, path.name)
                values = _values(image)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(_too_large(path.name)) from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path.name} is no PNG, JPEG, BMP or TIFF image; export it as PNG.") from error
    # decoders meet damaged bytes with many kinds of exceptions
    except Exception as error:
        raise InputError(f"{path.name} cannot be read as an image; it may be damaged, export it again.") from error
    return picture_of(values, path.name)


def picture_of(values: NDArray[Any], name: str) -> Picture:
    """A picture from values that another reader decoded; ``name`` names it in messages.

    ``values`` (rows, columns) or (rows, columns, 3): uint8 stay, others become 0..255 from minimum to maximum.

    Raises
    ------
    InputError
        If they are no picture, empty, not finite, too many or all the same.

    >>> picture_of(np.array([[0, 1000], [500, 2000]]), "a").pixels.tolist()
    [[0, 128], [64, 255]]
    """
    values = np.asarray(values)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise InputError(f"{name} is no grey or RGB picture (its array has the shape {values.shape}); export it again.")
    if values.size == 0:
        raise InputError(f"{name} holds no pixels; export it again.")
    if values.shape[0] * values.shape[1] > MAX_PIXELS:
        raise InputError(_too_large(name))
    low, high = values.min(), values.max()
    if not np.isfinite([float(low), float(high)]).all():
        raise InputError(f"{name} holds values that are no numbers; export it again.")
    if low == high:
        raise InputError(f"{name} shows nothing: all its pixels have the same value; export it again.")
    if values.dtype != np.uint8:
        scale = 255 / (float(high) - float(low))
        # rounded twice: halves must fall alike however a file's rescaling rounded its last digits
        scaled = np.round((values.astype(np.float64) - float(low)) * scale, 3)
        values = np.rint(scaled).astype(np.uint8)
    if values.ndim == 3 and (values[..., :1] == values[..., 1:]).all():
        values = values[..., 0]
    return Picture(np.ascontiguousarray(values), name)


def resize_picture(pixels: Bytes, spec: PictureSpec) -> Bytes:
    """(1 or 3, ``spec.pixels``, ``spec.pixels``): 1 where the picture is grey or the spec asks for one channel.

    Linear with antialiasing. This is the only place where pictures are resized: caches hold what it returns.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    if spec.channels == 1 and image.mode != "L":
        image = image.convert("L")
    out = np.asarray(_squared(image, spec))
    return np.array(out[None] if out.ndim == 2 else np.moveaxis(out, 2, 0), order="C")


def to_square(own_map: NDArray[Any], spec: PictureSpec) -> NDArray[np.float32]:
    """A map over a picture's own pixels (rows, columns) on the square that the network saw, (pixels, pixels)."""
    from PIL import Image

    return np.array(_squared(Image.fromarray(np.ascontiguousarray(own_map, dtype=np.float32)), spec))


def prepare_picture(pixels: Bytes, spec: PictureSpec) -> NDArray[np.float32]:
    """(channels, ``spec.pixels``, ``spec.pixels``) as the network takes it.

    ``pixels``: uint8 (rows, columns) or (rows, columns, 3), as :func:`read_picture` gives them.
    """
    values = resize_picture(pixels, spec).astype(np.float32) / np.float32(255)
    values = np.repeat(values, spec.channels // len(values), axis=0)
    if spec.mean is None or spec.std is None:
        return values
    mean, std = (np.array(numbers, dtype=np.float32)[:, None, None] for numbers in (spec.mean, spec.std))
    return np.asarray((values - mean) / std, dtype=np.float32)


def to_picture(network_map: NDArray[Any], spec: PictureSpec, shape: tuple[int, int]) -> NDArray[np.float32]:
    """A map over the network's square, of any resolution, laid on the picture's own pixels (rows, columns).

    ``shape`` is the picture's (rows, columns). Linear where the map is coarser, the mean over a pixel where it is
    finer; zero where the picture lies outside what the network saw ("crop").

    >>> spec = PictureSpec(fit="crop", pixels=16)
    >>> to_picture(np.ones((4, 4)), spec, (2, 4)).tolist()
    [[0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]]
    """
    from PIL import Image

    values = Image.fromarray(np.ascontiguousarray(network_map, dtype=np.float32))
    placed = _placed(*shape, spec)
    across, down = values.width / spec.pixels, values.height / spec.pixels
    (left, top), (width, height) = placed.corner, placed.size
    right, bottom = min((left + width) * across, values.width), min((top + height) * down, values.height)
    covered = (left * across, top * down, right, bottom)
    first_column, first_row, last_column, last_row = placed.box
    size = (last_column - first_column, last_row - first_row)
    out = np.zeros(shape, dtype=np.float32)
    seen = values.resize(size, Image.Resampling.BILINEAR, box=covered)
    out[first_row:last_row, first_column:last_column] = np.asarray(seen)
    return out


def _squared(image: Image.Image, spec: PictureSpec) -> Image.Image:
    """Resized as the spec says; black, or 0, where the picture does not reach."""
    from PIL import Image

    placed = _placed(image.height, image.width, spec)
    resized = image.resize(placed.size, Image.Resampling.BILINEAR, box=placed.box)
    if placed.size == (spec.pixels, spec.pixels):
        return resized
    square = Image.new(image.mode, (spec.pixels, spec.pixels))
    square.paste(resized, placed.corner)
    return square


@dataclass(frozen=True)
class _Placed:
    """Which box of the picture (left, top, right, bottom) lies where in the square: corner and size (x, y)."""

    box: tuple[int, int, int, int]
    corner: tuple[int, int]
    size: tuple[int, int]


def _placed(rows: int, columns: int, spec: PictureSpec) -> _Placed:
    whole, full, square = (0, 0, columns, rows), (0, 0), (spec.pixels, spec.pixels)
    if spec.fit == "stretch":
        return _Placed(whole, full, square)
    if spec.fit == "crop":
        edge = min(rows, columns)
        left, top = (columns - edge) // 2, (rows - edge) // 2
        return _Placed((left, top, left + edge, top + edge), full, square)
    scale = spec.pixels / max(rows, columns)
    width, height = max(1, round(columns * scale)), max(1, round(rows * scale))
    return _Placed(whole, ((spec.pixels - width) // 2, (spec.pixels - height) // 2), (width, height))


def _require_readable(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InputError(_too_large(name))
    # a photograph's MPO holds previews beside the picture, which comes first
    pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if pages > 1:
        raise InputError(f"{name} holds {pages} pages; save the one that is meant as a file of its own.")


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS // 10**6} million pixels; export it smaller."


def _values(image: Image.Image) -> NDArray[Any]:
    """(rows, columns) of any type, or (rows, columns, 3) uint8; upright."""
    from PIL import Image, ImageOps

    white_is_zero = image.format == "TIFF" and image.tag_v2.get(262) == 0  # type: ignore[attr-defined]
    # TIFF files are turned while they load, others are not
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        # pillow turns these the right way round in 8 bits only
        return values.max() - values if white_is_zero and image.mode.startswith("I") else values
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
