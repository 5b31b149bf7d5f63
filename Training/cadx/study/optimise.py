"""Optimisers and learning-rate schedules of a study."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cadx.models.parts import parameter_groups
from cadx.study.spec import OptimiserSpec, ScheduleSpec
from cadx.study.speed import fused

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

LEAST_SHARE = 1e-6


def optimiser_for(
    model: nn.Module,
    spec: OptimiserSpec,
    extra: list[dict[str, Any]] | None = None,
    *,
    parameters: Mapping[str, Tensor] | None = None,
) -> Optimizer:
    """The optimiser over all parameters, grouped for weight decay and layer decay; ``extra`` groups come last.

    Those of the papers: SGD with momentum, Adam, AdamW, RAdam; in torch's fused form where it has one, which updates
    a tensor in one pass over memory. ``parameters``: tensors to update instead of the model's own, by name.
    """
    import torch

    groups = parameter_groups(model, spec.weight_decay, spec.layer_decay, spec.learning_rate, parameters=parameters)
    groups += [{"lr": spec.learning_rate, **group} for group in extra or []]
    if spec.name == "radam":
        return torch.optim.RAdam(groups, lr=spec.learning_rate)
    # None: torch's own default
    whole = fused([parameter for group in groups for parameter in group["params"]]) or None
    if spec.name == "sgd":
        return torch.optim.SGD(groups, lr=spec.learning_rate, momentum=spec.momentum, fused=whole)
    maker = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.name]
    return maker(groups, lr=spec.learning_rate, fused=whole)


def schedule_for(optimiser: Optimizer, spec: ScheduleSpec, steps: int, steps_an_epoch: int) -> Any:
    """A schedule to be stepped after each optimiser step."""
    import torch

    if spec.name == "one-cycle":
        highest = [group["lr"] for group in optimiser.param_groups]
        # torch divides by the steps of the rise less one: never nothing, and never all of a very short training
        rise = max(spec.warmup, min(0.75, 1.5 / steps))
        return torch.optim.lr_scheduler.OneCycleLR(optimiser, highest, total_steps=steps, pct_start=rise)
    return torch.optim.lr_scheduler.LambdaLR(optimiser, _factor(spec, steps, steps_an_epoch))


def _factor(spec: ScheduleSpec, steps: int, steps_an_epoch: int) -> Callable[[int], float]:
    warm = max(1, round(steps * spec.warmup))

    def factor(step: int) -> float:
        if spec.name == "constant":
            return 1.0
        if spec.name == "step":
            return spec.factor ** (step // (spec.step_epochs * steps_an_epoch))
        if step < warm:
            return (step + 1) / warm
        return max(LEAST_SHARE, 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm)))))

    return factor
