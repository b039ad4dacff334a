"""The mailbox between a slot and its worker group, as coroutines on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from dps.training.result import Outcome
from tests.unit.tune.helpers import SETTINGS, last_report, progress_report
from tune.core.run import Job
from tune.execution.mailbox import ControlSignal, Mailbox, StopSignal

T = TypeVar("T")
TIMEOUT_S, DEADLINE_S = 0.01, 5.0


def job(id: str) -> Job:
    return Job(id, "search", {"method": "vanilla", "learning_rate": 1e-4}, 0, SETTINGS, "")


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, DEADLINE_S))


async def begun(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that has run until it waits, and is still waiting."""
    task = asyncio.ensure_future(coroutine)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    return task


def test_a_job_comes_out_as_it_went_in() -> None:
    async def scene() -> None:
        box = Mailbox()
        await box.submit(job("1"))
        assert await box.next_job(TIMEOUT_S) == job("1")

    run(scene())


def test_a_group_that_waits_gets_the_job_when_it_comes() -> None:
    async def scene() -> None:
        box = Mailbox()
        waiting = await begun(box.next_job(60.0))
        await box.submit(job("1"))
        assert await waiting == job("1")

    run(scene())


def test_without_a_job_a_group_is_told_to_leave_after_its_patience() -> None:
    async def scene() -> None:
        assert await Mailbox().next_job(TIMEOUT_S) is None

    run(scene())


def test_a_group_that_was_restarted_gets_the_same_job_until_its_last_report() -> None:
    async def scene() -> None:
        box = Mailbox()
        await box.submit(job("1"))
        for _ in range(3):
            assert await box.next_job(TIMEOUT_S) == job("1")
            await box.put_report(progress_report("1", 20, 60, 0.5))
        await box.put_report(last_report("1", Outcome.COMPLETED))
        assert await box.next_job(TIMEOUT_S) is None

    run(scene())


def test_reports_come_out_in_their_order_the_last_one_too() -> None:
    async def scene() -> None:
        box = Mailbox()
        await box.submit(job("1"))
        for step in (20, 40):
            await box.put_report(progress_report("1", step))
        await box.put_report(last_report("1", Outcome.COMPLETED, scores=[(60, 0.5)]))
        assert [(await box.next_report()).result.step for _ in range(3)] == [20, 40, 60]

    run(scene())


def test_a_slot_that_waits_gets_the_report_when_it_comes() -> None:
    async def scene() -> None:
        box = Mailbox()
        await box.submit(job("1"))
        waiting = await begun(box.next_report())
        await box.put_report(progress_report("1", 20))
        assert (await waiting).result.step == 20

    run(scene())


def test_another_job_replaces_the_first_and_drops_its_reports() -> None:
    async def scene() -> None:
        box = Mailbox()
        await box.submit(job("1"))
        await box.put_report(progress_report("1", 20))  # not fetched before it is replaced
        await box.submit(job("2"))
        await box.put_report(progress_report("1", 40))
        await box.put_report(last_report("1", Outcome.COMPLETED, scores=[(60, 0.5)]))
        assert await box.next_job(TIMEOUT_S) == job("2")
        await box.put_report(progress_report("2", 10))
        report = await box.next_report()
        assert (report.job, report.result.step) == ("2", 10)

    run(scene())


def test_a_report_after_the_last_one_is_dropped() -> None:
    async def scene() -> None:
        box = Mailbox()
        await box.submit(job("1"))
        await box.put_report(last_report("1", Outcome.COMPLETED))
        await box.put_report(last_report("1", Outcome.FAILED))
        assert (await box.next_report()).outcome == Outcome.COMPLETED
        (await begun(box.next_report())).cancel()

    run(scene())


def test_who_waits_for_a_report_of_a_replaced_job_is_let_go() -> None:
    """An actor serves a bounded number of calls at once: none may be left waiting for ever."""

    async def scene() -> None:
        box = Mailbox()
        await box.submit(job("1"))
        waiting = await begun(box.next_report())
        await box.submit(job("2"))
        await waiting
        await box.put_report(progress_report("2", 10))
        assert (await box.next_report()).result.step == 10

    run(scene())


