"""The calls from Python: what they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import dps
import tune
from tune.calls import FOR_COMMANDS, _run
from tune.core.options import CommonOptions, CompareOptions, SearchOptions
from tune.session import explain_late_interruption


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


def test_ctrl_c_while_results_are_written_is_no_error_that_a_loop_over_tasks_catches() -> None:
    def start(*_: object) -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise explain_late_interruption("the command that goes on") from None

    with pytest.raises(KeyboardInterrupt, match="the command that goes on"):
        _run(SearchOptions(task="cola"), start, ())
