"""A ray.tune Searcher over the ledger: explores configurations, then confirms the winner.

Ray's own OptunaSearch leaves NaN trials running for ever, stores stopped trials as complete and
cannot resume from a storage; here the study is the truth and Tune's snapshot is not read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import ray.tune.search

from tune import replicates
from tune.budget import Spent, StopRule, Trials, first_reached
from tune.events import Watcher, tell
from tune.job import Job, Report, Settings
from tune.ledger import Ledger, Record
from tune.outcomes import Outcome
from tune.space import Space

STARTUP_TRIALS = 8  # proposed at random before the model of TPE begins


@dataclass(frozen=True)
class Strategy:
    """What a search does. seed: of the search; the confirmation uses seed + 1 .. seed + confirm.
    trials: how many the design of a "latin" sampler has. keep_models: whether the confirmation writes
    its models."""

    space: Space
    settings: Settings
    direction: str
    sampler: str
    seed: int
    trials: int
    confirm: int
    slots: int
    rules: Sequence[StopRule]
    folder: Path
    keep_models: bool = True

    def make_sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of trial `number`. Its seed depends on the number alone, so that a resumed
        search proposes what it would have proposed."""
        seed = self.seed * 100_003 + number
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if design := self.design():
            fixed = design[number % len(design)]
            return optuna.samplers.PartialFixedSampler(fixed, optuna.samplers.RandomSampler(seed=seed))
        if self.sampler == "qmc":
            return optuna.samplers.QMCSampler(seed=self.seed, scramble=True, warn_independent_sampling=False)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS
        )

    def design(self) -> list[dict[str, Any]]:
        """The configurations that are known beforehand, in the order of the trials, in the names of the
        study; empty where they are proposed one by one. (Optuna's own GridSampler cannot be asked and told:
        the last combination makes it stop a loop that is not there.)"""
        if self.sampler == "latin":
            return self.space.latin(self.trials, self.seed)
        return self.space.combinations(self.seed) if self.sampler == "grid" else []

    def stop_rules(self) -> list[StopRule]:
        """The rules, and that a grid ends with its last combination."""
        return [*self.rules, *([Trials(len(self.design()))] if self.sampler == "grid" else [])]


class LedgerSearcher(ray.tune.search.Searcher):
    """Hands out jobs and takes in reports; one search, one confirmation, one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        strategy: Strategy,
        watchers: Sequence[Watcher],
        interrupted: Callable[[], bool],
        spent_before: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(metric="score", mode=strategy.direction)
        self.ledger, self.strategy, self.watchers = ledger, strategy, watchers
        self.interrupted, self.spent_before, self.clock = interrupted, spent_before, clock
        self.rules = strategy.stop_rules()
        self.began = clock()
        self.live: dict[str, Record] = {}  # by the id that Tune gives
        self.stopped_by: str | None = None
        self.leader: Record | None = None
        records = ledger.records("search")
        self.asked = len(records)
        self.replicas = ledger.records("confirm")
        self.slot_seconds = sum(r.seconds for r in (*records, *self.replicas))
        self.open = [r for r in (*records, *self.replicas) if not r.outcome.is_final]
        self.given = len(records) + len(self.replicas) - len(self.open)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next job for Tune: None while there is none yet, FINISHED when there will be none."""
        if len(self.live) >= self.strategy.slots:
            return None
        record = None if self.interrupted() else self._next()
        if record is None:
            return None if self.live else ray.tune.search.Searcher.FINISHED
        self.live[trial_id] = record
        self.given += 1
        tell(self.watchers, "trial_started", record)
        return {"job": self._job(record)}

    def _next(self) -> Record | None:
        return self.open.pop(0) if self.open else self._new()

    def _new(self) -> Record | None:
        self.stopped_by = self.stopped_by or first_reached(self.rules, self.spent())
        if self.stopped_by is None:
            sampler = self.strategy.make_sampler(self.asked)
            self.asked += 1
            return self.ledger.propose(self.strategy.space, sampler, self.strategy.seed)
        if any(record.purpose == "search" for record in self.live.values()):
            return None
        return self._next_replicate()

    def _next_replicate(self) -> Record | None:
        if self.leader is None:
            self.leader = replicates.winner(self.ledger.records("search"), self.strategy.direction)
        have = len(replicates.of(self.leader, self.replicas))
        if self.leader is None or have >= self.strategy.confirm:
            return None
        seed = self.strategy.seed + 1 + have
        record = self.ledger.replicate(self.leader.configuration, self.strategy.space, seed)
        self.replicas.append(record)
        return record

    def _job(self, record: Record) -> Job:
        folder = self.strategy.folder / f"trial-{record.id}"
        return Job(
            record.id,
            record.purpose,
            record.configuration,
            record.seed,
            self.strategy.settings,
            str(folder),
            keep_model=self.strategy.keep_models and record.purpose == "confirm",
        )

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An evaluation. The one on which a trial ends comes through `on_trial_complete` alone."""
        self._note(self.live[trial_id], result["report"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The trial has ended: by itself, by the scheduler, by the loss of its slot."""
        record = self.live.pop(trial_id, None)
        if record is None:
            return
        report: Report = result["report"] if result and "report" in result else Report(record.id)
        if error and report.outcome is None:
            report.outcome, report.error = Outcome.LOST, report.error or "the trial's slot was lost"
        outcome = Outcome(report.outcome or _stopped(report))
        if report.outcome is None:
            self._note(record, report)
        if not outcome.is_final:
            self.ledger.suspend(record.id)
            return
        if record.scores and report.step == 0:
            report.step, report.score = record.step, record.score
        self.slot_seconds += report.seconds
        tell(self.watchers, "trial_ended", self.ledger.finish(record.id, outcome, report))

    def _note(self, record: Record, report: Report) -> None:
        self.ledger.report(record.id, report)
        tell(self.watchers, "trial_reported", record, report)

    def spent(self) -> Spent:
        """So far, with earlier sittings of a resumed search."""
        wall = self.spent_before + self.clock() - self.began
        live = sum(record.seconds for record in self.live.values())
        return Spent(self.asked, wall, self.slot_seconds + live)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger holds everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""

    def __getstate__(self) -> dict[str, Any]:
        return {"_metric": self._metric, "_mode": self._mode}


