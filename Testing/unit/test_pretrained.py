from __future__ import annotations

import hashlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from safetensors.torch import load_file, save_file  # noqa: E402

from cadx.errors import InputError  # noqa: E402
from cadx.models import registry  # noqa: E402
from cadx.models.build import ModelSpec, build  # noqa: E402
from cadx.models.parts import head_names  # noqa: E402
from cadx.models.pretrained import load_pretrained  # noqa: E402
from cadx.models.weights import adapt_first_kernel, state_of  # noqa: E402


def spec(name, channels=3, pixels=160, classes=3, fusion="early", **options):
    return ModelSpec(
        architecture=name,
        channels=channels,
        classes=classes,
        image_pixels=pixels,
        fusion=fusion,
        dimensions=registry.dimensions_of(name),
        options=options,
    )


def network(a_spec, seed=1):
    torch.manual_seed(seed)
    return build(a_spec)


def body(model):
    head = head_names(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in head}


def same(a, b):
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def trained():
    """Of another number of classes, as published weights are."""
    return network(spec("test_vit", classes=7)).state_dict()


@pytest.fixture
def file(trained, tmp_path):
    save_file(trained, tmp_path / "vit.safetensors")
    return tmp_path / "vit.safetensors"


def test_fresh_weights_are_those_of_the_seed():
    torch.manual_seed(4)
    model, record = load_pretrained(spec("test_vit"), "none")
    assert same(model.state_dict(), network(spec("test_vit"), 4).state_dict())
    assert record["source"] == "none"


def test_the_body_is_filled_and_the_head_is_fresh(file, trained):
    torch.manual_seed(4)
    model, record = load_pretrained(spec("test_vit"), str(file))
    assert all(torch.equal(tensor, trained[name]) for name, tensor in body(model).items())
    assert torch.equal(model.head.weight, network(spec("test_vit"), 4).head.weight)
    assert record == {
        "source": "vit.safetensors",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "tensors": len(trained) - 2,
        "left_out": ["head.bias", "head.weight"],
    }
    zero, _ = load_pretrained(spec("test_vit"), str(file), zero_head=True)
    assert not zero.head.weight.any()
    assert not zero.head.bias.any()


@pytest.mark.parametrize("wrap", [dict, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3}])
@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone."])
def test_wrapped_and_prefixed_files_mean_the_same(tmp_path, trained, wrap, prefix):
    path = tmp_path / "weights.pth"
    torch.save(wrap({prefix + name: tensor.half() for name, tensor in trained.items()}), path)
    model, _ = load_pretrained(spec("test_vit"), str(path))
    assert all(torch.equal(tensor, trained[name].half().float()) for name, tensor in body(model).items())


def test_a_body_that_is_not_filled_is_never_random(file, trained, tmp_path):
    part = tmp_path / "part.safetensors"
    save_file({name: tensor for name, tensor in trained.items() if name != "norm.bias"}, part)
    with pytest.raises(InputError, match=r"part.safetensors lacks 1 of \d+ tensors of this network, first norm.bias"):
        load_pretrained(spec("test_vit"), str(part))
    with pytest.raises(InputError, match=r"vit.safetensors lacks .* first conv1.0.weight"):
        load_pretrained(spec("test_resnet"), str(file))
    with pytest.raises(InputError, match="has the shape"):
        load_pretrained(spec("test_vit", embed_dim=32), str(file))
    with pytest.raises(InputError, match="lacks"):
        load_pretrained(spec("test_vit", depth=9), str(file))


def test_blocks_are_left_out_only_when_asked_for(file, trained, tmp_path):
    model, record = load_pretrained(spec("test_vit", depth=2), str(file))
    assert all(torch.equal(tensor, trained[name]) for name, tensor in body(model).items())
    assert "blocks.2.norm1.weight" in record["left_out"]
    longer = tmp_path / "longer.safetensors"
    save_file({**trained, "blocks.99.norm1.weight": torch.ones(2)}, longer)
    with pytest.raises(InputError, match="holds blocks.99.norm1.weight, for which this network has no place"):
        load_pretrained(spec("test_vit"), str(longer))


class Stranger:
    """What a checkpoint must not bring along."""


