"""Cross-entropy on the case, and where lesion masks are at hand on the places of the network's last feature map too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cadx.errors import InputError
from cadx.study.spec import TrainingSpec

if TYPE_CHECKING:
    from torch import Tensor

LEAST_COVER = 0.1
LESION_PLACE_WEIGHT = 10.0
NEEDED = ("forward_features", "forward_head", "num_features")


def case_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None, smoothing: float) -> Tensor:
    """Cross-entropy of logits (B, classes), at least in fp32, and labels (B,); ``class_weights`` (classes,) or none."""
    import torch

    exact = logits if logits.dtype == torch.float64 else logits.float()
    weights = None if class_weights is None else class_weights.to(exact.dtype)
    return torch.nn.functional.cross_entropy(exact, labels, weight=weights, label_smoothing=smoothing)


class PatchLoss:
    """The training loss, with label smoothing and class weights.

    With ``lesion_weight`` and lesion masks each place of the last feature map (a transformer's patch, a cell of a
    convolutional network's map) also names the class of the lesion that covers at least a tenth of it, or that there
    is none. Places with a lesion are few, so they count ten times. The linear layer for it belongs to the loss, not
    to the model.

    Raises
    ------
    InputError
        If a lesion weight is asked for and there are no masks, or the model's features have no places.
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
        networks = getattr(model, "branches", None) or [model]
        if not all(hasattr(network, needed) for network in networks for needed in NEEDED):
            raise InputError("A lesion weight needs a network of timm's; choose another model or leave it out.")
        outcomes = 1 + int(self._model.num_classes)
        self.head = torch.nn.Linear(int(self._model.num_features), outcomes, device=device)
        self._weights = torch.tensor([1.0] + [LESION_PLACE_WEIGHT] * (outcomes - 1), device=device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For the optimiser, beside the model's own."""
        return [{"params": list(self.head.parameters()), "weight_decay": 0.0}] if self.active else []

    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of inputs (B, C, ...), with the lesion mask as last channel where active, and labels (B,)."""
        from torch.nn.functional import cross_entropy

        if not self.active:
            return self._of_case(self._model(inputs), labels)
        features = self._model.forward_features(inputs[:, :-1])
        case = self._of_case(self._model.forward_head(features), labels)
        places, grid = self._places(features)
        target = _place_labels(inputs[:, -1:], grid, labels)
        local = cross_entropy(self.head(places).float().flatten(0, 1), target.flatten(), weight=self._weights)
        return case + self._spec.lesion_weight * local

    def _of_case(self, logits: Tensor, labels: Tensor) -> Tensor:
        return case_loss(logits, labels, self.class_weights, self._spec.label_smoothing)

    def _places(self, features: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, places, features) row by row, and the grid's rows and columns."""
        if features.ndim == 3:
            return features[:, self._model.num_prefix_tokens :], self._model.patch_embed.grid_size
        if features.ndim != 4:
            raise InputError("A lesion weight needs a network whose features have places; choose another model.")
        if getattr(self._model, "output_fmt", "") != "NHWC":
            features = features.permute(0, 2, 3, 1)
        return features.flatten(1, 2), (features.shape[1], features.shape[2])


def _place_labels(masks: Tensor, grid: tuple[int, int], labels: Tensor) -> Tensor:
    """(B, places) from masks (B, 1, H, W): one more than the case's class where the mask covers enough, else 0."""
    from torch.nn.functional import interpolate

    cover = interpolate(masks, grid, mode="area").flatten(1)
    return (cover >= LEAST_COVER).long() * (1 + labels[:, None])
