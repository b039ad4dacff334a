"""What the chaos benchmark counts as work redone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos_checks import Event, Kill, Setback, longest_gap, note, read_events, setbacks
from dps.training.result import Evaluation
from tests.unit.tune.helpers import make_record


def events(*rows: tuple[float, int, float], trial: str = "0") -> list[Event]:
    """(at, step, seconds) of a run's reports, after its start at 100."""
    return [Event(100.0, "started", trial), *(Event(at, "reported", trial, s, sec) for at, s, sec in rows)]


def test_an_undisturbed_run_has_no_setback_whatever_is_killed() -> None:
    run = events((102, 10, 2.0), (104, 20, 4.0))
    assert setbacks(run, []) == setbacks(run, [Kill(103, "worker")]) == []


@pytest.mark.parametrize(
    ("rows", "kills", "found"),
    [
        # killed at 105 after an evaluation with a checkpoint: what was done since is lost
        ([(102, 10, 2.0), (104, 20, 4.0), (120, 30, 6.0)], [105], [(1.0, 0.0)]),
        # the last checkpoint was at step 10
        ([(102, 10, 2.0), (104, 20, 4.0), (120, 20, 4.0)], [105], [(3.0, 2.0)]),
        # no checkpoint yet
        ([(102, 10, 2.0), (120, 10, 2.0)], [103], [(3.0, 2.0)]),
        # killed twice before it reported again: the second costs no more than the whole run
        ([(102, 10, 2.0), (120, 20, 4.0)], [103, 110], [(5.0, 0.0)]),
        # killed before its first report
        ([(120, 10, 2.0)], [101], [(1.0, 0.0)]),
    ],
)
def test_what_a_kill_costs(
    rows: list[tuple[float, int, float]], kills: list[float], found: list[tuple[float, float]]
) -> None:
    other = events((102, 10, 2.0), (104, 20, 4.0), (106, 30, 6.0), trial="1")
    cut_off = setbacks([*events(*rows), *other], [Kill(at, "worker") for at in kills])
    assert cut_off == [Setback("0", redone, back) for redone, back in found]


def test_events_are_read_as_they_were_noted(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    assert read_events(file) == []
    note(file, "started", make_record(3))
    note(file, "reported", make_record(3), Evaluation(10, 60, {}, None, 2.0, [(10, 0.5)]))
    note(file, "reported", make_record(3), Evaluation(20, 60, {}, None, 5.0, [(20, 0.5)]))
    assert [(e.what, e.trial, e.step, e.seconds) for e in read_events(file)] == [
        ("started", "3", 0, 0.0),
        ("reported", "3", 10, 2.0),
        ("reported", "3", 20, 5.0),
    ]
    assert longest_gap(read_events(file)) == 3.0
