"""What a frozen body finds in its images, computed once: where the head alone learns and what is drawn is finite.

A variant of a sample is the first slice of its window and one of the eight symmetries of the square: all that is drawn
where the augmentation asks for nothing else. Variants are drawn as without any of this, from the same generator in the
same order; one that was not met before goes through the body, and what reaches the head is kept.

What is found must not follow from what else was drawn, so that trainings of one process can share it, and one that is
taken up again computes the same bits; but what is in a batch with an image, and even its place there, changes how it
is rounded. On a CPU a variant therefore goes through the body alone, which costs little more than in a batch. On a GPU,
which one image does not fill, it goes with all symmetries of the same window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cadx import device
from cadx.models.parts import head_names
from cadx.study.samples import Images, Samples, VolumeSamples
from cadx.study.spec import AugmentationSpec, TrainingSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

CACHED: Literal["cached"] = "cached"
EACH_TIME: Literal["each time"] = "each time"
# what may be asked for without end to what can be drawn
FINITE = ("quarter_turns", "flip_horizontal", "flip_vertical", "window", "last_starts_never_drawn")
# kinds of device where a variant goes through the body alone
ALONE = ("cpu",)
# beyond this, what earlier trainings kept goes when another begins
MOST_BYTES = 2**30

# a sample's content, first slice, symmetry
Variant = tuple[str, int, int]


class FeatureStore:
    """(F,) features by variant, for all trainings of a process: in memory, by all that they follow from."""

    def __init__(self) -> None:
        self._bodies: dict[str, dict[Variant, Tensor]] = {}

    @property
    def count(self) -> int:
        """How many variants are kept, over all bodies."""
        return sum(map(len, self._bodies.values()))

    def of(self, body: str) -> dict[Variant, Tensor]:
        """Those that a body found, by its hash; empty where there are none yet, or too many were kept."""
        if sum(one.nbytes for found in self._bodies.values() for one in found.values()) > MOST_BYTES:
            self._bodies.clear()
        return self._bodies.setdefault(body, {})


def is_finite(spec: AugmentationSpec) -> bool:
    """Whether only windows, quarter turns and flips are drawn.

    >>> is_finite(AugmentationSpec(quarter_turns=True)), is_finite(AugmentationSpec(light=0.1))
    (True, False)
    """
    still = AugmentationSpec()
    return spec.model_copy(update={name: getattr(still, name) for name in FINITE}) == still


def features_for(
    store: FeatureStore | None,
    model: nn.Module,
    parts: Sequence[Samples],
    asked: tuple[TrainingSpec, AugmentationSpec],
    arithmetic: tuple[device.Device, device.Precision],
    normalisation: dict[str, list[float]] | None,
    train_mode: Callable[[], None],
) -> Features | None:
    """Features of the network's frozen body; None where they are to be computed each time.

    Parameters
    ----------
    model
        As it is trained: on the device, its layers frozen, normalisation of its inputs included.
    parts
        The training part, then those that are looked at.
    normalisation
        What was learnt of the inputs' mean and deviation.
    train_mode
        Puts the network into the mode that it learns in.
    """
    spec, augmentation = asked
    if store is None or spec.transfer.mode != "head" or spec.lesion_weight > 0 or not is_finite(augmentation):
        return None
    head, images = _head(model), [part for part in parts if isinstance(part, Images)]
    if head is None or len(images) < len(parts):
        return None
    body = _Body(model, head, arithmetic, tuple(images[0].shown(_in_use(images[0])[:1]).shape[1:]))
    together = () if arithmetic[0].kind in ALONE else symmetries_of(augmentation)
    key = body.sha256((normalisation, together), train_mode)
    return Features(body, store.of(key), images[0], augmentation, together) if key else None


class Features:
    """Takes the place of a network in front of its ``head``, for the training samples and for any part in use.

    ``found`` is added to; ``together``: symmetries that go through the body at once, none where each goes alone.
    """

    def __init__(
        self,
        body: _Body,
        found: dict[Variant, Tensor],
        training: Images,
        augmentation: AugmentationSpec,
        together: tuple[int, ...],
    ) -> None:
        self.head = body.head
        self._body, self._found, self._together = body, found, together
        self._training, self._augmentation = training, augmentation
        self._contents: dict[int, list[str]] = {}

    def batch(self, chosen: Tensor, generator: Generator) -> Tensor:
        """(B, F) of training samples ``chosen`` (B,), drawn as :meth:`Samples.batch` draws."""
        return self._of(self._training, draw_variants(self._training, chosen, self._augmentation, generator))

    def answers(self, part: Samples) -> NDArray[np.float32]:
        """(N, classes) logits of a part as in use."""
        import torch

        assert isinstance(part, Images)
        features = self._of(part, _in_use(part))
        with torch.inference_mode(), self._body.autocast():
            return self.head(features).float().cpu().numpy()

    def _of(self, part: Images, variants: Tensor) -> Tensor:
        """(B, F) of variants (B, 3); those not met before go through the body."""
        import torch

        if id(part) not in self._contents:
            self._contents[id(part)] = _contents(part)
        contents = self._contents[id(part)]
        keys = [(contents[row], start, symmetry) for row, start, symmetry in variants.tolist()]
        groups: dict[tuple[Variant, ...], Tensor] = {}
        for key, variant in zip(keys, variants, strict=True):
            if key not in self._found:
                symmetries = self._together or (key[2],)
                group = variant.repeat(len(symmetries), 1)
                group[:, 2] = torch.tensor(symmetries)
                groups[tuple((*key[:2], symmetry) for symmetry in symmetries)] = group
        if groups:
            found = self._body(part.shown(group) for group in groups.values())
            for members, features in zip(groups, found, strict=True):
                self._found |= zip(members, (one.clone() for one in features), strict=True)
        return torch.stack([self._found[key] for key in keys])


def draw_variants(samples: Images, chosen: Tensor, spec: AugmentationSpec, generator: Generator) -> Tensor:
    """(B, 3) variants of the samples ``chosen`` (B,), by the numbers that their augmentation would draw."""
    from cadx.study import augment
    from cadx.study.augment.symmetry import draw_symmetries

    variants = _in_use(samples)[chosen]
    if isinstance(samples, VolumeSamples) and samples.window and spec.window == "random":
        given = (samples.slices[chosen], samples.window, generator, spec.last_starts_never_drawn)
        variants[:, 1] = augment.random_windows(*given)[:, 0]
    flips = spec.quarter_turns, spec.flip_horizontal, spec.flip_vertical
    if any(flips):
        turns, flipped = draw_symmetries(len(chosen), generator, *flips)
        variants[:, 2] = turns + 4 * flipped
    return variants


def symmetries_of(spec: AugmentationSpec) -> tuple[int, ...]:
    """All that can be drawn, and that of an image in use.

    >>> symmetries_of(AugmentationSpec(flip_horizontal=0.5)), symmetries_of(AugmentationSpec(flip_vertical=1.0))
    ((0, 4), (0, 6))
    """
    turns = range(4) if spec.quarter_turns else (0,)
    flips = product(turns, (0, 1) if spec.flip_horizontal else (0,), (0, 1) if spec.flip_vertical else (0,))
    return tuple(sorted({(turn + 2 * up_down) % 4 + 4 * (left_right ^ up_down) for turn, left_right, up_down in flips}))


def _in_use(samples: Images) -> Tensor:
    """(N, 3) variants of all samples as they are in use."""
    import torch

    from cadx.study import augment

    variants = torch.zeros(len(samples.names), 3, dtype=torch.int64)
    variants[:, 0] = torch.arange(len(samples.names))
    if isinstance(samples, VolumeSamples) and samples.window:
        variants[:, 1] = augment.central_windows(samples.slices, samples.window)[:, 0]
    return variants


def _contents(samples: Images) -> list[str]:
    """Hash of all that a network is given of each sample."""
    more: list[Any]
    if isinstance(samples, VolumeSamples):
        images, more = samples.cells, [(samples.window, slices) for slices in samples.slices.tolist()]
    else:
        images, more = samples.pixels, [samples.spec.to_json()] * len(samples.names)
    hashes = []
    for image, rest in zip(images, more, strict=True):
        digest = hashlib.sha256(repr(rest).encode())
        digest.update(_bytes(image))
        hashes.append(digest.hexdigest())
    return hashes


def _head(model: nn.Module) -> nn.Linear | None:
    """The last linear layer, where that alone is the head."""
    from torch import nn

    modules = {name.rpartition(".")[0] for name in head_names(model)}
    found = model.get_submodule(modules.pop()) if len(modules) == 1 else None
    return found if type(found) is nn.Linear else None


class _Body:
    """All of a network in front of its ``head``; ``shape``: of an input."""

    def __init__(
        self,
        model: nn.Module,
        head: nn.Linear,
        arithmetic: tuple[device.Device, device.Precision],
        shape: tuple[int, ...],
    ) -> None:
        self.head, self._model, self._shape = head, model, shape
        self._where, self._precision = arithmetic

    def autocast(self) -> Any:
        """The arithmetic of the training."""
        return device.autocast(self._where.kind, self._precision)

    def __call__(self, groups: Iterable[Tensor]) -> list[Tensor]:
        """(G, F) features of each group of inputs (G, C, ...), as in use."""
        self._model.eval()
        frozen = [parameter for parameter in self._model.parameters() if not parameter.requires_grad]
        try:
            # autocast keeps a parameter's cast for the next group only where the parameter asks for a gradient
            for parameter in frozen:
                parameter.requires_grad_(True)
            with self.autocast():
                return [self._through(images)[0] for images in groups]
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)

    def sha256(self, more: object, train_mode: Callable[[], None]) -> str:
        """Hash of all that features follow from but the images, and of ``more``; empty where there is more to it.

        There is where training draws numbers (dropout) or looks at the batch (its statistics), and where something
        lies behind the head. What no tensor holds, such as the number of heads, shows in what is found in noise.
        """
        import torch

        noise = torch.rand(2, *self._shape, generator=torch.Generator().manual_seed(0))
        kept = _random_state(self._where)
        buffers = {name: value.clone() for name, value in self._model.named_buffers()}
        train_mode()
        learning, answers = self._through(noise)
        drew = any(not torch.equal(one, other) for one, other in zip(kept, _random_state(self._where), strict=True))
        _restore_random_state(self._where, kept)
        for name, value in self._model.named_buffers():
            value.copy_(buffers[name])
        (features,) = self([noise])
        with torch.no_grad(), self.autocast():
            last = features.ndim == 2 and torch.equal(self.head(learning), answers)
        if drew or not last or not torch.equal(learning, features):
            return ""
        return self._digest(features, more)

    def _through(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What reaches the head, nothing where nothing does, and what the network answers."""
        import torch

        found: list[Tensor] = []
        # append returns nothing, so the hook changes nothing
        handle = self.head.register_forward_pre_hook(lambda module, given: found.append(given[0]))
        layout = torch.channels_last if images.ndim == 4 else torch.contiguous_format
        try:
            with torch.no_grad(), self.autocast():
                answers = self._model(images.to(self._where.torch, memory_format=layout))
        finally:
            handle.remove()
        return (found or [answers.new_zeros(0)])[-1], answers

    def _digest(self, features: Tensor, more: object) -> str:
        own = {id(parameter) for parameter in self.head.parameters()}
        digest = hashlib.sha256(repr((self._where.kind, self._precision, more)).encode())
        for name, value in (*self._model.named_parameters(), *self._model.named_buffers(), ("noise", features)):
            if id(value) not in own:
                digest.update(name.encode())
                digest.update(_bytes(value))
        return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _random_state(where: device.Device) -> list[Tensor]:
    """Of torch's own generators."""
    import torch

    states = [torch.get_rng_state()]
    if where.kind != "cpu":
        states.append(torch.get_device_module(where.kind).get_rng_state())
    return states


def _restore_random_state(where: device.Device, states: list[Tensor]) -> None:
    import torch

    torch.set_rng_state(states[0])
    if where.kind != "cpu":
        torch.get_device_module(where.kind).set_rng_state(states[1])
