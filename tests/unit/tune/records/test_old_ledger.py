"""A ledger that an earlier version wrote is read; any that is written is read back as it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dps.errors import InputError
from dps.training.result import Outcome, RunResult
from tests.unit.tune.helpers import make_space, open_ledger
from tune.core.run import RunPurpose
from tune.records import ledger
from tune.records.identity import update_identity
from tune.records.ledger import Ledger

KEPT = Path(__file__).parents[3] / "data" / "ledger-1.sql"  # as version 1 wrote it on 2026-11-26
SPACE = make_space()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    file = tmp_path / "study.db"
    with closing(sqlite3.connect(file)) as made:
        made.executescript(KEPT.read_text(encoding="utf-8"))
    return file


def test_every_record_of_an_old_ledger_is_read(old: Path) -> None:
    ledger.check_ledger(old)
    held = Ledger(old, "max")
    found = [(r.id, r.outcome, r.scores, r.error) for r in held.records("search")]
    assert found == [
        ("0", "completed", [(20, 0.1), (40, 0.2)], None),
        ("1", "stopped", [(20, 0.1), (40, 0.2)], None),
        ("2", "failed", [(20, 0.1), (40, 0.2)], "RuntimeError: no (x.py:3)"),
        ("3", "running", [(20, 0.25)], None),
    ]
    first = held.records("search")[0]
    assert set(first.configuration) >= {"method", "learning_rate"}
    assert (first.seed, first.seconds, first.slot, first.selected_share) == (3, 4.5, "a", 0.7)
    assert (first.passes, first.peak_memory, first.covered) == (60.0, 2**20, "13 weights")
    assert [r.configuration for r in held.records("race")] == [first.configuration]
    (confirmed,) = held.records("confirmation")
    assert (confirmed.seed, confirmed.final) == (5, {"dev": {"matthews_correlation": 0.6}})
    assert (held.noted("search_id"), held.noted("seconds")) == ("0123456789abcdef", 12.5)


def test_a_search_goes_on_from_an_old_ledger(old: Path) -> None:
    held = Ledger(old, "max")
    identity = update_identity(held.noted("identity"), {}, None)
    held.open(identity)
    done = held.finish("3", RunResult(outcome=Outcome.COMPLETED, scores=[(60, 0.4)]))
    assert (done.outcome, done.scores) == (Outcome.COMPLETED, [(20, 0.25), (60, 0.4)])
    assert held.propose(SPACE, optuna.samplers.RandomSampler(seed=1), 3).id == "4"
    with pytest.raises(InputError, match="this is another search: task was 'cola', now 'rte'"):
        held.open({**identity, "task": "rte"})


@pytest.mark.parametrize("version", ["0", "2", '"1"', "null"])
def test_another_version_is_refused_with_the_way_out_and_left_as_it_was(old: Path, version: str) -> None:
    with closing(sqlite3.connect(old)) as held:
        held.execute(
            f"UPDATE study_user_attributes SET value_json = '{version}' WHERE key = 'schema_version'"
        )
        held.commit()
    before = old.read_bytes()
    with pytest.raises(InputError, match=r"has version .* reads 1; use the version that created it"):
        ledger.check_ledger(old)
    assert old.read_bytes() == before


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
results = st.builds(
    RunResult,
    scores=st.tuples(st.just(60), numbers).map(lambda last: [last]),
    seconds=st.floats(0, 1e6),
    slot=texts,
    covered=texts,
    selected_share=st.none() | st.floats(0, 1),
    passes=st.floats(0, 1e6),
    peak_memory=st.none() | st.integers(0, 2**50),
    final=st.dictionaries(texts, st.dictionaries(texts, numbers, max_size=2), max_size=2),
    warnings=st.lists(texts, max_size=2),
    error=st.none() | texts,
)
ends = st.sampled_from([None, *(outcome for outcome in Outcome if outcome.is_final)])
runs = st.lists(
    st.tuples(
        ends,
        st.dictionaries(st.integers(1, 59), st.floats(), max_size=4),
        results,
        st.sampled_from([*RunPurpose]),
    ),
    max_size=5,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(runs)
def test_whatever_was_run_another_process_reads_the_same(made: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        mine = open_ledger(Path(folder))
        for number, (end, scores, result, purpose) in enumerate(made):
            configuration = {"method": "vanilla", "learning_rate": 1e-4 * (1 + number)}
            record = mine.replicate(configuration, make_space(("vanilla",)), number, purpose)
            for step, score in scores.items():
                mine.report(record.id, RunResult(scores=[(step, score)]))
            if end is not None:
                mine.finish(record.id, replace(result, outcome=end))
        other = open_ledger(Path(folder))
        for purpose in RunPurpose:
            assert [asdict(r) for r in other.records(purpose)] == [asdict(r) for r in mine.records(purpose)]
        ids = [r.id for purpose in RunPurpose for r in other.records(purpose)]
        assert len(set(ids)) == len(ids) == len(made)
