"""What the tests of single methods share."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from dps.methods import Attachment, Method, attachment_of

STEPS = 10
RATE = 0.1


def put(
    method: Method,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    *,
    seed: int = 7,
    max_steps: int = STEPS,
    max_grad_norm: float | None = None,
) -> tuple[Optimizer, Attachment]:
    """The method on the model, with plain SGD unless another optimizer is given; and what it keeps."""
    torch.manual_seed(seed)
    optimizer = SGD(model.parameters(), RATE) if optimizer is None else optimizer
    method.attach(model, optimizer, max_steps, max_grad_norm)
    attachment = attachment_of(optimizer)
    assert attachment is not None
    return optimizer, attachment


def grads(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the gradients that there are, by name."""
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain_grads(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradients of the model's own loss; `.grad` is left alone."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    parameters = [p for p in model.parameters() if p.requires_grad]
    return dict(zip(names, torch.autograd.grad(model(**batch).loss, parameters), strict=True))


def give_grads(model: nn.Module, value: float | None = None, seed: int = 0) -> dict[str, Tensor]:
    """Gradients in place of a backward pass, all `value` or random; returns a copy."""
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        drawn = torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
        parameter.grad = drawn if value is None else torch.full_like(parameter, value)
    return grads(model)


def shift(parameters: Iterable[nn.Parameter], seed: int = 0) -> None:
    """Move every weight a little, as training would."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
            parameter += 0.05 * noise


def rows_of(model: nn.Module) -> list[int]:
    """Grows by the rows of every batch that passes through the encoder in training."""
    seen: list[int] = []

    def count(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        if module.training:
            seen.append(len(args[0] if args else kwargs["input_ids"]))

    model.base_model.register_forward_pre_hook(count, with_kwargs=True)  # type: ignore[operator, union-attr]
    return seen
