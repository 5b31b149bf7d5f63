"""The bundle: a folder in MONAI-bundle form, checked byte by byte before anything in it is used."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from cadx.errors import BundleError, InputError
from cadx.explain.spec import ExplanationSpec
from cadx.io.jsonfile import JsonError, read_json
from cadx.models.build import ModelSpec
from cadx.prepare.picture import SCHEMA as PICTURE_SCHEMA
from cadx.prepare.picture import PictureSpec
from cadx.prepare.spec import PreparationSpec, Strict, first_complaint

if TYPE_CHECKING:
    from torch import nn

MANIFEST = "manifest.json"
METADATA = "configs/metadata.json"
SETTINGS = "configs/cadx.json"
PREPARATION = "configs/preparation.json"
INFERENCE = "configs/inference.json"
WEIGHTS = "models/model.safetensors"
CARD = "docs/README.md"
REQUIRED = (METADATA, SETTINGS, PREPARATION, WEIGHTS, CARD)
MAX_FILES = 1000
ClassName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=100)]


class BundleSettings(Strict):
    """What ``cadx`` itself needs to know (``configs/cadx.json``).

    ``negative`` are the classes that mean that there is nothing to find; a bundle without any presumes a finding.
    """

    schema_: Literal["cadx.bundle/1"] = Field(default="cadx.bundle/1", alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9\-]*$", max_length=100)
    task: str = Field(max_length=100)
    classes: tuple[ClassName, ...] = Field(min_length=2, max_length=1000)
    negative: tuple[ClassName, ...] = ()
    demo: bool = False
    temperature: float = Field(default=1.0, gt=0, le=100)
    model: ModelSpec
    explanation: ExplanationSpec = ExplanationSpec()
    training: dict[str, Any] = Field(default_factory=dict)

    model_config = {**Strict.model_config, "populate_by_name": True}

    @model_validator(mode="after")
    def _names_fit_outputs(self) -> BundleSettings:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("two classes have the same name")
        if not set(self.negative) < set(self.classes):
            raise ValueError("negative must name some of the classes, not all of them")
        if self.model.classes != len(self.classes):
            raise ValueError(f"the model has {self.model.classes} outputs for {len(self.classes)} class names")
        return self


class Manifest(Strict):
    """SHA-256 of every file, by its path in the bundle (forward slashes)."""

    schema_: Literal["cadx.manifest/1"] = Field(default="cadx.manifest/1", alias="schema")
    files: dict[str, str] = Field(max_length=MAX_FILES)

    model_config = {**Strict.model_config, "populate_by_name": True}


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Parameters
    ----------
    folder
        Where it lies.
    sha256
        Hash of its manifest, and so of all of it.
    """

    folder: Path
    sha256: str
    settings: BundleSettings
    preparation: PreparationSpec | PictureSpec
    metadata: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Verify every byte against the manifest, then read the settings.

        Raises
        ------
        BundleError
            If it is no bundle, a file was changed, added or removed, or a setting is not allowed.
        """
        sha256 = verify(folder)
        try:
            settings = BundleSettings.model_validate(_read_json(folder, SETTINGS))
            preparation = _preparation(_read_json(folder, PREPARATION), f"{folder.name}/{PREPARATION}")
        except ValidationError as error:
            raise BundleError(f"{folder.name}/{SETTINGS}: {first_complaint(error)}") from error
        except InputError as error:
            raise BundleError(str(error)) from error
        _require_fit(folder, settings.model, preparation)
        metadata = _read_json(folder, METADATA)
        if not isinstance(metadata, dict):
            raise BundleError(f"{folder.name}/{METADATA} is no JSON object; get the bundle anew.")
        return cls(folder, sha256, settings, preparation, metadata)

    @property
    def volumes(self) -> PreparationSpec:
        """The preparation of a bundle that grades volumes.

        Raises
        ------
        BundleError
            If the bundle grades pictures.
        """
        if isinstance(self.preparation, PictureSpec):
            raise BundleError(
                f"{self.folder.name} is a bundle for pictures and cannot grade volumes; choose a bundle for volumes."
            )
        return self.preparation

    @property
    def pictures(self) -> PictureSpec:
        """The preparation of a bundle that grades pictures.

        Raises
        ------
        BundleError
            If the bundle grades volumes with a ROI.
        """
        if not isinstance(self.preparation, PictureSpec):
            raise BundleError(
                f"{self.folder.name} is a bundle for volumes with a ROI and cannot grade pictures or slices; choose a "
                "bundle for pictures."
            )
        return self.preparation

    @property
    def version(self) -> str:
        """The bundle's own version."""
        return str(self.metadata.get("version", ""))

    @cached_property
    def card(self) -> str:
        """The model card, Markdown."""
        return (self.folder / CARD).read_text(encoding="utf-8", errors="replace")

    def build_model(self) -> nn.Module:
        """The network with the bundle's weights, fp32, in evaluation mode, on the CPU.

        Raises
        ------
        BundleError
            If the weights are no safetensors file or do not fit the network.
        """
        from cadx.models.weights import filled

        model = filled(self.settings.model, self.folder / WEIGHTS)
        if model is None:
            raise BundleError(f"{self.folder.name}: its weights do not fit its network; get the bundle anew.")
        return model.eval()

    def identity(self) -> dict[str, Any]:
        """As it stands in ``result.json``."""
        return {
            "name": self.settings.name,
            "version": self.version,
            "sha256": self.sha256,
            "demo": self.settings.demo,
        }


