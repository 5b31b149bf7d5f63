"""What a trainer is handed: the samples of one part and no others, in memory, gathered and augmented by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self

from cadx import device
from cadx.prepare.picture import PictureSpec
from cadx.study.beside import beside
from cadx.study.spec import AugmentationSpec

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor

# of a GPU's free memory, what samples may take: the rest is the training's
LARGEST_SHARE = 0.25


class Samples(Protocol):
    """Samples of one part. ``labels`` (N,) int64 on the CPU; ``names`` in the same order."""

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
    Cells and lesions may lie on a GPU (:meth:`to`); labels and slices, which windows are drawn by, are on the CPU.
    """

    names: tuple[str, ...]
    labels: Tensor
    cells: Tensor
    slices: Tensor
    window: int
    lesions: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Of what :meth:`to` moves."""
        return self.cells.nbytes + (0 if self.lesions is None else self.lesions.nbytes)

    def to(self, place: torch.device) -> Self:
        """The same with the images on a device, where they are gathered and augmented from then on."""
        lesions = None if self.lesions is None else self.lesions.to(place)
        return replace(self, cells=self.cells.to(place), lesions=lesions)

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

    def shown(self, variants: Tensor) -> Tensor:
        """Inputs of variants (B, 3): sample, first slice of the window, symmetry (quarter turns, plus 4 if flipped)."""
        import torch

        from cadx.study.augment.symmetry import apply_symmetry

        rows, starts, symmetries = variants.unbind(1)
        indices = self._central(rows)
        if self.window:
            indices = torch.minimum(starts[:, None] + torch.arange(self.window), self.slices[rows, None] - 1)
        return self._shaped(apply_symmetry(self._gather(rows, indices), symmetries % 4, symmetries >= 4))

    def _central(self, chosen: Tensor) -> Tensor:
        import torch

        from cadx.study import augment

        if self.window:
            return augment.central_windows(self.slices[chosen], self.window)
        return torch.arange(self.cells.shape[2]).expand(len(chosen), -1)

    def _gather(self, chosen: Tensor, indices: Tensor) -> Tensor:
        """(B, C, k, m, m) float32 cells at slice indices (B, k)."""
        rows, indices = beside(chosen, self.cells)[:, None], beside(indices, self.cells)
        return self.cells[rows, :, indices].permute(0, 2, 1, 3, 4).float()

    def _with_lesions(self, chosen: Tensor, indices: Tensor) -> Tensor:
        """The same with the lesion masks, where there are any, as a last channel."""
        import torch

        cells = self._gather(chosen, indices)
        if self.lesions is None:
            return cells
        rows, indices = beside(chosen, cells)[:, None], beside(indices, cells)
        return torch.cat([cells, self.lesions[rows, indices][:, None].float()], dim=1)

    def _turned(self, chosen: Tensor, indices: Tensor, generator: Generator) -> Tensor:
        """The authors' turn mixes all slices of a case, so it comes before the window."""
        import torch

        from cadx.study import augment

        turned = []
        for case, window in zip(chosen, indices, strict=True):
            whole = self._with_lesions(case[None], torch.arange(int(self.slices[case]))[None])[0]
            turned.append(augment.turn_through_slices(whole, generator)[:, beside(window, whole)])
        return torch.stack(turned)

    def _shaped(self, cells: Tensor) -> Tensor:
        from cadx.study import augment

        return augment.tile(cells) if self.window else cells


@dataclass(frozen=True, eq=False)
class PictureSamples:
    """Pictures: ``pixels`` (N, c, P, P) uint8, c = 1 where all are grey; normalised as ``spec`` says.

    ``lesions`` (N, P, P) uint8, 0 or 1.
    """

    names: tuple[str, ...]
    labels: Tensor
    pixels: Tensor
    spec: PictureSpec
    lesions: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Of what :meth:`to` moves."""
        return self.pixels.nbytes + (0 if self.lesions is None else self.lesions.nbytes)

    def to(self, place: torch.device) -> Self:
        """The same with the pixels on a device, where they are gathered and augmented from then on."""
        lesions = None if self.lesions is None else self.lesions.to(place)
        return replace(self, pixels=self.pixels.to(place), lesions=lesions)

    def batch(self, chosen: Tensor, spec: AugmentationSpec | None = None, generator: Generator | None = None) -> Tensor:
        """(B, channels, P, P); if augmented, lesion masks are a last channel."""
        import torch

        from cadx.study import augment

        rows = beside(chosen, self.pixels)
        pictures = self.pixels[rows].float().div_(255)
        if spec is None or generator is None:
            return to_network(pictures, self.spec)
        if self.lesions is None:
            return to_network(augment.augment_pictures(pictures, spec, generator), self.spec)
        both = torch.cat([pictures, self.lesions[rows][:, None].float()], dim=1)
        both = augment.augment_pictures(both, spec, generator, masks=1)
        return torch.cat([to_network(both[:, :-1], self.spec), both[:, -1:]], dim=1)

    def shown(self, variants: Tensor) -> Tensor:
        """Inputs of variants (B, 3), as :meth:`VolumeSamples.shown` has them; a picture has no first slice."""
        from cadx.study.augment.symmetry import apply_symmetry

        rows, _, symmetries = variants.unbind(1)
        pictures = self.pixels[beside(rows, self.pixels)].float().div_(255)
        return to_network(apply_symmetry(pictures, symmetries % 4, symmetries >= 4), self.spec)


Images = VolumeSamples | PictureSamples


def place_for(parts: Sequence[Images], where: device.Device) -> torch.device:
    """Where the samples of a training lie: on its GPU where they leave it enough memory, else on the CPU."""
    import torch

    if where.kind != "cuda":
        return torch.device("cpu")
    free, _ = torch.cuda.mem_get_info()
    return where.torch if sum(part.nbytes for part in parts) <= LARGEST_SHARE * free else torch.device("cpu")


def to_network(batch: Tensor, spec: PictureSpec) -> Tensor:
    """Pictures 0..1 (B, 1 or 3, H, W) as the network takes them: grey repeated, mean and deviation applied.

    The last step before the network, after augmentation; see :func:`cadx.prepare.picture.prepare_picture`.
    """
    import torch

    shape = (len(batch), spec.channels, *batch.shape[-2:])
    # written channel by channel as networks read it: several times faster than whole and turned round afterwards
    out = torch.empty(shape, dtype=batch.dtype, device=batch.device, memory_format=torch.channels_last)
    for channel in range(spec.channels):
        own = batch[:, min(channel, batch.shape[1] - 1)]
        if spec.mean is None or spec.std is None:
            out[:, channel] = own
        else:
            torch.sub(own, spec.mean[channel], out=out[:, channel]).div_(spec.std[channel])
    return out
