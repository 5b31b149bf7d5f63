from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from cadx.errors import InputError  # noqa: E402
from cadx.explain.rollout import AttentionRecorder, rollout, supports_rollout  # noqa: E402

MODELS = {
    "paper's size": ("vit_base_patch16_224", {"depth": 3, "img_size": 192, "in_chans": 2}),
    "tiny": ("vit_tiny_patch16_224", {"img_size": 96, "in_chans": 2}),
    "patch 14, layer scale": ("vit_small_patch14_dinov2", {"depth": 3, "img_size": 210, "in_chans": 2}),
    "registers": ("vit_small_patch14_reg4_dinov2", {"depth": 2, "img_size": 70, "in_chans": 2}),
}


@pytest.fixture(params=MODELS)
def model(request):
    name, options = MODELS[request.param]
    torch.manual_seed(0)
    built = timm.create_model(name, num_classes=3, **options).eval()
    # random weights attend evenly: sharpen them so that layers differ
    for block in built.blocks:
        block.attn.qkv.weight.data *= 8
    return built


@pytest.fixture
def x(model):
    size = model.patch_embed.img_size
    return torch.rand(2, 2, *size, generator=torch.Generator().manual_seed(1))


def full_product(model, x, residual):
    """Every layer's whole attention matrix, multiplied out: Abnar and Zuidema (2020)."""
    matrices = []

    def keep(module, inputs, output):
        attn = module
        batch, tokens, _ = inputs[0].shape
        q, k, _ = attn.qkv(inputs[0]).reshape(batch, tokens, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        matrices.append((q @ k.transpose(-2, -1) * attn.scale).softmax(-1).mean(1).double())

    handles = [block.attn.register_forward_hook(keep) for block in model.blocks]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    identity = torch.eye(matrices[0].shape[-1], dtype=torch.double)
    product = identity
    for matrix in matrices:
        if residual:
            matrix = matrix + identity
            matrix = matrix / matrix.sum(-1, keepdim=True)
        product = matrix @ product
    return product[:, 0, model.num_prefix_tokens :]


@pytest.mark.parametrize("residual", [True, False])
def test_the_map_equals_the_full_matrix_product(model, x, residual):
    row = rollout(model, x, residual=residual)
    expected = full_product(model, x, residual)
    assert row.shape == (2, model.patch_embed.num_patches)
    assert (row.double() - expected).abs().max() < 1e-5
    assert expected.std() > 1e-5  # the map is no constant, so that agreement means something


def test_logits_are_bit_for_bit_those_of_a_plain_pass(model, x):
    with torch.inference_mode():
        plain = model(x)
        with AttentionRecorder(model) as recorder:
            recorded = model(x)
        again = model(x)
    assert torch.equal(plain, recorded)
    assert torch.equal(plain, again)
    assert torch.equal(recorder.rollout(), rollout(model, x))


def test_the_two_forms_differ(model, x):
    assert not torch.allclose(rollout(model, x), rollout(model, x, residual=False))


def test_no_hook_stays_behind(model, x):
    rollout(model, x)
    assert not any(block.attn.qkv._forward_hooks for block in model.blocks)


def test_a_model_without_class_token_is_refused():
    network = timm.create_model("resnet18", num_classes=3)
    assert not supports_rollout(network)
    with pytest.raises(InputError, match="no class token"):
        rollout(network, torch.rand(1, 3, 64, 64))
