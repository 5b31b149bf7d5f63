"""The learning-rate range test (Smith, Cyclical Learning Rates, WACV 2017, Section 3.3), on a training part alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cadx import device
from cadx.errors import InputError
from cadx.io.jsonfile import JsonError, read_json
from cadx.study.freezing import Freezing
from cadx.study.optimise import optimiser_for, range_rates, steepest
from cadx.study.patch_loss import PatchLoss
from cadx.study.runfolder import write_json
from cadx.study.sampler import Sampler
from cadx.study.samples import Samples
from cadx.study.spec import AugmentationSpec, TrainingSpec
from cadx.study.trainer import memory_format, training_precision, training_step

if TYPE_CHECKING:
    from torch import nn

FILE = "range_test.json"


def run(
    folder: Path, build: Callable[[], nn.Module], samples: Samples, spec: TrainingSpec, where: device.Device, seed: int
) -> float:
    """The learning rate that the test chooses; its curve is left in ``range_test.json``, and taken from there again.

    The network is a fresh one and is thrown away. Nothing is augmented.
    """
    try:
        return float(read_json(folder / FILE)["chosen"])
    except JsonError:
        pass
    assert spec.range_test is not None
    rates = range_rates(spec.range_test)
    losses = _losses(build(), samples, spec, where, seed, rates)
    chosen = steepest(rates[: len(losses)], losses)
    write_json(folder / FILE, {"learning_rates": rates[: len(losses)], "losses": losses, "chosen": chosen})
    return chosen


def _losses(
    model: nn.Module, samples: Samples, spec: TrainingSpec, where: device.Device, seed: int, rates: list[float]
) -> list[float]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    layout = memory_format(model)
    model = model.to(where.torch).to(memory_format=layout)
    plain = spec.model_copy(update={"lesion_weight": 0.0})
    loss = PatchLoss(model, plain, None, False)
    freezing = Freezing(model, spec.transfer)
    optimiser = optimiser_for(model, spec.optimiser.model_copy(update={"learning_rate": 1.0}))
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
            break  # diverged: the test has shown what it is for
    return losses
