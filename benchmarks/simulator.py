"""A search against a virtual clock: the same searcher, ledger, stop policy and stop rules, but runs that are
looked up instead of trained.

A `World` says what a run would score and take: a recorded table of real runs (`benchmarks.recorded`), or a
synthetic surface with a noise model (`benchmarks.synthetic`).
Slots may be slow, or die in the middle of a run.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dps.tasks import registry
from dps.training.result import Evaluation, Outcome, RunResult
from tune.core.run import Job, RunPurpose, RunReport
from tune.execution.tuner import MAX_TRIAL_FAILURES
from tune.records.ledger import Ledger
from tune.strategy import early_stopping
from tune.strategy.phases import NoJob, SearchPhases
from tune.strategy.strategy import Strategy


@dataclass(frozen=True)
class Lookup:
    """What a run would come to.

    curve: (step, score on the selection data) of every evaluation, the last at the last step; a score that
    is not finite ends the run there, diverged. seconds: of the whole run on a slot of speed 1. final: the
    score on the evaluation set.
    """

    curve: Sequence[tuple[int, float]]
    seconds: float
    final: float


class World(Protocol):
    """Says what a run of a configuration with a seed would come to; the same at every call.

    steps: at which a run is evaluated, the last of them its end; as many as of every run.
    """

    @property
    def steps(self) -> Sequence[int]: ...

    def run(self, configuration: dict[str, Any], seed: int) -> Lookup:
        """Look a run up."""
        ...

    def truth(self, configuration: dict[str, Any]) -> float:
        """The configuration's true mean on the evaluation set, over all seeds."""
        ...


@dataclass(frozen=True)
class Slot:
    """One worker group. speed: 1 is as recorded, 0.5 takes twice as long. dies_at: seconds of the clock, None
    for never; it is back `away` seconds later, and does not die again."""

    speed: float = 1.0
    dies_at: float | None = None
    away: float = 30.0


@dataclass
class Clock:
    """Seconds since the search began."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class _Running:
    name: str  # the id that Tune would give
    job: Job
    lookup: Lookup
    began: float
    done: int = 0  # evaluations
    seen: float = 0.0  # seconds of the run on a slot of speed 1, at its last evaluation
    slot: int = -1
    failures: int = 0


class Simulation:
    """One search on these slots, from its first job to its last.

    scheduler: the name of the stop policy. Raises ValueError where there is none of it.
    """

    def __init__(
        self,
        strategy: Strategy,
        scheduler: str,
        world: World,
        slots: Sequence[Slot],
        searcher: type[SearchPhases] = SearchPhases,
    ) -> None:
        self.clock, self.ledger = Clock(), Ledger(None, strategy.direction)
        strategy = replace(strategy, scheduler=scheduler, evaluations=len(world.steps))
        self.searcher = searcher(self.ledger, strategy, [], lambda: False, clock=self.clock)
        self.world, self.slots = world, slots
        self.metric = registry.get_task(strategy.settings.task).metric
        self.reports = 0
        self._free = [*range(len(slots))][::-1]
        self._running: dict[int, _Running] = {}  # by slot
        self._lost: list[_Running] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order, self._names = itertools.count(), itertools.count()
        self._finished = False

    def run(self) -> None:
        """Run to the end of the search."""
        for number, slot in enumerate(self.slots):
            if slot.dies_at is not None:
                self._at(slot.dies_at, lambda number=number: self._die(number))  # type: ignore[misc]
        self._fill()
        while self._events and (self._running or self._lost or not self._finished):
            self.clock.now, _, event = heapq.heappop(self._events)
            event()
            self._fill()

    def _at(self, when: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def _fill(self) -> None:
        """Give every free slot something to do, as Tune does."""
        while self._free and self._lost:
            self._start(self._lost.pop(0))
        while self._free and not self._finished:
            name = str(next(self._names))
            job = self.searcher.next_job(name)
            if not isinstance(job, Job):
                self._finished = job == NoJob.EVER
                return
            self._start(_Running(name, job, self._look_up(job), self.clock.now))

    def _look_up(self, job: Job) -> Lookup:
        lookup = self.world.run(job.configuration, job.seed)
        if job.purpose != RunPurpose.CONFIRMATION:
            return lookup
        end, score = lookup.curve[-1]  # trained once more on all data, evaluated at the end
        return Lookup(
            [(end, lookup.final if early_stopping.is_finite_score(score) else score)],
            lookup.seconds,
            lookup.final,
        )

    def _start(self, running: _Running) -> None:
        running.slot = self._free.pop()
        self._running[running.slot] = running
        self._await_evaluation(running)

    def _await_evaluation(self, running: _Running) -> None:
        curve = running.lookup.curve
        until = curve[running.done][0] / curve[-1][0] * running.lookup.seconds
        takes = (until - running.seen) / self.slots[running.slot].speed
        slot, failures = running.slot, running.failures
        self._at(self.clock.now + takes, lambda: self._evaluated(running, slot, failures, until))

    def _evaluated(self, running: _Running, slot: int, failures: int, until: float) -> None:
        if self._running.get(slot) is not running or running.failures != failures:
            return  # the slot died meanwhile
        running.seen = until
        running.done += 1
        self.reports += 1
        curve = running.lookup.curve[: running.done]
        (step, score), end = curve[-1], running.lookup.curve[-1][0]
        so_far = RunResult(
            scores=curve,
            seconds=self.clock.now - running.began,
            slot=str(running.slot),
            began=running.began,
        )
        evaluation = Evaluation(step, end, {self.metric: score}, None, so_far.seconds, curve)
        report = RunReport(running.job.id, so_far, evaluation)
        usable = early_stopping.is_finite_score(score)
        behind = self.searcher.is_behind(running.job, report)
        if usable and behind:
            self._end(running, report)
            return
        if usable:
            self.searcher.take_report(running.name, report)
        if usable and step < end:
            self._await_evaluation(running)
            return
        so_far.outcome = Outcome.COMPLETED if usable else Outcome.DIVERGED
        if usable and running.job.purpose != RunPurpose.SEARCH:
            so_far.final = {"dev": {self.metric: running.lookup.final}}
        self._end(running, report)

    def _end(self, running: _Running, report: RunReport) -> None:
        del self._running[running.slot]
        self._free.append(running.slot)
        self.searcher.end_run(running.name, report)

    def _die(self, slot: int) -> None:
        """What ran there goes on in the next free slot, from its last evaluation."""
        running = self._running.pop(slot, None)
        if running is None:
            self._free.remove(slot)
        else:
            running.failures += 1
            if running.failures > MAX_TRIAL_FAILURES:
                self.searcher.end_run(running.name, None, lost=True)
            else:
                self._lost.append(running)
        self._at(self.clock.now + self.slots[slot].away, lambda: self._free.append(slot))


def simulate(
    strategy: Strategy,
    world: World,
    scheduler: str = "asha",
    slots: Sequence[Slot] = (Slot(), Slot()),
    searcher: type[SearchPhases] = SearchPhases,
) -> Simulation:
    """A whole search, with the stop policy of this name. Raises ValueError where there is none."""
    made = Simulation(strategy, scheduler, world, slots, searcher)
    made.run()
    return made
