"""Outlines of the finding in studies of pictures: they move with their picture and teach where to look."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from cadx import device
from cadx.errors import InputError
from cadx.models.build import ModelSpec, build
from cadx.prepare.picture import PictureSpec
from cadx.study import trainer
from cadx.study.layouts.reading import read_any_mask
from cadx.study.patch_loss import PatchLoss
from cadx.study.samples import PictureSamples
from cadx.study.spec import AugmentationSpec, OptimiserSpec, TrainingSpec

EDGE = 64
CPU = device.Device("cpu", "CPU", "test")
MOVED = AugmentationSpec(flip_horizontal=0.5, rotation_degrees=30, zoom=0.2, shift=0.1, light=0.3)


def spots(count=12, lesions=True):
    """Noise with a square whose brightness is the class; the outline is the square."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 60, (count, 1, EDGE, EDGE), np.uint8)
    masks = np.zeros((count, EDGE, EDGE), np.uint8)
    for number in range(count):
        top, left = generator.integers(4, EDGE - 24, 2)
        masks[number, top : top + 20, left : left + 20] = 1
        pixels[number, 0][masks[number] > 0] += np.uint8(60 + 60 * (number % 2))
    return PictureSamples(
        tuple(map(str, range(count))),
        torch.arange(count) % 2,
        torch.from_numpy(pixels),
        PictureSpec(pixels=EDGE, channels=3),
        torch.from_numpy(masks) if lesions else None,
    )


def network(name="test_resnet"):
    torch.manual_seed(0)
    return build(ModelSpec(architecture=name, channels=3, classes=2, image_pixels=EDGE))


def test_an_outline_moves_with_its_picture_and_keeps_its_light():
    made = spots()
    made.pixels[:] = made.lesions[:, None] * 255
    batch = made.batch(torch.arange(12), MOVED.model_copy(update={"light": 0.0}), torch.Generator().manual_seed(1))
    assert batch.shape == (12, 4, EDGE, EDGE)
    torch.testing.assert_close(batch[:, 0], batch[:, 3], atol=1e-5, rtol=0)
    lit = made.batch(torch.arange(12), MOVED, torch.Generator().manual_seed(1))
    assert set(lit[:, 3].unique().tolist()) <= set(batch[:, 3].unique().tolist()) | {0.0, 1.0}


def test_outlines_change_nothing_of_the_pictures():
    with_them, without = spots(), spots(lesions=False)
    chosen = torch.arange(12)
    one = with_them.batch(chosen, MOVED, torch.Generator().manual_seed(3))
    other = without.batch(chosen, MOVED, torch.Generator().manual_seed(3))
    torch.testing.assert_close(one[:, :3], other, atol=1e-6, rtol=0)
    torch.testing.assert_close(with_them.batch(chosen), without.batch(chosen))
    assert with_them.nbytes == without.nbytes + 12 * EDGE * EDGE


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_every_kind_of_network_learns_from_outlines(tmp_path, name):
    training = TrainingSpec(
        epochs=8, batch=6, optimiser=OptimiserSpec(learning_rate=3e-3), lesion_weight=1.0, precision="fp32"
    )
    made = spots()
    fit = trainer.Fit(training, AugmentationSpec(flip_horizontal=0.5), 8, 0)
    left = trainer.train(tmp_path, network(name), made, spots(lesions=False), fit, where=CPU)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.7 * losses[0]
    # the layer that looks at places belongs to the loss
    assert set(left.state) == set(network(name).state_dict())


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_late_fusion_learns_from_outlines(name):
    model = build(ModelSpec(architecture=name, channels=3, classes=2, image_pixels=EDGE, fusion="late"))
    loss = PatchLoss(model, TrainingSpec(lesion_weight=1.0), None, True)
    inputs = spots().batch(torch.arange(4), AugmentationSpec(), torch.Generator())
    loss(inputs, torch.tensor([0, 1, 0, 1])).backward()
    assert loss.head.in_features == 3 * model.branches[0].num_features
    assert loss.head.weight.grad.abs().max() > 0
    bodies = [parameter for branch in model.branches for parameter in branch.parameters()]
    assert all(parameter.grad is not None for parameter in bodies)


def test_a_place_is_named_by_its_outline():
    loss = PatchLoss(network(), TrainingSpec(lesion_weight=1.0), None, True)
    inputs = spots().batch(torch.arange(4), AugmentationSpec(), torch.Generator())
    features = loss._model.forward_features(inputs[:, :-1])
    places, grid = loss._places(features)
    assert places.shape == (4, grid[0] * grid[1], features.shape[1])
    # row by row, as the labels go
    torch.testing.assert_close(places[0, grid[1]], features[0, :, 1, 0])


def test_a_network_without_places_is_refused():
    class Flat(torch.nn.Module):
        num_classes, num_features = 2, 4

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)

        def forward_features(self, x):
            return x.mean(dim=(2, 3))

        def forward_head(self, x):
            return self.layer(torch.nn.functional.pad(x, (0, 4 - x.shape[1])))

    loss = PatchLoss(Flat(), TrainingSpec(lesion_weight=1.0), None, True)
    with pytest.raises(InputError, match="places"):
        loss(torch.rand(2, 4, 8, 8), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="timm"):
        PatchLoss(torch.nn.Linear(2, 2), TrainingSpec(lesion_weight=1.0), None, True)


@pytest.mark.parametrize("high", [1, 255])
def test_a_mask_is_read_whatever_its_brightest_value(tmp_path, high):
    mask = np.zeros((20, 30), np.uint8)
    mask[5:9, 6:20] = high
    Image.fromarray(mask).save(tmp_path / "mask.png")
    found = read_any_mask(str(tmp_path / "mask.png")).pixels
    assert np.array_equal(found > 127, mask > 0) and set(np.unique(found)) == {0, 255}
