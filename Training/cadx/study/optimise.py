"""Optimisers, learning-rate schedules and the learning-rate range test of a study."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cadx.models.parts import parameter_groups
from cadx.study.spec import OptimiserSpec, RangeTestSpec, ScheduleSpec

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

LEAST_SHARE = 1e-6


def optimiser_for(model: nn.Module, spec: OptimiserSpec, extra: list[dict[str, Any]] | None = None) -> Optimizer:
    """The optimiser over all parameters, grouped for weight decay and layer decay; ``extra`` groups come last.

    Those of the papers: SGD with momentum, Adam, AdamW, RAdam.
    """
    import torch

    groups = parameter_groups(model, spec.weight_decay, spec.layer_decay, spec.learning_rate)
    groups += [{"lr": spec.learning_rate, **group} for group in extra or []]
    if spec.name == "sgd":
        return torch.optim.SGD(groups, lr=spec.learning_rate, momentum=spec.momentum)
    makers = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "radam": torch.optim.RAdam}
    return makers[spec.name](groups, lr=spec.learning_rate)


def schedule_for(optimiser: Optimizer, spec: ScheduleSpec, steps: int, steps_an_epoch: int) -> Any:
    """A schedule to be stepped after each optimiser step."""
    import torch

    if spec.name == "one-cycle":
        highest = [group["lr"] for group in optimiser.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, highest, total_steps=steps, pct_start=max(spec.warmup, 1.5 / max(steps, 3))
        )
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


def range_rates(spec: RangeTestSpec) -> list[float]:
    """The rising rates of a range test, evenly on a logarithmic scale."""
    return [float(rate) for rate in np.geomspace(spec.low, spec.high, spec.steps)]


def steepest(rates: list[float], losses: list[float]) -> float:
    """The rate of the steepest fall of the smoothed loss per decade, before it diverges.

    >>> steepest([1e-4, 1e-3, 1e-2, 1e-1, 1.0], [2.0, 1.9, 1.0, 0.9, 8.0])
    0.01
    """
    smooth = _smoothed(losses)
    best = int(np.argmin(smooth))
    end = next((i for i in range(best, len(smooth)) if smooth[i] > 4 * smooth[best]), len(smooth))
    if end < 3:
        return rates[0]
    slopes = np.gradient(np.array(smooth[:end]), np.log10(rates[:end]))
    return rates[int(np.argmin(slopes))]


def _smoothed(losses: list[float], keep: float = 0.5) -> list[float]:
    """Exponential mean without bias towards the first value."""
    mean, smooth = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = keep * mean + (1 - keep) * loss
        smooth.append(mean / (1 - keep**number))
    return smooth
