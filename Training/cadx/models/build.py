"""One factory for every network, by name: timm's, and the few of the papers that timm does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from cadx.errors import InputError, MissingDependencyError
from cadx.models import registry
from cadx.prepare.spec import Strict

if TYPE_CHECKING:
    from torch import nn

ModelOption = int | float | bool | str

OPTIONS = frozenset(
    ("attn_drop_rate", "class_token", "depth", "drop_path_rate", "drop_rate", "embed_dim", "global_pool", "init_values")
    + ("mlp_ratio", "num_heads", "patch_size", "pos_drop_rate", "proj_drop_rate", "qk_norm", "reg_tokens")
    + ("transform_input",)
)
LARGEST = {"depth": 128, "embed_dim": 4096, "num_heads": 128, "mlp_ratio": 16, "patch_size": 64, "reg_tokens": 64}
MAX_PATCHES = 4096


class ModelSpec(Strict):
    """What to build.

    ``architecture`` is a name of :mod:`cadx.models.registry` or of timm (the paper's is ``vit_base_patch16_224``);
    ``options`` go to its constructor as they are, such as ``{"depth": 6}``; ``image_pixels`` is the edge of the square
    (with ``dimensions`` 3: cubic) input. ``fusion`` "late" gives each channel a network of its own
    (:mod:`cadx.models.fusion`).
    """

    architecture: str = Field(pattern=r"^[A-Za-z0-9_.\-]+$", max_length=100)
    channels: int = Field(ge=1, le=16)
    classes: int = Field(ge=2, le=1000)
    image_pixels: int = Field(ge=16, le=4096)
    options: dict[str, ModelOption] = Field(default_factory=dict)
    fusion: Literal["early", "late"] = "early"
    dimensions: Literal[2, 3] = 2

    @field_validator("options")
    @classmethod
    def _only_shape(cls, options: dict[str, Any]) -> dict[str, Any]:
        """A bundle may shape its network, but not make timm read or download a file."""
        strange = sorted(set(options) - OPTIONS)
        if strange:
            raise ValueError(f"the model option '{strange[0]}' is not one of {', '.join(sorted(OPTIONS))}")
        for name, largest in LARGEST.items():
            value = options.get(name, 1)
            if isinstance(value, str) or not 0 <= value <= largest:
                raise ValueError(f"the model option '{name}' must lie between 0 and {largest}")
        return options

    @model_validator(mode="after")
    def _has_the_networks_dimensions(self) -> ModelSpec:
        taken = registry.dimensions_of(self.architecture)
        if taken != self.dimensions:
            raise ValueError(f"'{self.architecture}' takes images of {taken} dimensions, not {self.dimensions}")
        return self

    @property
    def branch(self) -> ModelSpec:
        """The network of one channel, for late fusion."""
        return self.model_copy(update={"channels": 1, "fusion": "early"})

    def timm_arguments(self) -> dict[str, Any]:
        """Keyword arguments of ``timm.create_model``."""
        arguments: dict[str, Any] = {
            **self.options,
            "model_name": self.architecture,
            "in_chans": self.channels,
            "num_classes": self.classes,
        }
        if "vit" in self.architecture:
            arguments["img_size"] = self.image_pixels
        return arguments


def build(spec: ModelSpec, device: str = "cpu") -> nn.Module:
    """The network with freshly initialised weights; takes (B, channels, pixels, pixels[, pixels]), gives (B, classes).

    What it gives are logits. On the device "meta" it has shapes and takes no memory.

    Raises
    ------
    MissingDependencyError
        If torch, timm, or the library that has the network is not installed.
    InputError
        If no library knows the architecture or an option, or the image is too small or cut into too many patches.
    """
    try:
        import timm  # noqa: F401
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "torch and timm are needed to run a model; install them with: pip install torch torchvision timm"
        ) from error
    with torch.device(device):
        return _late(spec) if spec.fusion == "late" else _network(spec)


def _network(spec: ModelSpec, headless: bool = False) -> nn.Module:
    """On the default device; without head it gives (B, features)."""
    source = registry.BEYOND_TIMM.get(spec.architecture)
    library = source.library if source else "timm"
    try:
        model = source.make(spec) if source else _of_timm(spec, headless)
    except (InputError, MissingDependencyError):
        raise
    except Exception as error:  # the libraries' constructors raise whatever an option leads them to
        hint = "leave the options out" if source else "list its names with timm.list_models()"
        raise InputError(f"{library} cannot build '{spec.architecture}' with these options; {hint}.") from error
    if source and headless:
        registry.remove_head(model)
    patches = getattr(getattr(model, "patch_embed", None), "num_patches", 0)
    if patches > MAX_PATCHES:
        raise InputError(
            f"'{spec.architecture}' would cut its image into {patches} patches, more than {MAX_PATCHES}; use larger "
            "patches or a smaller image."
        )
    return model


def _of_timm(spec: ModelSpec, headless: bool) -> nn.Module:
    import timm

    arguments = spec.timm_arguments()
    if headless:
        arguments["num_classes"] = 0
    return timm.create_model(pretrained=False, **arguments)


def _late(spec: ModelSpec) -> nn.Module:
    from cadx.models.fusion import LateFusion

    return LateFusion([_network(spec.branch, headless=True) for _ in range(spec.channels)], spec.classes)
