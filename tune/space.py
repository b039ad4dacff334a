"""Search spaces: the learning rate, and for each method what its file in `dps.methods` publishes.

The learning rate's range follows the size of the model (README, "What is searched"): the best peak
shrinks as models grow.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import optuna

from dps.errors import InputError
from dps.methods import METHODS
from dps.ranges import Choice, Domain, Range

LEARNING_RATES = (  # (up to so many parameters, low, high)
    (50e6, 3e-5, 5e-4),
    (200e6, 1e-5, 1e-4),
    (float("inf"), 5e-6, 5e-5),
)


def draw(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    """A value for `trial`."""
    if isinstance(domain, Range):
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
    return trial.suggest_categorical(name, domain.values)


def _at(domain: Domain, share: float) -> Any:
    """The value at a share in [0, 1) of the domain."""
    if isinstance(domain, Choice):
        return domain.values[int(share * len(domain.values))]
    if domain.log:
        return float(domain.low * (domain.high / domain.low) ** share)
    return domain.low + share * (domain.high - domain.low)


@dataclass(frozen=True)
class Space:
    """What is searched. parameters: by the name in the study. names: for each method, its hyper-parameters
    and their names in the study, which are the same but where two methods differ on a range."""

    methods: tuple[str, ...]
    parameters: dict[str, Domain]
    names: dict[str, dict[str, str]]

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """A configuration: "method", "learning_rate" and the method's own hyper-parameters."""
        method = self.methods[0]
        if len(self.methods) > 1:
            method = draw(trial, "method", Choice(self.methods))
        hyper = {key: draw(trial, name, self.parameters[name]) for key, name in self.names[method].items()}
        return {"method": method, **hyper}

    def from_study(self, values: dict[str, Any]) -> dict[str, Any]:
        """The inverse of `in_study`: a configuration from values in the names of the study."""
        method = values.get("method", self.methods[0])
        return {"method": method, **{key: values[name] for key, name in self.names[method].items()}}

    def in_study(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """A configuration in the names of the study."""
        method = configuration["method"]
        hyper = {name: configuration[key] for key, name in self.names[method].items()}
        return {"method": method, **hyper}

    def grid(self) -> dict[str, list[Any]]:
        """Every value of every parameter. Raises InputError where one has a range, or there are several
        methods."""
        for name, domain in self.parameters.items():
            if not isinstance(domain, Choice) or len(self.methods) > 1:
                raise InputError(
                    f"--sampler: grid needs a list for every parameter of one method, but {name} is "
                    f"{domain}; give --space"
                )
        return {name: list(domain.values) for name, domain in self.parameters.items()}  # type: ignore[union-attr]

    def latin(self, count: int, seed: int) -> list[dict[str, Any]]:
        """A Latin hypercube of `count` configurations, in the names of the study: each range is cut into
        `count` parts and each part is used once, values of a list in turn. A parameter's values depend on
        its name, `count` and `seed` alone, so that methods are given the same learning rates.

        Source: McKay, Beckman and Conover, Technometrics 1979.
        """
        columns = {}
        for name, domain in self.parameters.items():
            rng = np.random.default_rng([seed, *name.encode()])
            shares = (rng.permutation(count) + rng.random(count)) / count
            columns[name] = [_at(domain, float(share)) for share in shares]
        return [{name: column[number] for name, column in columns.items()} for number in range(count)]

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
    if sampler in ("qmc", "latin") and len(methods) > 1:
        raise InputError(f"--sampler: {sampler} cannot search several methods at once; use tpe or random")


def build(
    methods: tuple[str, ...],
    freeze: str,
    model_parameters: int,
    max_steps: int,
    layers: int = 0,
    named: dict[str, Any] | None = None,
) -> Space:
    """The default space, or what `named` puts in its place. max_steps: optimizer steps of a full trial;
    layers: of the model, 0 where it does not say; named: by hyper-parameter a value, a list of values, or
    low, high and log. Raises InputError as `check` does, and for what no method can take.
    """
    check(methods)
    low, high = next((low, high) for most, low, high in LEARNING_RATES if model_parameters < most)
    given = {key: _domain(key, value) for key, value in (named or {}).items()}
    rate = given.pop("learning_rate", Range(low, high, log=True))
    parameters: dict[str, Domain] = {"learning_rate": rate}
    names: dict[str, dict[str, str]] = {}
    for method in methods:
        names[method] = {"learning_rate": "learning_rate"}
        for key, domain in _own(method, freeze, max_steps, layers, given).items():
            name = key if parameters.get(key, domain) == domain else f"{method}.{key}"
            parameters[name], names[method][key] = domain, name
    if unused := sorted(set(given) - {key for own in names.values() for key in own}):
        raise InputError(f"--space: {', '.join(methods)} has no hyper-parameter {unused[0]!r}")
    return Space(methods, parameters, names)


def _own(
    method: str, freeze: str, max_steps: int, layers: int, given: dict[str, Domain]
) -> dict[str, Domain]:
    """The hyper-parameters of a method alone."""
    known = {field.name for field in fields(METHODS[method])}
    mine = {key: domain for key, domain in given.items() if key in known}
    for key, domain in mine.items():
        _try(method, key, domain)
    domains = METHODS[method].space(max_steps, layers)
    if freeze != "gradient" and "freeze" in known:
        domains["freeze"] = Choice(("gradient", "update") if freeze == "search" else (freeze,))
    return domains | mine


def _domain(key: str, value: Any) -> Domain:
    if isinstance(value, dict):
        try:
            low, high = _number(value["low"]), _number(value["high"])
        except KeyError as error:
            raise InputError(f"--space: {key} needs low and high, but has no {error.args[0]}") from None
        if not isinstance(low, float | int) or not isinstance(high, float | int) or not low < high:
            raise InputError(f"--space: {key} needs numbers with low < high, but got {value}")
        return Range(float(low), float(high), bool(value.get("log", False)))
    values = value if isinstance(value, list) else [value]
    if not values:
        raise InputError(f"--space: {key} has an empty list; give at least one value")
    return Choice(tuple(_number(one) for one in values))


def _number(value: Any) -> Any:
    """YAML reads 1e-5 as text: a number after all."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _try(method: str, key: str, domain: Domain) -> None:
    """Raises InputError where the method refuses a value of the domain."""
    for value in (domain.low, domain.high) if isinstance(domain, Range) else domain.values:
        try:
            METHODS[method](**{key: value})
        except (ValueError, TypeError) as error:
            raise InputError(f"--space: {method}: {error}") from None