def test_files_that_are_none_are_one_sentence(tmp_path):
    torch.save({"state_dict": Stranger()}, tmp_path / "code.pth")
    with pytest.raises(InputError, match=r"code.pth holds program code"):
        state_of(tmp_path / "code.pth")
    for name in ("noise.pth", "noise.safetensors", "noise.npz"):
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(InputError, match=f"{name} cannot be read as weights"):
            state_of(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(InputError, match=r"empty.pth holds no tensors"):
        state_of(tmp_path / "empty.pth")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"objects.npz cannot be read"):
        state_of(tmp_path / "objects.npz")
    with pytest.raises(InputError, match=r"no file missing.pth"):
        load_pretrained(spec("test_vit"), str(tmp_path / "missing.pth"))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_the_first_layer_takes_other_channels(channels):
    from timm.models import adapt_input_conv

    kernel = torch.rand(4, 3, 7, 7)
    timms = adapt_first_kernel(kernel, channels, "timm")
    assert torch.allclose(timms, adapt_input_conv(channels, kernel), atol=1e-6)
    mean, total = (adapt_first_kernel(kernel, channels, how) for how in ("mean", "sum"))
    assert mean.shape == total.shape == (4, channels, 7, 7)
    if channels != 3:
        assert torch.allclose(mean[:, 0], kernel.mean(1))
        assert torch.allclose(total[:, -1], kernel.sum(1), atol=1e-6)
    assert adapt_first_kernel(torch.rand(4, 1, 3, 3, 3), 2).shape == (4, 2, 3, 3, 3)


@pytest.mark.parametrize("how", ["timm", "mean", "sum"])
def test_the_first_layer_of_a_network_is_adapted(tmp_path, how):
    old = network(spec("test_resnet", classes=5)).state_dict()
    save_file(old, tmp_path / "resnet.safetensors")
    model, record = load_pretrained(spec("test_resnet", 2), str(tmp_path / "resnet.safetensors"), first_layer=how)
    assert torch.equal(model.conv1[0].weight, adapt_first_kernel(old["conv1.0.weight"], 2, how))
    assert record["tensors"] == len(old) - 2


def test_position_embeddings_are_resized_both_ways(file, trained):
    from timm.layers import resample_abs_pos_embed

    new = spec("test_vit", 3, 96)
    bicubic, _ = load_pretrained(new, str(file))
    assert torch.allclose(bicubic.pos_embed, resample_abs_pos_embed(trained["pos_embed"], [6, 6]), atol=1e-5)
    aligned, _ = load_pretrained(new, str(file), positions="aligned-bilinear")
    assert torch.equal(aligned.pos_embed[:, 0], trained["pos_embed"][:, 0])
    assert torch.allclose(aligned.pos_embed[:, 1], trained["pos_embed"][:, 1])  # corners stay corners
    assert not torch.allclose(aligned.pos_embed, bicubic.pos_embed)


def test_every_branch_of_late_fusion_gets_them(file, trained):
    model, record = load_pretrained(spec("test_vit", 2, 160, fusion="late"), str(file))
    for branch in model.branches:
        state = branch.state_dict()
        assert torch.equal(state["patch_embed.proj.weight"], trained["patch_embed.proj.weight"].sum(1, keepdim=True))
        assert all(torch.equal(state[name], trained[name]) for name in state if name != "patch_embed.proj.weight")
    assert record["tensors"] == 2 * (len(trained) - 2)
    with pytest.raises(InputError, match="late fusion"):
        load_pretrained(spec("test_vit", 2, 160, fusion="late"), str(file), with_head=True)


