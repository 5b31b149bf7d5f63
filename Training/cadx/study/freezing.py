"""Which layers learn: all, the last alone, or step by step from the last to the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cadx.models.parts import layer_groups
from cadx.study.spec import TransferSpec

if TYPE_CHECKING:
    from torch import nn


class Freezing:
    """Freezes a network's layers for a way of transfer; ``stage`` counts the groups that learn beyond the head.

    In "gradual" a further group follows whenever the metric has stood still for ``patience`` checks, and training
    ends where a group has brought nothing (protocols: "fine" transfer).
    """

    def __init__(self, model: nn.Module, spec: TransferSpec) -> None:
        self._model = model
        self._spec = spec
        self._groups = [] if spec.mode == "all" else layer_groups(model)
        self.stage = 0
        self._stood_still = 0
        self._helped = False
        self._apply()

    def train_mode(self) -> None:
        """Training mode, except for the running statistics of layers that do not learn."""
        self._model.train()
        for module in self._model.modules():
            own = list(module.parameters(recurse=False))
            if hasattr(module, "running_mean") and own and not any(p.requires_grad for p in own):
                module.eval()

    def advance(self, improved: bool) -> bool:
        """After a check that was or was not the best so far: thaw a further group where it is due.

        Returns whether training is over. Each group has ``patience`` checks of its own to bring something.
        """
        self._stood_still = 0 if improved else self._stood_still + 1
        self._helped |= improved
        if self._spec.mode != "gradual" or self._stood_still < self._spec.patience:
            return False
        if not self._helped or self.stage + 1 >= len(self._groups):
            return True
        self.stage, self._stood_still, self._helped = self.stage + 1, 0, False
        self._apply()
        return False

    def state(self) -> dict[str, int]:
        """For a checkpoint."""
        return {"stage": self.stage, "stood_still": self._stood_still, "helped": int(self._helped)}

    def restore(self, state: dict[str, int]) -> None:
        """From a checkpoint."""
        self.stage, self._stood_still, self._helped = state["stage"], state["stood_still"], bool(state["helped"])
        self._apply()

    def _apply(self) -> None:
        if not self._groups:
            return
        learning = {name for group in self._groups[len(self._groups) - 1 - self.stage :] for name in group}
        for name, parameter in self._model.named_parameters():
            parameter.requires_grad_(name in learning)
