"""Run after run fails: the search ends with the most likely reason; what hangs is ended."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dps.training.result import Outcome
from tests.unit.tune.helpers import (
    PROVENANCE,
    FakeTune,
    end_session,
    end_well,
    last_report,
    make_plan,
    make_record,
    open_ledger,
    strategy,
)
from tune.core import command
from tune.core.run import Job, RunReport
from tune.execution import watchdog
from tune.execution.mailbox import Heartbeat
from tune.records import failures
from tune.records.failures import MAX_FAILURE_STREAK, FailureStreak, TooManyFailuresError
from tune.reporting import document, summary
from tune.search_session import SearchSession
from tune.strategy.budget import SpentResources
from tune.strategy.phases import SearchPhases

LOST, OOM, FAILED = Outcome.LOST, Outcome.OUT_OF_MEMORY, Outcome.FAILED


def test_so_many_failures_in_a_row_end_the_search_and_fewer_do_not(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    made = SearchPhases(ledger, strategy(tmp_path, trials=30, confirmation_seeds=1), [], lambda: False)

    def end(job: Job) -> RunReport:
        good = int(job.id) == MAX_FAILURE_STREAK - 2
        return end_well(job) if good else last_report(job.id, OOM, error="OutOfMemoryError: 2 GiB")

    with pytest.raises(
        TooManyFailuresError, match=f"{MAX_FAILURE_STREAK} runs in a row.* are out-of-memory.*--oom-retry"
    ):
        FakeTune(made, end=end).run()
    ended = [record for record in ledger.records("search") if record.outcome.is_final]
    assert MAX_FAILURE_STREAK < len(ended) < 30


def test_a_run_that_is_of_use_ends_the_row() -> None:
    row = FailureStreak()
    for outcome in [*[LOST] * (MAX_FAILURE_STREAK - 1), Outcome.STOPPED, *[LOST] * (MAX_FAILURE_STREAK - 1)]:
        row.add_run(make_record(0, outcome))
    with pytest.raises(TooManyFailuresError):
        row.add_run(make_record(0, Outcome.DIVERGED))


def test_the_most_likely_reason_is_the_most_frequent_with_its_error() -> None:
    failed = [make_record(i, OOM, error=f"{i} GiB") for i in range(2)]
    failed += [make_record(i, FAILED, error="KeyError: 'x'" if i else "odd") for i in range(3)]
    assert (
        failures.explain_failures(failed) == "3 are failed: an error in data, model or code (KeyError: 'x')"
    )


@pytest.mark.parametrize(
    ("completed", "status"), [(1, command.EXIT_INTERRUPTED), (0, command.EXIT_NOTHING_FINISHED)]
)
def test_the_command_says_why_and_how_to_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    completed: int,
    status: int,
) -> None:
    (tmp_path / "out").mkdir()
    search = SearchSession(make_plan(output=tmp_path / "out", tracking_uri="none"))

    def broken(*values: object) -> None:
        raise TooManyFailuresError("8 runs in a row failed; 8 are lost")

    monkeypatch.setattr("tune.execution.run_trials", broken)
    monkeypatch.setattr(search.folder, "records", lambda *purposes: [make_record()] * completed)
    assert end_session(search.run) == status
    said = capsys.readouterr().err
    assert "8 are lost; then go on with: " in said
    assert f"/tune/search.py --resume {tmp_path}/out" in said
    assert said.count("\n") == 1


def test_the_share_of_failures_is_in_the_summary(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    made = SearchPhases(ledger, strategy(tmp_path, trials=4, confirmation_seeds=2), [], lambda: False)

    def end(job: Job) -> RunReport:
        return last_report(job.id, LOST, error="the worker group ended") if job.id in "13" else end_well(job)

    FakeTune(made, end=end).run()
    found = document.build_search_document(
        make_plan(), {"": ledger}, {"": made.current_winner()}, SpentResources(4, 1.0, 1.0), PROVENANCE
    )
    assert asdict(found.failures) | {"reason": None} == {
        "runs": 6, "failed": 2, "share": pytest.approx(1 / 3), "outcomes": {"lost": 2}, "reason": None,
    }  # fmt: skip
    lines = summary.summarise_search(found, tmp_path, None)
    assert any(
        line.startswith("Failures: 2 of 6 runs (33 %): 2 lost. Most likely, 2 are lost: ") for line in lines
    )


class Worker:
    """An actor's handle. alive: None where it does not answer."""

    def __init__(self, alive: bool | None) -> None:
        self.alive, self.killed = alive, False
        self.__ray_ready__ = SimpleNamespace(remote=lambda: self)


