"""A training of the head alone: features of the frozen body kept, against computed each time."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from cadx.bench.report import Measured
from cadx.bench.setting import Setting
from cadx.bench.timing import interleaved, medians
from cadx.bench.training_volumes import TRAINING, VALIDATION, make_cases
from cadx.study import trainer
from cadx.study.features import FeatureStore
from cadx.study.spec import AugmentationSpec, TransferSpec

if TYPE_CHECKING:
    from torch import nn

    from cadx.study.samples import VolumeSamples

EPOCHS = 10
# each takes half a minute, and they differ little
MOST_REPEATS = 2
EACH_TIME, KEPT, SHARED = "each time", "kept", "kept, and found before"
ALONE = "the head of a frozen ViT-B/16 on volumes, times faster with features kept than computed each time"
AGAIN = "the same where an earlier training of the run has found them"


def frozen(setting: Setting) -> list[Measured]:
    """Seconds of a whole training of few epochs, and how many images went through the body in each.

    A single training seldom draws the same window in the same symmetry twice; the further trainings of a run do.
    """
    epochs = 2 if setting.tiny else EPOCHS
    cases = make_cases(TRAINING + VALIDATION, setting.pixels)
    training = _Training(setting, cases.part(0, TRAINING).samples(), cases.part(TRAINING, len(cases.cells)).samples())
    found = FeatureStore()
    sides = {
        EACH_TIME: lambda: training.run(epochs, None),
        KEPT: lambda: training.run(epochs, FeatureStore()),
        SHARED: lambda: training.run(epochs, found),
    }
    training.run(epochs, found)
    times = interleaved(sides, min(setting.repeats, MOST_REPEATS), note=setting.note)
    middle = medians(times)
    images = {EACH_TIME: epochs * (TRAINING + VALIDATION), KEPT: found.count, SHARED: 0}
    detail = {"seconds": times, "images through the body": images, "epochs": epochs, "device": setting.where.name}
    return [
        Measured(ALONE, middle[EACH_TIME] / middle[KEPT], "x", detail=detail),
        Measured(AGAIN, middle[EACH_TIME] / middle[SHARED], "x"),
    ]


class _Training:
    """Trainings of the study's transformer from one seed, each looked at after every epoch."""

    def __init__(self, setting: Setting, samples: VolumeSamples, held: VolumeSamples) -> None:
        self._setting, self._samples, self._held = setting, samples, held
        self._model: nn.Module = setting.transformer()

    def run(self, epochs: int, store: FeatureStore | None) -> None:
        """Train the head; without a store features are computed each time."""
        asked = {"epochs": epochs, "transfer": TransferSpec(mode="head")}
        spec = self._setting.study.training.model_copy(update=asked)
        augmentation = AugmentationSpec(quarter_turns=True, flip_horizontal=0.5, window="random")
        # not centred: what a fold teaches of its inputs would make its features its own
        fit = trainer.Fit(spec, augmentation, rounds=epochs, seed=0, keep="nothing")
        folder = self._setting.scratch / "frozen"
        folder.mkdir()
        where = self._setting.where
        trained = trainer.train(folder, self._model, self._samples, self._held, fit, where=where, store=store)
        assert trained.features == ("each time" if store is None else "cached")
        self._setting.finished()
        shutil.rmtree(folder)
