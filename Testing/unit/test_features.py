"""A frozen body's features are computed once: the same losses but for rounding, the same bits after a kill."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from small_study import STUDY, write_pictures, write_study

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from cadx import device  # noqa: E402
from cadx.cli import main  # noqa: E402
from cadx.models.build import ModelSpec, build  # noqa: E402
from cadx.prepare.picture import PictureSpec  # noqa: E402
from cadx.study import features, trainer  # noqa: E402
from cadx.study.augment import augment_cells  # noqa: E402
from cadx.study.features import FeatureStore, draw_variants, symmetries_of  # noqa: E402
from cadx.study.samples import PictureSamples, VolumeSamples  # noqa: E402
from cadx.study.spec import AugmentationSpec, OptimiserSpec, TrainingSpec, TransferSpec  # noqa: E402

CPU = device.Device("cpu", "", "")
D4 = AugmentationSpec(quarter_turns=True, flip_horizontal=0.5)
NETWORKS = {
    "vit": ("vit_tiny_patch16_224", {"depth": 2, "embed_dim": 48, "num_heads": 3, "patch_size": 8}),
    "cnn": ("test_resnet", {}),
}


def volumes(count=9, seed=0, lesions=False) -> VolumeSamples:
    generator = np.random.default_rng(seed)
    cells = torch.from_numpy(generator.random((count, 2, 13, 16, 16)).astype(np.float16))
    slices = torch.from_numpy(generator.integers(7, 14, count))
    masks = (cells[:, 0] > 0.5).byte() if lesions else None
    return VolumeSamples(_names(count, seed), torch.arange(count) % 3, cells, slices, 9, masks)


def pictures(count=9, seed=0) -> PictureSamples:
    pixels = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 1, 48, 48), np.uint8))
    spec = PictureSpec(pixels=48, channels=1, mean=(0.4,), std=(0.2,))
    return PictureSamples(_names(count, seed), torch.arange(count) % 3, pixels, spec)


def _names(count, seed):
    return tuple(f"{seed}-{number}" for number in range(count))


def network(name="vit", channels=2, **more):
    torch.manual_seed(0)
    architecture, options = NETWORKS[name]
    fields = {"architecture": architecture, "options": {**options, **more}, "channels": channels}
    model = build(ModelSpec(classes=3, image_pixels=48, **fields))
    for module in model.modules():
        if hasattr(module, "running_mean"):
            # statistics that those of a batch are not
            module.running_mean.uniform_(-0.2, 0.2)
    return model


def asked(augmentation=D4, **more):
    own = {"epochs": 12, "batch": 4, "precision": "fp32", "transfer": TransferSpec(mode="head")}
    optimiser = OptimiserSpec(name="adamw", learning_rate=0.02, weight_decay=0.05)
    spec = TrainingSpec(**{**own, "optimiser": optimiser, "gradient_clip": 1.0, "label_smoothing": 0.1, **more})
    return trainer.Fit(spec, augmentation, trainer.rounds_of(spec), 3, keep="best")


def trained(folder, model, parts, fit, store=None, **more):
    folder.mkdir(exist_ok=True)
    training, validation, book = parts
    return trainer.train(folder, model, training, validation, fit, where=CPU, books={"b": book}, store=store, **more)


def parts_of(kind):
    return kind(), kind(5, 1), kind(4, 2)


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "steps.jsonl").read_text().splitlines()]


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-5)
    np.testing.assert_allclose(ours.books["b"], theirs.books["b"], atol=1e-5)
    assert ours.state.keys() == theirs.state.keys()
    for name, value in theirs.state.items():
        torch.testing.assert_close(ours.state[name], value, atol=1e-5, rtol=1e-5)


def assert_same(ours, theirs):
    for one, other in ((ours.logits, theirs.logits), (ours.books["b"], theirs.books["b"])):
        np.testing.assert_array_equal(one, other)
    assert all(torch.equal(ours.state[name], value) for name, value in theirs.state.items())


class Counting:
    """Counts the images that go through the body, noise aside."""

    def __init__(self, monkeypatch):
        self.images = 0
        shown = {kind: kind.shown for kind in (VolumeSamples, PictureSamples)}

        def counted(kind):
            def show(samples, variants):
                self.images += len(variants)
                return shown[kind](samples, variants)

            return show

        for kind in shown:
            monkeypatch.setattr(kind, "shown", counted(kind))


@pytest.mark.parametrize("augmentation", [D4, AugmentationSpec(flip_vertical=0.3, window="central")])
@pytest.mark.parametrize("kind", [volumes, pictures])
def test_what_is_drawn_is_what_the_augmentation_draws(kind, augmentation):
    samples, chosen = kind(), torch.tensor([4, 0, 8, 4])
    ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    for _ in range(4):
        shown = samples.shown(draw_variants(samples, chosen, augmentation, ours))
        assert torch.equal(shown, samples.batch(chosen, augmentation, theirs))
    assert torch.equal(ours.get_state(), theirs.get_state())


def test_whole_crops_are_drawn_too():
    samples = replace(volumes(), window=0)
    ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    shown = samples.shown(draw_variants(samples, torch.arange(9), D4, ours))
    assert torch.equal(shown, augment_cells(samples.cells.float(), D4, theirs))


@pytest.mark.parametrize("kind", [volumes, pictures])
@pytest.mark.parametrize("name", ["vit", "cnn"])
def test_the_curves_are_those_of_computing_each_time(tmp_path, monkeypatch, name, kind):
    def fresh():
        return network(name, 2 if kind is volumes else 1)

    parts = parts_of(kind)
    theirs = trained(tmp_path / "each time", fresh(), parts, asked())
    store, counting = FeatureStore(), Counting(monkeypatch)
    ours = trained(tmp_path / "cached", fresh(), parts, asked(), store)
    assert (ours.features, theirs.features) == ("cached", "each time")
    np.testing.assert_allclose(losses(tmp_path / "cached"), losses(tmp_path / "each time"), atol=1e-5)
    assert len(set(losses(tmp_path / "cached"))) > 20
    assert_close(ours, theirs)
    # with those looked at, once each, and one for its shape
    assert 0 < counting.images < 0.8 * 9 * 12 + 9 + 1
    counting.images = 0
    again = trained(tmp_path / "again", fresh(), parts, asked(), store)
    assert counting.images == 1
    assert_same(again, ours)


@pytest.mark.parametrize(("alone", "precision"), [(True, "fp32"), (True, "bf16"), (False, "fp32")])
@pytest.mark.parametrize("kind", [volumes, pictures])
def test_a_training_that_is_killed_goes_on_with_the_same_bits(tmp_path, monkeypatch, kind, alone, precision):
    """Nothing that it had found is there any more, or much that another training found."""
    monkeypatch.setattr(features, "ALONE", ("cpu",) if alone else ())
    parts, channels = parts_of(kind), 2 if kind is volumes else 1
    fit = replace(asked(precision=precision), checkpoint_every_s=0)
    whole = trained(tmp_path / "whole", network(channels=channels), parts, fit, FeatureStore())
    others = FeatureStore()
    trained(tmp_path / "other", network(channels=channels), parts[::-1], replace(fit, seed=4), others)

    def stop(line):
        if line["round"] == 5:
            raise KeyboardInterrupt

    for number, store in enumerate((FeatureStore(), others)):
        folder = tmp_path / f"again-{number}"
        with pytest.raises(KeyboardInterrupt):
            trained(folder, network(channels=channels), parts, fit, FeatureStore(), progress=stop)
        again = trained(folder, network(channels=channels), parts, fit, store)
        assert again.features == "cached"
        assert_same(again, whole)
        assert (folder / "steps.jsonl").read_bytes() == (tmp_path / "whole" / "steps.jsonl").read_bytes()


def test_the_samples_order_and_company_are_of_no_matter(tmp_path, monkeypatch):
    """Another fold of the run finds what the first has found: only what it has more goes through the body."""
    store, counting = FeatureStore(), Counting(monkeypatch)
    still = AugmentationSpec(window="central")
    first, second = volumes(9), volumes(9, 1)
    trained(tmp_path / "one", network(), (first, second, second), asked(still), store)
    assert counting.images == 1 + 9 + 9
    trained(tmp_path / "two", network(), (second, first, first), asked(still), store)
    assert counting.images == 1 + 9 + 9 + 1
    changed = replace(first, cells=first.cells.flip(-1))
    trained(tmp_path / "three", network(), (second, changed, first), asked(still), store)
    assert counting.images == 1 + 9 + 9 + 2 + 9
    # another body, of the same tensors
    trained(tmp_path / "four", network(num_heads=4), (second, first, first), asked(still), store)
    assert counting.images == 1 + 9 + 9 + 2 + 9 + 19


def test_inputs_that_are_centred_belong_to_the_body(tmp_path, monkeypatch):
    """What the training part taught of its mean and deviation is another fold's not."""
    fit, parts = replace(asked(), centre=True), parts_of(volumes)
    theirs = trained(tmp_path / "each time", network(), parts, fit)
    store, counting = FeatureStore(), Counting(monkeypatch)
    ours = trained(tmp_path / "cached", network(), parts, fit, store)
    assert ours.normalisation == theirs.normalisation
    assert ours.normalisation is not None
    assert_close(ours, theirs)
    counting.images = 0
    trained(tmp_path / "other", network(), parts[::-1], fit, store)
    assert counting.images > 20


