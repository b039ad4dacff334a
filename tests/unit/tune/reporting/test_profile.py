"""Where the seconds of a search went."""

from __future__ import annotations

import pytest

from dps.training.result import Outcome
from tune.records.ledger import TrialRecord
from tune.reporting.profile import format_profile, profile_session
from tune.strategy.budget import SlotCount


def run(began: float, ended: float, waited: float | None, **parts: float) -> TrialRecord:
    return TrialRecord(
        "0",
        "search",
        0,
        {},
        0,
        outcome=Outcome.COMPLETED,
        seconds=ended - began,
        began=began,
        ended=ended,
        waited=waited,
        parts=parts,
    )


RUNS = [
    run(120, 160, None, evaluation=8, report=1),
    run(120, 150, None, evaluation=4, checkpoint=2, start=3),
    run(162, 200, 2.0, evaluation=5, start=1),
    run(151, 190, 1.0),
]


def test_the_shares_are_those_of_all_slots_and_sum_to_one() -> None:
    found = profile_session(RUNS, SlotCount(2), started=100, planned=108)
    assert found is not None
    assert found.before_first_step == {"plan_and_cluster": 8, "slots": 12}
    assert found.slot_seconds == 160
    assert {part: round(160 * share, 6) for part, share in found.shares.items()} == {
        "training": 127,
        "evaluation": 17,
        "report": 1,
        "checkpoint": 2,
        "between_runs": 3,
        "without_work": 10,
    }
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.gap == 2.0


def test_slot_seconds_are_those_of_the_slots_there_were() -> None:
    slots = SlotCount(2)
    slots.become(3, at=150)
    slots.become(1, at=170)
    found = profile_session(RUNS, slots, started=100, planned=108)
    assert found is not None
    assert found.slot_seconds == 2 * 30 + 3 * 20 + 30
    fewer = profile_session(RUNS, SlotCount(1), started=100, planned=108)
    assert fewer is not None
    assert fewer.slot_seconds == 150
    assert fewer.shares["without_work"] == 0


def test_only_the_runs_of_this_sitting_count() -> None:
    found = profile_session([run(10, 50, None), *RUNS], SlotCount(2), started=100, planned=108)
    assert found == profile_session(RUNS, SlotCount(2), started=100, planned=108)


@pytest.mark.parametrize("runs", [[], [run(10, 50, None)], [run(120, 0, None)]])
def test_there_is_none_before_a_run_has_ended(runs: list[TrialRecord]) -> None:
    assert profile_session(runs, SlotCount(2), started=100, planned=108) is None


def test_it_reads_well() -> None:
    found = profile_session(RUNS, SlotCount(2), started=100, planned=108)
    assert found is not None
    assert format_profile(found) == [
        "until the first step 20.0 s: plan and cluster 8.0, slots (worker group, model, tokens) 12.0",
        "then, of 160 slot seconds",
        "   79.4 %  training steps",
        "   10.6 %  evaluation",
        "    0.6 %  waiting for a report to arrive",
        "    1.2 %  checkpoints",
        "    1.9 %  between runs on a warm slot",
        "    6.2 %  slots without work, or a worker group starting",
        "from the end of a run to the first step of the next: 2.00 s (median)",
    ]
