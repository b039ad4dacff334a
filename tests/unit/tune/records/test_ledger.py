"""The ledger: every outcome has its place, and another process reads what this one wrote."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import event

from dps.errors import InputError
from dps.training.result import Outcome, RunResult
from tests.unit.tune.helpers import STEPS, make_space, open_ledger
from tune.core.run import RunPurpose
from tune.planning.space_options import build_search_space
from tune.records.ledger import SCHEMA_VERSION, Ledger, TrialRecord

SPACE = make_space()
IDENTITY: dict[str, Any] = {"task": "cola", "seed": 3, "space": SPACE.to_description(), "train_size": None}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(tmp_path)


def propose(ledger: Ledger, seed: int = 7) -> TrialRecord:
    return ledger.propose(SPACE, optuna.samplers.RandomSampler(seed=seed), seed)


def run(ledger: Ledger, outcome: Outcome, score: float = 0.5, **last: Any) -> TrialRecord:
    """A trial of two evaluations, then the end."""
    trial = propose(ledger)
    scores = [(20, 0.3), (40, 0.4)]
    for count in (1, 2):
        ledger.report(trial.id, RunResult(scores=scores[:count]))
    end = [(60, score)] if outcome == Outcome.COMPLETED else []
    return ledger.finish(trial.id, RunResult(outcome=outcome, scores=[*scores, *end], seconds=4.5, **last))


@pytest.mark.parametrize(
    ("outcome", "state", "value"),
    [
        (Outcome.COMPLETED, TrialState.COMPLETE, 0.5),
        (Outcome.STOPPED, TrialState.PRUNED, 0.4),
        (Outcome.DIVERGED, TrialState.FAIL, None),
        (Outcome.FAILED, TrialState.FAIL, None),
        (Outcome.LOST, TrialState.FAIL, None),
        (Outcome.OUT_OF_MEMORY, TrialState.FAIL, None),
        (Outcome.TIMED_OUT, TrialState.FAIL, None),
    ],
)
def test_each_outcome_has_its_state_in_the_study(
    ledger: Ledger, outcome: Outcome, state: TrialState, value: float | None
) -> None:
    record = run(ledger, outcome)
    (trial,) = ledger.study.trials
    assert (record.outcome, trial.state, trial.value) == (outcome, state, value)
    end = [(60, 0.5)] if outcome == Outcome.COMPLETED else []
    assert record.scores == [(20, 0.3), (40, 0.4), *end]


def test_every_final_outcome_is_covered_above() -> None:
    mark = test_each_outcome_has_its_state_in_the_study.pytestmark[0]  # type: ignore[attr-defined]
    assert {case[0] for case in mark.args[1]} == {outcome for outcome in Outcome if outcome.is_final}


def test_another_ledger_on_the_file_reads_the_same_records(ledger: Ledger, tmp_path: Path) -> None:
    run(ledger, Outcome.COMPLETED, selected_share=0.7, warnings=["slow"], slot="a", began=12.0)
    run(ledger, Outcome.FAILED, error="RuntimeError: no (x.py:3)")
    winner = ledger.records("search")[0]
    replicate = ledger.replicate(winner.configuration, SPACE, 8)
    final = {"dev": {"matthews_correlation": 0.6}}
    ledger.finish(replicate.id, RunResult(outcome=Outcome.COMPLETED, scores=[(75, 0.6)], final=final))
    other = open_ledger(tmp_path)
    for purpose in ("search", "confirmation"):
        ours = [asdict(record) for record in ledger.records(purpose)]
        assert [asdict(record) for record in other.records(purpose)] == ours
    first, second = other.records("search")
    assert (first.selected_share, first.warnings, first.slot, first.began) == (0.7, ["slow"], "a", 12.0)
    assert (first.seconds, first.seed, first.error) == (4.5, 7, None)
    assert (second.error, second.outcome) == ("RuntimeError: no (x.py:3)", Outcome.FAILED)
    assert other.records("confirmation")[0].final == final


def test_running_and_suspended_trials_stay_open(ledger: Ledger, tmp_path: Path) -> None:
    running, suspended = propose(ledger, 1), propose(ledger, 2)
    ledger.report(suspended.id, RunResult(scores=[(20, 0.25)]))
    ledger.suspend(suspended.id)
    other = open_ledger(tmp_path)
    assert [r.outcome for r in other.records("search")] == [Outcome.RUNNING] * 2
    assert [r.configuration for r in other.records("search")] == [
        running.configuration,
        suspended.configuration,
    ]
    done = other.finish(suspended.id, RunResult(outcome=Outcome.COMPLETED, scores=[(60, 0.5)]))
    assert (done.outcome, done.scores) == (Outcome.COMPLETED, [(20, 0.25), (60, 0.5)])


def test_a_trial_ends_once(ledger: Ledger) -> None:
    record = run(ledger, Outcome.COMPLETED)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        ledger.finish(record.id, RunResult(outcome=Outcome.FAILED))
    assert ledger.records("search")[0].outcome == Outcome.COMPLETED


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_scores_that_are_no_numbers_never_become_values(ledger: Ledger, score: float) -> None:
    trial = propose(ledger)
    ledger.report(trial.id, RunResult(scores=[(20, 0.3)]))
    ledger.report(trial.id, RunResult(scores=[(40, score)]))
    record = ledger.finish(trial.id, RunResult(outcome=Outcome.DIVERGED, scores=[(40, score)]))
    assert record.scores == [(20, 0.3)]
    assert ledger.study.trials[0].value is None


def test_an_evaluation_made_again_after_a_restart_counts_once_without_a_word(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    ledger = open_ledger(tmp_path)
    trial = propose(ledger)
    for step in (20, 40, 20, 40, 60):
        ledger.report(trial.id, RunResult(scores=[(step, step / 100)]))
    assert ledger.records("search")[0].scores == [(20, 0.2), (40, 0.4), (60, 0.6)]
    assert [str(warning.message) for warning in recwarn] == []


def test_a_replicate_has_exactly_the_winners_configuration(ledger: Ledger, tmp_path: Path) -> None:
    for _ in range(4):
        run(ledger, Outcome.COMPLETED)
    for winner in ledger.records("search"):
        for seed in (8, 9):
            replicate = ledger.replicate(winner.configuration, SPACE, seed)
            assert (replicate.configuration, replicate.seed) == (winner.configuration, seed)
    numbers = [record.id for record in open_ledger(tmp_path).records("confirmation")]
    assert numbers == [f"confirm-{number}" for number in range(8)]
    assert len(ledger.records("search")) == 4


def test_what_a_run_costs_to_enter_does_not_grow_with_those_that_run(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = propose(ledger)
    monkeypatch.setattr(type(ledger.study._storage), "get_all_trials", killed)  # as `Study.ask` reads them
    assert ledger.replicate(first.configuration, SPACE, 8, RunPurpose.SEARCH).number == 1


def test_published_values_outside_a_range_are_entered(ledger: Ledger, tmp_path: Path) -> None:
    outside = {**propose(ledger).configuration, "learning_rate": 0.5}
    ledger.replicate(outside, SPACE, 8)
    assert [run.configuration for run in open_ledger(tmp_path).records(RunPurpose.CONFIRMATION)] == [outside]


@pytest.mark.parametrize("method", ["vanilla", "dps-dense"])
def test_a_replicate_of_a_search_of_one_method(ledger: Ledger, method: str) -> None:
    space = make_space((method,))
    winner = ledger.propose(space, optuna.samplers.RandomSampler(seed=1), 0)
    assert ledger.replicate(winner.configuration, space, 1).configuration == winner.configuration


def test_a_search_that_is_the_same_is_opened_again(ledger: Ledger, tmp_path: Path) -> None:
    ledger.open(IDENTITY)
    open_ledger(tmp_path).open(dict(IDENTITY))


def test_another_search_is_refused_with_the_differences(ledger: Ledger, tmp_path: Path) -> None:
    ledger.open(IDENTITY)
    changed = {**IDENTITY, "task": "rte", "train_size": 100}
    with pytest.raises(InputError) as refusal:
        open_ledger(tmp_path).open(changed)
    text = str(refusal.value)
    assert "task was 'cola', now 'rte'" in text
    assert "train_size was None, now 100" in text
    assert "seed" not in text
    assert "\n" not in text


def test_a_ledger_of_another_version_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    ledger.open(IDENTITY)
    ledger.note("schema_version", SCHEMA_VERSION + 1)
    with pytest.raises(InputError, match=f"has version {SCHEMA_VERSION + 1}.* reads {SCHEMA_VERSION}"):
        open_ledger(tmp_path).open(IDENTITY)


def test_notes_are_kept(ledger: Ledger, tmp_path: Path) -> None:
    ledger.note("seconds", 12.5)
    other = open_ledger(tmp_path)
    assert (other.noted("seconds"), other.noted("nothing")) == (12.5, None)


def killed(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def test_a_process_killed_while_it_enters_a_trial_leaves_nothing_of_it(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = run(ledger, Outcome.COMPLETED)
    monkeypatch.setattr(optuna.Trial, "__init__", killed)  # its row is written, and not yet committed
    with pytest.raises(KeyboardInterrupt):
        propose(ledger)
    with pytest.raises(KeyboardInterrupt):
        ledger.replicate(winner.configuration, SPACE, 8)
    monkeypatch.undo()
    other = open_ledger(tmp_path)
    assert [record.number for record in other.records("search")] == [0]
    assert (propose(other).number, len(other.study.trials)) == (1, 2)
    for number, seed in enumerate((8, 9)):
        replicate = other.replicate(winner.configuration, SPACE, seed)
        assert (replicate.number, replicate.seed) == (number, seed)
        assert replicate.configuration == winner.configuration
    assert len(open_ledger(tmp_path).records("confirmation")) == 2


def test_a_trial_without_a_configuration_that_an_earlier_version_left_is_none(
    ledger: Ledger, tmp_path: Path
) -> None:
    propose(ledger)
    ledger.study.ask()
    other = open_ledger(tmp_path)
    assert [record.number for record in other.records("search")] == [0]
    assert propose(other).number == 2
    assert [record.number for record in open_ledger(tmp_path).records("search")] == [0, 2]


def test_the_disk_is_waited_for_once_for_each_trial_evaluation_and_outcome(ledger: Ledger) -> None:
    commits = list[object]()
    with monitored(ledger, commits):
        winner = run(ledger, Outcome.COMPLETED, warnings=["slow"], covered="all", final={"dev": {"f1": 0.5}})
        assert len(commits) == 4  # it, two evaluations, its end
        ledger.replicate(winner.configuration, SPACE, 8)
        assert len(commits) == 5


@contextmanager
def monitored(ledger: Ledger, commits: list[object]) -> Iterator[None]:
    """Within, every commit of the ledger to its file is noted."""
    assert isinstance(ledger._storage, optuna.storages.RDBStorage)
    engine, wrote = ledger._storage.engine, list[object]()

    def executed(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if not statement.startswith(("SELECT", "PRAGMA")):
            wrote.append(statement)

    def committed(connection: object) -> None:
        if wrote:
            commits.append(connection)
        wrote.clear()

    event.listen(engine, "before_cursor_execute", executed)
    event.listen(engine, "commit", committed)
    yield
    event.remove(engine, "before_cursor_execute", executed)
    event.remove(engine, "commit", committed)


def test_a_process_killed_while_it_notes_an_outcome_leaves_the_trial_open(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna.Study, "tell", killed)
    with pytest.raises(KeyboardInterrupt):
        run(ledger, Outcome.COMPLETED)
    monkeypatch.undo()
    other = open_ledger(tmp_path)
    assert other.records("search")[0].outcome == Outcome.RUNNING
    assert other.study.trials[0].user_attrs.keys() == {"seed", "configuration"}
    other.finish("0", RunResult(outcome=Outcome.COMPLETED, scores=[(STEPS[-1], 0.5)]))
    assert other.records("search")[0].outcome == Outcome.COMPLETED


def test_evaluations_that_no_driver_lived_to_hear_of_are_noted(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    record = ledger.replicate({"method": "vanilla", "learning_rate": 1e-4}, make_space(), 0, "search")
    curve = [(20, 0.1), (40, 0.2), (60, 0.3)]
    ledger.report(record.id, RunResult(scores=curve[:2]))
    assert record.scores == curve[:2]
    ended = ledger.finish(record.id, RunResult(outcome=Outcome.COMPLETED, scores=curve))
    assert ended.scores == curve
    assert open_ledger(tmp_path).records("search")[0].scores == curve


def test_a_whole_number_of_a_range_is_what_was_written(ledger: Ledger, tmp_path: Path) -> None:
    """The study gives 4 epochs back as 4.0."""
    space = build_search_space(("vanilla",), "gradient", 22_000_000, 60, 0, {"epochs": "1..6"}, {"epochs": 4})
    assert space.list_published()[0]["epochs"] == 4
    for configuration in (
        space.list_published()[0],
        {"method": "vanilla", "learning_rate": 1e-4, "epochs": 4},
    ):
        record = ledger.replicate(configuration, space, 0, RunPurpose.SEARCH)
        ledger.finish(record.id, RunResult(outcome=Outcome.COMPLETED, scores=[(60, 0.5)]))
    kept = open_ledger(tmp_path).records(RunPurpose.SEARCH)
    assert [record.outcome for record in kept] == ["completed", "completed"]


@pytest.mark.parametrize(
    ("table", "column", "condition"),
    [
        ("trial_user_attributes", "value_json", "key = 'seconds'"),
        ("trial_user_attributes", "value_json", "key = 'configuration'"),
        ("trial_user_attributes", "value_json", "key = 'final'"),
        ("trial_intermediate_values", "step", "step = 60"),
        ("trial_intermediate_values", "intermediate_value", "step = 20"),
        ("trial_params", "param_value", "param_name = 'learning_rate'"),
    ],
)
def test_a_record_that_is_not_what_was_written_is_refused(
    ledger: Ledger, tmp_path: Path, table: str, column: str, condition: str
) -> None:
    run(ledger, Outcome.COMPLETED, final={"dev": {"f1": 0.5}})
    propose(ledger)
    open_ledger(tmp_path)
    with closing(sqlite3.connect(tmp_path / "study.db")) as held:
        where = f"WHERE trial_id = 1 AND {condition}"
        ((written,),) = held.execute(f"SELECT {column} FROM {table} {where}")
        changed = re.sub("[1-8]", lambda digit: str(int(digit[0]) + 1), str(written), count=1)
        held.execute(f"UPDATE {table} SET {column} = ? {where}", (changed,))
        held.commit()
    with pytest.raises(InputError, match=r"study\.db cannot be read .*search run 0 is not what was written"):
        open_ledger(tmp_path)


def test_a_ledger_that_another_program_holds_is_refused_with_that_cause(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    propose(ledger)
    monkeypatch.setattr("tune.records.ledger.LOCK_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match=r"study\.db cannot be read as a ledger \(database is locked\)"):
            Ledger(tmp_path / "study.db", "max")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("identity", "7"),
        ("identity", "{}"),
        ("identity", "not json"),
        ("precision", "[]"),
        ("described", '"cola"'),
        ("described", '{"plan": {}}'),
        ("warm_start", "7"),
        ("raced", '"three"'),
        ("commits", '{"a": 1}'),
        ("seconds", '"long"'),
        ("seconds", "1e999"),
        ("seconds", "-1"),
        ("best", "[1]"),
    ],
)
def test_a_note_that_no_search_writes_is_refused(tmp_path: Path, key: str, value: str) -> None:
    ledger = open_ledger(tmp_path)
    ledger.open(IDENTITY)
    ledger.note(key, IDENTITY if key == "identity" else None)
    open_ledger(tmp_path)
    with closing(sqlite3.connect(tmp_path / "study.db")) as held:
        held.execute("UPDATE study_user_attributes SET value_json = ? WHERE key = ?", (value, key))
        held.commit()
    with pytest.raises(InputError, match=r"study\.db cannot be read as a ledger"):
        open_ledger(tmp_path)


def test_runs_of_a_search_that_is_not_named_are_not_adopted(ledger: Ledger, tmp_path: Path) -> None:
    propose(ledger)
    with pytest.raises(InputError, match="does not say which search its runs are of"):
        open_ledger(tmp_path).open(IDENTITY)


def test_looks_are_counted_once_for_each_number_of_seeds() -> None:
    ledger = Ledger(None, "max")
    assert [ledger.note_look(seeds) for seeds in (0, 5, 5, 20)] == [[], [5], [5], [5, 20]]


def test_another_winner_on_the_same_seeds_is_another_look() -> None:
    ledger = Ledger(None, "max")
    ledger.note("looks", [5])  # of a version that noted no winner
    looks = [ledger.note_look(5, {"": winner}) for winner in ("a", "a", "b", "b")]
    assert looks == [[5], [5], [5, 5], [5, 5]]
    assert ledger.note_look(5, {"": "b", "new arm": "c"}) == [5, 5]


def test_the_verdict_of_an_earlier_version_was_a_look() -> None:
    ledger, space = Ledger(None, "max"), make_space()
    for seed in (1, 2, 3):
        ledger.replicate({"method": "vanilla", "learning_rate": 1e-4}, space.for_method("vanilla"), seed)
    ledger.note_earlier_look()
    assert ledger.noted("looks") is None  # it has not ended
    ledger.note("ended", True)
    ledger.note_earlier_look()
    assert ledger.note_look(20) == [3, 20]
