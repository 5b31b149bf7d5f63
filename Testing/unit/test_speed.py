"""What makes training faster leaves what is computed as it is: blocks, optimisers and whole loss curves compared."""

from __future__ import annotations

import copy
import gc
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from cadx import device  # noqa: E402
from cadx.bench import plain_loop  # noqa: E402
from cadx.models.build import ModelSpec, build  # noqa: E402
from cadx.study import speed, trainer  # noqa: E402
from cadx.study.optimise import optimiser_for  # noqa: E402
from cadx.study.sampler import Sampler  # noqa: E402
from cadx.study.samples import VolumeSamples  # noqa: E402
from cadx.study.spec import AugmentationSpec, OptimiserSpec, ScheduleSpec, TrainingSpec  # noqa: E402

from support import TINY  # noqa: E402

CPU = device.Device("cpu", "", "")


def transformer(**options):
    torch.manual_seed(0)
    fields = {"architecture": "vit_tiny_patch16_224", "channels": 2, "classes": 3, "image_pixels": 48}
    return build(ModelSpec(**fields, options={**TINY, **options}))


def gradients(model, inputs):
    loss = torch.nn.functional.cross_entropy(model(inputs), torch.tensor([0, 1, 2]))
    return torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("options", [{}, {"qk_norm": True, "init_values": 0.1}, {"reg_tokens": 2}])
def test_the_last_block_computes_the_class_token_alone(options):
    whole = transformer(**options).double()
    short = copy.deepcopy(whole)
    chosen = speed.arrange(short, CPU, "fp32", every_token=False)
    assert chosen == {"attention": "as the library has it", "last_block": "class token"}
    assert speed.arrange(short, CPU, "fp32", every_token=False) == chosen
    inputs = torch.rand(3, 2, 48, 48, dtype=torch.float64)
    seen = []
    short.blocks[-1].register_forward_hook(lambda module, given, out: seen.append(out.shape[1]))
    torch.testing.assert_close(short(inputs), whole(inputs), atol=1e-12, rtol=0)
    assert seen == [1]
    for one, two in zip(gradients(short, inputs), gradients(whole, inputs), strict=True):
        torch.testing.assert_close(one, two, atol=1e-12, rtol=0)
    assert list(short.state_dict()) == list(whole.state_dict())
    torch.testing.assert_close(copy.deepcopy(short)(inputs), short(inputs), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("model", "every_token"),
    [
        (lambda: transformer(), True),
        (lambda: transformer(global_pool="avg", class_token=False), False),
        (lambda: timm.create_model("test_resnet"), False),
    ],
)
def test_what_needs_all_tokens_keeps_them(model, every_token):
    made = model()
    kinds = [type(module) for module in made.modules()]
    assert speed.arrange(made, CPU, "fp32", every_token=every_token)["last_block"] == "all tokens"
    assert [type(module) for module in made.modules()] == kinds


def test_attention_is_plain_in_bf16_on_a_cpu_alone():
    for kind, precision, plain in (("cpu", "bf16", True), ("cpu", "fp32", False), ("cuda", "bf16", False)):
        model = transformer()
        before = [block.attn.fused_attn for block in model.blocks]
        chosen = speed.arrange(model, device.Device(kind, "", ""), precision, every_token=True)
        assert chosen["attention"] == ("plain" if plain else "as the library has it")
        assert [block.attn.fused_attn for block in model.blocks] == ([False] * 2 if plain else before)


@pytest.mark.parametrize(
    ("name", "gains"),
    [("resnet18", True), ("densenet121", True), ("vit_tiny_patch16_224", True), ("efficientnet_lite0", False)],
)
def test_networks_of_depthwise_convolutions_stay_in_fp32(name, gains):
    with torch.device("meta"):
        assert speed.gains_from_bf16(timm.create_model(name)) is gains
    assert not speed.gains_from_bf16(torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3)))
    assert not speed.gains_from_bf16(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_the_fused_optimiser_is_torchs_formula_and_goes_on_with_the_same_bits(name):
    """Channels last too, whose tensors are not laid out in the order of their indices."""
    spec = OptimiserSpec(name=name, learning_rate=1e-3, weight_decay=0.05)
    torch.manual_seed(0)
    inputs = [torch.rand(4, 3, 32, 32) for _ in range(4)]

    def steps(model, optimiser, batches):
        for batch in batches:
            optimiser.zero_grad()
            model(batch).square().mean().backward()
            optimiser.step()

    def made(fused):
        model = timm.create_model("test_resnet", num_classes=3)
        model.load_state_dict(start)
        model.to(memory_format=torch.channels_last).eval()
        optimiser = optimiser_for(model, spec)
        assert all(group["fused"] for group in optimiser.param_groups)
        for group in optimiser.param_groups:
            group["fused"] = fused
        return model, optimiser

    start = timm.create_model("test_resnet", num_classes=3).state_dict()
    (one, own), (two, plain), (three, resumed) = made(True), made(False), made(True)
    steps(one, own, inputs)
    steps(two, plain, inputs)
    for ours, torchs, begun in zip(one.parameters(), two.parameters(), start.values(), strict=False):
        torch.testing.assert_close(ours, torchs, atol=1e-5, rtol=1e-4)
        assert ours.shape != begun.shape or not torch.equal(ours, begun)
    steps(three, resumed, inputs[:2])
    kept = copy.deepcopy((three.state_dict(), resumed.state_dict()))
    again, later = made(True)
    again.load_state_dict(kept[0])
    later.load_state_dict(kept[1])
    steps(again, later, inputs[2:])
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), one.parameters(), strict=True))


