"""Attention rollout (Abnar and Zuidema, ACL 2020), computed beside fused attention.

Only queries and keys are recorded, so the forward pass keeps its fused kernels and its logits bit for
bit. The class token's row is pushed from the last layer to the first: a vector times a matrix a layer.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from cadx.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn


def rollout(model: nn.Module, x: Tensor, *, residual: bool = True) -> Tensor:
    """The class token's attention over the patches, rolled out through all layers.

    Parameters
    ----------
    model
        A timm vision transformer that decides by its class token, or late fusion of such, in evaluation mode.
    x
        (B, C, H, W).
    residual
        Add the identity for the skip connection and renormalise the rows (Abnar and Zuidema, Eq. 1, with
        A = 0.5 W + 0.5 I); False gives the bare product of the heads' mean attention.

    Returns
    -------
    Tensor
        (B, patches) float32, patches row by row; a row sums to 1 less what stays on the class token. Of late fusion
        the mean of the branches' rows, each relative to its average patch.

    Raises
    ------
    InputError
        If the model is not a transformer with a class token.
    """
    import torch

    with torch.inference_mode(), AttentionRecorder(model) as recorder:
        model(x)
        return recorder.rollout(residual=residual)


def supports_rollout(model: nn.Module) -> bool:
    """Whether the model is a timm vision transformer with plain attention that decides by its class token.

    Registers, layer scale and late fusion of such models are no obstacle.
    """
    from cadx.models.fusion import LateFusion

    if isinstance(model, LateFusion):
        return all(_is_plain(branch) for branch in model.branches)
    return _is_plain(model)


def _is_plain(model: nn.Module) -> bool:
    from timm.layers import Attention

    blocks = getattr(model, "blocks", None)
    if blocks is None or getattr(model, "cls_token", None) is None or getattr(model, "rope", None) is not None:
        return False
    if getattr(model, "global_pool", "token") != "token":
        return False
    return all(type(getattr(block, "attn", None)) is Attention for block in blocks)


class AttentionRecorder:
    """Records queries and keys of every block while it is entered; leaves the model as it was.

    Use it around an ordinary forward pass to get logits and map from one pass.
    """

    def __init__(self, model: nn.Module) -> None:
        if not supports_rollout(model):
            raise InputError(
                f"{type(model).__name__} has no class token with plain attention, so rollout is not defined for it; "
                "choose a vision transformer."
            )
        from cadx.models.fusion import LateFusion

        networks = list(model.branches) if isinstance(model, LateFusion) else [model]
        self._networks = [_Recorded(network) for network in networks]

    def __enter__(self) -> AttentionRecorder:
        for network in self._networks:
            network.watch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for network in self._networks:
            network.leave()

    def rollout(self, *, residual: bool = True) -> Tensor:
        """(B, patches) of the last forward pass; see :func:`rollout`."""
        import torch

        rows = self.rollouts(residual=residual)
        if len(rows) == 1:
            return rows[0]
        with torch.inference_mode():
            return torch.stack([row / row.mean(dim=1, keepdim=True) for row in rows]).mean(dim=0)

    def rollouts(self, *, residual: bool = True) -> list[Tensor]:
        """(B, patches) for each branch of late fusion, in the channels' order; for another model only one."""
        return [network.rollout(residual) for network in self._networks]


class _Recorded:
    """One network's queries and keys."""

    def __init__(self, model: nn.Module) -> None:
        self._model: Any = model
        self._handles: list[Any] = []
        self._qkv: dict[int, Tensor] = {}

    def watch(self) -> None:
        for index, block in enumerate(self._model.blocks):
            self._handles.append(block.attn.qkv.register_forward_hook(self._keep(index)))

    def leave(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def rollout(self, residual: bool) -> Tensor:
        import torch

        if len(self._qkv) != len(self._model.blocks):
            raise RuntimeError("rollout needs a forward pass while the recorder is entered")
        device = next(iter(self._qkv.values())).device.type
        with torch.inference_mode(), torch.autocast(device, enabled=False):
            row = None
            for index in range(len(self._model.blocks) - 1, -1, -1):
                attention = self._mean_attention(index)
                if row is None:
                    row = torch.zeros_like(attention[:, 0])
                    row[:, 0] = 1.0
                moved = torch.bmm(row[:, None], attention)[:, 0]
                row = 0.5 * (moved + row) if residual else moved
            assert row is not None
            return row[:, self._model.num_prefix_tokens :]

    def _keep(self, index: int) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self._qkv[index] = output

        return hook

    def _mean_attention(self, index: int) -> Tensor:
        """(B, N, N) float32: softmax(q k^T / sqrt(d)) averaged over the heads."""
        attn = self._model.blocks[index].attn
        qkv = self._qkv[index]
        batch, tokens, _ = qkv.shape
        q, k, _ = qkv.reshape(batch, tokens, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = attn.q_norm(q).float(), attn.k_norm(k).float()
        return ((q * attn.scale) @ k.transpose(-2, -1)).softmax(dim=-1).mean(dim=1)
