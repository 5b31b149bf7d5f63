"""An epoch of ViT-B/16 on volumes, looked at once: the package's training against the straightforward loop."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx.bench import plain_loop
from cadx.bench.apart import Apart
from cadx.bench.report import Measured
from cadx.bench.setting import Setting
from cadx.bench.timing import Times, interleaved, medians
from cadx.study import speed, trainer
from cadx.study.samples import VolumeSamples
from cadx.study.spec import TrainingSpec

if TYPE_CHECKING:
    from torch import nn

AIM_CPU, AIM_GPU = 3.0, 25.0
NO_GPU = "not measured here: no GPU"
# in nested cross-validation of ten folds eight train and one is looked at
TRAINING, VALIDATION = 32, 4
ON_CPU = "ViT-B/16 on volumes, times faster than the straightforward loop"
ON_GPU = "the same on a GPU, ten folds one after another"
SAME_PRECISION = "the same with fp32 on both sides"


@dataclass(frozen=True, eq=False)
class Cases:
    """Cells (C, S, m, m) float32 of each case and their classes."""

    cells: list[NDArray[np.float32]]
    labels: list[int]

    def part(self, first: int, last: int) -> Cases:
        """Some of them."""
        return Cases(self.cells[first:last], self.labels[first:last])

    def samples(self) -> VolumeSamples:
        """As the package keeps them: fp16, one tensor."""
        import torch

        longest = max(case.shape[1] for case in self.cells)
        values = [np.pad(case, ((0, 0), (0, longest - case.shape[1]), (0, 0), (0, 0))) for case in self.cells]
        return VolumeSamples(
            tuple(f"case-{number}" for number in range(len(self.cells))),
            torch.tensor(self.labels),
            torch.from_numpy(np.stack(values).astype(np.float16)),
            torch.tensor([case.shape[1] for case in self.cells]),
            plain_loop.SLICES,
        )


def make_cases(count: int, pixels: int) -> Cases:
    """Cells of two channels and 12 to 24 slices; what they show is of no matter here."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(12, 25, count)
    cells = [rng.random((2, int(slices), pixels, pixels), dtype=np.float32) for slices in sizes]
    return Cases(cells, [number % 3 for number in range(count)])


def volumes(setting: Setting) -> list[Measured]:
    """Seconds of an epoch both ways; on a GPU that ratio, and else a line that says that it was not measured."""
    times, chosen = _measured(setting)
    middle = medians(times)
    detail = {"seconds": times, "training": TRAINING, "validation": VALIDATION, "device": setting.where.name, **chosen}
    ratio = middle["straightforward"] / middle["cadx"]
    same = middle["straightforward"] / middle["cadx fp32"]
    if setting.where.kind == "cpu":
        rows = [
            Measured(ON_CPU, ratio, "x", AIM_CPU, True, detail),
            Measured(ON_GPU, None, "x", AIM_GPU, True, missing=NO_GPU),
        ]
    else:
        rows = [Measured(ON_GPU, ratio, "x", AIM_GPU, True, detail)]
    return [*rows, Measured(SAME_PRECISION, same, "x")]


def _measured(setting: Setting) -> tuple[Times, dict[str, Any]]:
    training = setting.study.training
    precision = trainer.training_precision("auto", setting.where, setting.transformer("meta"))
    cases = make_cases(TRAINING + VALIDATION, setting.pixels)
    with Apart(_Plain, setting.quiet, cases, training.batch) as plain:
        sides: dict[str, Any] = {"straightforward": plain, "cadx": _Ours(setting, cases, training)}
        sides["cadx fp32"] = _Ours(setting, cases, training.model_copy(update={"precision": "fp32"}))
        for side in sides.values():
            side()  # what is done once only, such as choosing kernels
        times = interleaved(sides, setting.repeats, note=setting.note)
    chosen = speed.arrange(setting.transformer("meta"), setting.where, precision, every_token=False)
    return times, {"precision": precision, "batch": training.batch, **chosen}


class _Plain:
    """An epoch of the straightforward loop, and one look at the validation part."""

    def __init__(self, setting: Setting, cases: Cases, batch: int) -> None:
        import torch

        self._setting = setting
        part, held = cases.part(0, TRAINING), cases.part(TRAINING, TRAINING + VALIDATION)
        self._training = plain_loop.volume_loader(part.cells, part.labels, batch, training=True)
        self._held = plain_loop.volume_loader(held.cells, held.labels, batch, training=False)
        self._model = setting.transformer().to(setting.where.torch)
        self._optimiser = torch.optim.Adam(self._model.parameters(), lr=1e-4)

    def __call__(self) -> None:
        plain_loop.train_epoch(self._model, self._training, self._optimiser, self._setting.where)
        plain_loop.evaluate(self._model, self._held, self._setting.where)
        self._setting.finished()


class _Ours:
    """One round of a training of the study, its recording and all."""

    def __init__(self, setting: Setting, cases: Cases, training: TrainingSpec) -> None:
        self._setting = setting
        self._fit = trainer.Fit(training, setting.study.augmentation, rounds=1, seed=0, keep="nothing", centre=True)
        self._samples = cases.part(0, TRAINING).samples()
        self._held = cases.part(TRAINING, TRAINING + VALIDATION).samples()
        self._model: nn.Module = setting.transformer()

    def __call__(self) -> None:
        folder = self._setting.scratch / "round"
        folder.mkdir()
        trainer.train(folder, self._model, self._samples, self._held, self._fit, where=self._setting.where)
        self._setting.finished()
        shutil.rmtree(folder)