def google_file(path, state, heads):
    """A state of timm's as Google's program would have written it."""

    def array(name):
        return state[name].numpy()

    def dense(name, transposed=True):
        return array(name).T if transposed else array(name)

    width = state["cls_token"].shape[-1]
    arrays = {
        "cls": array("cls_token"),
        "embedding/kernel": array("patch_embed.proj.weight").transpose(2, 3, 1, 0),
        "embedding/bias": array("patch_embed.proj.bias"),
        "Transformer/posembed_input/pos_embedding": array("pos_embed"),
        "Transformer/encoder_norm/scale": array("norm.weight"),
        "Transformer/encoder_norm/bias": array("norm.bias"),
        "head/kernel": dense("head.weight"),
        "head/bias": array("head.bias"),
        "pre_logits/kernel": np.zeros((width, width), np.float32),
    }
    for i in range(sum(name.endswith("norm1.weight") for name in state)):
        block, ours = f"Transformer/encoderblock_{i}", f"blocks.{i}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part, name in enumerate(("query", "key", "value")):
            rows = slice(part * width, (part + 1) * width)
            kernel = array(f"{ours}.attn.qkv.weight")[rows].T
            arrays[f"{attention}/{name}/kernel"] = kernel.reshape(width, heads, -1)
            arrays[f"{attention}/{name}/bias"] = array(f"{ours}.attn.qkv.bias")[rows].reshape(heads, -1)
        arrays[f"{attention}/out/kernel"] = dense(f"{ours}.attn.proj.weight").reshape(heads, -1, width)
        arrays[f"{attention}/out/bias"] = array(f"{ours}.attn.proj.bias")
        for norm, name in (("LayerNorm_0", "norm1"), ("LayerNorm_2", "norm2")):
            arrays[f"{block}/{norm}/scale"] = array(f"{ours}.{name}.weight")
            arrays[f"{block}/{norm}/bias"] = array(f"{ours}.{name}.bias")
        for number, name in enumerate(("fc1", "fc2")):
            arrays[f"{block}/MlpBlock_3/Dense_{number}/kernel"] = dense(f"{ours}.mlp.{name}.weight")
            arrays[f"{block}/MlpBlock_3/Dense_{number}/bias"] = array(f"{ours}.mlp.{name}.bias")
    np.savez(path, **arrays)
    return path


def test_googles_file_cut_to_the_depth_asked_for(tmp_path):
    size = {"embed_dim": 24, "num_heads": 3}
    old = network(spec("vit_tiny_patch16_224", 3, 64, classes=11, depth=3, **size)).state_dict()
    file = google_file(tmp_path / "ViT-X_16.npz", old, 3)
    whole, _ = load_pretrained(spec("vit_tiny_patch16_224", 3, 64, depth=3, **size), str(file))
    assert all(torch.equal(tensor, old[name]) for name, tensor in body(whole).items())
    cut = spec("vit_tiny_patch16_224", 2, 48, depth=2, **size)
    model, record = load_pretrained(cut, str(file), first_layer="mean", positions="aligned-bilinear")
    assert torch.equal(model.patch_embed.proj.weight, adapt_first_kernel(old["patch_embed.proj.weight"], 2, "mean"))
    assert torch.equal(model.norm.weight, old["norm.weight"])
    assert model.pos_embed.shape == (1, 10, 24)
    assert {"Transformer/encoderblock_2/LayerNorm_0/scale", "head/bias"} <= set(record["left_out"])
    assert not any("encoderblock_1" in name for name in record["left_out"])
    with pytest.raises(InputError, match=r"does not hold the weights|lacks"):
        load_pretrained(spec("vit_tiny_patch16_224", 3, 64, depth=4, **size), str(file))
    with pytest.raises(InputError, match="does not hold the weights"):
        load_pretrained(spec("test_resnet"), str(file))
    with pytest.raises(InputError, match=r"lacks .* first blocks.0.attn.q_norm"):
        load_pretrained(spec("vit_tiny_patch16_224", 3, 64, depth=2, qk_norm=True, **size), str(file))


def test_the_authors_fit_through_the_whole_path(shared, tmp_path):
    golden = np.load(shared / "reference" / "golden" / "authors_code_golden.npz", allow_pickle=False)
    for width, key, ours, expected in (
        (8, "pos_embed", "pos_embed_14x14", "pos_embed_12x12"),
        (4, "patch_embed.proj.weight", "patch_kernel_hwio_rgb", "patch_kernel_oihw_2ch"),
    ):
        size = {"depth": 1, "embed_dim": width, "num_heads": 1}
        state = network(spec("vit_base_patch16_224", 3, 224, **size)).state_dict()
        old = torch.from_numpy(golden[ours])
        state[key] = old if key == "pos_embed" else old.permute(3, 2, 0, 1).contiguous()
        file = google_file(tmp_path / f"{width}.npz", state, 1)
        model, _ = load_pretrained(
            spec("vit_base_patch16_224", 2, 192, **size), str(file), first_layer="mean", positions="aligned-bilinear"
        )
        assert np.abs(model.state_dict()[key].numpy() - golden[expected]).max() < 1e-6