class Ray:
    """Enough of it for the watchdog. heartbeat: what the mailbox answers; told: the reports it got."""

    exceptions = watchdog.ray.exceptions
    cloudpickle: Any
    answers: bool | None = True  # the mailbox; None: it hangs

    def __init__(self, heartbeat: Heartbeat) -> None:
        self.told: list[RunReport] = []
        self.get_heartbeat = SimpleNamespace(remote=lambda: heartbeat)
        self.put_report = SimpleNamespace(remote=self.told.append)

    def get(self, answer: Any, timeout: float | None = None) -> Any:
        if isinstance(answer, list) and any(worker.alive is False for worker in answer):
            raise self.exceptions.RayActorError
        return answer

    def wait(self, asked: list[Any], timeout: float, num_returns: int = 1) -> tuple[list[Any], list[Any]]:
        return [each for each in asked if getattr(each, "alive", self.answers) is not None], []

    def kill(self, worker: Worker) -> None:
        worker.killed = True


@pytest.mark.parametrize(
    ("stepping", "silent", "running", "alive", "says", "kills"),
    [
        (True, 9.0, 50.0, [True], None, False),
        (True, 11.0, 50.0, [True], "no step for 11 s (--step-timeout)", True),
        (True, 11.0, 50.0, [True, None], "no step for 11 s (--step-timeout)", True),  # hangs as a whole
        (True, 11.0, 50.0, [True, False], None, False),  # Ray Train is at it
        (True, 11.0, 50.0, [], None, False),
        (False, 29.0, 29.0, [True], None, False),
        (False, 31.0, 31.0, [True], "no first step for 31 s (--step-timeout)", True),
        (False, 31.0, None, [True], None, True),  # of the job before
        (True, 1.0, 101.0, [True], "it took more than 100 s (--trial-timeout)", False),
    ],
)
def test_what_hangs_or_takes_too_long_has_timed_out(
    monkeypatch: pytest.MonkeyPatch,
    stepping: bool,
    silent: float,
    running: float | None,
    alive: list[bool | None],
    says: str | None,
    kills: bool,
) -> None:
    workers = [Worker(each) for each in alive]
    ray = Ray(Heartbeat(stepping, silent, running, [bytes([place]) for place in range(len(workers))]))
    ray.cloudpickle = SimpleNamespace(loads=lambda handle: workers[handle[0]])
    monkeypatch.setattr(watchdog, "ray", ray)
    dog = watchdog.Watchdog(ray, "slot", step_timeout_s=10.0, trial_timeout_s=100.0)
    job = Job("7", "search", {}, 0, make_plan().settings, "")
    dog.check_job(job)
    assert ray.told == []  # it does not look at every call
    dog.last_checked = time.monotonic() - 60
    dog.check_job(job)
    said = [(told.job, told.outcome, told.result.error) for told in ray.told]
    assert said == ([] if says is None else [("7", Outcome.TIMED_OUT, says)])
    assert [worker.killed for worker in workers] == [kills] * len(workers)


def test_a_mailbox_that_hangs_is_given_up_after_the_time_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Ray(Heartbeat(True, 0.0, 1.0, []))
    monkeypatch.setattr(watchdog, "ray", ray)
    dog = watchdog.Watchdog(ray, "slot", step_timeout_s=10.0, trial_timeout_s=None)
    job, now = Job("7", "search", {}, 0, make_plan().settings, ""), time.monotonic()

    def check(at: float) -> None:
        monkeypatch.setattr(watchdog.time, "monotonic", lambda: now + at)
        dog.check_job(job)

    ray.answers = None
    check(10.0)
    check(19.0)
    ray.answers = True
    check(28.0)  # it answers again
    ray.answers = None
    check(40.0)
    with pytest.raises(TimeoutError, match=r"no answer from the slot's mailbox for 11 s \(--step-timeout\)"):
        check(51.0)
    assert ray.told == []
