"""Parameter groups of an optimizer, split where a method treats their parameters apart."""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

PER_PARAMETER_KEYS = ("params", "param_names")  # lists of a parameter group, an item a parameter


def require_no_scheduler(method: str, optimizer: Optimizer) -> None:
    """Raise ValueError if a scheduler was made already: it holds one learning rate a group."""
    if any("initial_lr" in group for group in optimizer.param_groups):
        raise ValueError(f"{method} splits the parameter groups; attach it before making the scheduler")


def split_groups(
    optimizer: Optimizer,
    find_key: Callable[[Tensor], int],
    change: Callable[[dict[str, Any], int], dict[str, Any]],
) -> None:
    """Split each parameter group into one for each key that its parameters have, lowest key first.

    change: (group, key) -> the values of that part which differ from those of the group.
    """
    groups = []
    for group in optimizer.param_groups:
        keys = [find_key(parameter) for parameter in group["params"]]
        for key in sorted(set(keys)):
            members = [k == key for k in keys]
            split = {name: [*compress(group[name], members)] for name in PER_PARAMETER_KEYS if name in group}
            groups.append({**group, **split, **change(group, key)})
    optimizer.param_groups[:] = groups
