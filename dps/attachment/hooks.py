"""Hooks of modules that their copies do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class ModuleHook:
    """Hook of a module of an attached model.

    A deep copy of the module, or a pickle of it, gets a hook that does nothing: it belongs to no attachment.

    act: called with the arguments of the hook.
    copied: called with the memo of a deep copy, after the module's parameters were copied.
    pickled: called before the module is pickled; may raise.
    """

    def __init__(
        self,
        act: Callable[..., Any],
        copied: Callable[[dict[int, Any]], None] = lambda memo: None,
        pickled: Callable[[], None] = lambda: None,
    ) -> None:
        self.act, self.copied, self.pickled = act, copied, pickled

    def __call__(self, *args: Any) -> Any:
        return self.act(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        self.copied(memo)
        return do_nothing

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        self.pickled()
        return make_idle_hook, ()


def do_nothing(*args: Any) -> None:
    """Stand in for a hook in a copy of its module."""


def make_idle_hook() -> Callable[..., None]:
    """Return the hook of an unpickled module."""
    return do_nothing
