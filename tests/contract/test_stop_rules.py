"""What every stop rule promises, through one suite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.strategy import budget
from tune.strategy.budget import (
    AfterFirstTrial,
    DeviceHoursLimit,
    SpentResources,
    StopRule,
    TrialLimit,
    WallTimeLimit,
)

# A new rule adds a line here: (rule, its limit as the reason names it, a Spent that reaches it).
RULES: list[tuple[StopRule, str, SpentResources]] = [
    (TrialLimit(7), "7 trials", SpentResources(trials=7)),
    (WallTimeLimit(90.0), "90 s", SpentResources(seconds=90.0)),
    (DeviceHoursLimit("GPU", 0.5, 2.0), "0.5 GPU-hours", SpentResources(slot_seconds=900.0)),
    (AfterFirstTrial(WallTimeLimit(90.0)), "90 s", SpentResources(trials=1, seconds=90.0)),
]
AMOUNTS = st.floats(min_value=0, max_value=1e5)
SPENT = st.builds(SpentResources, st.integers(min_value=0, max_value=50), AMOUNTS, AMOUNTS)
all_rules = pytest.mark.parametrize(
    ("rule", "limit", "enough"), RULES, ids=lambda value: type(value).__name__
)


def test_every_rule_is_here() -> None:
    made = {value for value in vars(budget).values() if isinstance(value, type) and "reached" in vars(value)}
    assert made - {StopRule} == {type(rule) for rule, _, _ in RULES}


@all_rules
def test_nothing_spent_reaches_no_rule(rule: StopRule, limit: str, enough: SpentResources) -> None:
    assert rule.reached(SpentResources()) is None


@all_rules
def test_the_reason_names_the_limit(rule: StopRule, limit: str, enough: SpentResources) -> None:
    reason = rule.reached(enough)
    assert reason is not None
    assert limit in reason
    assert "\n" not in reason


@all_rules
@given(spent=SPENT, more=SPENT)
def test_a_rule_never_changes_its_mind(
    rule: StopRule, limit: str, enough: SpentResources, spent: SpentResources, more: SpentResources
) -> None:
    later = SpentResources(
        spent.trials + more.trials, spent.seconds + more.seconds, spent.slot_seconds + more.slot_seconds
    )
    assert rule.reached(later) or not rule.reached(spent)
    assert rule.reached(spent) == rule.reached(spent)


@all_rules
@given(more=SPENT)
def test_what_is_spent_beyond_the_limit_changes_no_reason(
    rule: StopRule, limit: str, enough: SpentResources, more: SpentResources
) -> None:
    later = SpentResources(
        enough.trials + more.trials, enough.seconds + more.seconds, enough.slot_seconds + more.slot_seconds
    )
    assert rule.reached(later) == rule.reached(enough)
