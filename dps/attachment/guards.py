"""Checks that turn a wrong use of a method into an error, and notes of what methods did once."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

from dps.coverage import MIN_COVERED_SHARE, CoveredWeight, get_model_family, measure_coverage
from dps.distributed import is_split
from dps.lazy import nn, torch
from dps.ranges import is_number
from dps.wording import format_share

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from torch.utils.weak import WeakIdKeyDictionary

SAMPLED = 64  # elements of a weight that are compared to tell whether it is as it was


def require_whole_steps(max_steps: float) -> int:
    """Return max_steps as an int. Raises ValueError unless it is a whole number of at least 1."""
    if not (is_number(max_steps) and max_steps >= 1 and float(max_steps).is_integer()):
        raise ValueError(
            f"max_steps must be at least 1, a whole number of optimizer steps, but got {max_steps!r}; "
            f"a framework that knows no end of the run needs its epochs or steps first"
        )
    return int(max_steps)


def require_whole_weights(
    method: str, model: nn.Module, parameters: list[nn.Parameter], takes_shards: bool
) -> None:
    """Raise ValueError if the weights are split over devices: FSDP, tensor parallelism, ZeRO 3.

    takes_shards: whether fully_shard may have split them.
    """
    kinds = {kind.__name__ for module in model.modules() for kind in type(module).__mro__}
    if "FullyShardedDataParallel" in kinds:
        split = "FullyShardedDataParallel"
    elif not takes_shards and any(map(is_split, parameters)):
        split = "DTensor (fully_shard, tensor parallelism)"
    elif any(parameter.numel() == 0 for parameter in parameters):
        split = "ZeRO 3"
    else:
        return
    raise ValueError(
        f"attach: {method} needs whole weights, but those of this model are split over devices by {split}; "
        f"use DistributedDataParallel, or one device"
    )


def require_same_parameters(
    method: str, optimizer: Optimizer, parameters: dict[int, tuple[nn.Parameter, torch.Size]]
) -> None:
    """Raise ValueError unless the optimizer still has these parameters, by their id, in these shapes."""
    current = {id(p): p.shape for group in optimizer.param_groups for p in group["params"]}
    if any(current.get(key) != shape for key, (_, shape) in parameters.items()):
        raise ValueError(
            f"{method}: the optimizer has other parameters than at attach, replaced or split (FSDP) since; "
            f"attach once the model is where it trains"
        )


def require_coverage(method: str, model: nn.Module, covered: list[CoveredWeight]) -> None:
    """Raise ValueError if no weight is covered; warn below MIN_COVERED_SHARE of the trained parameters."""
    if not covered:
        raise ValueError(
            f"{method} needs at least one trained linear weight, but {type(model).__name__} has none among "
            f"the optimizer's parameters"
        )
    if (share := measure_coverage(model, covered)) < MIN_COVERED_SHARE:
        warnings.warn(
            f"{method}: its linear weights are only {format_share(share, 1)} of the trained parameters of "
            f"{get_model_family(model)!r} outside the embeddings; all others are trained as ever",
            stacklevel=2,
        )


def refuse_join(method: str) -> None:
    """Raise ValueError within the forward pass of a DistributedDataParallel whose ranks may step apart."""
    wrapper = getattr(nn.parallel.DistributedDataParallel, "_active_ddp_module", None)
    join = getattr(wrapper, "_join_config", None)
    if join is not None and join.enable and not join.throw_on_early_termination:
        raise ValueError(
            f"{method}: under DDP.join ranks take different numbers of steps and would draw different masks; "
            f"give every rank as many batches (drop_last), or pass throw_on_early_termination=True"
        )


@cache
def _get_values_before() -> WeakIdKeyDictionary:
    """Return, by parameter and method, a sample of the value before attach changed it."""
    return torch.utils.weak.WeakIdKeyDictionary()


def may_change_weights(method: str, parameters: list[nn.Parameter]) -> bool:
    """Return whether an attach may change pre-trained weights for good, and note that it does.

    It may not, with a warning, if an earlier attach of the method did so already and the weights do not have
    their old values again.
    """
    largest = max(parameters, key=lambda parameter: parameter.numel())
    before = _get_values_before().setdefault(largest, {})
    if method in before and not torch.equal(before[method], _sample(largest)):
        warnings.warn(
            f"{method}: an earlier attach changed these weights already, and they are left as they are now; "
            f"load the pre-trained weights again for another run",
            stacklevel=2,
        )
        return False
    before[method] = _sample(largest)
    return True


def _sample(parameter: nn.Parameter) -> Tensor:
    return parameter.detach().flatten()[:SAMPLED].cpu().clone()


def require_fitting_state(
    method: str, state: dict[str, Any] | None, hyper_parameters: dict[str, Any]
) -> dict[str, Any]:
    """Return the state. Raises ValueError unless it was saved with this method and these hyper-parameters."""
    if state is None or state["name"] != method:
        saved = "no method" if state is None else f"the method {state['name']!r}"
        raise ValueError(
            f"load_state_dict: the state holds {saved}, but {method!r} is attached; "
            f"attach the method that the state was saved with"
        )
    own = state.get("hyper", {})
    differing = [key for key, value in hyper_parameters.items() if own.get(key, value) != value]
    if differing:
        saved, attached = (", ".join(f"{k}={v[k]!r}" for k in differing) for v in (own, hyper_parameters))
        raise ValueError(
            f"load_state_dict: {method} was saved with {saved}, attached with {attached}; "
            f"attach it as the state was saved"
        )
    return state