def _stopped(report: Report) -> Outcome:
    """What a trial came to that was told to stop: one without a finite score has diverged."""
    usable = report.step == 0 or (report.score is not None and math.isfinite(report.score))
    return Outcome.STOPPED if usable else Outcome.DIVERGED


class Recorder(LedgerSearcher):
    """Runs a Latin hypercube of configurations, each with every seed, for a recorded table."""

    def __init__(
        self,
        ledger: Ledger,
        strategy: Strategy,
        watchers: Sequence[Watcher],
        interrupted: Callable[[], bool],
        seeds: int,
    ) -> None:
        super().__init__(ledger, strategy, watchers, interrupted)
        recorded = ledger.records("record")
        self.open = [record for record in recorded if not record.outcome.is_final]
        self.made = len(recorded)
        design = strategy.space.latin(strategy.trials, strategy.seed)
        self.runs = [(place, strategy.seed + seed) for seed in range(seeds) for place in design]

    def _new(self) -> Record | None:
        if self.made == len(self.runs):
            return None
        configuration, seed = self.runs[self.made]
        self.made += 1
        return self.ledger.replicate(
            self.strategy.space.from_study(configuration), self.strategy.space, seed, "record"
        )


class Turns(ray.tune.search.Searcher):
    """Several searches at once over the same slots, turn by turn: none runs ahead of the others."""

    def __init__(self, searches: Sequence[LedgerSearcher], slots: int) -> None:
        first = searches[0]
        super().__init__(metric="score", mode=first.strategy.direction)
        self.searches, self.slots = searches, slots
        self.owner: dict[str, LedgerSearcher] = {}  # of each live trial, by the id that Tune gives

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next job: what an earlier sitting left open, then of the search that was given the fewest."""
        if len(self.owner) >= self.slots:
            return None
        answers = []
        for search in sorted(self.searches, key=lambda search: (not search.open, search.given)):
            answer = search.suggest(trial_id)
            if isinstance(answer, dict):
                self.owner[trial_id] = search
                return answer
            answers.append(answer)
        over = all(answer == ray.tune.search.Searcher.FINISHED for answer in answers)
        return ray.tune.search.Searcher.FINISHED if over else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """To whom it belongs."""
        self.owner[trial_id].on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """To whom it belongs."""
        owner = self.owner.pop(trial_id, None)
        if owner is not None:
            owner.on_trial_complete(trial_id, result, error)

    def spent(self) -> Spent:
        """By all of them together."""
        each = [search.spent() for search in self.searches]
        return Spent(
            trials=sum(spent.trials for spent in each),
            seconds=max(spent.seconds for spent in each),
            slot_seconds=sum(spent.slot_seconds for spent in each),
        )

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledgers hold everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""

    def __getstate__(self) -> dict[str, Any]:
        return {"_metric": self._metric, "_mode": self._mode}