def test_symmetries_that_go_together_are_those_that_can_be_drawn():
    generator, chosen = torch.Generator().manual_seed(0), torch.arange(9)
    for turns, horizontal, vertical in product((True, False), (0, 0.5), (0, 0.5)):
        spec = AugmentationSpec(quarter_turns=turns, flip_horizontal=horizontal, flip_vertical=vertical)
        drawn = torch.cat([draw_variants(pictures(), chosen, spec, generator) for _ in range(20)])
        assert tuple(drawn[:, 2].unique().tolist()) == symmetries_of(spec)


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ({"drop_rate": 0.1}, {}),
        ({"drop_path_rate": 0.2}, {}),
        ({"attn_drop_rate": 0.1}, {}),
        ({}, {"augmentation": AugmentationSpec(light=0.1)}),
        ({}, {"augmentation": AugmentationSpec(rotation_degrees=5)}),
        ({}, {"augmentation": AugmentationSpec(turn_through_slices=True)}),
        ({}, {"transfer": TransferSpec(mode="all")}),
        ({}, {"transfer": TransferSpec(mode="gradual")}),
        ({}, {"lesion_weight": 0.5}),
    ],
)
def test_else_they_are_computed_each_time_and_nothing_is_drawn(tmp_path, model, more):
    parts = (volumes(lesions="lesion_weight" in more), volumes(5, 1), volumes(4, 2))
    fit = asked(**{"epochs": 3, **more})
    both = [
        trained(tmp_path / name, network(**model), parts, fit, store)
        for name, store in (("with", FeatureStore()), ("without", None))
    ]
    assert [one.features for one in both] == ["each time", "each time"]
    assert_same(*both)


