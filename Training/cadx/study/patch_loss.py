"""Cross-entropy on the case, and where lesion masks are at hand on the patches of a vision transformer too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cadx.errors import InputError
from cadx.study.spec import TrainingSpec

if TYPE_CHECKING:
    from torch import Tensor

LEAST_COVER = 0.1
LESION_PATCH_WEIGHT = 10.0


def case_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None, smoothing: float) -> Tensor:
    """Cross-entropy of logits (B, classes), at least in fp32, and labels (B,); ``class_weights`` (classes,) or none."""
    import torch

    exact = logits if logits.dtype == torch.float64 else logits.float()
    weights = None if class_weights is None else class_weights.to(exact.dtype)
    return torch.nn.functional.cross_entropy(exact, labels, weight=weights, label_smoothing=smoothing)


class PatchLoss:
    """The training loss, with label smoothing and class weights.

    With ``lesion_weight`` and lesion masks every patch token also names the class of the lesion that covers at least a
    tenth of its patch, or the first class where there is none. Lesion patches are few, so they count ten times. The
    linear layer for it belongs to the loss, not to the model.

    Raises
    ------
    InputError
        If a lesion weight is asked for and there are no masks, or the model has no patch tokens.
    """

    def __init__(self, model: Any, spec: TrainingSpec, class_weights: list[float] | None, masked: bool) -> None:
        import torch

        self.active = spec.lesion_weight > 0
        self._model: Any = model
        self._spec = spec
        device = next(model.parameters()).device
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, device=device)
        if not self.active:
            return
        if not masked:
            raise InputError("A lesion weight needs lesion masks; add a column 'lesion' to the table of cases.")
        if not hasattr(self._model, "num_prefix_tokens"):
            raise InputError("A lesion weight needs a vision transformer; choose another model or leave it out.")
        classes = int(self._model.num_classes)
        self.head = torch.nn.Linear(self._model.embed_dim, classes, device=device)
        self._weights = torch.tensor([1.0] + [LESION_PATCH_WEIGHT] * (classes - 1), device=device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For the optimiser, beside the model's own."""
        return [{"params": list(self.head.parameters()), "weight_decay": 0.0}] if self.active else []

    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of inputs (B, C, ...), with the lesion mask as last channel where active, and labels (B,)."""
        from torch.nn.functional import cross_entropy

        if not self.active:
            return self._of_case(self._model(inputs), labels)
        tokens = self._model.forward_features(inputs[:, :-1])
        case = self._of_case(self._model.forward_head(tokens), labels)
        patches = self.head(tokens[:, self._model.num_prefix_tokens :]).float()
        target = self._patch_labels(inputs[:, -1:], labels)
        local = cross_entropy(patches.flatten(0, 1), target.flatten(), weight=self._weights)
        return case + self._spec.lesion_weight * local

    def _of_case(self, logits: Tensor, labels: Tensor) -> Tensor:
        return case_loss(logits, labels, self.class_weights, self._spec.label_smoothing)

    def _patch_labels(self, masks: Tensor, labels: Tensor) -> Tensor:
        """(B, patches): the case's class where the mask covers enough of the patch, else the first class."""
        from torch.nn.functional import avg_pool2d

        cover = avg_pool2d(masks, self._model.patch_embed.patch_size).flatten(1)
        return (cover >= LEAST_COVER).long() * labels[:, None]
