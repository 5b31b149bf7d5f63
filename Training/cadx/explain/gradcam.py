"""Grad-CAM (Selvaraju et al., ICCV 2017), for images and volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from cadx.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

LEAST_SIDE = 2
USUAL_PIXELS = {2: 224, 3: 96}
Score = Literal["logit", "log-odds"]


def gradcam(
    model: nn.Module,
    x: Tensor,
    class_index: int | Sequence[int] | None = None,
    layer: str | None = None,
    score: Score = "logit",
) -> tuple[Tensor, Tensor, str]:
    """What in the last feature map speaks for a class.

    The gradient of the class's logit by each feature map, averaged over places, weights that map (Eq. 1); the
    weighted sum, where positive, is the answer (Eq. 2).

    Parameters
    ----------
    model
        Any of the factory's networks. It computes in evaluation mode and is left as it was, with no hook and no
        gradient.
    x
        (B, C, H, W) or (B, C, D, H, W).
    class_index
        One class for all, or one for each image; each image's most probable one by default.
    layer
        Name of a module; :func:`target_layer` by default. For late fusion a module of the branches, whose maps count
        as those of one layer.
    score
        What the gradient is of: the class's logit, or its log-odds against all other classes (the logit less the
        log-sum-exp of theirs).

    Returns
    -------
    tuple
        The map (B, h, w) or (B, d, h, w) float32, not negative, on the layer's grid, all zero where nothing speaks for
        the class; the logits (B, classes); the layer's name.

    Raises
    ------
    InputError
        If there is no such layer, or it has no places.
    """

    def averaged(maps: Tensor, slopes: Tensor) -> Tensor:
        return maps * slopes.mean(dim=tuple(range(2, x.ndim)), keepdim=True)

    (summed,), logits, (found,) = weighted_sums(model, x, class_index, (layer,), score, averaged)
    return summed.relu(), logits, found


def weighted_sums(
    model: nn.Module,
    x: Tensor,
    class_index: int | Sequence[int] | None,
    layers: Sequence[str | None],
    score: Score,
    weighted: Callable[[Tensor, Tensor], Tensor],
) -> tuple[list[Tensor], Tensor, list[str]]:
    """Of each layer the weighted feature maps' sum, of either sign, from one pass; else as :func:`gradcam`.

    ``weighted`` takes feature maps and their gradients, both (B, features, places...).
    """
    import torch

    with torch.inference_mode(False), torch.enable_grad(), _evaluating(model):
        image = x.detach().clone().requires_grad_(True)
        names = [layer or target_layer(model, image) for layer in layers]
        kept, logits = _outputs(model, names, image)
        told = _score(logits, _classes(logits, class_index)[:, None], score)
        gradients = iter(torch.autograd.grad(told.sum(), [output for own in kept for output in own]))
    sums = []
    for name, own in zip(names, kept, strict=True):
        maps = [_places(model, name, output.detach().float(), x.ndim) for output in own]
        slopes = [_places(model, name, next(gradients).float(), x.ndim) for _ in own]
        parts = [weighted(m, g).sum(dim=1) for m, g in zip(maps, slopes, strict=True)]
        sums.append(torch.stack(parts).sum(dim=0))
    return sums, logits.detach(), names


def _outputs(model: nn.Module, layers: Sequence[str], x: Tensor) -> tuple[list[list[Tensor]], Tensor]:
    """What each layer gives (late fusion: in each branch), and the logits; leaves no hook."""
    import torch

    kept: list[list[Tensor]] = [[] for _ in layers]
    handles = [
        module.register_forward_hook(_keeper(own))
        for own, layer in zip(kept, layers, strict=True)
        for module in _modules(model, layer)
    ]
    try:
        logits = model(x)
    finally:
        for handle in handles:
            handle.remove()
    for own, layer in zip(kept, layers, strict=True):
        if not own:
            raise InputError(f"The layer '{layer}' takes no part in the network's answer; choose another one.")
        if not all(torch.is_tensor(output) for output in own):
            raise InputError(f"The layer '{layer}' has no places; choose a layer before the pooling.")
    return kept, logits


def target_layer(model: nn.Module, x: Tensor | None = None) -> str:
    """Name of the layer to look at: that of the last feature map.

    It is the last stage or layer, poolings aside, that gives at least 2 x 2 places for an image of the size of ``x``
    (of the network's usual size by default); for a vision transformer the first norm of its last block, as is the
    custom, since later only the class token counts.
    """
    import torch

    from cadx.models.fusion import LateFusion

    x = _example(model) if x is None else x
    if isinstance(model, LateFusion):
        return target_layer(model.branches[0], x[:, :1])
    if _is_transformer(model):
        return f"blocks.{len(_as_any(model).blocks) - 1}.norm1"
    seen: list[str] = []
    pooled: list[Tensor] = []
    handles = [module.register_forward_hook(_observer(name, seen, pooled)) for name, module in _stages(model)]
    try:
        with torch.no_grad(), _evaluating(model):
            model(x.detach())
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise InputError(f"{type(model).__name__} keeps no places in its layers, so no map can be made of it.")
    return seen[-1]


def require_layers(model: nn.Module, layers: Sequence[str]) -> None:
    """Refuse layers that a network does not have, or that have no places; on the device "meta" it costs nothing.

    Raises
    ------
    InputError
        If there is no such module, or it gives no feature map.
    """
    import torch

    if not layers:
        return
    x = _example(model)
    for layer in layers:
        _modules(model, layer)
    with torch.no_grad(), _evaluating(model):
        kept, _ = _outputs(model, layers, x)
    for layer, own in zip(layers, kept, strict=True):
        for output in own:
            _places(model, layer, output, x.ndim)


def _as_any(model: nn.Module) -> Any:
    return model


def _is_transformer(model: nn.Module) -> bool:
    """Whether it is one of timm's plain vision transformers."""
    from timm.models import VisionTransformer

    return isinstance(model, VisionTransformer)


def _stages(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children, and those of a sequence among them; what lies deeper is the inside of a block."""
    from torch import nn

    stages: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        inner = child.named_children() if isinstance(child, nn.Sequential) else ()
        stages += [(name, child), *((f"{name}.{n}", module) for n, module in inner)]
    return stages


def _modules(model: nn.Module, layer: str) -> list[nn.Module]:
    from cadx.models.fusion import LateFusion

    networks = list(model.branches) if isinstance(model, LateFusion) else [model]
    try:
        return [network.get_submodule(layer) for network in networks]
    except AttributeError as error:
        raise InputError(f"{type(model).__name__} has no layer '{layer}'; choose one of its modules.") from error


def _keeper(kept: list[Tensor]) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        kept.append(output)

    return hook


def _observer(name: str, seen: list[str], pooled: list[Tensor]) -> Any:
    """Notes the names of modules with places; a pooling's output counts for nothing, whoever hands it on."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        shape = getattr(output, "shape", ())
        if "Pool" in type(module).__name__:
            pooled.append(output)
        elif len(shape) >= 4 and min(shape[2:]) >= LEAST_SIDE and not any(output is one for one in pooled):
            seen.append(name)

    return hook


def _classes(logits: Tensor, wanted: int | Sequence[int] | None) -> Tensor:
    import torch

    if wanted is None:
        return logits.argmax(dim=1)
    return torch.as_tensor(wanted, device=logits.device).expand(len(logits))


def _score(logits: Tensor, chosen: Tensor, score: Score) -> Tensor:
    """(B, 1) of the classes ``chosen`` (B, 1)."""
    own = logits.gather(1, chosen)
    if score == "logit":
        return own
    return own - logits.scatter(1, chosen, float("-inf")).logsumexp(dim=1, keepdim=True)


def _places(model: nn.Module, layer: str, tokens: Tensor, dimensions: int) -> Tensor:
    """(B, features, places...) of an output; a vision transformer's tokens go back to their grid."""
    from cadx.models.fusion import LateFusion

    network = _as_any(model.branches[0] if isinstance(model, LateFusion) else model)
    transformer = _is_transformer(network)
    found = tokens
    if transformer and tokens.ndim == 3:
        grid = network.patch_embed.grid_size
        before = tokens.shape[1] - grid[0] * grid[1]
        if before in (0, network.num_prefix_tokens):
            found = tokens[:, before:].transpose(1, 2).unflatten(2, grid)
    elif getattr(network, "output_fmt", "") == "NHWC":
        found = tokens.movedim(-1, 1)
    # a transformer's other outputs of so many dimensions are heads and tokens
    strange = transformer and tokens.ndim != 3 and not layer.startswith("patch_embed")
    if strange or found.ndim != dimensions or min(found.shape[2:]) < LEAST_SIDE:
        raise InputError(f"The layer '{layer}' has no places; choose a layer before the pooling.")
    return found


def _example(model: nn.Module) -> Tensor:
    """An image of the network's usual size."""
    import torch

    from cadx.models.fusion import LateFusion
    from cadx.models.parts import first_layers

    late = isinstance(model, LateFusion)
    layers = first_layers(model)
    kernel = model.get_parameter(f"{layers[0]}.weight")
    channels = len(layers) if late else kernel.shape[1]
    places = kernel.ndim - 2
    body = _as_any(model.branches[0] if isinstance(model, LateFusion) else model)
    size = getattr(getattr(body, "patch_embed", None), "img_size", None) or (USUAL_PIXELS[places],) * places
    return torch.zeros(1, channels, *size, device=kernel.device)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """In evaluation mode; every module goes back to the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
