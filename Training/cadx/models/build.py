"""One factory for every network: timm by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from cadx.errors import InputError, MissingDependencyError
from cadx.prepare.spec import Strict

if TYPE_CHECKING:
    from torch import nn

OPTIONS = frozenset(
    ("attn_drop_rate", "class_token", "depth", "drop_path_rate", "drop_rate", "embed_dim", "global_pool", "init_values")
    + ("mlp_ratio", "num_heads", "patch_size", "pos_drop_rate", "proj_drop_rate", "qk_norm", "reg_tokens")
)
LARGEST = {"depth": 128, "embed_dim": 4096, "num_heads": 128, "mlp_ratio": 16, "patch_size": 64, "reg_tokens": 64}
MAX_PATCHES = 4096


class ModelSpec(Strict):
    """What to build.

    ``architecture`` is a timm name (the paper's is ``vit_base_patch16_224``); ``options`` go to timm as
    they are, such as ``{"depth": 6}``; ``image_pixels`` is the edge of the square input.
    """

    architecture: str = Field(pattern=r"^[A-Za-z0-9_.\-]+$", max_length=100)
    channels: int = Field(ge=1, le=16)
    classes: int = Field(ge=2, le=1000)
    image_pixels: int = Field(ge=16, le=4096)
    options: dict[str, int | float | bool | str] = Field(default_factory=dict)

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
    """The network with freshly initialised weights; takes (B, channels, pixels, pixels), gives (B, classes) logits.

    On the device "meta" it has shapes and takes no memory.

    Raises
    ------
    MissingDependencyError
        If torch or timm is not installed.
    InputError
        If timm does not know the architecture or an option, or the image is cut into too many patches.
    """
    try:
        import timm
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "torch and timm are needed to run a model; install them with: pip install torch torchvision timm"
        ) from error
    try:
        with torch.device(device):
            model = timm.create_model(pretrained=False, **spec.timm_arguments())
    except Exception as error:  # timm's constructors raise whatever an option leads them to
        raise InputError(
            f"timm cannot build '{spec.architecture}' with these options; list its names with timm.list_models()."
        ) from error
    patches = getattr(getattr(model, "patch_embed", None), "num_patches", 0)
    if patches > MAX_PATCHES:
        raise InputError(
            f"'{spec.architecture}' would cut its image into {patches} patches, more than {MAX_PATCHES}; use larger "
            "patches or a smaller image."
        )
    return model
