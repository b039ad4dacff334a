"""A ray.tune Searcher over the ledger: explores configurations, then confirms the winner.

Ray's own OptunaSearch leaves NaN trials running for ever, stores stopped trials as complete and
cannot resume from a storage; here the study is the truth and Tune's snapshot is not read.
"""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray.tune.search

from tune.core.run import Job, Outcome, RunPurpose, RunReport
from tune.core.space import make_configuration_key
from tune.core.storage import join_location, remove_location
from tune.records.events import Watcher, notify
from tune.records.failures import FailureStreak
from tune.records.ledger import Ledger, TrialRecord
from tune.records.replicates import derive_baseline, rank_trials
from tune.strategy.belief import Estimator
from tune.strategy.budget import SpentResources, find_stop_reason
from tune.strategy.proposals import STARTUP_TRIALS, Proposer
from tune.strategy.race import Race
from tune.strategy.strategy import Strategy


class SearchPhases(ray.tune.search.Searcher):
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
        self.began = clock()
        self.live: dict[str, TrialRecord] = {}  # by the id that Tune gives
        self.belief = Estimator(
            ledger, strategy.space, strategy.direction, strategy.max_steps, strategy.chance
        )
        self.field = Race(self.belief, strategy.racing, strategy.seed)
        self.proposals = Proposer(strategy, ledger, self.belief)
        self.stopped_by: str | None = None
        self.raced_until: str | None = None
        self.leader: TrialRecord | None = None
        self.broken: Exception | None = None
        self.row = FailureStreak()
        records = [r for purpose in ("search", "race", "confirm") for r in ledger.records(purpose)]
        self.replicas = ledger.records("confirm")
        self.slot_seconds = sum(r.seconds for r in records)
        self.open = [r for r in records if not r.outcome.is_final]
        self.given = len(records) - len(self.open)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next job for Tune: None while there is none yet, FINISHED when there will be none.

        Raises what `on_trial_complete` met with."""
        self.check()
        if len(self.live) >= self.strategy.slots.now:
            return None
        record = None if self.interrupted() else self._next()
        if record is None:
            return None if self.live else ray.tune.search.Searcher.FINISHED
        self.live[trial_id] = record
        self.given += 1
        notify(self.watchers, "trial_started", record)
        return {"job": self._job(record)}

    def _next(self) -> TrialRecord | None:
        return self.open.pop(0) if self.open else self._new()

    def _new(self) -> TrialRecord | None:
        """The next run that no sitting has begun; None while there is none for now, and when all is done.

        A slot with nothing left to explore races meanwhile."""
        record = self._explore() or self._race()
        if record is not None or self._is_live("search") or self._is_live("race"):
            return record
        return self._confirm()

    def _is_live(self, purpose: RunPurpose) -> bool:
        return any(record.purpose == purpose for record in self.live.values())

    def _explore(self) -> TrialRecord | None:
        if self.stopped_by is not None:
            return None
        why = find_stop_reason(self.strategy.rules, self.spent()) or self._enough()
        record = None if why else self.proposals.next()
        if record is None:
            self.stopped_by = why or "every configuration was tried"
            notify(self.watchers, "phase_ended", f"explored: {self.stopped_by}")
        return record

    def _enough(self) -> str | None:
        """Whether what was found is enough."""
        strategy, best = self.strategy, self.belief.best() if self.strategy.target is not None else None
        sign = self.belief.sign
        if best is not None and strategy.target is not None and sign * best >= sign * strategy.target:
            return (
                f"target score of {strategy.target:g}: the best configuration is expected to have {best:.4f}"
            )
        if strategy.worth is None or len(self.ledger.records("search")) < STARTUP_TRIALS:
            return None
        gain = self.belief.gain(strategy.seed)
        if gain is None or gain >= strategy.worth:
            return None
        return (
            f"a further trial is expected to add {100 * gain:.2g} points, less than {100 * strategy.worth:g}"
        )

    def _race(self) -> TrialRecord | None:
        if not self.strategy.racing.seeds or self.raced_until is not None:
            return None
        live = [record for record in self.live.values() if record.purpose == "race"]
        why = find_stop_reason(self.strategy.race_rules, self.spent())
        found = None if why else self.field.next(live)
        if found is not None:
            return self.ledger.replicate(found[0], self.strategy.space, found[1], "race")
        if not live and not self._is_live("search"):
            self.raced_until = why or self.field.over
            notify(self.watchers, "phase_ended", f"raced: {self.raced_until}")
        return None

    def noise(self, share: float) -> float | None:
        """Of a score, for early stopping; None where one seed says who wins, and as it is."""
        return self.belief.noise(share) if self.strategy.racing.seeds else None

    def winner(self) -> TrialRecord | None:
        """The first of the finalists; None where nothing finished."""
        return next(iter(self.finalists(1)), None)

    def finalists(self, most: int) -> list[TrialRecord]:
        """At most so many trials, the best first: in a race by what all runs say together, else by the one
        run of each."""
        believed = self.belief.ranked() if self.strategy.racing.seeds else []
        found = believed or rank_trials(self.ledger.records("search"), self.strategy.direction, most)
        return found[:most]

    def _confirm(self) -> TrialRecord | None:
        """Fresh seeds, one after the other, each for the finalists and then the baseline."""
        self.leader = self.leader or self.winner()
        if self.leader is None:
            return None
        confirmed = [trial.configuration for trial in self.finalists(self.strategy.finalists)]
        baseline = derive_baseline(self.leader.configuration) if self.strategy.baseline else None
        if baseline is not None and baseline not in confirmed:
            confirmed.append(baseline)
        have = {(make_configuration_key(r.configuration), r.seed) for r in self.replicas}
        for seed in range(self.strategy.seed + 1, self.strategy.seed + 1 + self.strategy.confirm):
            for configuration in confirmed:
                if (make_configuration_key(configuration), seed) not in have:
                    space = self.strategy.space.of(configuration["method"])
                    self.replicas.append(self.ledger.replicate(configuration, space, seed))
                    return self.replicas[-1]
        return None

    def _job(self, record: TrialRecord) -> Job:
        return Job(
            record.id,
            record.purpose,
            record.configuration,
            record.seed,
            self.strategy.settings,
            self._folder(record),
            keep_model=self.strategy.keep_models and self._is_of_winner(record),
            oom_retry=self.strategy.oom_retry,
        )

    def _folder(self, record: TrialRecord) -> str:
        return join_location(self.strategy.folder, f"trial-{record.id}")

    def _is_of_winner(self, record: TrialRecord) -> bool:
        if record.purpose != "confirm":
            return False
        leader = self.leader or self.winner()
        return leader is not None and record.configuration == leader.configuration

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An evaluation. The one on which a trial ends comes through `on_trial_complete` alone."""
        self._note(self.live[trial_id], result["report"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The trial has ended: by itself, by the scheduler, by the loss of its slot.

        Tune would take an error here, of a ledger on a full disk say, for one of the trial: it is kept
        for `check`."""
        try:
            self._ended(trial_id, result, error)
        except Exception as broken:
            self.broken = self.broken or broken

    def check(self) -> None:
        """Raises what `on_trial_complete` met with."""
        if self.broken is not None:
            raise self.broken

    def _ended(self, trial_id: str, result: dict[str, Any] | None, error: bool) -> None:
        record = self.live.pop(trial_id, None)
        if record is None:
            return
        report: RunReport = result["report"] if result and "report" in result else RunReport(record.id)
        if error and report.outcome is None:
            report.outcome, report.error = Outcome.LOST, report.error or "the trial's slot was lost"
        outcome = Outcome(report.outcome or _outcome_of_stopped(report))
        if report.outcome is None:
            self._note(record, report)
        if not outcome.is_final:
            self.ledger.suspend(record.id)
            if report.error:  # the slot could not write
                raise OSError(errno.ENOSPC, report.error)
            return
        if record.scores and report.step == 0:
            report.step, report.score = record.step, record.score
        self.slot_seconds += report.seconds
        ended = self.ledger.finish(record.id, outcome, report)
        notify(self.watchers, "trial_ended", ended)
        if outcome not in (Outcome.COMPLETED, Outcome.STOPPED, Outcome.DIVERGED):  # the slot does it else
            remove_location(join_location(self._folder(record), "checkpoints"))
        self.row.add(ended)

    def _note(self, record: TrialRecord, report: RunReport) -> None:
        self.ledger.report(record.id, report)
        notify(self.watchers, "trial_reported", record, report)

    def spent(self) -> SpentResources:
        """So far, with earlier sittings of a resumed search."""
        wall = self.spent_before + self.clock() - self.began
        live = sum(record.seconds for record in self.live.values())
        return SpentResources(len(self.ledger.records("search")), wall, self.slot_seconds + live)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger holds everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""

    def __getstate__(self) -> dict[str, Any]:
        return {"_metric": self._metric, "_mode": self._mode}


def _outcome_of_stopped(report: RunReport) -> Outcome:
    """What a trial came to that was told to stop: one without a finite score has diverged."""
    usable = report.step == 0 or (report.score is not None and math.isfinite(report.score))
    return Outcome.STOPPED if usable else Outcome.DIVERGED
