"""Several trainings of one model in one batch: for a GPU that one training does not fill.

They have the same settings and the same number of batches an epoch, so that they take every step and every check
together; they may end after different numbers of checks. Each has its own order of samples, augmentation, class
weights, rate, clipping and files, and learns what it would learn alone but for rounding (with batch normalisation in
fp32 rounding grows). A group goes on from a checkpoint of its own with the same bits.
"""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cadx import device
from cadx.study.losses import RoundLosses, read_late
from cadx.study.recording import load_checkpoint, save_checkpoint
from cadx.study.spec import TrainingSpec
from cadx.study.stack import Stack
from cadx.study.task import DONE, Ready
from cadx.study.trainer import Loop

if TYPE_CHECKING:
    from torch import Tensor, nn


# of a GPU's free memory: what a step of many takes beyond as many times that of one
MEMORY_SHARE = 0.7


class Told(Protocol):
    """Hears of one training, as :class:`cadx.study.executors.executor.TaskReport` does."""

    def round(self, line: dict[str, Any]) -> None: ...

    def tick(self, seen: int, wanted: int) -> None: ...


def reason_against(training: TrainingSpec) -> str:
    """Why trainings by a spec are run one by one; nothing where they can be run in a batch."""
    if training.patience is not None:
        return "training.patience ends each at a time of its own"
    if training.transfer.mode != "all":
        return "training.transfer leaves layers as they are"
    if training.lesion_weight > 0:
        return "training.lesion_weight teaches the patches of one network"
    return ""


def train_together(
    place: Path, trainings: Sequence[Ready], where: device.Device, told: Sequence[Told], checkpoint_every_s: float
) -> str:
    """Train all to their end, or go on from the checkpoint in the folder ``place``.

    ``checkpoint_every_s`` is for one training: all of them are written as many times less often.

    Returns
    -------
    str
        Why they cannot be trained together, and nothing was trained; empty where they were.

    Raises
    ------
    InputError
        If files cannot be written, or a loss is no longer a number.
    """
    group = _Group(place, trainings, where, told)
    reason = group.begin()
    if reason:
        return reason
    last = time.monotonic()
    while group.folds:
        group.round()
        if group.folds and time.monotonic() - last >= checkpoint_every_s * len(trainings):
            group.checkpoint()
            last = time.monotonic()
    return ""


def free_for(training: Ready, where: device.Device) -> int:
    """How many such trainings the free memory of a CUDA device holds, by what a step of one takes; 1 elsewhere."""
    if where.kind != "cuda":
        return 1
    import torch

    parts = [training.samples, *([training.validation] if training.validation else []), *training.books.values()]
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    Fold(0, training, where, _Nobody()).try_step()
    needed = torch.cuda.max_memory_allocated() - before + sum(part.nbytes for part in parts)
    # what was tried is to take nothing of what is free
    training.model.to("meta").zero_grad(set_to_none=True)
    gc.collect()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    return max(1, int(MEMORY_SHARE * free / needed))


class _Nobody:
    def round(self, line: dict[str, Any]) -> None: ...

    def tick(self, seen: int, wanted: int) -> None: ...


class Fold(Loop):
    """One training of a group: all of :class:`cadx.study.trainer.Loop` but the step, which the group takes.

    Its own optimiser only carries the rates that its schedule gives.
    """

    def __init__(self, number: int, training: Ready, where: device.Device, told: Told) -> None:
        ready = (training.samples, training.validation, training.books, training.fit)
        super().__init__(training.folder, training.model, *ready, where)
        self.number, self.training, self.told = number, training, told
        # without gradients this does nothing; a schedule wants to see it
        self._optimiser.step()
        self._losses = RoundLosses(self._recording, 0)
        self._seen = 0

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self._model

    @property
    def arithmetic(self) -> tuple[device.Device, device.Precision]:
        """Device and precision."""
        return self._where, self._precision

    @property
    def class_weights(self) -> Tensor | None:
        """(classes,) or none."""
        return self._loss.class_weights

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The optimiser's, with the rates of the next step."""
        return self._optimiser.param_groups

    @property
    def over(self) -> bool:
        """Whether it has had all its checks."""
        return self.progress.round >= self._fit.rounds

    def open(self) -> None:
        """Begin its files."""
        self._recording.open({}, 0)

    def kept(self) -> dict[str, Any]:
        """With the rates, which a schedule does not set again."""
        return {**super().kept(), "rates": self._optimiser.state_dict()}

    def restore(self, kept: dict[str, Any]) -> None:
        """From :meth:`kept`."""
        self._optimiser.load_state_dict(kept["rates"])
        super().restore(kept)

    def glimpse(self) -> tuple[Tensor, Tensor, Tensor]:
        """Two samples as in use, as the network takes them and as the stack does, and their labels."""
        import torch

        chosen = torch.arange(2) % len(self._training.names)
        given = self._training.batch(chosen).to(self._where.torch)
        return given, self._normalised(given), self._training.labels[chosen].to(given.device)

    def draw(self) -> tuple[Tensor, Tensor]:
        """The next batch, augmented and normalised, and its labels."""
        inputs, labels = super().draw()
        return self._normalised(inputs), labels

    def try_step(self) -> None:
        """One step by itself, that leaves no file."""
        self._step(*super().draw())

    def begin_round(self) -> int:
        """How many steps the next round has."""
        self._losses, self._seen = RoundLosses(self._recording, self.progress.round), 0
        return self.steps_to_check()

    def took(self, loss: Tensor, samples: int, steps: int) -> None:
        """The group took one of ``steps`` steps for it.

        Raises
        ------
        InputError
            If a loss that is read now is no longer a number.
        """
        rate = float(self.groups[-1]["lr"])
        self._losses.add(loss if read_late(self._where) else float(loss), samples, self.progress.step, rate)
        self.progress.step += 1
        self._schedule.step()
        self._seen += samples
        self.told.tick(self._seen, steps * self._fit.training.batch)

    def end_round(self, seconds: float) -> None:
        """Look at its parts; ``seconds`` are its share of the round's."""
        self.told.round(self.look(self._losses.mean(), time.perf_counter() - seconds))

    def leave(self) -> None:
        """Write its results and let its network go."""
        self.training.leave(self.finish())
        self._model.to("meta")

    def _normalised(self, inputs: Tensor) -> Tensor:
        return self._centred.applied(inputs) if self._centred else inputs


