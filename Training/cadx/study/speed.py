"""What makes training cheap on a processor and leaves what is computed as it is, up to rounding.

All of it follows from the network, the kind of device and the precision, never from a clock, so that a seed gives the
same numbers again.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from cadx import device

if TYPE_CHECKING:
    from torch import Tensor, nn

# torch's processors whose optimisers update all of a tensor in one pass
FUSED = ("cpu", "cuda", "mps")
# beyond this the attention matrices of a batch take more memory than they save time
MOST_TOKENS = 1100


def arrange(
    model: nn.Module, where: device.Device, precision: device.Precision, *, every_token: bool
) -> dict[str, Any]:
    """Lay a network out for training on ``where``; names, shapes and values of its parameters stay.

    Parameters
    ----------
    model
        Changed in place.
    precision
        That of the training.
    every_token
        Whether something else than the network's own head looks at its tokens.

    Returns
    -------
    dict
        What was chosen, in words: ``attention``, and ``last_block`` (the tokens that it computes).
    """
    transformers = _transformers(model)
    plain = where.kind == "cpu" and precision == "bf16" and all(_tokens(one) <= MOST_TOKENS for one in transformers)
    for attention in [module for one in transformers for module in one.modules() if plain]:
        if hasattr(attention, "fused_attn"):
            # torch's fused kernel for the CPU takes two to four times as long in bf16, forward and backward
            attention.fused_attn = False
    shortened = [] if every_token else [_for_class_token(one) for one in transformers]
    return {
        "attention": "plain" if plain and transformers else "as the library has it",
        "last_block": "class token" if any(shortened) else "all tokens",
    }


def gains_from_bf16(model: nn.Module) -> bool:
    """Whether a network trains faster in bf16 on a CPU that has it: transformers, and planar convolutions in full.

    Depthwise convolutions are bound by memory, and converting to bf16 and back costs what it saves.
    """
    from torch import nn

    modules = list(model.modules())
    if any(type(module).__name__ in ("Attention", "VisionTransformer") for module in modules):
        return True
    if any(isinstance(module, nn.Conv3d) for module in modules):
        return False
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
    return bool(convolutions) and not any(1 < c.groups == c.in_channels for c in convolutions)


def fused(parameters: list[nn.Parameter]) -> bool:
    """Whether the optimiser can update these in one pass: two to four times faster on a CPU, the same formula."""
    return all(parameter.device.type in FUSED for parameter in parameters)


def _transformers(model: nn.Module) -> list[Any]:
    """Vision transformers of timm's plain kind within ``model``, itself included."""
    try:
        from timm.models.vision_transformer import VisionTransformer
    except ImportError:
        return []
    return [module for module in model.modules() if type(module) is VisionTransformer]


def _tokens(transformer: Any) -> int:
    return int(transformer.patch_embed.num_patches) + int(transformer.num_prefix_tokens)


def _for_class_token(transformer: Any) -> bool:
    """Have the last block compute the class token alone, where the head reads nothing else.

    The other tokens' outputs of that block reach no loss. Seven hundredths of a ViT-B's arithmetic go.
    """
    from timm.layers import Attention
    from timm.models.vision_transformer import Block

    if len(transformer.blocks) == 0 or transformer.global_pool != "token" or transformer.attn_pool is not None:
        return False
    block = transformer.blocks[-1]
    if type(block) is not Block or type(block.attn) is not Attention or getattr(block.attn, "gate", None) is not None:
        return type(block) is _class_token_block()
    # of the same layout as its base, so that copies, hooks and state stay what they were
    block.__class__ = _class_token_block()
    return True


@cache
def _class_token_block() -> type:
    from timm.models.vision_transformer import Block

    class ClassTokenBlock(Block):
        """A block (B, N, C) whose output is that of the first token alone, (B, 1, C)."""

        def forward(self, x: Tensor, attn_mask: Any = None, is_causal: bool = False) -> Tensor:
            if attn_mask is not None or is_causal:
                return super().forward(x, attn_mask=attn_mask, is_causal=is_causal)
            first = x[:, :1] + self.drop_path1(self.ls1(_attended(self.attn, self.norm1(x))))
            return first + self.drop_path2(self.ls2(self.mlp(self.norm2(first))))

    return ClassTokenBlock


def _attended(attention: Any, x: Tensor) -> Tensor:
    """(B, 1, C): what the first of the tokens (B, N, C) gathers, as timm's ``Attention`` has it."""
    from torch.nn.functional import linear

    weight, bias, width = attention.qkv.weight, attention.qkv.bias, attention.attn_dim
    at_query, at_rest = (None, None) if bias is None else (bias[:width], bias[width:])
    heads = (len(x), -1, attention.num_heads, attention.head_dim)
    query = linear(x[:, :1], weight[:width], at_query).reshape(heads).transpose(1, 2)
    key, value = linear(x, weight[width:], at_rest).reshape(len(x), -1, 2, *heads[2:]).permute(2, 0, 3, 1, 4)
    query, key = attention.q_norm(query), attention.k_norm(key)
    shares = (query * attention.scale) @ key.transpose(-2, -1)
    gathered = attention.attn_drop(shares.softmax(dim=-1)) @ value
    gathered = attention.norm(gathered.transpose(1, 2).reshape(len(x), 1, width))
    return attention.proj_drop(attention.proj(gathered))
