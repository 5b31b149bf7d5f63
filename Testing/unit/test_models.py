from __future__ import annotations

import json
import sys
import warnings

import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from cadx.errors import InputError, MissingDependencyError  # noqa: E402
from cadx.explain.rollout import AttentionRecorder, rollout, supports_rollout  # noqa: E402
from cadx.models import registry  # noqa: E402
from cadx.models.build import ModelSpec, build  # noqa: E402
from cadx.models.parts import first_layers, head_names, layer_groups, parameter_groups  # noqa: E402

OF_THE_PAPERS = (
    *("alexnet", "googlenet", "densenet121", "densenet169", "densenet201", "resnet18", "resnet50", "resnet101"),
    *("resnet152", "resnext50_32x4d", "mobilenetv2_100", "vgg16_bn", "vgg19_bn", "tf_efficientnet_lite0"),
    *(f"efficientnet_b{size}" for size in range(8)),
    *("vit_base_patch16_224", "vit_small_patch16_224", "vit_tiny_patch16_224"),
)
TINY = {"depth": 2, "embed_dim": 48, "num_heads": 3}


def spec(name, channels=2, pixels=64, fusion="early", **options):
    return ModelSpec(
        architecture=name,
        channels=channels,
        classes=3,
        image_pixels=pixels,
        fusion=fusion,
        dimensions=registry.dimensions_of(name),
        options=options,
    )


@pytest.mark.parametrize("name", OF_THE_PAPERS)
def test_every_network_of_the_papers_is_built_by_name(name):
    pixels, channels = (192, 2) if name != "googlenet" else (224, 3)
    model = build(spec(name, channels, pixels), device="meta").eval()
    assert model(torch.empty(2, channels, pixels, pixels, device="meta")).shape == (2, 3)
    groups = layer_groups(model)
    assert 4 <= len(groups) <= 16
    names = [name for group in groups for name in group]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert tuple(groups[-1]) == head_names(model)
    assert [model.get_parameter(name).shape[0] for name in head_names(model)] == [3, 3]


@pytest.mark.parametrize("name", ["alexnet", "googlenet"])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("pixels", [192, 224])
def test_torchvisions_networks_take_any_channels(name, channels, pixels):
    model = build(spec(name, channels, pixels), device="meta").eval()
    assert model(torch.empty(1, channels, pixels, pixels, device="meta")).shape == (1, 3)
    assert model.get_submodule(first_layers(model)[0]).in_channels == channels


def test_googlenet_has_no_auxiliary_loss_and_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build(spec("googlenet", 2))
    assert model.train()(torch.rand(2, 2, 64, 64)).shape == (2, 3)
    assert not any("aux" in name for name in model.state_dict())


def test_a_network_for_volumes():
    pytest.importorskip("monai")
    model = build(spec("densenet121_3d", 1, 32)).eval()
    with torch.inference_mode():
        assert model(torch.rand(1, 1, 32, 32, 32)).shape == (1, 3)
    assert first_layers(model) == ("features.conv0",)
    assert tuple(layer_groups(model)[-1]) == head_names(model) == ("class_layers.out.weight", "class_layers.out.bias")
    with pytest.raises(ValidationError, match="takes images of 3 dimensions"):
        ModelSpec(architecture="densenet121_3d", channels=1, classes=3, image_pixels=64)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18", "mobilenetv2_100", "alexnet", "vgg16_bn"])
def test_late_fusion_of_any_backbone(name):
    model = build(spec(name, 2, 64, "late"), device="meta").eval()
    assert model(torch.empty(2, 2, 64, 64, device="meta")).shape == (2, 3)
    assert len(first_layers(model)) == 2
    groups = layer_groups(model)
    names = sorted(name for group in groups for name in group)
    assert names == sorted(name for name, _ in model.named_parameters())
    assert groups[-1] == ["head.weight", "head.bias"]
    both = {name.replace("branches.0.", "") for name in groups[0] if name.startswith("branches.0.")}
    assert both == {name.replace("branches.1.", "") for name in groups[0] if name.startswith("branches.1.")} != set()


def test_late_fusion_is_one_linear_layer_over_the_class_tokens():
    model = build(spec("vit_tiny_patch16_224", 2, 64, "late", **TINY)).eval()
    x = torch.rand(2, 2, 64, 64)
    with torch.inference_mode():
        tokens = [model.branches[i].forward_features(x[:, i : i + 1])[:, 0] for i in range(2)]
        assert torch.allclose(model(x), model.head(torch.cat(tokens, dim=1)), atol=1e-6)
    assert model.head.in_features == 96
    assert not torch.equal(*(branch.patch_embed.proj.weight for branch in model.branches))


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "resnet18", "mobilenetv2_100", "swin_tiny_patch4_window7_224"]
)
def test_late_fusion_has_the_features_of_its_branches_at_each_place(name):
    options = TINY if name.startswith("vit") else {}
    model = build(spec(name, 2, 224 if name.startswith("swin") else 64, "late", **options)).eval()
    x = torch.rand(2, 2, *(2 * [224 if name.startswith("swin") else 64]))
    with torch.inference_mode():
        features = model.forward_features(x)
        second = model.branches[1].forward_features(x[:, 1:])
        whole = model.forward_head(features)
        assert torch.allclose(whole, model(x), atol=1e-5)
    axis = features.shape.index(model.num_features)
    assert torch.equal(features.narrow(axis, model.num_features - second.shape[axis], second.shape[axis]), second)
    assert features.numel() == 2 * second.numel()


