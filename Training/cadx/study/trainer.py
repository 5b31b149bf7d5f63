"""Trains one network on one part; stops and goes on at any moment with the same numbers.

The trainer is handed a training part and, for choosing, a validation part. It has no way to a test part. Where one
training serves two outer folds it is handed, in place of a validation part, the two parts that both leave out, and
keeps the network's answers to each in a book of its own: nothing here is decided or told by them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cadx import device
from cadx.errors import InputError
from cadx.study import speed
from cadx.study.beside import beside
from cadx.study.features import CACHED, EACH_TIME, FeatureStore, features_for
from cadx.study.freezing import Freezing
from cadx.study.losses import RoundLosses, read_late, require_finite
from cadx.study.normalise import InputNormalisation
from cadx.study.optimise import optimiser_for, schedule_for
from cadx.study.patch_loss import PatchLoss
from cadx.study.recording import Recording, load_checkpoint, save_checkpoint
from cadx.study.sampler import Sampler
from cadx.study.samples import Samples, VolumeSamples
from cadx.study.scores import validation_scores
from cadx.study.spec import AugmentationSpec, TrainingSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

State = dict[str, Any]
CHECKPOINT_EVERY_S = 60.0
IMAGES, CUBES = 64, 8


@dataclass(frozen=True)
class Fit:
    """How to train: ``rounds`` is how many checks to run, of the ``training.epochs`` (or steps) the schedule spans.

    ``keep`` "best" keeps the weights of the best check by ``metric``, "last" those of the last. ``class_weights`` were
    learnt on the training part.
    """

    training: TrainingSpec
    augmentation: AugmentationSpec
    rounds: int
    seed: int
    metric: Literal["loss", "balanced_accuracy"] = "loss"
    keep: Literal["best", "last", "nothing"] = "last"
    centre: bool = False
    class_weights: list[float] | None = None
    checkpoint_every_s: float = CHECKPOINT_EVERY_S


@dataclass(frozen=True, eq=False)
class Trained:
    """What training left: the curves, the validation logits (rounds, N, classes), and weights where any were kept.

    ``books``: such logits of each part that was only looked at. ``features``: whether those of a frozen body were
    "cached" or computed "each time".
    """

    rounds: int
    best_round: int
    logits: NDArray[np.float32] | None
    state: State | None
    seconds: float
    normalisation: dict[str, list[float]] | None = None
    books: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    features: Literal["cached", "each time"] = EACH_TIME


@dataclass
class _Progress:
    """Where a training stands."""

    round: int = 0
    step: int = 0
    best: float = math.inf
    best_round: int = -1
    logits: list[Any] = field(default_factory=list)
    books: dict[str, list[Any]] = field(default_factory=dict)
    seconds: float = 0.0
    over: bool = False


def rounds_of(training: TrainingSpec) -> int:
    """How many looks at the validation part a whole training has."""
    return math.ceil((training.steps or training.epochs) / training.check_every)


def train(
    folder: Path,
    model: nn.Module,
    training: Samples,
    validation: Samples | None,
    fit: Fit,
    *,
    where: device.Device,
    books: Mapping[str, Samples] | None = None,
    store: FeatureStore | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train ``model`` (fresh, on the CPU), writing to ``folder``; goes on from the checkpoint there, if there is one.

    The same seed, device and number of threads give the same bits, interrupted or not (on a GPU as far as its kernels
    repeat themselves). ``books`` are looked at beside (or in place of) the validation part and change nothing.
    ``store`` keeps what a frozen body finds; without one that is computed each time.
    ``progress`` gets the line of each check, ``tick`` the samples seen since the last one and how many the next one
    waits for.

    Raises
    ------
    InputError
        If the files cannot be written, or the loss is no longer a number.
    """
    loop = Loop(folder, model, training, validation, books or {}, fit, where, store)
    loop.resume()
    last_checkpoint = time.monotonic()
    while loop.progress.round < fit.rounds and not loop.progress.over:
        line = loop.round(tick)
        if progress:
            progress(line)
        if time.monotonic() - last_checkpoint >= fit.checkpoint_every_s:
            loop.checkpoint()
            last_checkpoint = time.monotonic()
    return loop.finish()


