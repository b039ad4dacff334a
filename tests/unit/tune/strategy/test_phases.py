"""The searcher under a made-up Tune: what is tried, in which order, and what a crash leaves."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dps.methods import make_method
from dps.methods.wise_ft import WiSEFT
from dps.training.result import Evaluation, Outcome, RunResult
from tests.unit.tune.helpers import (
    SETTINGS,
    STEPS,
    FakeTune,
    end_well,
    last_report,
    make_space,
    open_ledger,
    progress_report,
    strategy,
)
from tune.core.job_config import make_fine_tune_config
from tune.core.run import Job, Progress, RunReport
from tune.records import replicates
from tune.records.events import Watcher
from tune.records.ledger import Ledger, TrialRecord
from tune.strategy.budget import DeviceHoursLimit, SlotCount, SpentResources, TrialLimit, WallTimeLimit
from tune.strategy.early_stopping import NoEarlyStopping
from tune.strategy.phases import NoJob, SearchPhases
from tune.strategy.proposals import STARTUP_TRIALS


def searcher(ledger: Ledger, folder: Path, trials: int = 5, **changes: Any) -> SearchPhases:
    return SearchPhases(ledger, strategy(folder, trials, **changes), [], lambda: False)


def outcomes(ledger: Ledger) -> Counter[str]:
    return Counter(str(record.outcome) for record in ledger.records("search"))


def configurations(ledger: Ledger) -> list[dict[str, Any]]:
    return [record.configuration for record in ledger.records("search")]


@pytest.mark.parametrize("slots", [1, 4])
def test_a_search_tries_confirms_and_finishes(tmp_path: Path, slots: int) -> None:
    ledger = open_ledger(tmp_path)
    tune = FakeTune(searcher(ledger, tmp_path, slots=slots), order=slots)
    tune.run()
    assert tune.finished
    assert tune.most_live == slots
    assert outcomes(ledger) == {"completed": 5}
    assert [len(record.scores) for record in ledger.records("search")] == [len(STEPS)] * 5
    assert [str(r.outcome) for r in ledger.records("confirmation")] == ["completed"] * 3
    assert len({job.location for job in tune.seen}) == len(tune.seen) == 8


def test_slots_that_join_take_jobs_and_those_that_leave_get_none(tmp_path: Path) -> None:
    slots = SlotCount(1)
    tune = FakeTune(searcher(open_ledger(tmp_path), tmp_path, trials=9, slots=slots))
    tune.run(events=2)
    assert len(tune.jobs) == tune.most_live == 1
    slots.become(3)
    tune.fill()
    assert len(tune.jobs) == 3
    slots.become(1)
    while len(tune.jobs) > 1:
        given = len(tune.seen)
        tune.run(events=1)
        assert len(tune.seen) == given
    tune.run()
    assert tune.finished
    assert tune.most_live == 3


def test_the_winner_is_confirmed_on_fresh_seeds_that_differ(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    tune = FakeTune(searcher(ledger, tmp_path, seed=5, confirmation_seeds=4))
    tune.run()
    best = max(ledger.records("search"), key=lambda record: record.score or -math.inf)
    confirmations = ledger.records("confirmation")
    assert [record.seed for record in ledger.records("search")] == [5] * 5
    assert sorted(record.seed for record in confirmations) == [6, 7, 8, 9]
    assert all(record.configuration == best.configuration for record in confirmations)


def test_more_trials_may_bring_another_winner_which_gets_its_own_replicates(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    FakeTune(searcher(ledger, tmp_path, trials=1, seed=2)).run()
    first = replicates.choose_winner(ledger.records("search"), "max")
    again = FakeTune(searcher(ledger, tmp_path, trials=4, seed=2), order=1)
    again.run()
    assert again.finished
    second = replicates.choose_winner(ledger.records("search"), "max")
    assert first is not None
    assert second is not None
    assert first.id != second.id, "no later trial is better: this test shows nothing"
    for winner in (first, second):
        confirmations = replicates.select_by_configuration(
            winner.configuration, ledger.records("confirmation")
        )
        assert sorted(record.seed for record in confirmations) == [3, 4, 5]
    assert len(ledger.records("confirmation")) == 6


@pytest.mark.parametrize("order", range(3))
def test_confirmation_begins_when_every_trial_of_the_search_is_over(tmp_path: Path, order: int) -> None:
    ledger = open_ledger(tmp_path)
    open_at_confirmation: list[int] = []

    class Watch(Watcher):
        def trial_started(self, record: TrialRecord) -> None:
            if record.purpose == "confirmation":
                open_at_confirmation.append(
                    sum(not trial.outcome.is_final for trial in ledger.records("search"))
                )

    made = SearchPhases(ledger, strategy(tmp_path, 5, slots=3), [Watch()], lambda: False)
    FakeTune(made, order=order).run()
    assert open_at_confirmation == [0, 0, 0]


def test_while_the_last_trials_run_a_free_slot_is_told_to_wait(tmp_path: Path) -> None:
    made = searcher(open_ledger(tmp_path), tmp_path, trials=1, slots=2)
    assert isinstance(made.next_job("a"), Job)
    assert made.next_job("b") == NoJob.YET
    assert made.next_job("b") == NoJob.YET


def test_the_same_seed_proposes_the_same_first_configurations_in_any_order(tmp_path: Path) -> None:
    seen = []
    for order, slots, seed in ((0, 1, 5), (1, 4, 5), (2, 4, 6)):
        folder = tmp_path / str(order)
        folder.mkdir()
        ledger = open_ledger(folder)
        made = searcher(ledger, folder, trials=STARTUP_TRIALS, slots=slots, seed=seed, confirmation_seeds=1)
        FakeTune(made, order=order).run()
        seen.append(configurations(ledger))
    assert len(seen[0]) == STARTUP_TRIALS
    assert seen[0] == seen[1]
    assert not [one for one in seen[2] if one in seen[0]]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_every_sampler_proposes_configurations_that_differ(tmp_path: Path, sampler: str) -> None:
    ledger = open_ledger(tmp_path)
    space = make_space(("dps-dense",))
    made = searcher(ledger, tmp_path, trials=10, sampler=sampler, confirmation_seeds=1, slots=3, space=space)
    FakeTune(made).run()
    seen = configurations(ledger)
    assert len(seen) == 10
    assert all(seen.count(one) == 1 for one in seen)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    folder = tmp_path_factory.mktemp("undisturbed")
    ledger = open_ledger(folder)
    FakeTune(searcher(ledger, folder)).run()
    return ledger


@pytest.mark.parametrize("events", [1, 7, 13, 21, 24, 29])
def test_a_search_cut_off_and_continued_is_the_search_undisturbed(
    tmp_path: Path, undisturbed: Ledger, events: int
) -> None:
    FakeTune(searcher(open_ledger(tmp_path), tmp_path)).run(events)
    again = FakeTune(searcher(open_ledger(tmp_path), tmp_path), order=9)
    again.run()
    continued = open_ledger(tmp_path)
    assert again.finished
    assert configurations(continued) == configurations(undisturbed)
    for purpose, count in (("search", 5), ("confirmation", 3)):
        records = continued.records(purpose)  # type: ignore[arg-type]
        assert [record.number for record in records] == list(range(count))
        assert [record.outcome for record in records] == [Outcome.COMPLETED] * count
        assert [[step for step, _ in record.scores] for record in records] == [list(STEPS)] * count
    assert [r.seed for r in continued.records("confirmation")] == [
        r.seed for r in undisturbed.records("confirmation")
    ]


def test_a_search_cut_off_again_and_again_loses_and_doubles_nothing(tmp_path: Path) -> None:
    ended: list[str] = []

    class Watch(Watcher):
        def trial_ended(self, record: TrialRecord) -> None:
            ended.append(record.id)

    for sitting in range(40):
        ledger = open_ledger(tmp_path)
        made = SearchPhases(ledger, strategy(tmp_path, 3, slots=2), [Watch()], lambda: False)
        tune = FakeTune(made, order=sitting)
        tune.run(events=5)
        if tune.finished:
            break
    assert tune.finished
    assert sorted(ended) == ["0", "1", "2", "confirm-0", "confirm-1", "confirm-2"]


def test_open_trials_are_taken_up_before_new_ones(tmp_path: Path) -> None:
    FakeTune(searcher(open_ledger(tmp_path), tmp_path, slots=2)).run(events=2)
    tune = FakeTune(searcher(open_ledger(tmp_path), tmp_path, slots=3))
    tune.fill()
    assert [job.id for job in tune.seen] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome.DIVERGED, None),
        (Outcome.FAILED, "RuntimeError: no (x.py:3)"),
        (Outcome.OUT_OF_MEMORY, "OutOfMemoryError: no"),
        (Outcome.TIMED_OUT, None),
        (Outcome.LOST, "the worker group ended"),
    ],
)
def test_a_trial_that_ends_badly_does_not_win_and_the_search_goes_on(
    tmp_path: Path, outcome: Outcome, error: str | None
) -> None:
    def end(job: Job) -> RunReport:
        if job.id in ("0", "2"):
            return last_report(job.id, outcome, scores=[(70, 99.0)], error=error, seconds=1.0)
        return end_well(job)

    ledger = open_ledger(tmp_path)
    made = searcher(ledger, tmp_path)
    FakeTune(made, end=end).run()
    assert outcomes(ledger) == {"completed": 3, str(outcome): 2}
    assert ledger.records("search")[0].error == error
    assert made.confirmed_winner is not None
    assert made.confirmed_winner.number not in (0, 2)
    assert len(ledger.records("confirmation")) == 3


def test_a_slot_that_tune_lost_is_a_lost_trial(tmp_path: Path) -> None:
    def end(job: Job) -> RunReport | None:
        return None if job.id == "1" else end_well(job)

    ledger = open_ledger(tmp_path)
    FakeTune(searcher(ledger, tmp_path), end=end).run()
    lost = ledger.records("search")[1]
    assert (lost.outcome, lost.error) == (Outcome.LOST, "the trial's slot was lost")
    assert [step for step, _ in lost.scores] == list(STEPS)
    assert outcomes(ledger) == {"completed": 4, "lost": 1}


def test_what_the_scheduler_stops_is_stopped_with_its_last_score(tmp_path: Path) -> None:
    def stop(job: Job, step: int) -> bool:
        return job.id == "1" and step == STEPS[1]

    ledger = open_ledger(tmp_path)
    FakeTune(searcher(ledger, tmp_path), stop=stop).run()
    stopped = ledger.records("search")[1]
    assert stopped.outcome == Outcome.STOPPED
    assert [step for step, _ in stopped.scores] == [20, 40]
    assert stopped.seconds == 2.0


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_what_the_scheduler_stops_for_want_of_a_finite_score_has_diverged(
    tmp_path: Path, score: float
) -> None:
    ledger = open_ledger(tmp_path)
    made = searcher(ledger, tmp_path)
    made.next_job("of Tune")
    made.end_run("of Tune", progress_report("0", 20, 60, score))
    assert ledger.records("search")[0].outcome == Outcome.DIVERGED


def test_where_every_trial_fails_nothing_is_confirmed(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    tune = FakeTune(
        searcher(ledger, tmp_path),
        end=lambda job: last_report(job.id, Outcome.FAILED, error="RuntimeError: no"),
    )
    tune.run()
    assert tune.finished
    assert outcomes(ledger) == {"failed": 5}
    assert ledger.records("confirmation") == []


def test_a_replicate_that_fails_is_not_replaced(tmp_path: Path) -> None:
    def end(job: Job) -> RunReport:
        return last_report(job.id, Outcome.DIVERGED) if job.id == "confirm-1" else end_well(job)

    ledger = open_ledger(tmp_path)
    FakeTune(searcher(ledger, tmp_path), end=end).run()
    assert [str(r.outcome) for r in ledger.records("confirmation")] == [
        "completed",
        "diverged",
        "completed",
    ]


def test_an_interrupted_search_starts_nothing_and_leaves_its_trials_open(tmp_path: Path) -> None:
    interrupted = False
    ledger = open_ledger(tmp_path)
    made = SearchPhases(ledger, strategy(tmp_path, 5, slots=2), [], lambda: interrupted)
    tune = FakeTune(made, end=lambda job: last_report(job.id, Outcome.SUSPENDED))
    tune.run(events=3)
    started, interrupted = len(tune.seen), True
    tune.run()
    assert tune.finished
    assert len(tune.seen) == started == 2
    assert outcomes(ledger) == {"running": 2}

    again = FakeTune(searcher(open_ledger(tmp_path), tmp_path), order=3)
    again.run()
    assert [job.id for job in again.seen[:2]] == ["0", "1"]
    assert outcomes(open_ledger(tmp_path)) == {"completed": 5}


def test_gpu_hours_start_no_further_trial_but_end_those_under_way(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    made = searcher(ledger, tmp_path, rules=[TrialLimit(50), DeviceHoursLimit("GPU", 12 / 3600, 1.0)])
    tune = FakeTune(made)
    tune.run()
    assert tune.finished
    assert made.exploration_end == "0.00333333 GPU-hours"
    assert outcomes(ledger) == {"completed": len(ledger.records("search"))}
    assert 4 <= len(ledger.records("search")) <= 6  # 3 s each, two at once
    assert len(ledger.records("confirmation")) == 3


def test_the_time_budget_counts_earlier_sittings(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    plan = strategy(tmp_path, rules=[WallTimeLimit(1000.0)])
    assert isinstance(SearchPhases(ledger, plan, [], lambda: False, 0.0).next_job("a"), Job)
    late = SearchPhases(open_ledger(tmp_path), plan, [], lambda: False, 1000.0)
    tune = FakeTune(late)
    tune.run()
    assert late.exploration_end == "time budget of 1000 s"
    assert [job.purpose for job in tune.seen] == ["search", *["confirmation"] * 3]


def test_a_rule_that_is_reached_stays_reached(tmp_path: Path) -> None:
    class Fickle:
        answers = iter(["enough", None, None, None, None, None])

        def reached(self, spent: SpentResources) -> str | None:
            return next(self.answers)

    made = searcher(open_ledger(tmp_path), tmp_path, rules=[Fickle()])
    assert made.next_job("a") == NoJob.EVER
    assert made.next_job("b") == NoJob.EVER


def test_spent_counts_trials_and_the_seconds_of_every_slot(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    FakeTune(searcher(ledger, tmp_path, trials=4)).run()
    spent = SearchPhases(
        open_ledger(tmp_path), strategy(tmp_path, 4), [], lambda: False, spent_before_s=7.0
    ).spent()
    assert spent.trials == 4
    assert 7.0 <= spent.seconds < 60.0
    assert spent.slot_seconds == pytest.approx((4 + 3) * 3.0)


def test_a_watcher_hears_of_each_event_when_the_ledger_has_it(tmp_path: Path) -> None:
    ledger, heard = open_ledger(tmp_path), Counter[str]()

    def held(record: TrialRecord) -> TrialRecord:
        reader = open_ledger(tmp_path)  # another connection sees only what is committed
        return next(one for one in reader.records(record.purpose) if one.id == record.id)

    class Watch(Watcher):
        def trial_started(self, record: TrialRecord) -> None:
            heard["started"] += 1
            assert (held(record).configuration, held(record).seed) == (record.configuration, record.seed)

        def trial_reported(self, record: TrialRecord, evaluation: Evaluation) -> None:
            heard["reported"] += 1
            assert held(record).scores[-1] == (evaluation.step, evaluation.score)

        def trial_ended(self, record: TrialRecord) -> None:
            heard["ended"] += 1
            assert held(record) == record
            assert record.outcome.is_final

    made = SearchPhases(ledger, strategy(tmp_path, 3), [Watch()], lambda: False)
    FakeTune(made).run()
    assert heard == {"started": 6, "reported": 18, "ended": 6}


def test_a_step_between_evaluations_is_told_and_not_written(tmp_path: Path) -> None:
    class Watch(Watcher):
        def trial_progressed(self, record: TrialRecord, progress: Progress) -> None:
            told.append((record.id, str(progress), record.seconds))

    told: list[tuple[str, str, float]] = []
    one = SearchPhases(open_ledger(tmp_path), strategy(tmp_path), [Watch()], lambda: False)
    tune = FakeTune(one)
    tune.fill()
    key = next(iter(tune.jobs))
    one.take_report(key, RunReport("0", RunResult(seconds=7.0), progress=Progress(30, 60)))
    assert told == [("0", "30/60", 7.0)]
    assert one.spent().slot_seconds == 7.0  # counts against a budget at once
    assert open_ledger(tmp_path).records("search")[0].scores == []


def test_an_end_that_is_told_twice_counts_once(tmp_path: Path) -> None:
    made = searcher(open_ledger(tmp_path), tmp_path)
    job = made.next_job("a")
    assert isinstance(job, Job)
    made.end_run("a", end_well(job))
    made.end_run("a", end_well(job))
    assert made.slot_seconds == 3.0


class Recorder(NoEarlyStopping):
    """Notes which trials it is told to have completed."""

    def __init__(self) -> None:
        super().__init__(STEPS[-1])
        self.completions: list[tuple[str, float | None]] = []

    def record_completion(self, trial: str, score: float | None) -> None:
        self.completions.append((trial, score))


@pytest.mark.parametrize(("direction", "sign"), [("max", 1.0), ("min", -1.0)])
def test_early_stopping_is_told_of_completed_trials_alone(
    tmp_path: Path, direction: str, sign: float
) -> None:
    """Not of confirmations, nor of trials that failed or were stopped. Higher is better there."""

    def end(job: Job) -> RunReport:
        return last_report(job.id, Outcome.FAILED, error="x") if job.id == "1" else end_well(job)

    ledger = Ledger(None, direction)
    made = searcher(ledger, tmp_path, direction=direction)
    made.early_stopping = policy = Recorder()
    FakeTune(made, end=end, stop=lambda job, step: job.id == "2").run()
    scores = {record.id: record.score for record in ledger.records("search")}
    assert {trial for trial, _ in policy.completions} == {"0", "3", "4"}
    assert all(score == sign * (scores[trial] or 0.0) for trial, score in policy.completions)


def test_a_search_that_is_resumed_stops_as_if_it_had_gone_on(tmp_path: Path) -> None:
    def resume() -> SearchPhases:
        return searcher(open_ledger(tmp_path), tmp_path, evaluations=3, scheduler="asha")

    late = Job("late", "search", {}, 0, SETTINGS, "")
    first = progress_report("late", STEPS[0], score=-1.0)
    assert not resume().is_behind(late, first)  # the first of all
    FakeTune(resume()).run()
    assert resume().is_behind(late, first)


def test_fresh_seeds_have_the_median_of_what_the_winners_runs_chose(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    settings = replace(SETTINGS, threshold="tuned")
    phases = searcher(ledger, tmp_path, trials=2, settings=settings, space=make_space(("wise-ft",)))
    thresholds = iter((0.2, 0.4))
    while isinstance(job := phases.next_job("slot"), Job) and job.purpose == "search":
        config = make_fine_tune_config(job)
        assert (config.threshold, config.method) == ("tuned", WiSEFT(alpha=None))
        ended = {"scores": [(60, 0.5)], "threshold": (chosen := next(thresholds)), "alpha": 1 - chosen}
        phases.end_run("slot", last_report(job.id, Outcome.COMPLETED, **ended))
    winner = phases.current_winner()
    assert winner is not None
    assert isinstance(job, Job)
    config = make_fine_tune_config(job)
    assert (config.threshold, config.method) == (winner.threshold, WiSEFT(alpha=winner.alpha))
    other = replace(job, configuration={"method": "r-drop", "learning_rate": 1e-4})
    assert make_fine_tune_config(other).method == make_method("r-drop")
    given = replace(job, configuration={**winner.configuration, "alpha": 0.9})
    assert make_fine_tune_config(given).method == WiSEFT(alpha=0.9)
    others = [trial for trial in ledger.records("search") if trial.id != winner.id]
    runs = [winner, replace(winner, threshold=0.9), replace(winner, threshold=0.5), *others]
    chosen = sorted((winner.threshold or 0, 0.9, 0.5))[1]
    assert replicates.choose_median("threshold", winner.configuration, runs) == chosen
    assert replicates.choose_median("threshold", {"method": "untried"}, others) == others[0].threshold
    assert replicates.choose_median("threshold", {"method": "untried"}, []) == 0.5
    stopped = replace(others[0], configuration={"method": "stopped"}, threshold=None, outcome=Outcome.STOPPED)
    runs = [stopped, *others]
    assert replicates.choose_median("threshold", stopped.configuration, runs) == others[0].threshold


def test_all_fresh_seeds_of_a_configuration_have_one_threshold_whatever_raced_since() -> None:
    def end(job: Job) -> RunReport:
        chosen = 0.3 + 0.01 * (job.seed % 7) if job.threshold is None else job.threshold
        return last_report(job.id, Outcome.COMPLETED, scores=[(60, 0.5)], threshold=chosen)

    ledger = Ledger(None, "max")
    for race, confirm in ((1, 2), (3, 5)):
        changes = {"race_seeds": race, "confirmation_seeds": confirm, "keep_models": False}
        settings = replace(SETTINGS, threshold="tuned")
        FakeTune(searcher(ledger, Path("nowhere"), settings=settings, **changes), end=end).run()
    by_configuration = replicates.group_by_configuration(ledger.records("confirmation"))
    assert max(map(len, by_configuration)) == 5
    assert all(len({run.threshold for run in runs}) == 1 for runs in by_configuration)


@pytest.mark.parametrize("outcome", [Outcome.OUT_OF_MEMORY, Outcome.FAILED, Outcome.LOST])
def test_the_seconds_of_a_run_that_failed_are_spent(outcome: Outcome) -> None:
    ledger = Ledger(None, "max")
    phases = searcher(ledger, Path("nowhere"), slots=1)
    job = phases.next_job("slot")
    assert isinstance(job, Job)
    phases.take_report("slot", progress_report(job.id, 20, seconds=1900.0))
    is_lost = outcome == Outcome.LOST
    phases.end_run("slot", None if is_lost else last_report(job.id, outcome, error="why"), lost=is_lost)
    (record,) = ledger.records("search")
    assert (record.outcome, record.seconds, phases.spent().slot_seconds) == (outcome, 1900.0, 1900.0)