def test_torchvisions_names_are_understood(tmp_path):
    from torchvision.models import densenet121, googlenet

    old = densenet121(num_classes=4).state_dict()
    # torchvision's published file writes norm.1 for norm1
    torch.save({n.replace("norm1", "norm.1").replace("conv2", "conv.2"): t for n, t in old.items()}, tmp_path / "d.pth")
    model, _ = load_pretrained(spec("densenet121"), str(tmp_path / "d.pth"))
    assert torch.equal(
        model.features.denseblock2.denselayer3.norm1.weight, old["features.denseblock2.denselayer3.norm1.weight"]
    )
    assert torch.equal(model.features.norm5.bias, old["features.norm5.bias"])
    old = googlenet(aux_logits=True, init_weights=False).state_dict()
    torch.save(old, tmp_path / "g.pth")
    model, record = load_pretrained(spec("googlenet", 1), str(tmp_path / "g.pth"))
    assert torch.equal(model.inception5b.branch1.conv.weight, old["inception5b.branch1.conv.weight"])
    assert torch.allclose(model.conv1.conv.weight, old["conv1.conv.weight"].sum(1, keepdim=True))
    assert any(name.startswith("aux1.") for name in record["left_out"])


def test_a_published_checkpoint_for_volumes(tmp_path):
    pytest.importorskip("monai")
    volumes = spec("densenet121_3d", 1, 32, classes=2)
    old = network(volumes)
    torch.save({"state_dict": {f"module.{n}": t for n, t in old.state_dict().items()}}, tmp_path / "best.pth")
    model, record = load_pretrained(volumes, str(tmp_path / "best.pth"), with_head=True)
    assert same(model.state_dict(), old.state_dict())
    assert record["left_out"] == []
    two, _ = load_pretrained(spec("densenet121_3d", 2, 32), str(tmp_path / "best.pth"))
    assert two.features.conv0.weight.shape[1] == 2


def test_what_cannot_be_downloaded_is_one_sentence(monkeypatch, tmp_path):
    import huggingface_hub

    def no_network(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(InputError, match=r"download model.safetensors from https://huggingface.co/timm/test_vit"):
        load_pretrained(spec("test_vit"), "timm")
    with pytest.raises(InputError, match=r"download googlenet-\w+.pth from https://download.pytorch.org"):
        load_pretrained(spec("googlenet"), "timm")
    with pytest.raises(InputError, match="no published weights for 'efficientnet_b7'; take 'tf_efficientnet_b7'"):
        load_pretrained(spec("efficientnet_b7"), "timm")
    with pytest.raises(InputError, match="no published weights for 'densenet121_3d'"):
        load_pretrained(spec("densenet121_3d", 1, 32), "timm")


def test_downloaded_weights_say_their_name(monkeypatch, file, trained):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: str(file))
    model, record = load_pretrained(spec("test_vit"), "timm")
    assert record["source"] == "timm:test_vit.r160_in1k"
    assert all(torch.equal(tensor, trained[name]) for name, tensor in body(model).items())


@pytest.mark.parametrize(
    ("name", "file", "pixels"),
    [
        ("tf_efficientnet_lite0", "tf_efficientnet_lite0.safetensors", 64),
        ("vit_small_patch14_dinov2", "vit_small_patch14_dinov2.fp16.safetensors", 224),
    ],
)
def test_real_weights(shared, name, file, pixels):
    path = shared / "data" / "weights" / file
    model, record = load_pretrained(spec(name, 3, pixels), str(path))
    raw = {key: tensor.float() for key, tensor in load_file(path).items()}
    for key, tensor in body(model).items():
        assert tensor.dtype in (torch.float32, torch.int64)
        assert key == "pos_embed" or torch.equal(tensor.float(), raw[key])
    assert set(record["left_out"]) == set(raw) - set(body(model))
    with torch.inference_mode():
        assert model.eval()(torch.rand(1, 3, pixels, pixels)).isfinite().all()


def test_real_weights_in_both_branches_of_late_fusion(shared):
    path = shared / "data" / "weights" / "vit_small_patch14_dinov2.fp16.safetensors"
    late, record = load_pretrained(spec("vit_small_patch14_dinov2", 2, 70, fusion="late", depth=1), str(path))
    assert record["tensors"] == 2 * 20
    assert len(record["left_out"]) == 11 * 14
    assert torch.equal(*(branch.pos_embed for branch in late.branches))
