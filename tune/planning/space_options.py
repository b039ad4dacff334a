"""Search spaces from options: the default ranges, overridden by --space."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from dps.depth import describe_shared_layers
from dps.errors import InputError
from dps.methods import METHODS
from dps.ranges import Choice, Domain, Range
from tune.core.space import SearchSpace

LEARNING_RATE_RANGES = (  # (model parameters below, low, high)
    (50e6, 3e-5, 5e-4),
    (200e6, 1e-5, 1e-4),
    (float("inf"), 5e-6, 5e-5),
)


def check_methods_and_sampler(methods: tuple[str, ...], sampler: str = "tpe") -> None:
    """Raise InputError for an unknown method, and for a sampler that cannot propose the methods."""
    if unknown := [name for name in methods if name not in METHODS]:
        raise InputError(
            f"--method: unknown method {', '.join(unknown)!r}; choose among {', '.join(METHODS)}"
        )
    if sampler not in ("", "tpe", "random") and len(methods) > 1:
        raise InputError(f"--sampler: {sampler} cannot search several methods at once; use tpe or random")


def refuse_shared_layers(methods: tuple[str, ...], layers: int, blocks: int) -> None:
    """Raise InputError for a method that goes by depth, if the layers of the model share fewer blocks."""
    by_depth = [method for method in methods if METHODS[method].goes_by_depth]
    if by_depth and blocks < layers:
        raise InputError(f"--method: {describe_shared_layers(by_depth[0], layers, blocks)}")


def build_search_space(
    methods: tuple[str, ...],
    freeze: str,
    model_parameters: int,
    max_steps: int,
    layers: int = 0,
    named: dict[str, Any] | None = None,
) -> SearchSpace:
    """Build the default space, overridden by `named`.

    max_steps: optimizer steps of a full trial; layers: of the model, 0 if unknown; named: by hyper-parameter
    a value, a list of values, or low, high and log. Raises InputError as `check_methods_and_sampler` does,
    and for what no method can take.
    """
    check_methods_and_sampler(methods)
    low, high = next((low, high) for limit, low, high in LEARNING_RATE_RANGES if model_parameters < limit)
    given_domains = {key: _parse_domain(key, value) for key, value in (named or {}).items()}
    rate = _check_learning_rates(given_domains.pop("learning_rate", Range(low, high, log=True)))
    parameters: dict[str, Domain] = {"learning_rate": rate}
    study_names: dict[str, dict[str, str]] = {}
    for method in methods:
        study_names[method] = {"learning_rate": "learning_rate"}
        for key, domain in _build_method_domains(method, freeze, max_steps, layers, given_domains).items():
            name = key if parameters.get(key, domain) == domain else f"{method}.{key}"
            parameters[name], study_names[method][key] = domain, name
    if unused := sorted(set(given_domains) - {key for names in study_names.values() for key in names}):
        raise InputError(f"--space: {', '.join(methods)} has no hyper-parameter {unused[0]!r}")
    return SearchSpace(methods, parameters, study_names)


def _build_method_domains(
    method: str, freeze: str, max_steps: int, layers: int, given: dict[str, Domain]
) -> dict[str, Domain]:
    """Return the domains of the hyper-parameters that a method defines."""
    known = {field.name: field.type for field in fields(METHODS[method])}
    given_here = {key: domain for key, domain in given.items() if key in known}
    for key, domain in given_here.items():
        if known[key] == "int" and not (isinstance(domain, Choice) and _are_integers(domain.values)):
            raise InputError(f"--space: {method}: {key} takes a list of whole numbers, but got {domain}")
        _check_accepted_values(method, key, domain)
    domains = METHODS[method].search_space(max_steps, layers)
    if freeze != "gradient" and "freeze" in known:
        domains["freeze"] = Choice(("gradient", "update") if freeze == "search" else (freeze,))
    return domains | given_here


def _parse_domain(key: str, value: Any) -> Domain:
    if isinstance(value, dict):
        return _parse_range(key, value)
    values = [_parse_number(element) for element in (value if isinstance(value, list) else [value])]
    if not values:
        raise InputError(f"--space: {key} has an empty list; give at least one value")
    for element in values:
        if not isinstance(element, str) and not _is_finite_number(element) and not isinstance(element, bool):
            raise InputError(
                f"--space: {key} takes finite numbers, words, true and false, but got {element!r}"
            )
    return Choice(tuple(dict.fromkeys(values)))


def _parse_range(key: str, value: dict[str, Any]) -> Range:
    if unknown := set(value) - {"low", "high", "log"}:
        raise InputError(f"--space: {key} takes low, high and log, but got {', '.join(map(str, unknown))!r}")
    if missing := [end for end in ("low", "high") if end not in value]:
        raise InputError(f"--space: {key} needs low and high, but has no {missing[0]}")
    low, high, log = _parse_number(value["low"]), _parse_number(value["high"]), value.get("log", False)
    if not (_is_finite_number(low) and _is_finite_number(high) and low < high):
        raise InputError(f"--space: {key} needs finite numbers with low < high, but got {value}")
    if not isinstance(log, bool):
        raise InputError(f"--space: log of {key} is true or false, but got {log!r}")
    if log and not low > 0:
        raise InputError(f"--space: {key} needs low above 0 on a log scale, but got {value}")
    return Range(float(low), float(high), log)


def _check_learning_rates(domain: Domain) -> Domain:
    """Check the learning rates, which methods do not check."""
    for value in (domain.low, domain.high) if isinstance(domain, Range) else domain.values:
        if not _is_finite_number(value) or not value > 0:
            raise InputError(f"--space: learning_rate must be a number above 0, but got {value!r}")
    return domain


def _parse_number(value: Any) -> Any:
    """Parse numbers that YAML reads as text, such as 1e-5."""
    for kind in (int, float) if isinstance(value, str) else ():
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_integers(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def _check_accepted_values(method: str, key: str, domain: Domain) -> None:
    """Raise InputError if the method refuses a value of the domain."""
    for value in (domain.low, domain.high) if isinstance(domain, Range) else domain.values:
        try:
            METHODS[method](**{key: value})
        except (ValueError, TypeError) as error:
            raise InputError(f"--space: {method}: {error}") from None
