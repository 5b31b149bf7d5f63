from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from cadx.errors import InputError  # noqa: E402
from cadx.explain.gradcam import gradcam, require_layers, target_layer  # noqa: E402
from cadx.explain.hirescam import contributions, hirescam, sharpened  # noqa: E402
from cadx.models import registry  # noqa: E402
from cadx.models.build import ModelSpec, build  # noqa: E402
from cadx.models.parts import head_names  # noqa: E402

LAYERS = {
    "alexnet": ("features.11", 64, {}),
    "googlenet": ("inception5b", 64, {}),
    "densenet121": ("features", 64, {}),
    "resnet18": ("layer4", 64, {}),
    "resnext50_32x4d": ("layer3", 32, {}),
    "mobilenetv2_100": ("bn2", 64, {}),
    "efficientnet_b0": ("bn2", 64, {}),
    "tf_efficientnet_lite0": ("bn2", 64, {}),
    "vgg16_bn": ("features.42", 32, {"mlp_ratio": 0.05}),
    "densenet121_3d": ("class_layers.relu", 64, {}),
    "vit_tiny_patch16_224": ("blocks.1.norm1", 64, {"depth": 2}),
    "vit_small_patch14_reg4_dinov2": ("blocks.1.norm1", 56, {"depth": 2}),
}


def network(name, pixels, options=None, fusion="early", channels=2):
    if name == "densenet121_3d":
        pytest.importorskip("monai")
    torch.manual_seed(0)
    dimensions = registry.dimensions_of(name)
    spec = ModelSpec(
        architecture=name,
        channels=channels,
        classes=3,
        image_pixels=pixels,
        options=options or {},
        fusion=fusion,
        dimensions=dimensions,
    )
    return build(spec).eval(), torch.rand(2, channels, *[pixels] * dimensions)


def by_hand(model, x, layer, index):
    """Equations 1 and 2, from a forward pass that starts at the layer's output."""
    grabbed = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, i, o: grabbed.append(o))
    logits = model(x)
    handle.remove()
    maps = []
    for sample in range(len(x)):
        slope = torch.autograd.grad(logits[sample, index], grabbed[0], retain_graph=True)[0][sample]
        weight = slope.flatten(1).mean(1)
        maps.append((weight.view(-1, *[1] * (slope.ndim - 1)) * grabbed[0][sample]).sum(0).clamp(min=0))
    return torch.stack(maps).detach()


@pytest.mark.parametrize("name", LAYERS)
def test_every_network_is_explained_and_left_as_it_was(name):
    layer, pixels, options = LAYERS[name]
    model, x = network(name, pixels, options)
    model.train()
    frozen = next(module for module in model.modules() if not list(module.children()))
    frozen.eval()
    with torch.inference_mode():
        shown, logits, found = gradcam(model, x)
    assert found == layer
    assert logits.shape == (2, 3)
    assert shown.dtype == torch.float32
    assert shown.ndim == x.ndim - 1
    assert min(shown.shape[1:]) >= 2
    assert shown.isfinite().all()
    assert (shown >= 0).all()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training
    assert not frozen.training
    with torch.no_grad():
        assert torch.allclose(model.eval()(x), logits, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_the_map_is_that_of_the_equations(name):
    model, x = network(name, 64)
    each, logits, layer = gradcam(model, x, [2, 0])
    assert torch.allclose(each[:1], by_hand(model, x[:1], layer, 2), rtol=1e-4, atol=1e-9)
    assert torch.allclose(each[1:], by_hand(model, x[1:], layer, 0), rtol=1e-4, atol=1e-9)
    assert torch.equal(gradcam(model, x)[0], gradcam(model, x, logits.argmax(1).tolist())[0])


@pytest.mark.parametrize(
    ("method", "name", "layer"),
    [
        ("GradCAM", "resnet18", None),
        ("GradCAM", "tf_efficientnet_lite0", None),
        ("GradCAM", "densenet121", None),
        ("GradCAM", "vit_tiny_patch16_224", None),
        ("HiResCAM", "resnet18", "layer3"),
        ("HiResCAM", "vit_tiny_patch16_224", "blocks.0.norm2"),
    ],
)
def test_the_map_is_that_of_the_library(method, name, layer):
    library = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    transformer = name.startswith("vit")
    model, x = network(name, 64, {"depth": 2} if transformer else {}, channels=3)
    model.get_parameter(head_names(model)[0]).data *= 1e4  # the library adds 1e-7 to what it divides by

    def grid(tokens):
        return tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4))

    own = gradcam if method == "GradCAM" else hirescam
    shown, logits, found = own(model, x, layer=layer)
    assert layer in (None, found)
    targets = [ClassifierOutputTarget(int(index)) for index in logits.argmax(1)]
    reshape = grid if transformer else None
    with getattr(library, method)(model, [model.get_submodule(found)], reshape_transform=reshape) as cam:
        expected = cam(x, targets)
    assert shown.any()
    # the library scales before and after it puts layers together
    scaled = scale_cam_image(scale_cam_image(shown.numpy(), (64, 64)))
    assert abs(scaled - expected).max() < 0.03


