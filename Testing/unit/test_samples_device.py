"""Samples on a device: moved once, gathered and augmented there, and nothing that waits for the device on the way.

Torch's "meta" device stands in for one: what mixes it with the CPU, or reads from it, fails there as it would on a GPU.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from cadx import device  # noqa: E402
from cadx.errors import InputError  # noqa: E402
from cadx.models.build import ModelSpec, build  # noqa: E402
from cadx.prepare.picture import PictureSpec  # noqa: E402
from cadx.study import losses, normalise, samples, trainer  # noqa: E402
from cadx.study.samples import PictureSamples, VolumeSamples, place_for  # noqa: E402
from cadx.study.spec import AugmentationSpec, OptimiserSpec, TrainingSpec  # noqa: E402

from support import TINY  # noqa: E402

CPU, CUDA = device.Device("cpu", "", ""), device.Device("cuda", "", "")
META = torch.device("meta")
EVERYTHING = AugmentationSpec(
    quarter_turns=True,
    flip_horizontal=0.5,
    flip_vertical=0.5,
    rotation_degrees=20,
    shear_degrees=10,
    zoom=0.1,
    shift=0.1,
    warp=0.1,
    light=0.2,
)
FLIPPED = AugmentationSpec(quarter_turns=True, flip_horizontal=0.5)
THROUGH = AugmentationSpec(turn_through_slices=True, light=0.2)


def volumes(count=5, lesions=False, window=9):
    rng = np.random.default_rng(0)
    cells = rng.random((count, 2, 12, 16, 16)).astype(np.float16)
    masks = torch.from_numpy((cells[:, 0] > 0.7).astype(np.uint8)) if lesions else None
    labels, slices = torch.arange(count) % 3, torch.from_numpy(rng.integers(9, 13, count))
    return VolumeSamples(tuple(map(str, range(count))), labels, torch.from_numpy(cells), slices, window, masks)


def pictures(count=5, channels=3, **more):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 32, 32), np.uint8)
    spec = PictureSpec(pixels=32, channels=channels, **more)
    return PictureSamples(tuple(map(str, range(count))), torch.arange(count) % 3, torch.from_numpy(pixels), spec)


class Watched(TorchDispatchMode):
    """Fails where what lies on the device is read, or something is moved there in a way that waits for it."""

    def __init__(self):
        super().__init__()
        self.moved = 0

    def __torch_dispatch__(self, function, types, given=(), named=None):
        named = named or {}
        tensors = [one for one in tree_leaves((given, named)) if isinstance(one, torch.Tensor)]
        there = [one for one in tensors if one.device == META]
        if there and function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise AssertionError(f"{function} reads from the device")
        if function is torch.ops.aten._to_copy.default:
            target = torch.device(named["device"]) if named.get("device") is not None else tensors[0].device
            if there and target != META:
                raise AssertionError("something is moved back")
            if target == META and not there:
                assert named.get("non_blocking"), "something is moved in a way that waits"
                self.moved += 1
        elif there and any(one.device != META and one.ndim for one in tensors):
            # torch moves indices itself, and waits
            raise AssertionError(f"{function} takes tensors of two devices")
        return function(*given, **named)


@pytest.mark.parametrize(
    ("made", "spec"),
    [
        (volumes(), EVERYTHING),
        (volumes(lesions=True), EVERYTHING),
        (volumes(), FLIPPED),
        (volumes(lesions=True), THROUGH),
        (volumes(window=0), EVERYTHING),
        (volumes(lesions=True), AugmentationSpec(window="central")),
        (volumes(), None),
        (pictures(), EVERYTHING),
        (pictures(channels=1, mean=(0.5,), std=(0.2,)), FLIPPED),
        (pictures(), None),
    ],
)
def test_batches_are_made_where_the_samples_lie_and_nothing_waits(made, spec):
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    chosen = torch.tensor([4, 0, 2])
    here = made.batch(chosen, spec, generators[0])
    moved = made.to(META)
    assert moved.labels.device == made.labels.device
    with Watched() as watch:
        there = moved.batch(chosen, spec, generators[1])
    assert watch.moved
    assert there.device == META
    assert (there.shape, there.dtype) == (here.shape, here.dtype)
    # the same numbers were drawn
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_the_watch_sees_what_waits():
    data = torch.zeros(4, 2, device=META)
    for wrong in (
        lambda: data[torch.tensor([0, 1])],
        lambda: torch.tensor([0, 1]).to(META),
        lambda: data.to("cpu"),
        lambda: bool((data == 0).all()),
    ):
        with pytest.raises((AssertionError, RuntimeError, NotImplementedError)), Watched():
            wrong()


def test_moving_to_the_cpu_changes_nothing():
    for made in (volumes(lesions=True), pictures()):
        moved = made.to(torch.device("cpu"))
        images = (made.cells, moved.cells) if isinstance(made, VolumeSamples) else (made.pixels, moved.pixels)
        assert images[0] is images[1]
    assert volumes(lesions=True).nbytes == 5 * 12 * 16 * 16 * (2 * 2 + 1)
    assert pictures().nbytes == 5 * 32 * 32


def test_samples_lie_on_a_gpu_that_has_room_for_them(monkeypatch):
    parts = [volumes(), volumes(lesions=True)]
    bytes_ = sum(part.nbytes for part in parts)
    assert place_for(parts, CPU).type == "cpu"
    for free, kind in ((bytes_ / samples.LARGEST_SHARE, "cuda"), (bytes_ / samples.LARGEST_SHARE - 4, "cpu")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, 10 * free))
        assert place_for(parts, CUDA).type == kind


def test_the_normalisation_is_applied_without_waiting():
    torch.manual_seed(0)
    fields = {"architecture": "vit_tiny_patch16_224", "channels": 2, "classes": 3, "image_pixels": 48, "options": TINY}
    model = build(ModelSpec(**fields))
    normalisation = normalise.InputNormalisation(model, volumes())
    images = torch.rand(2, 2, 48, 48)
    seen = []
    model.patch_embed.proj.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    model(images)
    assert torch.equal(seen[0], normalisation.applied(images))
    with Watched() as watch:
        assert normalisation.applied(images.to(META, non_blocking=True)).device == META
    assert watch.moved == 3


def curve(folder):
    return (folder / "steps.jsonl").read_text(), (folder / "rounds.jsonl").read_text()


def trained(folder, given, **more):
    folder.mkdir()
    torch.manual_seed(0)
    fields = {"architecture": "vit_tiny_patch16_224", "channels": 2, "classes": 3, "image_pixels": 48, "options": TINY}
    optimiser = OptimiserSpec(name="sgd", learning_rate=1e-2)
    fit = trainer.Fit(TrainingSpec(batch=2, precision="fp32", optimiser=optimiser, **more), EVERYTHING, 2, 0)
    return trainer.train(folder, build(ModelSpec(**fields)), given, None, fit, where=CPU)


def test_losses_that_are_read_many_at_a_time_are_the_same(tmp_path, monkeypatch):
    """On a GPU; forced here. Also where a round ends between two readings."""
    trained(tmp_path / "once", volumes(7), epochs=2)
    monkeypatch.setattr(trainer, "read_late", lambda where: True)
    monkeypatch.setattr(losses, "READ_EVERY", 3)
    read, numbers = losses.RoundLosses._read, []
    monkeypatch.setattr(losses.RoundLosses, "_read", lambda self: numbers.append(len(self._waiting)) or read(self))
    trained(tmp_path / "late", volumes(7), epochs=2)
    assert curve(tmp_path / "late") == curve(tmp_path / "once")
    # three batches of seven: read in the middle, and at the end what is left
    assert numbers == [3, 0] * 2
    assert len(json.loads(curve(tmp_path / "late")[1].splitlines()[0])) > 3


def test_a_loss_that_is_no_number_ends_a_training_that_reads_late(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "read_late", lambda where: True)
    wild = volumes()
    wild.cells[3] = float("nan")
    with pytest.raises(InputError, match="training loss is no longer a number; lower the learning rate"):
        trained(tmp_path / "wild", wild, epochs=2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("made", [volumes(lesions=True), pictures()])
def test_a_gpu_gives_what_the_cpu_gives(made):
    chosen = torch.tensor([4, 0, 2])
    here = made.batch(chosen, EVERYTHING, torch.Generator().manual_seed(0))
    there = made.to(torch.device("cuda")).batch(chosen, EVERYTHING, torch.Generator().manual_seed(0)).cpu()
    assert (here - there).abs().max() < 1e-3