def test_rollout_of_late_fusion_is_the_mean_of_its_branches():
    model = build(spec("vit_tiny_patch16_224", 2, 64, "late", **TINY)).eval()
    x = torch.rand(2, 2, 64, 64)
    assert supports_rollout(model)
    with torch.inference_mode(), AttentionRecorder(model) as recorder:
        recorded = model(x)
    alone = [rollout(model.branches[i], x[:, i : i + 1]) for i in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(recorder.rollouts(), alone, strict=True))
    expected = sum(row / row.mean(1, keepdim=True) for row in alone) / 2
    assert torch.allclose(recorder.rollout(), expected)
    assert torch.allclose(recorder.rollout().mean(1), torch.ones(2))
    with torch.inference_mode():
        assert torch.equal(model(x), recorded)
    assert not any(module._forward_hooks for module in model.modules())


def test_rollout_is_not_defined_where_the_class_token_does_not_decide():
    assert not supports_rollout(build(spec("vit_tiny_patch16_224", global_pool="avg", **TINY)))
    assert not supports_rollout(build(spec("resnet18", 2, 64, "late"), device="meta"))


@pytest.mark.parametrize(
    ("name", "pixels", "options", "words"),
    [
        ("resnet18_of_mine", 64, {}, "timm cannot build"),
        ("resnet18", 64, {"depth": 3}, "timm cannot build"),
        ("alexnet", 32, {}, "at least 64 pixels"),
        ("alexnet", 64, {"depth": 3}, "has no option 'depth'"),
        ("googlenet", 64, {"transform_input": True}, "needs three channels"),
        ("vit_tiny_patch16_224", 2048, {}, "more than 4096"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(name, pixels, options, words):
    with pytest.raises(InputError, match=words):
        build(spec(name, 2, pixels, **options), device="meta")


def test_a_missing_library_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(MissingDependencyError, match="pip install monai"):
        build(spec("densenet121_3d", 1, 32), device="meta")


def test_settings_written_before_fusion_read_back():
    old = {"architecture": "resnet18", "channels": 2, "classes": 3, "image_pixels": 96, "options": {}}
    read = ModelSpec.model_validate(old)
    assert (read.fusion, read.dimensions) == ("early", 2)
    assert ModelSpec.model_validate(json.loads(read.model_dump_json())) == read


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_a_bundles_file_fills_the_same_network(tmp_path, fusion):
    from safetensors.torch import save_file

    from cadx.models.weights import filled

    small = spec("test_resnet", 2, 64, fusion)
    model = build(small).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    read = filled(small, tmp_path / "model.safetensors")
    assert {name: tensor.dtype for name, tensor in read.state_dict().items()} == {
        name: tensor.dtype for name, tensor in model.state_dict().items()
    }
    x = torch.rand(1, 2, 64, 64)
    with torch.inference_mode():
        assert torch.equal(read.eval()(x), model(x))
    assert filled(spec("test_resnet", 3, 64, fusion), tmp_path / "model.safetensors") is None


def test_monais_configuration_names_the_builder():
    early = registry.network_def(spec("resnet18"))
    assert early["_target_"] == "timm.create_model"
    late = registry.network_def(spec("resnet18", 2, 64, "late"))
    assert late.pop("_target_") == "cadx.models.registry.network"
    with torch.device("meta"):
        assert len(registry.network(**late).branches) == 2


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
@pytest.mark.parametrize("decay", [None, 0.75])
def test_parameter_groups_are_timms(name, decay):
    from timm.optim import param_groups_layer_decay, param_groups_weight_decay

    model = build(spec(name), device="meta")
    groups = parameter_groups(model, 0.05, decay, 1e-3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ours = {name: (g["lr"], g["weight_decay"]) for g in groups for name in g["names"]}
    assert [names[id(p)] for g in groups for p in g["params"]] == [name for g in groups for name in g["names"]]
    assert len(ours) == len(names)
    exempt = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    if decay is None:
        theirs = param_groups_weight_decay(model, 0.05, no_weight_decay_list=exempt)
    else:
        theirs = param_groups_layer_decay(model, 0.05, no_weight_decay_list=exempt, layer_decay=decay)
    for group in theirs:
        for parameter in group["params"]:
            lr, weight_decay = ours[names[id(parameter)]]
            assert weight_decay == group["weight_decay"]
            if decay is None or name.startswith("vit"):  # of other networks timm counts blocks, we stages
                assert lr == pytest.approx(1e-3 * group.get("lr_scale", 1.0))


def test_stacked_parameters_are_grouped_by_name():
    model = build(spec("vit_tiny_patch16_224", **TINY))
    stacked = {name: torch.stack([p, p]) for name, p in model.named_parameters()}
    groups = parameter_groups(model, 0.05, None, 1e-3, parameters=stacked)
    plain = {name for group in groups if group["weight_decay"] == 0 for name in group["names"]}
    assert {"cls_token", "pos_embed", "head.bias", "norm.weight"} <= plain
    assert "head.weight" not in plain
    assert all(p is stacked[name] for g in groups for p, name in zip(g["params"], g["names"], strict=True))
