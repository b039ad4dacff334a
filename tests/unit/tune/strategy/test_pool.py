"""Several tasks over shared slots: each gets all of its runs, no slot idles, one that fails goes alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from dps.training.result import Outcome
from tests.unit.tune.helpers import FakeTune, end_well, last_report, make_arms, open_ledgers
from tune.core.run import Job, RunReport
from tune.records.failures import MAX_FAILURE_STREAK
from tune.strategy.budget import SlotCount
from tune.strategy.pool import Pool, PooledTask

ARMS = ("vanilla", "dps-dense")
RUNS = 8  # of such a comparison


def make_pool(weights: tuple[float, ...], slots: int = 2, **changes: Any) -> tuple[Pool, dict[int, int]]:
    """A pool of comparisons, and the place of each by the identity of its settings."""
    shared = SlotCount(slots)
    arms = [make_arms(open_ledgers(None, ARMS), slots=shared, **changes) for _ in weights]
    pool = Pool([PooledTask(each, seconds, RUNS) for each, seconds in zip(arms, weights, strict=True)])
    return pool, {id(each): place for place, each in enumerate(arms)}


def run_pool(pool: Pool, places: dict[int, int], **changes: Any) -> list[int]:
    """Run a pool to its end; returns the task of each job in turn."""
    turns: list[int] = []
    take = pool.next_job

    def next_job(key: str) -> Any:
        answer = take(key)
        if isinstance(answer, Job):
            turns.append(places[id(pool._owners[key])])
        return answer

    pool.next_job = next_job  # type: ignore[method-assign]
    tune = FakeTune(pool, order=len(places), **changes)  # type: ignore[arg-type]
    tune.run()
    assert tune.finished
    assert tune.most_live == pool.slots.now
    return turns


@pytest.mark.parametrize("slots", [1, 3])
def test_every_task_gets_its_runs_and_they_end_together(slots: int) -> None:
    """The long task leads until as much is left of the others; then they take turns to the end."""
    pool, places = make_pool((100.0, 100.0, 400.0), slots)
    turns = run_pool(pool, places)
    assert Counter(turns) == {0: RUNS, 1: RUNS, 2: RUNS}
    assert set(turns[: RUNS // 2]) == {2}
    assert set(turns[-6:]) >= {0, 1}
    assert 2 in turns[-8:]
    ended = [run.outcome for task in pool.tasks for s in task.arms.searches for run in s.ledger.records()]
    assert ended == [Outcome.COMPLETED] * 3 * RUNS


def test_a_slot_that_one_task_leaves_idle_goes_to_another() -> None:
    """A task of one configuration has nothing to run beside it; the other fills the slots."""
    pool, places = make_pool((100.0, 1.0), slots=4, trials=1, confirmation_seeds=1)
    assert [places[id(pool._owners[key])] for key in "abcd" if pool.next_job(key)] == [0, 0, 1, 1]


def test_a_task_whose_runs_all_fail_does_not_end_the_others() -> None:
    def end(job: Job) -> RunReport:
        if places[id(pool._owners[next(k for k, j in tune.jobs.items() if j is job)])] == 1:
            return last_report(job.id, Outcome.FAILED, error="no data")
        return end_well(job)

    pool, places = make_pool((100.0, 400.0), trials=MAX_FAILURE_STREAK, confirmation_seeds=1)
    tune = FakeTune(pool, end=end)  # type: ignore[arg-type]
    tune.run()
    pool.raise_first_error()
    assert tune.finished
    assert [task.error is None for task in pool.tasks] == [True, False]
    assert "no data" in str(pool.tasks[1].error)
    done = [run.outcome for search in pool.tasks[0].arms.searches for run in search.ledger.records()]
    assert done == [Outcome.COMPLETED] * 2 * (MAX_FAILURE_STREAK + 1)
