"""Search spaces: which hyper-parameters a method has, on which range and scale.

Ranges follow the size of the model and the number of steps (README, "What is searched"):
the peak learning rate shrinks as models grow; the shortest staging interval is a few steps,
so short runs, those of small training sets, get a higher floor of update_ratio.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import optuna

from dps.errors import InputError

LEARNING_RATES = (  # (up to so many parameters, low, high)
    (50e6, 3e-5, 5e-4),
    (200e6, 1e-5, 1e-4),
    (float("inf"), 5e-6, 5e-5),
)
SHORTEST_INTERVAL = 3  # steps
METHODS = ("dps-dense", "dps-mix", "vanilla")


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, drawn on a linear or a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """A value for `trial`."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", log scale" if self.log else "")


@dataclass(frozen=True)
class Choice:
    """One of several names."""

    values: tuple[str, ...]

    def suggest(self, trial: optuna.Trial, name: str) -> str:
        """A value for `trial`."""
        return str(trial.suggest_categorical(name, self.values))

    def __str__(self) -> str:
        return " | ".join(self.values)


@dataclass(frozen=True)
class Space:
    """What is searched: for each method the parameters that it has; shared names are shared."""

    methods: tuple[str, ...]
    parameters: dict[str, Range | Choice]
    of_dps: tuple[str, ...]

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """A configuration: "method" and its hyper-parameters. DPS's own exist only where DPS runs."""
        method = self.methods[0]
        if len(self.methods) > 1:
            method = Choice(self.methods).suggest(trial, "method")
        names = [name for name in self.parameters if name not in self.of_dps or method.startswith("dps-")]
        return {"method": method, **{name: self.parameters[name].suggest(trial, name) for name in names}}

    def describe(self) -> dict[str, Any]:
        """For search.json and for telling two spaces apart."""
        parameters = {
            name: {"kind": type(value).__name__.lower(), **asdict(value)}
            for name, value in self.parameters.items()
        }
        return {"method": list(self.methods), **parameters}


def check(methods: tuple[str, ...], sampler: str = "tpe") -> None:
    """Raises InputError for a method that there is none of, and for a sampler that cannot propose them."""
    if unknown := [name for name in methods if name not in METHODS]:
        raise InputError(f"--method: there is no {', '.join(unknown)!r}; choose among {', '.join(METHODS)}")
    if sampler == "qmc" and len(methods) > 1:
        raise InputError("--sampler: qmc cannot search several methods at once; use tpe or random")


def build(methods: tuple[str, ...], freeze: str, model_parameters: int, max_steps: int) -> Space:
    """The default space. max_steps: optimizer steps of a full trial. Raises InputError as `check` does."""
    check(methods)
    low, high = next((low, high) for most, low, high in LEARNING_RATES if model_parameters < most)
    parameters: dict[str, Range | Choice] = {"learning_rate": Range(low, high, log=True)}
    of_dps: tuple[str, ...] = ()
    if any(name.startswith("dps-") for name in methods):
        of_dps = ("selection_ratio", "update_ratio", "freeze")
        parameters["selection_ratio"] = Range(0.2, 0.9)
        parameters["update_ratio"] = _update_ratio(max_steps)
        if freeze != "gradient":  # the methods' own default
            parameters["freeze"] = Choice(("gradient", "update") if freeze == "search" else (freeze,))
    return Space(methods, parameters, of_dps)


def _update_ratio(max_steps: int) -> Range:
    if max_steps < 4:
        raise InputError(
            f"--max-steps: DPS needs at least 4 steps for its two stages, but a trial has {max_steps}"
        )
    floor = min(0.2, max(0.01, SHORTEST_INTERVAL / max_steps))
    return Range(max(floor, 1 / max_steps), 0.25, log=True)
