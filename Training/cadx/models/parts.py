"""The parts of a network by the names of their parameters: head, first layer, groups from input to head.

Names, not tensors, because folds that train in one batch stack their parameters: then only the name, and the shape in
the network itself, say what a tensor is.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_GROUPS = 16
NEVER_DECAYED = ("pos_embed", "cls_token", "reg_token", "dist_token")


def head_names(model: nn.Module) -> tuple[str, ...]:
    """Parameters of the classifier: the last linear layer; empty for a network without one."""
    names: tuple[str, ...] = ()
    for name, module in _classifiers(model):
        names += tuple(f"{name}.{parameter}" for parameter, _ in module.named_parameters())
    return names


def first_layers(model: nn.Module) -> tuple[str, ...]:
    """Modules that take the image, such as ``patch_embed.proj``; for late fusion one a branch, as the channels go."""
    from torch import nn

    from cadx.models.fusion import LateFusion

    if isinstance(model, LateFusion):
        return tuple(f"branches.{i}.{name}" for i, b in enumerate(model.branches) for name in first_layers(b))
    named = (getattr(model, "pretrained_cfg", None) or {}).get("first_conv")
    if named:
        return (named,) if isinstance(named, str) else tuple(named)
    convolutions = (nn.Conv2d, nn.Conv3d)
    return (next(name for name, module in model.named_modules() if isinstance(module, convolutions)),)


def layer_groups(model: nn.Module) -> list[list[str]]:
    """Names of all parameters, from the input to the head, in at most 16 groups; the last one is the head alone.

    timm's stages (for a vision transformer: the embeddings, then its blocks) where it defines them, else the children
    in their order. The branches of late fusion go together, level by level.
    """
    from cadx.models.fusion import LateFusion

    if isinstance(model, LateFusion):
        levels = _body_groups(model.branches[0])
        branches = range(len(model.branches))
        groups = [[f"branches.{i}.{name}" for i in branches for name in level] for level in levels]
    else:
        groups = _body_groups(model)
    head = list(head_names(model))
    return [*groups, head] if head else groups


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    layer_decay: float | None,
    learning_rate: float,
    *,
    parameters: Mapping[str, Tensor] | None = None,
) -> list[dict[str, Any]]:
    """Groups for any optimiser of torch or timm.

    Parameters
    ----------
    weight_decay
        For all but biases, norms and embeddings of place and class, which have none (timm's rule, by the network's own
        shapes).
    layer_decay
        A level of :func:`layer_groups` learns this factor slower than the next; the head at ``learning_rate``. For
        vision transformers these are timm's levels, for convolutional networks the stages.
    parameters
        Tensors to use instead of the network's own, by name, such as those of stacked folds.

    Returns
    -------
    list of dict
        ``params``, ``names``, ``lr``, ``weight_decay``, and ``scale`` (lr / learning_rate). Frozen parameters are
        included: an optimiser passes over those without gradient.
    """
    own = dict(model.named_parameters())
    tensors = own if parameters is None else parameters
    plain = _never_decayed(model)
    levels = layer_groups(model)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for index, level in enumerate(levels):
        scale = 1.0 if layer_decay is None else layer_decay ** (len(levels) - 1 - index)
        for name in level:
            decay = 0.0 if name in plain or own[name].ndim <= 1 or name.endswith(".bias") else weight_decay
            empty: dict[str, Any] = {"params": [], "names": [], "lr": learning_rate * scale, "scale": scale}
            group = groups.setdefault((scale, decay), {**empty, "weight_decay": decay})
            group["params"].append(tensors[name])
            group["names"].append(name)
    return list(groups.values())


def _classifiers(model: Any) -> list[tuple[str, nn.Module]]:
    from torch import nn

    from cadx.models.fusion import LateFusion

    if isinstance(model, LateFusion):
        return [("head", model.head)]
    if hasattr(model, "get_classifier"):
        found = model.get_classifier()
        wanted = found if isinstance(found, (tuple, list)) else (found,)
        return [(name, module) for name, module in model.named_modules() if any(module is w for w in wanted)]
    linear: list[tuple[str, nn.Module]] = [
        (name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)
    ]
    # a branch of late fusion has had its last layer taken out
    return [] if hasattr(model, "head_hidden_size") else linear[-1:]


def _body_groups(model: nn.Module) -> list[list[str]]:
    """All but the head, in at most 15 groups."""
    head = set(head_names(model))
    groups = _timm_groups(model) if hasattr(model, "group_matcher") else _children_groups(model)
    shapes = {name: parameter.ndim for name, parameter in model.named_parameters()}
    joined: list[list[str]] = []
    for group in ([name for name in names if name not in head] for names in groups):
        if joined and all(shapes[name] <= 1 for name in group):
            joined[-1] += group  # a norm belongs to the layer before it
        elif group:
            joined.append(group)
    return _merged(joined, MOST_GROUPS - 1)


def _timm_groups(model: Any) -> list[list[str]]:
    from timm.models import group_parameters

    groups = group_parameters(model, model.group_matcher(coarse=True))
    return [groups[index] for index in sorted(groups)]


def _children_groups(model: nn.Module) -> list[list[str]]:
    """The children in order, those of a plain sequence one by one."""
    from torch import nn

    modules: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        if type(child) is nn.Sequential:
            modules += [(f"{name}.{inner}", module) for inner, module in child.named_children()]
        else:
            modules.append((name, child))
    groups = [[f"{name}.{parameter}" for parameter, _ in module.named_parameters()] for name, module in modules]
    return [group for group in groups if group]


def _merged(groups: list[list[str]], most: int) -> list[list[str]]:
    """Neighbours joined until at most so many are left; the first ones hold fewer.

    >>> _merged([["a"], ["b"], ["c"]], 2)
    [['a'], ['b', 'c']]
    """
    if len(groups) <= most:
        return groups
    bounds = [len(groups) * i // most for i in range(most + 1)]
    return [list(chain.from_iterable(groups[low:high])) for low, high in pairwise(bounds)]


def _never_decayed(model: Any) -> set[str]:
    """Embeddings, and what the network's library says."""
    from cadx.models.fusion import LateFusion

    if isinstance(model, LateFusion):
        return {f"branches.{i}.{name}" for i, b in enumerate(model.branches) for name in _never_decayed(b)}
    told = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    return set(told) | {name for name, _ in model.named_parameters() if name.rpartition(".")[2] in NEVER_DECAYED}
