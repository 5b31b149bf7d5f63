"""The two numbers of a training step, its arithmetic and its bytes, and the least time that this machine needs.

Beside it what a step takes, and what a whole cross-validation costs by folds and by patients.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadx import device
from cadx.bench import plain_loop
from cadx.bench.apart import Apart
from cadx.bench.report import Measured
from cadx.bench.setting import Setting
from cadx.bench.timing import interleaved, medians
from cadx.study import speed, trainer
from cadx.study.optimise import optimiser_for
from cadx.study.patch_loss import PatchLoss

if TYPE_CHECKING:
    from torch import Tensor, nn

# AdamW reads gradient, weight and both moments and writes the last three
OPTIMISER_BYTES = 28
MATRIX, COPIED_BYTES = 2048, 2**28
PATIENTS, FOLDS = 139, 10


@dataclass(frozen=True)
class Bound:
    """Of one step: ``flop`` and ``bytes_``; rates of this machine; the seconds that follow."""

    flop: float
    bytes_: float
    flop_a_second: float
    bytes_a_second: float

    @property
    def seconds(self) -> float:
        """The least that a step can take: arithmetic and memory may overlap, so the longer of the two."""
        return max(self.flop / self.flop_a_second, self.bytes_ / self.bytes_a_second)


class Step:
    """A step of the package's training on a batch that lies ready."""

    def __init__(self, setting: Setting) -> None:
        import torch

        study, where = setting.study, setting.where
        self.batch = study.training.batch
        self.model: nn.Module = setting.transformer()
        self._layout = trainer.memory_format(self.model)
        self.model.to(where.torch).to(memory_format=self._layout).train()
        self.precision = trainer.training_precision("auto", where, self.model)
        speed.arrange(self.model, where, self.precision, every_token=False)
        self._clip, self._where = study.training.gradient_clip, where
        self.loss = PatchLoss(self.model, study.training, None, False)
        self._optimiser = optimiser_for(self.model, study.training.optimiser)
        edge = 3 * setting.pixels
        inputs = torch.rand(self.batch, 2, edge, edge, generator=torch.Generator().manual_seed(0))
        self.inputs = inputs.to(where.torch, memory_format=self._layout)
        self.labels = (torch.arange(self.batch) % 3).to(where.torch)

    def __call__(self) -> float:
        arithmetic = (self._where, self.precision)
        return trainer.training_step(
            self.model, self.loss, self._optimiser, self.inputs, self.labels, self._clip, arithmetic
        )


def bound(setting: Setting, figure: Path | None = None) -> list[Measured]:
    """Bound and measured step, and with ``figure`` the cost of a cross-validation drawn as PNG."""
    step = Step(setting)
    with Apart(_plain_step, setting.quiet) as plain:
        for run in (step, plain):
            run()
        times = interleaved({"straightforward": plain, "cadx": step}, max(3, setting.repeats), note=setting.note)
    middle = medians(times)
    rates = measure_rates(setting)
    least = Bound(flop_of(step), bytes_of(step), rates[f"{step.precision} flop/s"], rates["bytes/s"])
    detail = {"seconds": times, "rates": rates, **asdict(least), "precision": step.precision, "batch": step.batch}
    cost = costs(middle, least.seconds, step.batch, setting.study.training.epochs)
    if figure is not None:
        from cadx.bench.cost_figure import draw

        draw(cost, figure, setting.where.name)
    return [
        Measured("arithmetic of a training step, ViT-B/16, batch 8", least.flop / 1e9, "GFLOP", detail=detail),
        Measured("bytes that it moves at least", least.bytes_ / 1e9, "GB"),
        Measured(f"rate of matrix products, {step.precision}", least.flop_a_second / 1e9, "GFLOP/s"),
        Measured("rate of memory", least.bytes_a_second / 1e9, "GB/s"),
        Measured("least seconds a step", least.seconds, "s"),
        Measured("measured seconds a step", middle["cadx"], "s"),
        Measured("measured step against its bound", middle["cadx"] / least.seconds, "x"),
        Measured(
            "cross-validation of 139 patients, 10 folds, 100 epochs: computed",
            cost["by folds"]["cadx"][-1],
            "h",
            detail={"computed from seconds a step": cost},
        ),
    ]


