"""One search, phase by phase: explore configurations, race the promising ones, confirm the winner.

The ledger holds everything that was run. What runs next follows from it, so that a search that is resumed
goes on as if it had never stopped. Ray Tune (`tune.execution.tuner`) and the simulated clock of the
benchmarks drive the same object.
"""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum

from dps.training.result import Outcome, RunResult
from tune.core.run import Job, RunPurpose, RunReport
from tune.core.space import make_configuration_key
from tune.core.storage import join_location, remove_location
from tune.records.events import Watcher, notify
from tune.records.failures import FailureStreak
from tune.records.ledger import Ledger, TrialRecord
from tune.records.replicates import derive_baseline, rank_trials
from tune.strategy.belief import Estimator
from tune.strategy.budget import SpentResources, find_stop_reason
from tune.strategy.early_stopping import make_early_stopping, replay_records
from tune.strategy.proposals import STARTUP_TRIALS, Proposer
from tune.strategy.race import Race
from tune.strategy.strategy import Strategy


class NoJob(Enum):
    """Why a search hands out no job: a run must end first, or everything was run."""

    YET = "a run must end first"
    EVER = "everything was run"


class SearchPhases:
    """Hands out jobs and takes in what comes of them, for one search with one ledger.

    live: the runs under way, by the key under which the caller asked for them. open_runs: those that an
    earlier session left unfinished; they come first. given: jobs handed out so far, in any session.
    explored_until, raced_until: why the phase ended, None while it goes on.
    """

    def __init__(
        self,
        ledger: Ledger,
        strategy: Strategy,
        watchers: Sequence[Watcher],
        interrupted: Callable[[], bool],
        spent_before: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ledger, self.strategy, self.watchers = ledger, strategy, watchers
        self.interrupted, self.spent_before, self.clock = interrupted, spent_before, clock
        self.began = clock()
        self.live: dict[str, TrialRecord] = {}
        self.belief = Estimator(
            ledger, strategy.space, strategy.direction, strategy.max_steps, strategy.chance
        )
        self.field = Race(self.belief, strategy.racing, strategy.seed)
        self.proposals = Proposer(strategy, ledger, self.belief)
        self.explored_until: str | None = None
        self.raced_until: str | None = None
        self.leader: TrialRecord | None = None
        self.failure: Exception | None = None
        self.failures = FailureStreak()
        records = ledger.records()
        self.replicas = ledger.records(RunPurpose.CONFIRMATION)
        self.slot_seconds = sum(r.seconds for r in records)
        self.open_runs = [r for r in records if not r.outcome.is_final]
        self.given = len(records) - len(self.open_runs)
        self.early_stopping = make_early_stopping(
            strategy.scheduler, strategy.max_steps, strategy.evaluations, self.noise
        )
        replay_records(self.early_stopping, ledger.records(RunPurpose.SEARCH), strategy.direction)

    def next_job(self, key: str) -> Job | NoJob:
        """Return the next job, which is known as `key` from now on, or why there is none.

        Raises what `end_run` met with.
        """
        self.raise_failure()
        if len(self.live) >= self.strategy.slots.now:
            return NoJob.YET
        record = None if self.interrupted() else self._next()
        if record is None:
            return NoJob.YET if self.live else NoJob.EVER
        self.live[key] = record
        self.given += 1
        notify(self.watchers, "trial_started", record)
        return self._job(record)

    def _next(self) -> TrialRecord | None:
        return self.open_runs.pop(0) if self.open_runs else self._new()

    def _new(self) -> TrialRecord | None:
        """The next run that no sitting has begun; None while there is none for now, and when all is done.

        A slot with nothing left to explore races meanwhile."""
        record = self._explore() or self._race()
        if record is not None or self._is_live(RunPurpose.SEARCH) or self._is_live(RunPurpose.RACE):
            return record
        return self._confirm()

    def _is_live(self, purpose: RunPurpose) -> bool:
        return any(record.purpose == purpose for record in self.live.values())

    def _explore(self) -> TrialRecord | None:
        if self.explored_until is not None:
            return None
        why = find_stop_reason(self.strategy.rules, self.spent()) or self._enough()
        record = None if why else self.proposals.next()
        if record is None:
            self.explored_until = why or "every configuration was tried"
            notify(self.watchers, "phase_ended", f"explored: {self.explored_until}")
        return record

    def _enough(self) -> str | None:
        """Whether what was found is enough."""
        strategy, best = self.strategy, self.belief.best() if self.strategy.target is not None else None
        sign = self.belief.sign
        if best is not None and strategy.target is not None and sign * best >= sign * strategy.target:
            return (
                f"target score of {strategy.target:g}: the best configuration is expected to have {best:.4f}"
            )
        if strategy.worth is None or len(self.ledger.records(RunPurpose.SEARCH)) < STARTUP_TRIALS:
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
        live = [record for record in self.live.values() if record.purpose == RunPurpose.RACE]
        why = find_stop_reason(self.strategy.race_rules, self.spent())
        found = None if why else self.field.next(live)
        if found is not None:
            return self.ledger.replicate(found[0], self.strategy.space, found[1], RunPurpose.RACE)
        if not live and not self._is_live(RunPurpose.SEARCH):
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
        found = believed or rank_trials(self.ledger.records(RunPurpose.SEARCH), self.strategy.direction, most)
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
        if record.purpose != RunPurpose.CONFIRMATION:
            return False
        leader = self.leader or self.winner()
        return leader is not None and record.configuration == leader.configuration

    def is_behind(self, job: Job, report: RunReport) -> bool:
        """Return whether this evaluation of a trial says that it falls behind and is to be stopped.

        A run of the race or of the confirmation never is, nor a trial that has done all its steps.
        """
        evaluation = report.evaluation
        if job.purpose != RunPurpose.SEARCH or evaluation is None:
            return False
        behind = self.early_stopping.report(job.id, evaluation.step, self.belief.sign * evaluation.score)
        return behind and evaluation.step < evaluation.max_steps

    def take_report(self, key: str, report: RunReport) -> None:
        """Take in an evaluation, except the one on which a run ends: `end_run` has that one."""
        self._note(self.live[key], report)

    def end_run(self, key: str, report: RunReport | None, lost: bool = False) -> None:
        """Take in the end of a run: by itself, by early stopping, by the loss of its slot.

        report: its last one, None where there was none. A failure in here, of a ledger on a full disk say,
        must not be taken for one of the run: it is kept for `raise_failure`.
        """
        try:
            self._end(key, report, lost)
        except Exception as failure:
            self.failure = self.failure or failure

    def raise_failure(self) -> None:
        """Raise what `end_run` met with, if anything."""
        if self.failure is not None:
            raise self.failure

    def _end(self, key: str, report: RunReport | None, lost: bool) -> None:
        record = self.live.pop(key, None)
        if record is None:
            return
        report = report or RunReport(record.id)
        last = report.result
        if lost and not report.is_last:
            last = replace(last, outcome=Outcome.LOST, error="the trial's slot was lost")
        elif not report.is_last:
            self._note(record, report)
            last = replace(last, outcome=_outcome_of_stopped(last))
        if not last.outcome.is_final:
            self.ledger.suspend(record.id)
            if last.error:  # the slot could not write
                raise OSError(errno.ENOSPC, last.error)
            return
        if last.outcome == Outcome.COMPLETED and record.purpose == RunPurpose.SEARCH and last.scores:
            self.early_stopping.completed(record.id, self.belief.sign * last.scores[-1][1])
        self.slot_seconds += last.seconds
        ended = self.ledger.finish(record.id, last)
        notify(self.watchers, "trial_ended", ended)
        if last.outcome not in (Outcome.COMPLETED, Outcome.STOPPED, Outcome.DIVERGED):  # else the slot does
            remove_location(join_location(self._folder(record), "checkpoints"))
        self.failures.add(ended)

    def _note(self, record: TrialRecord, report: RunReport) -> None:
        self.ledger.report(record.id, report.result)
        if report.evaluation is not None:
            notify(self.watchers, "trial_reported", record, report.evaluation)

    def spent(self) -> SpentResources:
        """So far, with earlier sittings of a resumed search."""
        wall = self.spent_before + self.clock() - self.began
        live = sum(record.seconds for record in self.live.values())
        return SpentResources(len(self.ledger.records(RunPurpose.SEARCH)), wall, self.slot_seconds + live)


def _outcome_of_stopped(result: RunResult) -> Outcome:
    """What a trial came to that was told to stop: one whose last score is not finite has diverged."""
    usable = result.score is None or math.isfinite(result.score)
    return Outcome.STOPPED if usable else Outcome.DIVERGED
