"""Phases of one search on one ledger: explore configurations, race the best of them, confirm the winner.

The ledger holds everything that was run, and what runs next follows from it, so a resumed search continues as
if it had never stopped. Ray Tune (`tune.execution.tuner`) and the simulated clock of the benchmarks drive the
same object.
"""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

from dps.tasks.metrics import TUNED_THRESHOLD
from dps.training.result import Outcome, RunResult
from dps.wording import format_count
from tune.core.run import Job, RunPurpose, RunReport
from tune.core.space import make_configuration_key
from tune.core.storage import join_location, remove_location
from tune.records.events import Watcher, notify
from tune.records.failures import FailureStreak
from tune.records.ledger import Ledger, TrialRecord
from tune.records.replicates import choose_median, rank_trials, select_by_configuration
from tune.strategy.budget import SpentResources, find_stop_reason
from tune.strategy.early_stopping import make_early_stopping, replay_records
from tune.strategy.proposals import Proposer
from tune.strategy.race import (
    RACE_NOTE,
    RACE_SEED_OFFSET,
    Standing,
    choose_raced,
    choose_replicate,
    rank_configurations,
)
from tune.strategy.strategy import Strategy


class NoJob(Enum):
    """Why a search has no job to hand out."""

    YET = "a run must end first"
    EVER = "everything was run"


