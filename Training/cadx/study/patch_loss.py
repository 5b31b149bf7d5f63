"""Cross-entropy on the case, and where lesion masks are at hand on the patches of a vision transformer too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cadx.errors import InputError
from cadx.study.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from cadx.study.trainer import CellTensor

LEAST_COVER = 0.1
LESION_PATCH_WEIGHT = 10.0


class PatchLoss:
    """The training loss.

    With ``recipe.lesion_weight`` and lesion masks every patch token also names the class of the lesion that
    covers at least a tenth of its patch, or the first class where there is none. Lesion patches are few, so
    they count ten times. The linear layer for it belongs to the loss, not to the model.

    Raises
    ------
    InputError
        If a lesion weight is asked for and there are no masks, or the model has no patch tokens.
    """

    def __init__(self, model: Any, recipe: Recipe, cases: CellTensor) -> None:
        import torch

        self.active = recipe.lesion_weight > 0
        self._model: Any = model
        self._recipe = recipe
        if not self.active:
            return
        if cases.lesions is None:
            raise InputError("A lesion weight needs lesion masks; add a column 'lesion' to the table of cases.")
        if not hasattr(self._model, "num_prefix_tokens"):
            raise InputError("A lesion weight needs a vision transformer; choose another model or leave it out.")
        device = next(self._model.parameters()).device
        classes = int(self._model.num_classes)
        self._head = torch.nn.Linear(self._model.embed_dim, classes, device=device)
        self._weights = torch.tensor([1.0] + [LESION_PATCH_WEIGHT] * (classes - 1), device=device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For the optimiser, beside the model's own."""
        return [{"params": list(self._head.parameters()), "weight_decay": 0.0}] if self.active else []

    def __call__(self, grids: Tensor, labels: Tensor) -> Tensor:
        """The loss of grids (B, C, H, W), with the mask as last channel where active, and labels (B,)."""
        from torch.nn.functional import cross_entropy

        smoothing = self._recipe.label_smoothing
        if not self.active:
            return cross_entropy(self._model(grids).float(), labels, label_smoothing=smoothing)
        tokens = self._model.forward_features(grids[:, :-1])
        case = cross_entropy(self._model.forward_head(tokens).float(), labels, label_smoothing=smoothing)
        patches = self._head(tokens[:, self._model.num_prefix_tokens :]).float()
        target = self._patch_labels(grids[:, -1:], labels)
        local = cross_entropy(patches.flatten(0, 1), target.flatten(), weight=self._weights)
        return case + self._recipe.lesion_weight * local

    def _patch_labels(self, masks: Tensor, labels: Tensor) -> Tensor:
        """(B, patches): the case's class where the mask covers enough of the patch, else the first class."""
        from torch.nn.functional import avg_pool2d

        cover = avg_pool2d(masks, self._model.patch_embed.patch_size).flatten(1)
        return (cover >= LEAST_COVER).long() * labels[:, None]