def test_statistics_of_the_batch_are_no_features(tmp_path):
    """Batch normalisation without weights learns on, for all that is frozen; what follows the head is not cached."""

    class Head(torch.nn.Module):
        def __init__(self, norm, after):
            super().__init__()
            self.body, self.norm, self.after = torch.nn.Conv2d(2, 6, 48), norm, after
            self.head = torch.nn.Linear(6, 3)

        def forward(self, images):
            return self.after(self.head(self.norm(self.body(images)).flatten(1)))

    from torch.nn import BatchNorm2d, Identity, Softplus

    made = {"cached": [(BatchNorm2d(6), Identity())]}
    made["each time"] = [(BatchNorm2d(6, affine=False), Identity()), (Identity(), Softplus())]
    for wanted, pairs in made.items():
        for number, (norm, after) in enumerate(pairs):
            before = norm.running_mean.clone() if hasattr(norm, "running_mean") else None
            folder, model = tmp_path / f"{wanted}-{number}", Head(norm, after)
            folder.mkdir()
            loop = trainer.Loop(folder, model, volumes(), None, {}, asked(), CPU, FeatureStore())
            assert before is None or torch.equal(norm.running_mean, before)
            loop.resume()
            loop.round()
            assert loop.finish().features == wanted


def test_what_was_kept_goes_before_it_is_too_much(monkeypatch):
    store = FeatureStore()
    store.of("one")["", 0, 0] = torch.zeros(100)
    assert store.of("one")
    monkeypatch.setattr(features, "MOST_BYTES", 100)
    assert not store.of("two")
    assert not store.of("one")


def test_a_cross_validation_shares_them_and_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    write_pictures(tmp_path / "data", 12, 1)
    text = STUDY[: STUDY.index("  - {name: cnn")] + STUDY[STUDY.index("tables:") :]
    text = text.replace(", {model: cnn}", "").replace(", drop_rate: 0.1", "")
    text = text.replace(", grid: {learning_rate: [0.003, 0.001]}", "").replace(
        "rotation_degrees: 10", "quarter_turns: true"
    )
    text = text.replace("architecture: vit_tiny_patch16_224", "architecture: vit_tiny_patch16_224, weights: timm")
    text = text.replace("epochs: 6", "epochs: 3\n  transfer: {mode: head}")
    study, weights = write_study(tmp_path, text), tmp_path / "body.safetensors"
    options = {"depth": 1, "embed_dim": 48, "num_heads": 3, "patch_size": 8}
    fields = {"architecture": "vit_tiny_patch16_224", "channels": 1, "classes": 3, "options": options}
    torch.manual_seed(1)
    save_file(build(ModelSpec(image_pixels=32, **fields)).state_dict(), weights)
    monkeypatch.setattr("cadx.evaluate.report.make_report", lambda out, note: out)

    def command(out, *more):
        given = ("--data", str(tmp_path / "data"), "--out", str(tmp_path / out), "--weights", str(weights))
        fixed = ("--threads", "1", "--device", "cpu", "--no-bundles", "--checkpoint-every", "0")
        return main(["crossval", str(study), *given, *fixed, *more])

    counting = Counting(monkeypatch)
    assert command("whole") == 0
    tasks = [json.loads(path.read_text()) for path in (tmp_path / "whole").rglob("task.json")]
    assert {task["features"] for task in tasks} == {"cached"}
    assert counting.images <= 12 * 8 + len(tasks)
    step, count = trainer.training_step, 0

    def cancelled(*given, **named):
        nonlocal count
        count += 1
        if count in (4, 13):
            raise KeyboardInterrupt
        return step(*given, **named)

    monkeypatch.setattr(trainer, "training_step", cancelled)
    assert command("again") == 130
    assert command("again", "--resume") == 130
    assert command("again", "--resume") == 0
    names = ("*.npy", "steps.jsonl", "rounds.jsonl", "weights.safetensors", "predictions.csv")
    files = [path for name in names for path in (tmp_path / "whole").rglob(name)]
    assert len(files) > 15
    for path in files:
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / "whole")).read_bytes(), path