def samples(count=12, pixels=16):
    rng = np.random.default_rng(0)
    cells = rng.random((count, 2, 9, pixels, pixels)).astype(np.float16)
    for number in range(count):
        cells[number, number % 2, 4, 2:9, 2:9] += number % 3
    return VolumeSamples(
        tuple(map(str, range(count))),
        torch.arange(count) % 3,
        torch.from_numpy(cells),
        torch.full((count,), 9),
        9,
    )


@dataclass(frozen=True, eq=False)
class InDouble:
    """The same samples in fp64."""

    of: VolumeSamples

    @property
    def names(self):
        return self.of.names

    @property
    def labels(self):
        return self.of.labels

    def batch(self, chosen, spec=None, generator=None):
        return self.of.batch(chosen, spec, generator).double()


def plain_losses(model, given, batch, steps, optimiser):
    """The straightforward loop in the order in which the package's sampler draws."""
    sampler = Sampler(len(given.names), batch, torch.Generator().manual_seed(7))
    order = [sampler.next() for _ in range(steps)]
    batches = [{"image": given.batch(chosen), "label": given.labels[chosen]} for chosen in order]
    return plain_loop.train_epoch(model, batches, optimiser, CPU)


@pytest.mark.parametrize("network", ["transformer", "convolutions"])
def test_the_loss_curve_is_that_of_the_straightforward_loop(tmp_path, network):
    """The transformer in fp32; convolutions in fp64, where rounding does not grow."""
    given = samples()
    model = transformer()
    if network == "convolutions":
        torch.manual_seed(0)
        model, given = timm.create_model("test_resnet", in_chans=2, num_classes=3).double(), InDouble(given)
    other = copy.deepcopy(model)
    training = TrainingSpec(
        epochs=8,
        batch=4,
        optimiser=OptimiserSpec(name="adam", learning_rate=1e-3),
        schedule=ScheduleSpec(name="constant"),
        precision="fp32",
    )
    fit = trainer.Fit(training, AugmentationSpec(window="central"), rounds=8, seed=7)
    trainer.train(tmp_path, model, given, None, fit, where=CPU)
    ours = [json.loads(line)["loss"] for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    theirs = plain_losses(other, given, 4, 24, torch.optim.Adam(other.parameters(), lr=1e-3))
    assert len(ours) == 24
    assert max(ours) - min(ours) > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)


def test_a_training_looks_at_its_validation_part_in_its_own_precision(tmp_path, monkeypatch):
    asked = []
    predict = trainer.predict
    monkeypatch.setattr(trainer, "predict", lambda *given: asked.append(given[4]) or predict(*given))
    training = TrainingSpec(epochs=1, batch=4, precision="bf16")
    fit = trainer.Fit(training, AugmentationSpec(), rounds=1, seed=0)
    trained = trainer.train(tmp_path, transformer(), samples(), samples(4), fit, where=CPU)
    assert asked == ["bf16"]
    exact = predict(transformer(), samples(4), CPU)
    assert np.isfinite(trained.logits).all()
    rounded = predict(transformer(), samples(4), CPU, None, "bf16")
    assert 0 < np.abs(exact - rounded).max() < 0.05


def test_bf16_training_stops_and_goes_on_with_the_same_bits(tmp_path):
    training = TrainingSpec(epochs=4, batch=4, precision="bf16", gradient_clip=1.0)
    fit = trainer.Fit(training, AugmentationSpec(flip_horizontal=0.5), 4, 0, checkpoint_every_s=0)
    for name in ("whole", "again"):
        (tmp_path / name).mkdir()
    whole = trainer.train(tmp_path / "whole", transformer(), samples(), samples(4), fit, where=CPU)
    trainer.train(tmp_path / "again", transformer(), samples(), samples(4), replace(fit, rounds=2), where=CPU)
    again = trainer.train(tmp_path / "again", transformer(), samples(), samples(4), fit, where=CPU)
    assert all(torch.equal(whole.state[name], again.state[name]) for name in whole.state)
    np.testing.assert_array_equal(whole.logits, again.logits)


def test_the_collector_works_again_once_the_libraries_are_there(monkeypatch):
    from cadx.study import libraries

    seen = []
    monkeypatch.setattr(libraries, "LIBRARIES", ("absent_library", "torch"))
    monkeypatch.setattr(libraries, "import_module", lambda name: seen.append((name, gc.isenabled())) or _absent(name))
    libraries.bring_in()
    assert seen == [("absent_library", False), ("torch", False)]
    assert gc.isenabled()


def _absent(name):
    if name == "absent_library":
        raise ModuleNotFoundError(name)
