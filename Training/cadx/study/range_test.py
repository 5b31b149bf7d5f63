"""The learning-rate range test (Smith, Cyclical Learning Rates, WACV 2017, Section 3.3), on a training part alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadx import device
from cadx.errors import InputError
from cadx.io.jsonfile import JsonError, read_json
from cadx.study.freezing import Freezing
from cadx.study.normalise import InputNormalisation
from cadx.study.optimise import optimiser_for
from cadx.study.patch_loss import PatchLoss
from cadx.study.runfolder import write_json
from cadx.study.sampler import Sampler
from cadx.study.samples import Samples, VolumeSamples
from cadx.study.spec import AugmentationSpec, RangeTestSpec
from cadx.study.trainer import Fit, masked, memory_format, training_precision, training_step

if TYPE_CHECKING:
    from torch import nn

FILE = "range_test.json"
SMOOTHING, LEARNT, TINY = 0.05, 0.2, 1e-12


def run(folder: Path, build: Callable[[], nn.Module], samples: Samples, fit: Fit, where: device.Device) -> float:
    """The learning rate that the test chooses; its curve is left in ``range_test.json``, and taken from there again.

    The network is a fresh one and is thrown away. The loss is that of the training; nothing is augmented.
    """
    try:
        return float(read_json(folder / FILE)["chosen"])
    except JsonError:
        pass
    assert fit.training.range_test is not None
    rates = range_rates(fit.training.range_test)
    losses = _losses(build(), samples, fit, where, rates)
    chosen = steepest(rates[: len(losses)], losses)
    write_json(folder / FILE, {"learning_rates": rates[: len(losses)], "losses": losses, "chosen": chosen})
    return chosen


def _losses(model: nn.Module, samples: Samples, fit: Fit, where: device.Device, rates: list[float]) -> list[float]:
    import torch

    generator = torch.Generator().manual_seed(fit.seed)
    torch.manual_seed(fit.seed)
    layout, spec = memory_format(model), fit.training
    model = model.to(where.torch).to(memory_format=layout)
    volumes = samples if isinstance(samples, VolumeSamples) else None
    if fit.centre and volumes:
        InputNormalisation(model, volumes)
    loss = PatchLoss(model, spec, fit.class_weights, masked(samples))
    freezing = Freezing(model, spec.transfer)
    at_one = spec.optimiser.model_copy(update={"learning_rate": 1.0})
    optimiser = optimiser_for(model, at_one, loss.parameter_groups())
    shares = [group["lr"] for group in optimiser.param_groups]
    sampler = Sampler(len(samples.names), spec.batch, generator)
    arithmetic = (where, training_precision(spec.precision, where, model))
    losses: list[float] = []
    freezing.train_mode()
    for rate in rates:
        for group, share in zip(optimiser.param_groups, shares, strict=True):
            group["lr"] = rate * share
        chosen = sampler.next()
        inputs = samples.batch(chosen, AugmentationSpec(window="random"), generator)
        inputs = inputs.to(where.torch, memory_format=layout)
        try:
            losses.append(
                training_step(model, loss, optimiser, inputs, samples.labels[chosen].to(where.torch), None, arithmetic)
            )
        except InputError:
            if not losses:
                raise
            break  # diverged: the test has shown what it is for
    return losses


def range_rates(spec: RangeTestSpec) -> list[float]:
    """The rising rates of a range test, evenly on a logarithmic scale."""
    return [float(rate) for rate in np.geomspace(spec.low, spec.high, spec.steps)]


def steepest(rates: list[float], losses: list[float]) -> float:
    """The rate at which the smoothed loss falls by the largest share a decade, on its way to the lowest.

    >>> steepest([1e-4, 1e-3, 1e-2, 1e-1, 1.0], [2.0, 1.9, 1.0, 0.5, 8.0])
    0.01
    """
    smooth = np.log(smoothed(losses))
    lowest = int(np.argmin(smooth))
    if lowest < 2:
        return rates[0]
    slopes = np.gradient(smooth, np.log10(rates))
    return rates[int(np.argmin(slopes[: lowest + 1]))]


def smoothed(losses: list[float]) -> NDArray[np.float64]:
    """The curve of a range test without the scatter of single batches, which is more than the loss falls.

    Logarithms are smoothed to both sides (a Gaussian of a twentieth of the curve). Before, losses are cut to the
    highest of the first ones, for networks that diverge, and to a fifth of their median: what falls further is learnt
    already.
    """
    from scipy.ndimage import gaussian_filter1d

    first = losses[: max(3, len(losses) // 10)]
    cut = np.clip(losses, max(LEARNT * float(np.median(first)), TINY), max(first))
    return np.exp(gaussian_filter1d(np.log(cut), SMOOTHING * len(losses), mode="reflect"))
