"""The calls from Python: what they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import dps
import tune
from tune.calls import FOR_COMMANDS
from tune.core.options import CommonOptions, CompareOptions, SearchOptions


@pytest.mark.parametrize(
    ("call", "kind"), [(tune.run_search, SearchOptions), (tune.run_comparison, CompareOptions)]
)
def test_the_signature_has_every_option_with_its_default(
    call: Callable[..., Any], kind: type[CommonOptions]
) -> None:
    taken = inspect.signature(call).parameters
    assert kind.model_fields.keys() - taken.keys() == kind.model_fields.keys() & {*FOR_COMMANDS}
    assert (taken["trials"].default, taken["task"].default) == (kind.model_fields["trials"].default, None)
    assert {"train", "dev", "text", "label", "group", "name", "watchers"} <= taken.keys()


@pytest.mark.parametrize("package", [dps, tune])
def test_public_names_are_listed_and_another_is_an_attribute_error(package: Any) -> None:
    assert dir(package) == sorted(package.__all__)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nope'"):
        _ = package.nope