class SearchPhases:
    """Hand out the jobs of one search and record what comes of them.

    is_interrupted: whether no further run may start.
    spent_before_s: wall seconds of earlier sessions.
    clock: seconds, from any moment on.

    find_lost_runs: asked once, when there is nothing else to run: which runs of an earlier session are
        trained once more, for their models alone.
    running: running records, by the key under which the caller asked for them.
    unfinished: runs that an earlier session left unfinished; they come first.
    started_count: jobs handed out so far, in any session.
    exploration_end, race_end: why the phase ended, None while it goes on.
    confirmed_winner: the winner, chosen before the first confirmation; None until then.
    """

    def __init__(
        self,
        ledger: Ledger,
        strategy: Strategy,
        watchers: Sequence[Watcher],
        is_interrupted: Callable[[], bool],
        spent_before_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ledger, self.strategy, self.watchers = ledger, strategy, watchers
        self.is_interrupted, self.spent_before_s, self.clock = is_interrupted, spent_before_s, clock
        self.find_lost_runs: Callable[[], Sequence[TrialRecord]] = lambda: ()
        self.started_at = clock()
        self.lost_runs: list[TrialRecord] | None = None
        self.running: dict[str, TrialRecord] = {}
        self.proposer = Proposer(strategy, ledger)
        self.exploration_end = None if strategy.given_configuration is None else "everything is given"
        self.race_end: str | None = None
        self.confirmed_winner: TrialRecord | None = None
        self.first_error: Exception | None = None
        self.failure_streak = FailureStreak()
        records = ledger.records()
        if not records:
            ledger.note(RACE_NOTE, strategy.raced_configurations)
        self.slot_seconds = sum(record.seconds for record in records)
        self.unfinished = [record for record in records if not record.outcome.is_final]
        self.started_count = len(records) - len(self.unfinished)
        self.early_stopping = make_early_stopping(strategy.scheduler, strategy.evaluations)
        replay_records(self.early_stopping, ledger.records(RunPurpose.SEARCH), strategy.direction)

    def next_job(self, key: str) -> Job | NoJob:
        """Return the next job, which is known as `key` from now on, or why there is none.

        Raises the error stored by `end_run`.
        """
        self.raise_first_error()
        if len(self.running) >= self.strategy.slots.now:
            return NoJob.YET
        record = None if self.is_interrupted() else self._next_run()
        if record is None:
            return NoJob.YET if self.running else NoJob.EVER
        self.running[key] = record
        if not record.outcome.is_final:
            self.started_count += 1
            notify(self.watchers, "trial_started", record)
        return self._make_job(record)

    def _next_run(self) -> TrialRecord | None:
        record = self.unfinished.pop(0) if self.unfinished else self._start_new_run()
        if record is None and self.lost_runs is None and not self.running:
            self.lost_runs = [*self.find_lost_runs()]
        if record is None and self.lost_runs:
            record = self.lost_runs.pop(0)
        return record

    def _start_new_run(self) -> TrialRecord | None:
        """Return the next new run, or None if there is none now or at all.

        A slot with nothing left to explore takes race runs.
        """
        record = self._next_exploration() or self._next_race_run()
        if record is not None or self._is_running(RunPurpose.SEARCH) or self._is_running(RunPurpose.RACE):
            return record
        return self._next_confirmation()

    def _is_running(self, purpose: RunPurpose) -> bool:
        return any(record.purpose == purpose for record in self.running.values())

    def _next_exploration(self) -> TrialRecord | None:
        if self.exploration_end is not None:
            return None
        reason = find_stop_reason(self.strategy.stop_rules, self.spent()) or self._target_reason()
        if self.strategy.is_baseline:  # the budgets that it has were smaller in earlier versions
            reason = reason or self._settled_reason()
        record = None if reason else self.proposer.propose_next()
        if record is None:
            self.exploration_end = reason or "every configuration was tried"
            self._tell(f"explored: {self.exploration_end}")
        return record

    def _tell(self, end: str) -> None:
        """Tell the watchers of the end of a phase."""
        notify(self.watchers, "phase_ended", f"{self.ledger.arm} {end}".lstrip())

    def _target_reason(self) -> str | None:
        """Return why the exploration may end early, or None: a trial has the score that is aimed at."""
        target, sign = self.strategy.target_score, self.strategy.sign
        if target is None or not (raced := self._choose_raced()):
            return None
        best, score = raced[0].number, raced[0].scores[-1][1]
        if sign * score < sign * target:
            return None
        return f"target score {target:g} reached: trial {best} scored {score:.4f}"

    def _choose_raced(self) -> list[TrialRecord]:
        trials, strategy = self.ledger.records(RunPurpose.SEARCH), self.strategy
        return choose_raced(trials, strategy.direction, strategy.raced_configurations)

    def rank(self) -> list[Standing]:
        """Return how the configurations stand, the best first."""
        trials, race_runs = self.ledger.records(RunPurpose.SEARCH), self.ledger.records(RunPurpose.RACE)
        strategy = self.strategy
        return rank_configurations(
            trials, race_runs, strategy.direction, strategy.chance, strategy.raced_configurations
        )

    def _next_race_run(self) -> TrialRecord | None:
        strategy = self.strategy
        if not strategy.race_seeds or self.race_end is not None:
            return None
        reason = self._settled_reason() or find_stop_reason(strategy.race_stop_rules, self.spent())
        raced = self._choose_raced()
        first = strategy.seed + RACE_SEED_OFFSET
        seeds = range(first, first + strategy.race_seeds)
        choice = None if reason else choose_replicate(raced, self.ledger.records(RunPurpose.RACE), seeds)
        if choice is not None:
            if self.ledger.noted(RACE_NOTE) != strategy.raced_configurations:  # an earlier version began it
                self.ledger.note(RACE_NOTE, strategy.raced_configurations)
            configuration, seed = choice
            return self.ledger.replicate(configuration, strategy.space, seed, RunPurpose.RACE)
        if not self._is_running(RunPurpose.RACE) and not self._is_running(RunPurpose.SEARCH):
            failed = sum(run.outcome.is_failure for run in self.ledger.records(RunPurpose.RACE))
            done = f"the best {len(raced)} ran on {format_count(len(seeds), 'further seed')}"
            done += f", {format_count(failed, 'run')} failed" if failed else ""
            self.race_end = reason or (done if len(raced) > 1 else "fewer than two trials went to their end")
            self._tell(f"raced: {self.race_end}")
        return None

    def _settled_reason(self) -> str | None:
        """Return why a search that an earlier version began does not race by the rules of this one, or None:
        its winner has been confirmed, and whoever knows the scores of fresh seeds chooses no other."""
        is_foreign = self.ledger.noted(RACE_NOTE) != self.strategy.raced_configurations
        is_settled = is_foreign and bool(self._find_confirmed_trials())
        return "an earlier version chose, and the confirmation has begun" if is_settled else None

    def current_winner(self) -> TrialRecord | None:
        """Return the best trial so far, or None if nothing finished."""
        return next(iter(self.rank_finalists(1)), None)

    def rank_finalists(self, count: int) -> list[TrialRecord]:
        """Return at most `count` trials, best first: what was confirmed, else by the means of their
        configurations if the search races, else by each trial's one run."""
        ranked = [each.trial for each in self.rank()] if self.strategy.race_seeds else []
        ranked = ranked or rank_trials(self.ledger.records(RunPurpose.SEARCH), self.strategy.direction, count)
        confirmed = self._find_confirmed_trials()
        known = {trial.id for trial in confirmed}
        return [*confirmed, *(trial for trial in ranked if trial.id not in known)][:count]

    def _find_confirmed_trials(self) -> list[TrialRecord]:
        """Return the trials whose confirmations have begun, the winner first, so that another version of the
        strategy does not choose anew; none if a trial or a run of the race ended since. Published values that
        did not win are confirmed anyway, and are not among them."""
        confirmations = self.ledger.records(RunPurpose.CONFIRMATION)
        selecting = self.ledger.records(RunPurpose.SEARCH, RunPurpose.RACE)
        begun = (run.began or run.ended for run in confirmations)  # neither before a first step
        began = next(filter(None, begun), math.inf)
        if not confirmations or any(run.ended > began for run in selecting):
            return []
        winner = confirmations[0].configuration
        published = self.strategy.space.get_published(winner["method"], winner.get("model"))
        by_key = {trial.configuration_key: trial for trial in self.ledger.records(RunPurpose.SEARCH)}
        keys = dict.fromkeys(
            run.configuration_key
            for run in confirmations
            if run.configuration == winner or run.configuration != published
        )
        return [by_key[key] for key in keys if key in by_key]

    def _next_confirmation(self) -> TrialRecord | None:
        """Start the next confirmation: seed by seed, the finalists and then the published values."""
        strategy, configurations = self.strategy, self._choose_confirmed()
        confirmations = self.ledger.records(RunPurpose.CONFIRMATION)
        started = {(run.configuration_key, run.seed) for run in confirmations}
        for seed in range(strategy.seed + 1, strategy.seed + 1 + strategy.confirmation_seeds):
            for configuration in configurations:
                if (make_configuration_key(configuration), seed) not in started:
                    space = strategy.space.for_method(configuration["method"])
                    return self.ledger.replicate(configuration, space, seed)
        return None

    def _choose_confirmed(self) -> list[dict[str, Any]]:
        """Return the configurations to confirm: what is given, or the finalists and the published values."""
        strategy = self.strategy
        if strategy.given_configuration is not None:
            return [strategy.given_configuration]
        self.confirmed_winner = self.confirmed_winner or self.current_winner()
        if self.confirmed_winner is None:
            return []
        configurations = [trial.configuration for trial in self.rank_finalists(strategy.finalist_count)]
        if strategy.confirms_published:
            winner = self.confirmed_winner.configuration
            published = strategy.space.get_published(winner["method"], winner.get("model"))
            if published is not None and published not in configurations:
                configurations.append(published)
        return configurations

    def _make_job(self, record: TrialRecord) -> Job:
        return Job(
            record.id,
            record.purpose,
            record.configuration,
            record.seed,
            self.strategy.choose_settings(record.configuration),
            self._folder(record),
            keep_model=self.strategy.keep_models and self._confirms_winner(record),
            oom_retry=self.strategy.oom_retry,
            fingerprints=self.strategy.fingerprints,
            **self._find_chosen(record),
        )

    def _find_chosen(self, record: TrialRecord) -> dict[str, Any]:
        """Return the threshold and the alpha of a confirmation, where the search chooses them: those of the
        configuration's earlier confirmations, whatever raced since."""
        if record.purpose != RunPurpose.CONFIRMATION:
            return {}
        confirmations = self.ledger.records(RunPurpose.CONFIRMATION)
        earlier = select_by_configuration(record.configuration, confirmations)
        runs = self.ledger.records(RunPurpose.SEARCH, RunPurpose.RACE)
        is_tuned = self.strategy.settings.threshold == TUNED_THRESHOLD
        chosen = {}
        for name in ("alpha", "threshold") if is_tuned else ("alpha",):
            fixed = next((value for run in earlier if (value := getattr(run, name)) is not None), None)
            chosen[name] = choose_median(name, record.configuration, runs) if fixed is None else fixed
        return chosen

    def _folder(self, record: TrialRecord) -> str:
        return join_location(self.strategy.folder, f"trial-{record.id}")

    def _confirms_winner(self, record: TrialRecord) -> bool:
        if record.purpose != RunPurpose.CONFIRMATION:
            return False
        winner = self.confirmed_winner or self.current_winner()
        return winner is not None and record.configuration == winner.configuration

    def is_behind(self, job: Job, report: RunReport) -> bool:
        """Return whether a trial falls behind with this evaluation and should be stopped.

        A run of the race or of the confirmation never does, nor a trial that has done all its steps.
        """
        evaluation = report.evaluation
        if job.purpose != RunPurpose.SEARCH or evaluation is None:
            return False
        score = self.strategy.sign * evaluation.score
        is_behind = self.early_stopping.should_stop(job.id, len(evaluation.curve), score)
        return is_behind and evaluation.step < evaluation.max_steps

    def take_report(self, key: str, report: RunReport) -> None:
        """Record an evaluation. The one on which a run ends arrives only through `end_run`."""
        self._record_evaluation(self.running[key], report)

    def end_run(self, key: str, report: RunReport | None, lost: bool = False) -> None:
        """Record the end of a run: by itself, by early stopping, or by the loss of its slot.

        report: its last one, None without any. An error raised here (say, of a ledger on a full disk) would
        be taken for one of the run, so it is stored for `raise_first_error`.
        """
        try:
            self._finish_run(key, report, lost)
        except Exception as error:
            self.first_error = self.first_error or error

    def raise_first_error(self) -> None:
        """Raise the error stored by `end_run`, if any."""
        if self.first_error is not None:
            raise self.first_error

    def _finish_run(self, key: str, report: RunReport | None, lost: bool) -> None:
        record = self.running.pop(key, None)
        if record is None:
            return
        report = report or RunReport(record.id)
        result = report.result
        if lost and not report.is_last:
            result = replace(result, outcome=Outcome.LOST, error="the trial's slot was lost")
        elif not report.is_last:
            self._record_evaluation(record, report)
            result = replace(result, outcome=_outcome_of_stopped(result))
        if not result.outcome.is_final:
            self.ledger.suspend(record.id)
            if result.error:  # the slot could not write
                raise OSError(errno.ENOSPC, result.error)
            return
        if record.outcome.is_final:  # it was trained once more
            return
        if result.outcome == Outcome.COMPLETED and record.purpose == RunPurpose.SEARCH and result.scores:
            self.early_stopping.record_completion(record.id, self.strategy.sign * result.scores[-1][1])
        result = replace(result, seconds=max(result.seconds, record.seconds))  # a failed one names none
        self.slot_seconds += result.seconds
        ended = self.ledger.finish(record.id, result, self.spent().seconds)
        notify(self.watchers, "trial_ended", ended)
        if result.outcome not in (Outcome.COMPLETED, Outcome.STOPPED, Outcome.DIVERGED):  # else the slot does
            remove_location(join_location(self._folder(record), "checkpoints"))
        self.failure_streak.add_run(ended)

    def _record_evaluation(self, record: TrialRecord, report: RunReport) -> None:
        if record.outcome.is_final:
            return
        if report.progress is not None:
            record.seconds = report.result.seconds or record.seconds
            notify(self.watchers, "trial_progressed", record, report.progress)
            return
        self.ledger.report(record.id, report.result, self.spent().seconds)
        if report.evaluation is not None:
            notify(self.watchers, "trial_reported", record, report.evaluation)

    def spent(self) -> SpentResources:
        """Return what was spent, including earlier sessions of a resumed search."""
        wall = self.spent_before_s + self.clock() - self.started_at
        running = sum(record.seconds for record in self.running.values())
        return SpentResources(len(self.ledger.records(RunPurpose.SEARCH)), wall, self.slot_seconds + running)


def _outcome_of_stopped(result: RunResult) -> Outcome:
    """Return the outcome of a run that was told to stop: diverged if its last score is not finite."""
    usable = result.score is None or math.isfinite(result.score)
    return Outcome.STOPPED if usable else Outcome.DIVERGED