class _Group:
    """Trainings that take their steps together; ``folds`` are those that are not at their end."""

    def __init__(self, place: Path, trainings: Sequence[Ready], where: device.Device, told: Sequence[Told]) -> None:
        self._place = place
        self._template = copy.deepcopy(trainings[0].model)
        self._spec = trainings[0].fit.training
        self.folds = [
            Fold(number, training, where, teller)
            for number, (training, teller) in enumerate(zip(trainings, told, strict=True))
        ]

    def begin(self) -> str:
        """From the checkpoint, or from the start; why that cannot be."""
        kept = self._kept()
        going = self.folds if kept is None else [self.folds[number] for number in kept["going"]]
        self._stack = Stack(
            [fold.model for fold in going],
            self._template,
            self._spec,
            [fold.class_weights for fold in going],
            going[0].arithmetic,
        )
        reason = self._why_not() if kept is None else ""
        if reason:
            return reason
        for fold in going:
            # of the same bits it is written again
            (fold.training.folder / DONE).unlink(missing_ok=True)
            if kept is None:
                fold.open()
            else:
                fold.restore(kept["folds"][str(fold.number)])
        if kept is not None:
            self._stack.restore(kept["stack"])
        self.folds = going
        return ""

    def round(self) -> None:
        """Train all until the next check, look at their parts, and leave what is at its end."""
        start = time.perf_counter()
        (steps,) = {fold.begin_round() for fold in self.folds}
        for _ in range(steps):
            batches = [fold.draw() for fold in self.folds]
            losses = self._stack.step(batches, [fold.groups for fold in self.folds], self._spec.gradient_clip)
            for fold, loss, (_, labels) in zip(self.folds, losses, batches, strict=True):
                fold.took(loss, len(labels), steps)
        share = (time.perf_counter() - start) / len(self.folds)
        for fold in self.folds:
            fold.end_round(share)
        self._part()

    def checkpoint(self) -> None:
        """Keep all that the rest of the group follows from."""
        self._place.mkdir(parents=True, exist_ok=True)
        state = {
            "going": [fold.number for fold in self.folds],
            "folds": {str(fold.number): fold.kept() for fold in self.folds},
            "stack": self._stack.state(),
        }
        save_checkpoint(self._place, state)

    def _part(self) -> None:
        """Those at their end are left, and the others go on without them."""
        rows = [row for row, fold in enumerate(self.folds) if not fold.over]
        if len(rows) == len(self.folds):
            return
        for fold in self.folds:
            if fold.over:
                fold.leave()
        self.folds = [self.folds[row] for row in rows]
        if rows:
            self._stack.keep([fold.model for fold in self.folds], rows)

    def _kept(self) -> dict[str, Any] | None:
        """The checkpoint, unless what it takes for done is not."""
        kept = load_checkpoint(self._place)
        if kept is None:
            return None
        left = [fold for fold in self.folds if fold.number not in kept["going"]]
        return kept if all((fold.training.folder / DONE).is_file() for fold in left) else None

    def _why_not(self) -> str:
        import torch

        given, inputs, labels = (torch.stack(part) for part in zip(*[f.glimpse() for f in self.folds], strict=True))
        return self._stack.why_not([fold.model for fold in self.folds], given, inputs, labels)