def _preparation(document: Any, source: str) -> PreparationSpec | PictureSpec:
    """Of volumes or of pictures: its schema says which."""
    pictures = isinstance(document, dict) and document.get("schema") == PICTURE_SCHEMA
    return PictureSpec.from_json(document, source) if pictures else PreparationSpec.from_json(document, source)


def _require_fit(folder: Path, model: ModelSpec, preparation: PreparationSpec | PictureSpec) -> None:
    """The network must take what the preparation makes."""
    made, taken = fed_shape(preparation), (model.channels, *(model.image_pixels,) * model.dimensions)
    if made != taken:
        raise BundleError(
            f"{folder.name}: its preparation makes {_shape_text(made)} and its network takes {_shape_text(taken)}; "
            "get the bundle anew."
        )


def fed_shape(preparation: PreparationSpec | PictureSpec) -> tuple[int, ...]:
    """(channels, pixels, pixels[, pixels]): what a preparation makes."""
    if isinstance(preparation, PictureSpec):
        return preparation.channels, preparation.pixels, preparation.pixels
    return preparation.shape


def _shape_text(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} channels of {' x '.join(str(edge) for edge in shape[1:])} pixels"


def verify(folder: Path) -> str:
    """Check every file of a bundle against its manifest; returns the manifest's SHA-256.

    Raises
    ------
    BundleError
        If anything is missing, altered, added, or leaves the folder.
    """
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder.name} is not a model bundle (no {MANIFEST}); give a bundle's folder.")
    try:
        manifest = Manifest.model_validate(_read_json(folder, MANIFEST))
    except ValidationError as error:
        raise BundleError(f"{folder.name}/{MANIFEST}: {first_complaint(error)}") from error
    for name in (*REQUIRED, *manifest.files):
        if name not in manifest.files:
            raise BundleError(f"{folder.name}: {name} is not in its manifest; get the bundle anew.")
        _require_inside(folder, name)
    extra = sorted(set(_files(folder)) - set(manifest.files) - {MANIFEST})
    if extra:
        raise BundleError(f"{folder.name}: {extra[0]} is not in its manifest; remove it or get the bundle anew.")
    for name, expected in manifest.files.items():
        if file_sha256(folder / name) != expected:
            raise BundleError(f"{folder.name}: {name} was changed since the bundle was made; get the bundle anew.")
    return file_sha256(folder / MANIFEST)


def seal(folder: Path) -> str:
    """Write the manifest over all files of a bundle folder; returns its SHA-256."""
    files = {name: file_sha256(folder / name) for name in _files(folder) if name != MANIFEST}
    document = Manifest(files=dict(sorted(files.items()))).model_dump(by_alias=True)
    (folder / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return file_sha256(folder / MANIFEST)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    Raises
    ------
    BundleError
        If it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read ({error.strerror}); get the bundle anew.") from error


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]


def _require_inside(folder: Path, name: str) -> None:
    parts = PurePosixPath(name).parts
    tricky = not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name
    path = folder.joinpath(*parts) if not tricky else folder
    if tricky or not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{folder.name}: its manifest names '{name[:80]}', outside the bundle; do not use it.")
    if any(folder.joinpath(*parts[: n + 1]).is_symlink() for n in range(len(parts))):
        raise BundleError(f"{folder.name}: {name} is a link; a bundle must hold its own files.")
    if not path.is_file():
        raise BundleError(f"{folder.name}: {name} is missing; get the bundle anew.")


def _read_json(folder: Path, name: str) -> Any:
    try:
        return read_json(folder / name)
    except JsonError as error:
        raise BundleError(f"{folder.name}/{name} cannot be read as JSON; get the bundle anew.") from error
