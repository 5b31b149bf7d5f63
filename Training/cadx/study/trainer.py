"""Trains one model on one split; keeps the weights with the lowest validation loss."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadx import device
from cadx.study import augment
from cadx.study.normalise import InputNormalisation
from cadx.study.patch_loss import PatchLoss
from cadx.study.recipe import Recipe

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


@dataclass(frozen=True, eq=False)
class CellTensor:
    """Cases of one split, resident: cells (N, C, S, m, m) fp16 padded to the longest, slices (N,), labels (N,)."""

    cells: Tensor
    slices: Tensor
    labels: Tensor
    lesions: Tensor | None = None

    @classmethod
    def stack(
        cls,
        cells: list[NDArray[np.float16]],
        labels: NDArray[np.int64],
        lesions: list[NDArray[np.uint8]] | None = None,
    ) -> CellTensor:
        """From arrays (C, slices, m, m), and lesion masks (slices, m, m)."""
        import torch

        slices = torch.tensor([c.shape[1] for c in cells])
        channels, _, m, _ = cells[0].shape
        out = torch.zeros((len(cells), channels, int(slices.max()), m, m), dtype=torch.float16)
        for index, array in enumerate(cells):
            out[index, :, : array.shape[1]] = torch.from_numpy(array)
        masks = None
        if lesions is not None:
            masks = torch.zeros((len(cells), int(slices.max()), m, m), dtype=torch.uint8)
            for index, mask in enumerate(lesions):
                masks[index, : mask.shape[0]] = torch.from_numpy(mask)
        return cls(out, slices, torch.from_numpy(labels), masks)

    def windows(self, cases: Tensor, indices: Tensor) -> Tensor:
        """(B, C, k, m, m) float32 cells of the given cases at slice indices (B, k)."""
        return self.cells[cases[:, None], :, indices].permute(0, 2, 1, 3, 4).float()

    def lesion_windows(self, cases: Tensor, indices: Tensor) -> Tensor:
        """(B, 1, k, m, m) float32 lesion masks of the same cells."""
        assert self.lesions is not None
        return self.lesions[cases[:, None], indices][:, None].float()


@dataclass(frozen=True)
class Trained:
    """The best weights, where they were found and the curves (one dictionary an epoch)."""

    state: dict[str, Tensor]
    best_epoch: int
    history: list[dict[str, float]]
    precision: str


def train(
    model: nn.Module,
    training: CellTensor,
    validation: CellTensor,
    recipe: Recipe,
    k: int,
    *,
    where: device.Device,
    progress: Callable[[dict[str, float]], None] | None = None,
) -> Trained:
    """Train ``model``; deterministic for a seed, a device and a number of threads.

    The weights returned take cells in 0..1; those left in ``model`` are of no use.
    """
    import torch

    generator = torch.Generator().manual_seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    model.to(where.torch)
    normalisation = InputNormalisation(model, training)
    loss = PatchLoss(model, recipe, training)
    groups = _decay_groups(model, recipe.weight_decay) + loss.parameter_groups()
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    steps = math.ceil(len(training.labels) / recipe.batch) * recipe.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _warm_cosine(step, steps, recipe.warmup))
    precision = _training_precision(recipe.precision, where)
    history: list[dict[str, float]] = []
    best: tuple[float, int, dict[str, Tensor]] = (math.inf, -1, {})
    for epoch in range(recipe.epochs):
        start = time.perf_counter()
        total = _epoch(model, training, recipe, k, optimiser, schedule, generator, where, precision, loss)
        probabilities = predict(model, validation, k, where)
        truth = validation.labels.numpy()
        chosen = np.clip(probabilities[np.arange(len(truth)), truth], 1e-12, None)
        record = {
            "epoch": epoch,
            "loss": round(total, 5),
            "validation_loss": round(float(-np.log(chosen).mean()), 5),
            "validation_accuracy": round(float((probabilities.argmax(1) == truth).mean()), 4),
            "seconds": round(time.perf_counter() - start, 2),
        }
        history.append(record)
        if record["validation_loss"] < best[0]:
            best = (
                record["validation_loss"],
                epoch,
                {name: value.detach().cpu().clone() for name, value in model.state_dict().items()},
            )
        if progress:
            progress(record)
        if epoch - best[1] >= recipe.patience:
            break
    normalisation.remove()
    return Trained(normalisation.fold(best[2]), best[1], history, precision)


def predict(model: nn.Module, cases: CellTensor, k: int, where: device.Device, batch: int = 64) -> NDArray[np.float64]:
    """(N, classes) probabilities of the central windows, fp32, evaluation mode."""
    import torch

    model.eval()
    parts = []
    with torch.inference_mode():
        for chosen in torch.arange(len(cases.labels)).split(batch):
            cells = cases.windows(chosen, augment.central_windows(cases.slices[chosen], k))
            parts.append(model(augment.tile(cells).to(where.torch)).double().softmax(-1).cpu().numpy())
    return np.concatenate(parts)


def _epoch(
    model: nn.Module,
    training: CellTensor,
    recipe: Recipe,
    k: int,
    optimiser: Any,
    schedule: Any,
    generator: Generator,
    where: device.Device,
    precision: device.Precision,
    objective: PatchLoss,
) -> float:
    import torch

    model.train()
    total = 0.0
    order = torch.randperm(len(training.labels), generator=generator)
    for chosen in order.split(recipe.batch):
        slices = training.slices[chosen]
        if recipe.random_window:
            indices = augment.random_windows(slices, k, generator)
        else:
            indices = augment.central_windows(slices, k)
        cells = training.windows(chosen, indices)
        if objective.active:
            cells = torch.cat([cells, training.lesion_windows(chosen, indices)], dim=1)
        if recipe.d4:
            cells = augment.random_d4(cells, generator)
        if recipe.affine:
            cells = augment.random_affine(cells, recipe.affine, generator)
        with device.autocast(where.kind, precision):
            loss = objective(augment.tile(cells).to(where.torch), training.labels[chosen].to(where.torch))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimiser.step()
        schedule.step()
        total += float(loss.detach()) * len(chosen)
    return total / len(training.labels)


def _decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """No decay on biases, norms and embeddings, as timm does."""
    kept = [p for n, p in model.named_parameters() if p.ndim > 1 and not n.endswith(("pos_embed", "cls_token"))]
    rest = [p for n, p in model.named_parameters() if p.ndim <= 1 or n.endswith(("pos_embed", "cls_token"))]
    return [{"params": kept, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _warm_cosine(step: int, steps: int, warmup: float) -> float:
    warm = max(1, round(steps * warmup))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))


def _training_precision(requested: str, where: device.Device) -> device.Precision:
    if requested != "auto":
        return "bf16" if requested == "bf16" else "fp32"
    import torch

    if where.kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if where.kind == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"