@pytest.mark.parametrize("method", [gradcam, hirescam])
def test_log_odds_derive_what_sets_a_class_apart(method):
    model, x = network("resnet18", 64)
    kept = []
    handle = model.layer3.register_forward_hook(lambda module, given, out: kept.append(out))
    logits = model.eval()(x)
    handle.remove()
    shares = logits.softmax(1)
    # the log-odds of class 1 are log(p / (1 - p))
    (slopes,) = torch.autograd.grad((shares[:, 1] / (1 - shares[:, 1])).log().sum(), kept)
    if method is gradcam:
        slopes = slopes.mean(dim=(2, 3), keepdim=True)
    expected = (slopes * kept[0]).sum(1).relu().detach()
    shown = method(model, x, 1, "layer3", "log-odds")[0]
    assert torch.allclose(shown, expected, rtol=1e-3, atol=1e-6 * float(expected.max()))
    assert not torch.allclose(shown, method(model, x, 1, "layer3")[0], rtol=1e-2)


def test_earlier_layers_sharpen_within_what_the_last_one_shows():
    model, x = network("resnet18", 64)
    coarse, logits, layer = hirescam(model, x, 1, "layer3", "log-odds")
    (fine, finest), _, _ = contributions(model, x, 1, ("layer2", "layer1"), "log-odds")
    assert (fine < 0).any() and (fine > 0).any()
    sharp, again, layers = hirescam(model, x, 1, "layer3", "log-odds", ["layer2"])
    assert (layer, layers) == ("layer3", "layer3 x layer2")
    assert torch.equal(logits, again)
    assert sharp.shape == fine.shape == (2, 8, 8)
    assert (sharp >= 0).all() and sharp.any()
    # nothing where all coarse places around are zero
    around = torch.nn.functional.max_pool2d(coarse[:, None], 3, 1, 1)[:, 0]
    assert not sharp[around.repeat_interleave(2, 1).repeat_interleave(2, 2) == 0].any()
    relative = fine.abs() / fine.abs().amax(dim=(1, 2), keepdim=True)
    weights = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    middle = weights @ coarse[0, 1:3, 1:3] @ weights.T
    assert torch.allclose(sharp[0, 3:5, 3:5], middle * relative[0, 3:5, 3:5], rtol=1e-4)
    sharper, _, layers = hirescam(model, x, 1, "layer3", "log-odds", ["layer2", "layer1"])
    assert layers == "layer3 x layer2 x layer1" and sharper.shape == finest.shape == (2, 16, 16)
    corner = finest[:, 0, 0].abs() / finest.abs().amax(dim=(1, 2))
    assert torch.allclose(sharper[:, 0, 0], sharp[:, 0, 0] * corner)
    with pytest.raises(InputError, match="coarser than the map"):
        hirescam(model, x, 1, "layer2", "log-odds", ["layer3"])


