"""What a trainer is handed: the samples of one part and no others, in memory, gathered and augmented by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cadx.prepare.picture import PictureSpec
from cadx.study.spec import AugmentationSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Samples(Protocol):
    """Samples of one part. ``labels`` (N,) int64; ``names`` in the same order."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def labels(self) -> Tensor: ...

    def batch(self, chosen: Tensor, spec: AugmentationSpec | None = None, generator: Generator | None = None) -> Tensor:
        """(B, channels, ...) float32 inputs; augmented where ``spec`` and ``generator`` are given, else as in use."""
        ...


@dataclass(frozen=True, eq=False)
class VolumeSamples:
    """Cells of volumes: ``cells`` (N, C, S, m, m) fp16 padded to the longest, ``slices`` (N,) how many each has.

    ``window`` is the number of slices of a grid, 0 where the whole crop is the input. ``lesions`` (N, S, m, m) uint8.
    """

    names: tuple[str, ...]
    labels: Tensor
    cells: Tensor
    slices: Tensor
    window: int
    lesions: Tensor | None = None

    def batch(self, chosen: Tensor, spec: AugmentationSpec | None = None, generator: Generator | None = None) -> Tensor:
        """(B, C, pixels, pixels) grids, or (B, C, S, m, m) crops; if augmented, lesion masks are a last channel."""
        from cadx.study import augment

        if spec is None or generator is None:
            return self._shaped(self._gather(chosen, self._central(chosen)))
        indices = self._central(chosen)
        if self.window and spec.window == "random":
            indices = augment.random_windows(self.slices[chosen], self.window, generator, spec.last_starts_never_drawn)
        if spec.turn_through_slices:
            cells = self._turned(chosen, indices, generator)
        else:
            cells = self._with_lesions(chosen, indices)
        return self._shaped(augment.augment_cells(cells, spec, generator, masks=int(self.lesions is not None)))

    def _central(self, chosen: Tensor) -> Tensor:
        import torch

        from cadx.study import augment

        if self.window:
            return augment.central_windows(self.slices[chosen], self.window)
        return torch.arange(self.cells.shape[2]).expand(len(chosen), -1)

    def _gather(self, chosen: Tensor, indices: Tensor) -> Tensor:
        """(B, C, k, m, m) float32 cells at slice indices (B, k)."""
        return self.cells[chosen[:, None], :, indices].permute(0, 2, 1, 3, 4).float()

    def _with_lesions(self, chosen: Tensor, indices: Tensor) -> Tensor:
        """The same with the lesion masks, where there are any, as a last channel."""
        import torch

        cells = self._gather(chosen, indices)
        if self.lesions is None:
            return cells
        return torch.cat([cells, self.lesions[chosen[:, None], indices][:, None].float()], dim=1)

    def _turned(self, chosen: Tensor, indices: Tensor, generator: Generator) -> Tensor:
        """The authors' turn mixes all slices of a case, so it comes before the window."""
        import torch

        from cadx.study import augment

        turned = []
        for case, window in zip(chosen, indices, strict=True):
            whole = self._with_lesions(case[None], torch.arange(int(self.slices[case]))[None])[0]
            turned.append(augment.turn_through_slices(whole, generator)[:, window])
        return torch.stack(turned)

    def _shaped(self, cells: Tensor) -> Tensor:
        from cadx.study import augment

        return augment.tile(cells) if self.window else cells


@dataclass(frozen=True, eq=False)
class PictureSamples:
    """Pictures: ``pixels`` (N, c, P, P) uint8, c = 1 where all are grey; normalised as ``spec`` says."""

    names: tuple[str, ...]
    labels: Tensor
    pixels: Tensor
    spec: PictureSpec

    def batch(self, chosen: Tensor, spec: AugmentationSpec | None = None, generator: Generator | None = None) -> Tensor:
        """(B, channels, P, P)."""
        from cadx.study import augment

        pictures = self.pixels[chosen].float().div_(255)
        if spec is not None and generator is not None:
            pictures = augment.augment_pictures(pictures, spec, generator)
        return to_network(pictures, self.spec)


def to_network(batch: Tensor, spec: PictureSpec) -> Tensor:
    """Pictures 0..1 (B, 1 or 3, H, W) as the network takes them: grey repeated, mean and deviation applied.

    The last step before the network, after augmentation; see :func:`cadx.prepare.picture.prepare_picture`.
    """
    import torch

    if spec.mean is None or spec.std is None:
        return batch.expand(-1, spec.channels, -1, -1)
    mean, std = (torch.tensor(n, device=batch.device)[:, None, None] for n in (spec.mean, spec.std))
    # broadcasting repeats the grey channel; in place, since memory is what this costs
    return batch.sub(mean).div_(std)
