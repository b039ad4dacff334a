"""PyTorch, imported where it is first used.

Plans, reports and the driver of a search name methods and models, but compute with none: without the 1.2 s of
CPU that `import torch` takes they start at once. Modules take `torch`, `nn` and `safetensors_torch` from
here, and import their types under TYPE_CHECKING. May import nothing of the project; imported by dps and tune.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    import safetensors.torch as safetensors_torch
    import torch
    from torch import nn

__all__ = ["nn", "safetensors_torch", "torch", "without_gradients"]

P = ParamSpec("P")
R = TypeVar("R")


class LazyModule(ModuleType):
    """Module that is imported when an attribute of it is first read; what was read stays at hand."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)
        return value


if not TYPE_CHECKING:
    torch, nn = LazyModule("torch"), LazyModule("torch.nn")
    safetensors_torch = LazyModule("safetensors.torch")


def without_gradients(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that torch records no gradients in it."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.no_grad():
            return function(*args, **kwargs)

    return run
