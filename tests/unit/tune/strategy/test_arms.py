"""The arms of a comparison over shared slots: each gets all of its runs, none runs ahead."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dps.training.result import Outcome
from tests.unit.tune.helpers import STEPS, FakeTune, end_well, last_report, make_arms, open_ledgers, strategy
from tune.core.run import Job, RunReport
from tune.records.ledger import Ledger, TrialRecord
from tune.strategy.arms import Arms
from tune.strategy.budget import SlotCount
from tune.strategy.phases import SearchPhases

ARMS = ("vanilla", "dps-dense", "child-tuning-d")
IDS = {f"{arm}:{name}" for arm in ARMS for name in ("0", "1", "confirm-0", "confirm-1")}


def compare(folder: Path | None = None, **changes: Any) -> Arms:
    """The comparison in this folder, begun or taken up; without one it is in memory."""
    return make_arms(open_ledgers(folder, ARMS), **changes)


def records(arms: Arms, purpose: Any) -> dict[str, list[TrialRecord]]:
    return {search.ledger.arm: search.ledger.records(purpose) for search in arms.searches}


def made(arms: Arms) -> dict[str, tuple[dict[str, Any], int, Outcome]]:
    """By id, what was run and how it ended."""
    every = [
        r for purpose in ("search", "confirmation") for arm in records(arms, purpose).values() for r in arm
    ]
    by_id = {r.id: (r.configuration, r.seed, r.outcome) for r in every}
    assert len(by_id) == len(every)
    return by_id


@pytest.fixture(scope="module")
def undisturbed() -> Arms:
    arms = compare()
    FakeTune(arms).run()
    return arms


@pytest.mark.parametrize("slots", [1, 4])
def test_every_arm_gets_its_configurations_and_its_seeds(slots: int) -> None:
    arms = compare(slots=slots)
    tune = FakeTune(arms, order=slots)
    tune.run()
    assert tune.finished
    assert tune.most_live == slots
    assert Counter(job.id for job in tune.seen) == dict.fromkeys(IDS, 1)
    assert len({job.location for job in tune.seen}) == len(IDS)
    assert not any(job.keep_model for job in tune.seen)
    ended = {run: outcome for run, (_, _, outcome) in made(arms).items()}
    assert ended == dict.fromkeys(IDS, Outcome.COMPLETED)


def test_arms_share_the_slots_that_join_and_end_whole(undisturbed: Arms) -> None:
    slots = SlotCount(1)
    arms = compare(slots=slots)
    tune = FakeTune(arms)
    tune.run(events=2)
    slots.become(3)
    tune.fill()
    assert {job.id.partition(":")[0] for job in tune.jobs.values()} == set(ARMS)
    slots.become(2)
    tune.run()
    assert (tune.finished, tune.most_live) == (True, 3)
    assert made(arms) == made(undisturbed)


def test_each_arm_searches_its_own_method_and_confirms_its_own_best(undisturbed: Arms) -> None:
    for arm, confirmations in records(undisturbed, "confirmation").items():
        tried = records(undisturbed, "search")[arm]
        best = max(tried, key=lambda record: record.score or 0.0)
        assert {record.configuration["method"] for record in tried} == {arm}
        assert [record.configuration for record in confirmations] == [best.configuration] * 2


def test_all_arms_are_given_the_same_learning_rates_and_the_same_seeds() -> None:
    arms = compare(trials=3, confirmation_seeds=3, seed=7)
    FakeTune(arms).run()
    rates = [[r.configuration["learning_rate"] for r in arm] for arm in records(arms, "search").values()]
    seeds = [[r.seed for r in arm] for arm in records(arms, "confirmation").values()]
    assert rates == [rates[0]] * 3
    assert len(set(rates[0])) == 3
    assert seeds == [[8, 9, 10]] * 3
    assert {r.seed for arm in records(arms, "search").values() for r in arm} == {7}


class Fair(FakeTune):
    """Every handing out is checked: an arm that has been given fewer waits for its last configurations, or
    is over."""

    def fill(self) -> None:
        before = Counter(job.id.partition(":")[0] for job in self.seen)
        held = Counter(job.id.partition(":")[0] for job in self.jobs.values())
        super().fill()
        for job in self.seen[before.total() :]:
            arm = job.id.partition(":")[0]
            for other in ARMS:
                if before[other] < before[arm]:
                    waits = before[other] == 2 and held[other] > 0
                    assert waits or before[other] == 4, (job.id, before, held)
            before[arm] += 1
            held[arm] += 1


class Steady(Fair):
    """All runs take equally long: the one that has done the least goes on."""

    def advance(self, name: str) -> None:
        super().advance(min(self.jobs, key=lambda live: (self.steps[live], live)))


@pytest.mark.parametrize(("slots", "order"), [(1, 0), (2, 1), (5, 2)])
def test_the_arm_that_was_given_the_fewest_is_next(slots: int, order: int) -> None:
    tune = Fair(compare(slots=slots), order=order)
    tune.run()
    assert tune.finished


@pytest.mark.parametrize("slots", [1, 3])
def test_no_arm_runs_ahead_of_another_by_more_than_the_slots(slots: int) -> None:
    tune = Steady(compare(slots=slots))
    tune.run()
    given = Counter[str]()
    for job in tune.seen:
        given[job.id.partition(":")[0]] += 1
        assert given[job.id.partition(":")[0]] - min(given[arm] for arm in ARMS) <= slots


@pytest.mark.parametrize("events", [1, 14, 27, 45])
def test_a_comparison_cut_off_and_continued_is_the_one_undisturbed(
    tmp_path: Path, undisturbed: Arms, events: int
) -> None:
    cut = FakeTune(compare(tmp_path))
    cut.run(events)
    assert not cut.finished
    again = FakeTune(compare(tmp_path, slots=3), order=9)
    again.run()
    assert again.finished
    assert made(compare(tmp_path)) == made(undisturbed)
    ended = {job.id for job in cut.seen} - {job.id for job in cut.jobs.values()}
    assert ended.isdisjoint(job.id for job in again.seen)


def test_a_comparison_cut_off_again_and_again_ends_with_every_run_once(
    tmp_path: Path, undisturbed: Arms
) -> None:
    for sitting in range(20):
        tune = FakeTune(compare(tmp_path), order=sitting)
        tune.run(events=7)
        if tune.finished:
            break
    assert tune.finished
    assert made(compare(tmp_path)) == made(undisturbed)


def test_what_is_open_is_taken_up_before_anything_new(tmp_path: Path) -> None:
    cut = FakeTune(compare(tmp_path, slots=3), order=1)
    cut.run(events=14)
    open_ids = {job.id for job in cut.jobs.values()}
    assert open_ids
    again = FakeTune(compare(tmp_path, slots=3))
    again.fill()
    assert {job.id for job in again.seen[: len(open_ids)]} == open_ids


def test_an_arm_with_open_runs_is_not_counted_ahead(tmp_path: Path) -> None:
    cut = FakeTune(compare(tmp_path, slots=1))
    cut.fill()
    assert [job.id for job in cut.seen] == ["vanilla:0"]
    again = FakeTune(compare(tmp_path, slots=4))
    again.fill()
    assert [job.id for job in again.seen] == ["vanilla:0", "dps-dense:0", "child-tuning-d:0", "vanilla:1"]


def test_more_seeds_on_a_resume_add_only_seeds(tmp_path: Path) -> None:
    FakeTune(compare(tmp_path)).run()
    before = made(compare(tmp_path))
    again = FakeTune(compare(tmp_path, confirmation_seeds=4), order=5)
    again.run()
    assert again.finished
    assert {job.id for job in again.seen} == {f"{arm}:confirm-{n}" for arm in ARMS for n in (2, 3)}
    after = compare(tmp_path)
    assert made(after).items() >= before.items()
    assert [[r.seed for r in arm] for arm in records(after, "confirmation").values()] == [[6, 7, 8, 9]] * 3


def test_an_arm_that_never_trains_is_not_confirmed_and_stops_nobody() -> None:
    def end(job: Job) -> RunReport:
        fails = job.configuration["method"] == "dps-dense"
        return last_report(job.id, Outcome.DIVERGED) if fails else end_well(job)

    arms = compare()
    tune = FakeTune(arms, end=end)
    tune.run()
    assert tune.finished
    assert {arm: len(one) for arm, one in records(arms, "confirmation").items()} == {
        "vanilla": 2,
        "dps-dense": 0,
        "child-tuning-d": 2,
    }


def test_an_interrupted_comparison_starts_nothing_and_ends() -> None:
    interrupted = False
    arms = compare()
    for search in arms.searches:
        search.is_interrupted = lambda: interrupted
    tune = FakeTune(arms, end=lambda job: last_report(job.id, Outcome.SUSPENDED))
    tune.run(events=2)
    interrupted = True
    tune.run()
    assert tune.finished
    assert len(tune.seen) == 2
    assert {outcome for _, _, outcome in made(arms).values()} == {Outcome.RUNNING}


def test_what_was_spent_is_that_of_all_arms() -> None:
    arms = compare()
    FakeTune(arms).run()
    spent = arms.spent()
    assert (spent.trials, spent.slot_seconds) == (6, pytest.approx(12 * 3.0))
    assert 0 < spent.seconds < 60


def test_an_end_that_is_told_twice_counts_once() -> None:
    arms = compare()
    job = arms.next_job("a")
    assert isinstance(job, Job)
    for _ in range(2):
        arms.end_run("a", end_well(job))
    assert arms.spent().slot_seconds == 3.0
    assert arms.owners == {}


def test_an_arm_of_a_file_reads_no_records_of_another(tmp_path: Path) -> None:
    FakeTune(compare(tmp_path)).run(events=9)
    assert Ledger(tmp_path / "study.db", "max").records("search") == []
    for arm, held in records(compare(tmp_path), "search").items():
        assert {record.arm for record in held} <= {arm}


def test_arms_of_one_search_are_that_search() -> None:
    tune = FakeTune(make_arms(open_ledgers(None, ARMS[:1])))
    tune.run()
    assert [job.id for job in tune.seen] == [
        "vanilla:0", "vanilla:1", "vanilla:confirm-0", "vanilla:confirm-1",
    ]  # fmt: skip


def test_a_baseline_is_not_chosen_by_the_luck_of_one_seed() -> None:
    """Its luckiest trial races with the next best on further seeds, before any of the baseline confirms."""
    ledgers = open_ledgers(None, ("", "vanilla"))
    shared = {"sampler": "latin", "scheduler": "none", "confirmation_seeds": 2, "race_seeds": 2}
    plans = {
        "": strategy(Path("work"), 3, **shared),
        "vanilla": strategy(Path("work"), 3, is_baseline=True, raced_configurations=2, **shared),
    }
    arms = Arms([SearchPhases(ledgers[arm], plans[arm], [], lambda: False) for arm in ledgers])

    def score(job: Job, step: int = STEPS[-1]) -> float:
        lucky, *_ = ledgers["vanilla"].records("search") or [None]
        if job.purpose == "race" and lucky is not None and job.configuration == lucky.configuration:
            return 0.0
        return {"vanilla:0": 0.9, "vanilla:1": 0.8}.get(job.id, 0.5)

    def end(job: Job) -> RunReport:
        final = {"dev": {"accuracy": 0.5}} if job.purpose == "confirmation" else {}
        scores = [(STEPS[-1], score(job))]
        return last_report(job.id, Outcome.COMPLETED, scores=scores, seconds=1.0, final=final)

    tune = FakeTune(arms, end=end, score=score)
    tune.run()
    lucky, better, _ = ledgers["vanilla"].records("search")
    for each in (lucky, better):
        runs = [run for run in ledgers["vanilla"].records("race") if run.configuration == each.configuration]
        assert sorted(run.seed for run in runs) == [1005, 1006]
    confirmed = ledgers["vanilla"].records("confirmation")
    assert [run.configuration for run in confirmed] == [better.configuration] * 2
    assert len(ledgers[""].records("race")) == 3 * 2


class Longest(FakeTune):
    """The run that was asked for first ends first."""

    def advance(self, name: str) -> None:
        super().advance(next(iter(self.jobs)))


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_baselines_wait_for_the_trials_of_the_search_and_fill_its_idle_slots(slots: int) -> None:
    ledgers = open_ledgers(None, ("", "vanilla", "r-drop"))
    shared = {"slots": SlotCount(slots), "sampler": "latin", "confirmation_seeds": 2}
    plans = {arm: strategy(Path("work"), 3, is_baseline=bool(arm), **shared) for arm in ledgers}
    arms = Arms([SearchPhases(ledgers[arm], plans[arm], [], lambda: False) for arm in ledgers])
    tune = Longest(arms)
    tune.run(events=1)
    tune.run()
    begun = [job.id for job in tune.seen]
    assert begun[:3] == ["0", "1", "2"]
    trials = {f"{arm}:{number}" for arm in ("vanilla", "r-drop") for number in range(3)}
    assert trials <= {*begun[: begun.index("confirm-1")]}  # the first confirmation shows that it confirms
    assert len(begun) == 3 * (3 + 2)
    assert (tune.finished, tune.most_live) == (True, slots)
