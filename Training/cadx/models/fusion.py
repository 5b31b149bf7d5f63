"""Late fusion: every channel has a network of its own, and one linear layer sees what all of them found.

Import it inside functions: it needs torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


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


def _width(branch: Any) -> int:
    """Features of a network without head."""
    return int(getattr(branch, "head_hidden_size", None) or branch.num_features)