def flop_of(step: Step) -> float:
    """Floating-point operations of one step, forward and backward, by torch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter:
        step()
    return float(counter.get_total_flops())


def bytes_of(step: Step) -> float:
    """Bytes of one step, roughly: what the optimiser touches, the weights cast, and what is kept for the way back."""
    import torch

    parameters = list(step.model.parameters())
    own = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    keeping = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with keeping, device.autocast(step.inputs.device.type, step.precision):
        value = step.loss(step.inputs, step.labels)
    del value
    count = sum(parameter.numel() for parameter in parameters)
    # each weight is read as fp32 and written in bf16, and each gradient the other way
    casts = 2 * 6 * count if step.precision == "bf16" else 0
    return float(OPTIMISER_BYTES * count + casts + 2 * sum(kept.values()))


def measure_rates(setting: Setting) -> dict[str, float]:
    """This machine's best rates: operations a second of large matrix products, bytes a second of a large copy."""
    import torch

    edge, size = (64, 2**16) if setting.tiny else (MATRIX, COPIED_BYTES)
    rates = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        one = torch.rand(edge, edge, device=setting.where.torch).to(kind)
        rates[f"{name} flop/s"] = 2 * edge**3 / _best(partial(torch.mm, one, one, out=torch.empty_like(one)), setting)
    source = torch.zeros(size // 4, device=setting.where.torch)
    target = torch.zeros_like(source)
    rates["bytes/s"] = 2 * size / _best(lambda: target.copy_(source), setting)
    return rates


def costs(middle: dict[str, float], least: float, batch: int, epochs: int) -> dict[str, Any]:
    """Hours of a nested cross-validation by folds and by patients, computed from seconds a step, nothing else.

    An inner training for every pair of outer folds, one for each outer fold, and one on everything; the
    straightforward loop trains each pair twice. Looks at validation parts are left out.
    """
    seconds = {"straightforward": middle["straightforward"], "cadx": middle["cadx"], "bound": least}
    folds, patients = list(range(3, FOLDS + 1)), [50, 100, PATIENTS, 200, 400, 800]

    def hours(count: int, parts: int, name: str) -> float:
        samples = trained_samples(count, parts, shared=name != "straightforward")
        return samples * epochs / batch * seconds[name] / 3600

    return {
        "seconds a step": seconds,
        "batch": batch,
        "epochs": epochs,
        "folds": folds,
        "patients": patients,
        "by folds": {name: [hours(PATIENTS, parts, name) for parts in folds] for name in seconds},
        "by patients": {name: [hours(count, FOLDS, name) for count in patients] for name in seconds},
    }


def trained_samples(patients: int, folds: int, *, shared: bool) -> float:
    """Samples that all trainings of a nested cross-validation see in an epoch.

    >>> trained_samples(100, 10, shared=True), trained_samples(100, 10, shared=False)
    (4600.0, 8200.0)
    """
    inner = folds * (folds - 1) / (2 if shared else 1)
    return patients * (inner * (folds - 2) / folds + folds * (folds - 1) / folds + 1)


def _plain_step(setting: Setting) -> Callable[[], object]:
    import torch

    model = setting.transformer().to(setting.where.torch)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    step = setting.study.training.batch
    edge = 3 * setting.pixels
    batch = {"image": torch.rand(step, 2, edge, edge), "label": torch.arange(step) % 3}
    return lambda: plain_loop.train_epoch(model, [batch], optimiser, setting.where)


def _best(run: Callable[[], object], setting: Setting) -> float:
    """Least seconds of a few runs: a rate is what the machine can do, not what it did beside other work."""
    run()
    seconds = []
    for _ in range(2 if setting.tiny else 10):
        start = time.perf_counter()
        run()
        setting.finished()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
