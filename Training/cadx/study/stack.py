"""Several networks of one kind trained as one: their parameters stacked, each learning from batches of its own.

What one network computes does not depend on the others, and is what it would compute alone but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cadx import device
from cadx.study import speed
from cadx.study.beside import beside
from cadx.study.optimise import optimiser_for
from cadx.study.patch_loss import case_loss
from cadx.study.spec import TrainingSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

Batch = tuple["Tensor", "Tensor"]
Groups = list[dict[str, Any]]
# of what a network answers alone; more is no rounding
LARGEST_DIFFERENCE = 1e-3
NOT_TAKEN = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)


class Stack:
    """The parameters of K networks, (K, ...) each, and one optimiser over them.

    Parameters
    ----------
    models
        On the device; from then on their parameters are views of the stack's, so that each can be looked at alone.
    template
        A network of the same kind that nothing hooks into; it is changed.
    training
        The spec of all of them, as far as optimiser and loss go.
    class_weights
        (classes,) of each, or none.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        template: nn.Module,
        training: TrainingSpec,
        class_weights: Sequence[Tensor | None],
        arithmetic: tuple[device.Device, device.Precision],
    ) -> None:
        import torch
        from torch.func import stack_module_state

        self._where, self._precision = arithmetic
        self._training = training
        self._template = _bare(template, *arithmetic)
        parameters, self._buffers = stack_module_state(list(models))
        self._own(models, {name: value.detach() for name, value in parameters.items()})
        given = [weights for weights in class_weights if weights is not None]
        self._class_weights = torch.stack(given) if given else None

    def __len__(self) -> int:
        return len(next(iter(self._parameters.values())))

    def why_not(self, models: Sequence[nn.Module], given: Tensor, inputs: Tensor, labels: Tensor) -> str:
        """Why these networks cannot be trained as one; nothing where they can.

        Parameters
        ----------
        given
            (K, B, C, ...): what the networks take.
        inputs
            The same as the stack takes it, normalised.
        labels
            (K, B).
        """
        import torch

        kept = {name: value.clone() for name, value in self._buffers.items()}
        try:
            with torch.no_grad():
                self._template.eval()
                answers = self._each(self._answer, self._parameters, self._buffers, inputs)
                alone = torch.stack([model.eval()(own) for model, own in zip(models, given, strict=True)])
                self._template.train()
                self._losses(list(range(len(self))), inputs, labels)
        except torch.OutOfMemoryError:
            raise
        except NOT_TAKEN as error:
            if "random" in str(error):
                return "the network drops out at random, and would draw other numbers than alone"
            return f"the network cannot be stacked ({str(error).strip().splitlines()[0][:120]})"
        finally:
            self._template.train()
            for name, value in kept.items():
                self._buffers[name].copy_(value)
        if not torch.allclose(answers, alone, atol=LARGEST_DIFFERENCE, rtol=LARGEST_DIFFERENCE):
            return "stacked the network answers otherwise than alone"
        return ""

    def step(self, batches: Sequence[Batch], groups: Sequence[Groups], clip: float | None) -> list[Tensor]:
        """One step of each network on its own batch; returns the losses before it, unread.

        Parameters
        ----------
        batches
            Inputs (B, C, ...) and labels (B,) of each network; those of one size are computed together.
        groups
            For each network the groups that its own optimiser would have: their rates and momenta are taken.
        """
        import torch

        losses: dict[int, Tensor] = {}
        for rows in _alike([len(labels) for _, labels in batches]):
            inputs, labels = (torch.stack([batches[row][part] for row in rows]) for part in (0, 1))
            with device.autocast(self._where.kind, self._precision):
                found = self._losses(rows, inputs, labels)
            found.sum().backward()
            losses |= zip(rows, found.detach().unbind(), strict=True)
        if clip is not None:
            self._clip(clip)
        self._update(groups)
        self._optimiser.zero_grad(set_to_none=True)
        return [losses[row] for row in range(len(batches))]

    def keep(self, models: Sequence[nn.Module], rows: Sequence[int]) -> None:
        """Go on with the networks of these rows alone, ``models``."""
        chosen = self._index(rows)
        state = self._optimiser.state_dict()
        state["state"] = {
            number: {name: value[chosen] if value.ndim else value for name, value in own.items()}
            for number, own in state["state"].items()
        }
        self._buffers = {name: value[chosen] for name, value in self._buffers.items()}
        if self._class_weights is not None:
            self._class_weights = self._class_weights[chosen]
        self._own(models, {name: value.detach()[chosen] for name, value in self._parameters.items()})
        self._optimiser.load_state_dict(state)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "parameters": {name: value.detach() for name, value in self._parameters.items()},
            "buffers": dict(self._buffers),
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint of as many networks."""
        for kept, own in ((state["parameters"], self._parameters), (state["buffers"], self._buffers)):
            for name, value in own.items():
                value.detach().copy_(kept[name])
        self._optimiser.load_state_dict(state["optimiser"])

    def _own(self, models: Sequence[nn.Module], parameters: dict[str, Tensor]) -> None:
        """Take these values, make the networks' own views of them, and begin an optimiser."""
        self._parameters = {name: value.requires_grad_() for name, value in parameters.items()}
        for row, model in enumerate(models):
            for name, parameter in model.named_parameters():
                parameter.data = self._parameters[name].detach()[row]
            for name, buffer in model.named_buffers():
                buffer.data = self._buffers[name][row]
        self._optimiser = optimiser_for(self._template, self._training.optimiser, parameters=self._parameters)

    def _answer(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Any:
        from torch.func import functional_call

        return functional_call(self._template, (parameters, buffers), (inputs,))

    def _each(self, function: Any, *given: Any) -> Any:
        from torch.func import vmap

        return vmap(function, in_dims=tuple(None if one is None else 0 for one in given))(*given)

    def _losses(self, rows: Sequence[int], inputs: Tensor, labels: Tensor) -> Tensor:
        """(rows,) losses of these networks on inputs (rows, B, C, ...) and labels (rows, B)."""
        smoothing = self._training.label_smoothing

        def one(parameters: Any, buffers: Any, weights: Tensor | None, inputs: Tensor, labels: Tensor) -> Tensor:
            return case_loss(self._answer(parameters, buffers, inputs), labels, weights, smoothing)

        if len(rows) == len(self):
            return self._each(one, self._parameters, self._buffers, self._class_weights, inputs, labels)
        chosen = self._index(rows)
        parameters = {name: value.index_select(0, chosen) for name, value in self._parameters.items()}
        buffers = {name: value.index_select(0, chosen) for name, value in self._buffers.items()}
        weights = None if self._class_weights is None else self._class_weights[chosen]
        losses = self._each(one, parameters, buffers, weights, inputs, labels)
        for name, value in buffers.items():
            self._buffers[name].index_copy_(0, chosen, value)
        return losses

    def _clip(self, most: float) -> None:
        """The gradient of each network to a norm of at most so much, as torch clips that of one."""
        import torch

        gradients = [value.grad for value in self._parameters.values() if value.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(one.reshape(len(one), -1), dim=1) for one in gradients])
        factors = (most / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
        for one in gradients:
            one.mul_(_along(factors, one))

    def _update(self, groups: Sequence[Groups]) -> None:
        """A step of the optimiser, at each network's own rate.

        Every optimiser's step is proportional to its rate: so all take that of the highest, and give back the rest.
        """
        import torch

        rates = [own[-1]["lr"] for own in groups]
        highest = max(rates)
        for group, like in zip(self._optimiser.param_groups, groups[rates.index(highest)], strict=True):
            group |= {name: like[name] for name in ("lr", "betas", "momentum") if name in like}
        if min(rates) == highest:
            self._optimiser.step()
            return
        before = {name: value.detach().clone() for name, value in self._parameters.items()}
        self._optimiser.step()
        shares = torch.tensor([rate / highest for rate in rates], dtype=torch.float64)
        for name, value in self._parameters.items():
            share = _along(beside(shares, value, value.dtype), value)
            value.detach().copy_(torch.lerp(before[name], value.detach(), share))

    def _index(self, rows: Sequence[int]) -> Tensor:
        import torch

        return beside(torch.tensor(rows), next(iter(self._parameters.values())))


def _bare(template: nn.Module, where: device.Device, precision: device.Precision) -> nn.Module:
    """The template in training mode without memory of its own, laid out as a training's network."""
    speed.arrange(template, where, precision, every_token=False)
    modules: list[Any] = list(template.modules())
    for module in modules:
        if where.kind == "cpu" and hasattr(module, "fused_attn"):
            # torch's fused kernel for the CPU takes one network at a time
            module.fused_attn = False
    return template.to("meta").train()


def _alike(sizes: Sequence[int]) -> list[list[int]]:
    """Rows of one size together.

    >>> _alike([4, 3, 4])
    [[0, 2], [1]]
    """
    found: dict[int, list[int]] = {}
    for row, size in enumerate(sizes):
        found.setdefault(size, []).append(row)
    return list(found.values())


def _along(factors: Tensor, like: Tensor) -> Tensor:
    """(K,) as (K, 1, ...) with the dimensions of ``like``."""
    return factors.reshape(-1, *[1] * (like.ndim - 1))