def test_sharpening_keeps_the_scale_between_samples():
    """The second slice has a third of the first one's evidence, whatever its earlier layers add up to."""
    coarse = torch.ones(2, 2, 2) * torch.tensor([3.0, 1.0])[:, None, None]
    fine = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-6, 50.0])[:, None, None]
    highest = sharpened(coarse, fine).amax(dim=(1, 2))
    assert torch.allclose(highest, torch.tensor([3.0, 1.0]))
    assert not sharpened(coarse, 0 * fine).any()


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vit_tiny_patch16_224", "blocks.0.attn.q_norm"),
        ("vit_tiny_patch16_224", "head"),
        ("tf_efficientnet_lite0", "classifier"),
        ("tf_efficientnet_lite0", "global_pool"),
        ("mobilenetv3_small_100", "blocks.0.0.se.conv_reduce"),
    ],
)
def test_layers_without_places_are_refused_before_anything_is_trained(name, layer):
    options = {"depth": 2, "qk_norm": True} if name.startswith("vit") else {}
    model, x = network(name, 64, options)
    with pytest.raises(InputError, match="no places"):
        require_layers(model, (layer,))
    with pytest.raises(InputError, match="no places"):
        require_layers(network(name, 64, options)[0].to("meta"), (layer,))
    with pytest.raises(InputError, match="no places"):
        hirescam(model, x, 1, layer)


def test_the_patches_before_the_class_token_are_a_map_too():
    model, x = network("vit_tiny_patch16_224", 64, {"depth": 2})
    require_layers(model, ("patch_embed", "patch_embed.proj", "blocks.0"))
    assert hirescam(model, x, 1, "patch_embed")[0].shape == (2, 4, 4)


def test_what_speaks_for_all_classes_alike_drops_out_of_the_log_odds():
    model, x = network("resnet18", 64)
    model.fc.weight.data[:] = model.fc.weight.data[:1]
    assert hirescam(model, x, 1, "layer3")[0].max() > 1e-3
    assert hirescam(model, x, 1, "layer3", "log-odds")[0].max() < 1e-3 * hirescam(model, x, 1, "layer3")[0].max()


def test_frozen_networks_are_explained_too():
    model, x = network("resnet18", 64)
    expected = gradcam(model, x)[0]
    assert torch.equal(gradcam(model.requires_grad_(False), x)[0], expected)


def test_a_map_of_nothing_is_zero():
    model, x = network("resnet18", 64)
    model.fc.weight.data[1] = -model.fc.weight.data[1].abs()
    shown, _, _ = gradcam(model, x, 1)
    assert not shown.any()


def test_late_fusion_adds_its_branches_before_the_clipping():
    model, x = network("resnet18", 64, fusion="late")
    shown, logits, layer = gradcam(model, x, 0)
    assert layer == "layer4"
    assert shown.shape == (2, 2, 2)
    total = 0
    with torch.no_grad():
        width = model.branches[0].num_features
        for i, branch in enumerate(model.branches):
            features = branch.forward_features(x[:, i : i + 1])
            # through a mean over places the slope is the head's row, spread over the places
            row = model.head.weight[0, i * width : (i + 1) * width] / features[0, 0].numel()
            total = total + (row.view(1, -1, 1, 1) * features).sum(1)
    assert torch.allclose(shown, total.relu(), atol=1e-5)
    assert torch.allclose(logits, model(x), atol=1e-5)


def test_a_layer_by_name_and_wrong_ones():
    model, x = network("resnet18", 64)
    assert gradcam(model, x, layer="layer2")[0].shape == (2, 8, 8)
    assert target_layer(model) == "layer4"
    require_layers(model, ("layer2", "layer4.1"))
    with pytest.raises(InputError, match="has no layer 'layer9'"):
        require_layers(model, ("layer2", "layer9"))
    with pytest.raises(InputError, match="has no layer 'layer9'"):
        gradcam(model, x, layer="layer9")
    with pytest.raises(InputError, match="has no places"):
        gradcam(model, x, layer="fc")
    assert not any(module._forward_hooks for module in model.modules())
