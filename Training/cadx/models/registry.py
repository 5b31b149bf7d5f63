"""The names that the papers use and timm does not have. Every other name is timm's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cadx.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from torch import nn

    from cadx.models.build import ModelSpec


@dataclass(frozen=True)
class Source:
    """Who makes a network: the library (its pip name), the dimensions of its images, its smallest image.

    ``weights`` is the name of the library's class of published weights, where it has any.
    """

    library: str
    dimensions: Literal[2, 3]
    least_pixels: int
    constructor: Callable[[ModelSpec], nn.Module]
    weights: str | None = None

    def make(self, spec: ModelSpec) -> nn.Module:
        """The network on torch's default device.

        Raises
        ------
        InputError
            If the image is smaller than the network can take.
        MissingDependencyError
            If the library is not installed.
        """
        if spec.image_pixels < self.least_pixels:
            raise InputError(
                f"'{spec.architecture}' needs images of at least {self.least_pixels} pixels; {spec.image_pixels} are "
                "too few, so use larger images or another network."
            )
        try:
            return self.constructor(spec)
        except ImportError as error:
            raise MissingDependencyError(
                f"{self.library} is needed for '{spec.architecture}'; install it with: pip install {self.library}"
            ) from error


def dimensions_of(architecture: str) -> Literal[2, 3]:
    """Of the images that a network takes.

    >>> dimensions_of("densenet121_3d"), dimensions_of("resnet18")
    (3, 2)
    """
    source = BEYOND_TIMM.get(architecture)
    return source.dimensions if source else 2


def network_def(spec: ModelSpec) -> dict[str, Any]:
    """How MONAI's configuration builds the network: by its own library where that can, else by this one."""
    if spec.fusion == "early" and spec.architecture not in BEYOND_TIMM:
        return {"_target_": "timm.create_model", "pretrained": False, **spec.timm_arguments()}
    return {"_target_": "cadx.models.registry.network", **spec.model_dump(mode="json")}


def network(**fields: Any) -> nn.Module:
    """The network of a ModelSpec given by its fields; :func:`network_def` names it."""
    from cadx.models.build import ModelSpec, build

    return build(ModelSpec(**fields))


def remove_head(model: nn.Module) -> None:
    """Put the identity in the place of the last linear layer."""
    from torch import nn

    name = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]
    model.head_hidden_size = model.get_submodule(name).in_features
    model.set_submodule(name, nn.Identity())


def _alexnet(spec: ModelSpec) -> nn.Module:
    from torchvision.models import AlexNet

    model = AlexNet(spec.classes, **_renamed(spec, {"drop_rate": "dropout"}))
    model.features[0] = _with_channels(model.features[0], spec.channels)
    return model


def _googlenet(spec: ModelSpec) -> nn.Module:
    """``transform_input``: as torchvision's weights want it, for images normalised as ImageNet's."""
    from torch import nn
    from torchvision.models import GoogLeNet

    options = _renamed(spec, {"drop_rate": "dropout", "transform_input": "transform_input"})
    if options.get("transform_input") and spec.channels != 3:
        raise InputError("The option transform_input of 'googlenet' needs three channels; leave it out.")
    model = GoogLeNet(spec.classes, aux_logits=False, init_weights=True, **options)
    if spec.channels != 3:
        model.conv1.conv = _with_channels(model.conv1.conv, spec.channels)
        nn.init.trunc_normal_(model.conv1.conv.weight, std=0.01, a=-2, b=2)
    return model


def _densenet121_3d(spec: ModelSpec) -> nn.Module:
    from monai.networks.nets import DenseNet121

    options = _renamed(spec, {"drop_rate": "dropout_prob"})
    return DenseNet121(spatial_dims=3, in_channels=spec.channels, out_channels=spec.classes, **options)


def _renamed(spec: ModelSpec, names: dict[str, str]) -> dict[str, Any]:
    """The spec's options by the library's names."""
    strange = sorted(set(spec.options) - set(names))
    if strange:
        raise InputError(f"'{spec.architecture}' has no option '{strange[0]}'; it takes only {', '.join(names)}.")
    return {names[option]: value for option, value in spec.options.items()}


def _with_channels(convolution: nn.Conv2d, channels: int) -> nn.Conv2d:
    """A fresh convolution of the same form for another number of channels."""
    from torch import nn

    old: Any = convolution
    form = {"stride": old.stride, "padding": old.padding, "bias": old.bias is not None}
    return nn.Conv2d(channels, old.out_channels, old.kernel_size, **form) if channels != old.in_channels else old


BEYOND_TIMM = {
    "alexnet": Source("torchvision", 2, 64, _alexnet, "AlexNet_Weights"),
    "googlenet": Source("torchvision", 2, 16, _googlenet, "GoogLeNet_Weights"),
    "densenet121_3d": Source("monai", 3, 32, _densenet121_3d),
}
