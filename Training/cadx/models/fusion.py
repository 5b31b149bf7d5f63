"""Late fusion: every channel has a network of its own, and one linear layer sees what all of them found.

Import it inside functions: it needs torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cadx.errors import InputError


class LateFusion(nn.Module):
    """Takes (B, channels, H, W[, D]); gives (B, classes) logits.

    Parameters
    ----------
    branches
        One network a channel, which takes that channel alone and gives (B, features): the class token of a vision
        transformer, the pooled features of a convolutional network.
    classes
        Number of outputs.
    """

    def __init__(self, branches: list[nn.Module], classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        width = sum(_width(branch) for branch in branches)
        self.head = nn.Linear(width, classes)
        self.num_classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """The features of all channels beside each other, through the head."""
        found = [branch(x[:, index : index + 1]) for index, branch in enumerate(self.branches)]
        return self.head(torch.cat(found, dim=1))

    def forward_features(self, x: Tensor) -> Tensor:
        """The branches' last features at each place beside each other: tokens (B, N, features) or maps as theirs are.

        Of networks of timm's alone, as are all names below.
        """
        found = [branch.forward_features(x[:, i : i + 1]) for i, branch in enumerate(self._networks)]
        if not all(torch.is_tensor(features) for features in found):
            raise InputError("The network's features are no single map of places; choose another network.")
        return torch.cat(found, dim=self._features_at(found[0]))

    def forward_head(self, features: Tensor) -> Tensor:
        """Logits (B, classes) of :meth:`forward_features`."""
        widths = [int(branch.num_features) for branch in self._networks]
        parts = features.split(widths, dim=self._features_at(features))
        pooled = [branch.forward_head(part) for branch, part in zip(self._networks, parts, strict=True)]
        return self.head(torch.cat(pooled, dim=1))

    @property
    def num_features(self) -> int:
        """At each place, of all branches together."""
        return sum(int(branch.num_features) for branch in self._networks)

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches', of vision transformers."""
        return int(self._networks[0].num_prefix_tokens)

    @property
    def patch_embed(self) -> Any:
        """The first branch's, whose grid is that of all."""
        return self._networks[0].patch_embed

    @property
    def output_fmt(self) -> str:
        """Axis order of the branches' maps, "NCHW" where they do not say."""
        return str(getattr(self._networks[0], "output_fmt", "NCHW"))

    @property
    def _networks(self) -> list[Any]:
        return list(self.branches)

    def _features_at(self, features: Tensor) -> int:
        """Which axis holds the features."""
        return features.ndim - 1 if features.ndim == 3 or self.output_fmt == "NHWC" else 1


def _width(branch: Any) -> int:
    """Features of a network without head."""
    return int(getattr(branch, "head_hidden_size", None) or branch.num_features)
