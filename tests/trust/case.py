"""What is tried, and what came of it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

NO_LIST = {"case", "checkout", "test_cases"}


@dataclass(frozen=True)
class Outcome:
    """What a command came to.

    code: its exit status; None if it had not ended within `Case.seconds`.
    output: what it printed, on both streams.
    folder: its working directory, with what it left there.
    """

    code: int | None
    output: str
    folder: Path


@dataclass(frozen=True)
class Case:
    """One input, with what is right.

    kind: what goes wrong with inputs like it, a few words.
    name: what is tried; no other case has this name.
    prepare: writes the input into an empty folder, the working directory of the run; returns the command:
        a script of the project ("tune/search.py"), "-m" and a module, or "-c" and Python code, with its
        arguments. Or a list of commands: they run in turn up to the first that fails, and their outputs are
        joined.
    right: whether an outcome is right.
    test: the test that looks closest at this kind, as pytest names it; None: the case itself.
    seconds: limit of each command.
    """

    kind: str
    name: str
    prepare: Callable[[Path], Sequence[str] | Sequence[Sequence[str]]]
    right: Callable[[Outcome], bool]
    test: str | None = None
    seconds: float = 60


def collect_cases() -> list[Case]:
    """Collect the cases of every area. Raises ValueError if two have the same name."""
    package = importlib.import_module("tests.trust")
    areas = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    cases = [
        case
        for area in areas
        if area not in NO_LIST
        for case in importlib.import_module(f"tests.trust.{area}").CASES
    ]
    names = [case.name for case in cases]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"cases with the same name: {', '.join(sorted(twice))}")
    return cases