class Loop:
    """One training: the network and all that must survive a kill."""

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        training: Samples,
        validation: Samples | None,
        books: Mapping[str, Samples],
        fit: Fit,
        where: device.Device,
        store: FeatureStore | None = None,
    ) -> None:
        import torch

        self._fit, self._where, self._training, self._validation, self._books = fit, where, training, validation, books
        self._generator = torch.Generator().manual_seed(fit.seed)
        torch.manual_seed(fit.seed)
        self._model = model.to(where.torch)
        self._format = memory_format(model)
        self._model.to(memory_format=self._format)
        volumes = training if isinstance(training, VolumeSamples) else None
        self._centred = InputNormalisation(model, volumes) if fit.centre and volumes else None
        self._loss = PatchLoss(model, fit.training, fit.class_weights, masked(training))
        self._freezing = Freezing(model, fit.training.transfer)
        self._sampler = Sampler(len(training.names), fit.training.batch, self._generator)
        spec = fit.training
        steps = spec.steps or spec.epochs * self._sampler.batches
        self._optimiser = optimiser_for(model, spec.optimiser, self._loss.parameter_groups())
        self._schedule = schedule_for(self._optimiser, spec.schedule, steps, self._sampler.batches)
        self._steps = steps
        self._precision = training_precision(spec.precision, where, model)
        speed.arrange(model, where, self._precision, every_token=self._loss.active)
        self._features = features_for(
            store,
            model,
            [training, *([validation] if validation else []), *books.values()],
            (spec, fit.augmentation),
            (where, self._precision),
            self._centred.learnt() if self._centred else None,
            self._freezing.train_mode,
        )
        if self._features:
            self._loss = PatchLoss(self._features.head, spec, fit.class_weights, False)
        self._recording = Recording(folder)
        self._folder = folder
        self._best_state: State | None = None
        self.progress = _Progress()

    def resume(self) -> None:
        """Take up the last checkpoint and cut the files back to it."""
        import torch

        kept = load_checkpoint(self._folder)
        if kept is None:
            self._recording.open({}, 0)
            return
        self._model.load_state_dict(kept["model"])
        if "loss_head" in kept:
            self._loss.head.load_state_dict(kept["loss_head"])
        self._optimiser.load_state_dict(kept["optimiser"])
        torch.set_rng_state(kept["random"])
        if self._where.kind != "cpu":
            torch.get_device_module(self._where.kind).set_rng_state(kept["device_random"])
        self.restore(kept)

    def restore(self, kept: State) -> None:
        """Take up what :meth:`kept` gave, and cut the files back to it."""
        self._schedule.load_state_dict(kept["schedule"])
        self._freezing.restore(kept["freezing"])
        self._sampler.restore(kept["sampler"])
        self._generator.set_state(kept["generator"])
        self._best_state = kept["best_state"]
        self.progress = _Progress(**kept["progress"])
        self._recording.open(kept["lengths"], self.progress.step)

    def checkpoint(self) -> None:
        """Keep all that the rest of the training follows from."""
        import torch

        state = {
            **self.kept(),
            "model": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self._loss.active:
            state["loss_head"] = self._loss.head.state_dict()
        if self._where.kind != "cpu":
            state["device_random"] = torch.get_device_module(self._where.kind).get_rng_state()
        save_checkpoint(self._folder, state)

    def kept(self) -> State:
        """For a checkpoint, all but the network, its optimiser and torch's own generators."""
        return {
            "schedule": self._schedule.state_dict(),
            "freezing": self._freezing.state(),
            "sampler": self._sampler.state(),
            "generator": self._generator.get_state(),
            "best_state": self._best_state,
            "progress": vars(self.progress).copy(),
            "lengths": self._recording.lengths(),
        }

    def round(self, tick: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """Train until the next check, look at the validation part, and decide what follows."""
        start = time.perf_counter()
        return self.look(self._train_round(tick or (lambda seen, wanted: None)), start)

    def look(self, loss: float, start: float) -> dict[str, Any]:
        """End a round of this mean loss that was begun at ``start``, by the performance counter."""
        line: dict[str, Any] = {"round": self.progress.round, "step": self.progress.step, "loss": loss}
        scores = self._validated()
        line |= scores
        line["stage"] = self._freezing.stage
        self._recording.round(line)
        self.progress.round += 1
        self.progress.seconds += time.perf_counter() - start
        if scores["validation_loss"] is not None:
            self._decide(scores)
        return line

    def finish(self) -> Trained:
        """Close the files; the weights as they go into a bundle (inputs in 0..1)."""
        self._recording.close()
        # the best state is None where nothing is kept
        keep = _on_cpu(self._model.state_dict()) if self._fit.keep == "last" else self._best_state
        normalisation = self._centred.learnt() if self._centred else None
        if self._centred:
            self._centred.remove()
            keep = None if keep is None else self._centred.fold(keep)
        at = self.progress
        logits = _stacked(at.logits) if at.logits else None
        books = {name: _stacked(looks) for name, looks in at.books.items()}
        seconds, features = round(at.seconds, 2), CACHED if self._features else EACH_TIME
        return Trained(at.round, at.best_round, logits, keep, seconds, normalisation, books, features)

    def _train_round(self, tick: Callable[[int, int], None]) -> float:
        wanted, count = self.steps_to_check(), 0
        losses = RoundLosses(self._recording, self.progress.round)
        self._freezing.train_mode()
        for _ in range(wanted):
            inputs, labels = self.draw()
            rate = float(self._optimiser.param_groups[-1]["lr"])
            losses.add(self._step(inputs, labels), len(labels), self.progress.step, rate)
            self.progress.step += 1
            count += len(labels)
            tick(count, wanted * self._fit.training.batch)
        return losses.mean()

    def steps_to_check(self) -> int:
        """How many steps the next round has."""
        spec = self._fit.training
        every = spec.check_every if spec.steps else spec.check_every * self._sampler.batches
        return min(every, self._steps - self.progress.step)

    def draw(self) -> tuple[Tensor, Tensor]:
        """The next batch, augmented, or what a frozen body finds in it, and its labels (B,), on the device."""
        chosen = self._sampler.next()
        if self._features:
            inputs = self._features.batch(chosen, self._generator)
        else:
            inputs = self._training.batch(chosen, self._fit.augmentation, self._generator)
            late = read_late(self._where)
            inputs = inputs.to(self._where.torch, memory_format=self._format, non_blocking=late)
        return inputs, beside(self._training.labels[chosen], inputs)

    def _step(self, inputs: Tensor, labels: Tensor) -> float | Tensor:
        return training_step(
            self._model,
            self._loss,
            self._optimiser,
            inputs,
            labels,
            self._fit.training.gradient_clip,
            (self._where, self._precision),
            self._schedule,
            late=read_late(self._where),
        )

    def _validated(self) -> dict[str, float | None]:
        for name, part in self._books.items():
            self.progress.books.setdefault(name, []).append(_tensor(self._answers(part)))
        if self._validation is None:
            return dict.fromkeys(("validation_loss", "validation_accuracy", "validation_balanced_accuracy"))
        logits = self._answers(self._validation)
        self.progress.logits.append(_tensor(logits))
        return {**validation_scores(logits, self._validation.labels.numpy())}

    def _answers(self, part: Samples) -> NDArray[np.float32]:
        """Logits of a part; this draws from no generator, so that what is looked at changes no training."""
        if self._features:
            logits = self._features.answers(part)
        else:
            logits = predict(self._model, part, self._where, None, self._precision)
        if not np.isfinite(logits).all():
            raise InputError(
                "The network's answers are no longer numbers; lower the learning rate or clip the gradient."
            )
        return logits

    def _decide(self, scores: dict[str, Any]) -> None:
        """Keep the best weights, unfreeze, or stop."""
        at = self.progress
        lower_is_better = self._fit.metric == "loss"
        value = scores["validation_loss"] if lower_is_better else -scores["validation_balanced_accuracy"]
        improved = value < at.best
        if improved:
            at.best, at.best_round = value, at.round - 1
            if self._fit.keep == "best":
                self._best_state = _on_cpu(self._model.state_dict())
        patience = self._fit.training.patience
        out_of_patience = patience is not None and at.round - 1 - at.best_round >= patience
        at.over = self._freezing.advance(improved) or out_of_patience


def training_step(
    model: nn.Module,
    loss: PatchLoss,
    optimiser: Any,
    inputs: Tensor,
    labels: Tensor,
    clip: float | None,
    arithmetic: tuple[device.Device, device.Precision],
    schedule: Any = None,
    *,
    late: bool = False,
) -> Any:
    """One step of the optimiser; returns the loss before it: a number, or with ``late`` an unread tensor.

    Raises
    ------
    InputError
        If the loss is no longer a number; with ``late`` that is left to who reads it.
    """
    import torch

    where, precision = arithmetic
    with device.autocast(where.kind, precision):
        value = loss(inputs, labels)
    number = value.detach() if late else require_finite(float(value.detach()))
    optimiser.zero_grad(set_to_none=True)
    value.backward()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()
    if schedule is not None:
        schedule.step()
    return number


def predict(
    model: nn.Module,
    samples: Samples,
    where: device.Device,
    batch: int | None = None,
    precision: device.Precision = "fp32",
) -> NDArray[np.float32]:
    """(N, classes) logits of samples as in use, evaluation mode; ``batch`` at once, by default few of cubes.

    While training they are looked at in the training's own ``precision``; a test part is opened in fp32.
    """
    import torch

    model.eval()
    layout = memory_format(model)
    parts = []
    with torch.inference_mode(), device.autocast(where.kind, precision):
        for chosen in torch.arange(len(samples.names)).split(batch or (CUBES if _is_3d(model) else IMAGES)):
            inputs = samples.batch(chosen).to(where.torch, memory_format=layout)
            parts.append(model(inputs).float().cpu().numpy())
    return np.concatenate(parts)


def masked(samples: Samples) -> bool:
    """Whether augmented batches end with a channel of lesion masks."""
    return getattr(samples, "lesions", None) is not None


def memory_format(model: nn.Module) -> Any:
    """Channels last for 2-D networks: twice as fast for convolutions on the CPU."""
    import torch

    return torch.contiguous_format if _is_3d(model) else torch.channels_last


def _is_3d(model: nn.Module) -> bool:
    import torch

    return any(isinstance(module, torch.nn.Conv3d) for module in model.modules())


def training_precision(requested: str, where: device.Device, model: nn.Module) -> device.Precision:
    """bf16 where asked for, or where it is faster: on GPUs that have it, on CPUs that have it for networks that gain.

    Those that only imitate it are slower with it than without. See :func:`cadx.study.speed.gains_from_bf16`.
    """
    if requested != "auto":
        return "bf16" if requested == "bf16" else "fp32"
    import torch

    if where.kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    native = where.kind == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bf16" if native and speed.gains_from_bf16(model) else "fp32"


def _tensor(array: NDArray[np.float32]) -> Tensor:
    import torch

    return torch.from_numpy(array)


def _stacked(looks: list[Any]) -> NDArray[np.float32]:
    return np.stack([look.numpy() for look in looks])


def _on_cpu(state: State) -> State:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