@pytest.mark.parametrize("signal", ["stop", "suspend"])
def test_a_job_hears_the_signal_it_was_given(signal: ControlSignal) -> None:
    async def scene() -> None:
        box = Mailbox()
        await box.submit(job("1"))
        waiting = await begun(box.wait_for_signal("1"))
        await box.send_signal(signal)
        assert await waiting == signal
        assert await box.wait_for_signal("1") == signal  # asked late, answered the same

    run(scene())


def test_a_job_that_is_replaced_is_told_to_stop_and_the_next_one_is_not() -> None:
    async def scene() -> None:
        box = Mailbox()
        await box.submit(job("1"))
        first = await begun(box.wait_for_signal("1"))
        await box.send_signal("suspend")
        await box.submit(job("2"))
        assert await first == "stop"
        (await begun(box.wait_for_signal("2"))).cancel()

    run(scene())


def test_a_job_that_is_not_there_is_told_to_stop() -> None:
    async def scene() -> None:
        box = Mailbox()
        assert await box.wait_for_signal("1") == "stop"
        await box.submit(job("2"))
        assert await box.wait_for_signal("1") == "stop"

    run(scene())


def test_a_job_done_again_is_handed_out_as_it_is_now_and_an_ended_one_is_not() -> None:
    async def scene() -> None:
        box = Mailbox()
        await box.submit(job("1"))
        smaller = replace(job("1"), micro_batch=4)
        await box.retry(smaller)
        assert await box.next_job(TIMEOUT_S) == smaller
        await box.retry(job("2"))
        assert await box.next_job(TIMEOUT_S) == smaller
        await box.put_report(last_report("1", Outcome.COMPLETED))
        await box.retry(smaller)
        assert await box.next_job(TIMEOUT_S) is None

    run(scene())


def test_signs_of_life_are_of_the_job_under_way() -> None:
    async def scene() -> None:
        box = Mailbox()
        await box.register_worker(0, b"worker")
        await box.submit(job("1"))
        heartbeat = await box.get_heartbeat()
        assert (heartbeat.has_stepped, heartbeat.running_seconds, heartbeat.worker_handles) == (
            False,
            None,
            [b"worker"],
        )
        await box.next_job(TIMEOUT_S)
        assert (await box.get_heartbeat()).running_seconds is not None
        await box.record_step("0")
        assert not (await box.get_heartbeat()).has_stepped
        await asyncio.sleep(0.05)
        silent = (await box.get_heartbeat()).silent_seconds
        assert silent >= 0.05
        await box.record_step("1")
        heartbeat = await box.get_heartbeat()
        assert heartbeat.has_stepped
        assert heartbeat.silent_seconds < (heartbeat.running_seconds or 0.0) - 0.05
        await box.next_job(TIMEOUT_S)  # of a group that was restarted
        heartbeat = await box.get_heartbeat()
        assert (heartbeat.has_stepped, heartbeat.running_seconds is not None) == (False, True)
        await box.submit(job("2"))
        assert (await box.get_heartbeat()).running_seconds is None

    run(scene())


def test_close_ends_everything_that_waits() -> None:
    async def scene() -> None:
        box = Mailbox()
        idle = await begun(box.next_job(60.0))
        await box.close()
        assert await idle is None
        assert await box.next_job(60.0) is None

    run(scene())


def test_close_stops_the_job_under_way() -> None:
    async def scene() -> None:
        box = Mailbox()
        await box.submit(job("1"))
        waiting = await begun(box.wait_for_signal("1"))
        await box.close()
        assert await waiting == "stop"
        assert await box.next_job(60.0) is None

    run(scene())


def test_the_switch_answers_all_who_wait_once_it_is_thrown() -> None:
    async def scene() -> None:
        signal = StopSignal()
        waiting = [await begun(signal.wait()) for _ in range(3)]
        await signal.set()
        await asyncio.gather(*waiting)
        await signal.wait()

    run(scene())
