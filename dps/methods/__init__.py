"""The methods of fine-tuning, by name. A new one is a file here and a line in METHODS."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from dps.errors import InputError
from dps.methods.base import Attachment, Method, attachment_of
from dps.methods.dps import DPSDense, DPSMix
from dps.methods.vanilla import Vanilla

METHODS: dict[str, type[Method]] = {method.name: method for method in (DPSDense, DPSMix, Vanilla)}

__all__ = ["METHODS", "Attachment", "DPSDense", "DPSMix", "Method", "Vanilla", "attachment_of", "make"]


def make(name: str, **hyper_parameters: Any) -> Method:
    """The method of this name. Raises InputError for a name or a hyper-parameter it does not have."""
    if name not in METHODS:
        raise InputError(f"method: there is no method {name!r}; choose one of {', '.join(METHODS)}")
    known = {field.name for field in fields(METHODS[name])}
    if unknown := set(hyper_parameters) - known:
        raise InputError(
            f"method: {name} has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
        )
    return METHODS[name](**hyper_parameters)
