"""Which trials are stopped early, for Ray Tune. Confirmations never are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune.core.run import Job, Outcome
from tune.strategy.budget import SlotCount
from tune.strategy.early_stopping import EarlyStoppingPolicy


class SearchScheduler(FIFOScheduler):
    """Asks a policy about the trials of the search, and keeps as many warm slots as there are.

    policies: by arm; a trial is compared with those of its own arm alone. direction: of the scores, "max" or
    "min".
    """

    def __init__(self, policies: Mapping[str, EarlyStoppingPolicy], direction: str, slots: SlotCount) -> None:
        super().__init__()
        self.policies, self.slots = policies, slots
        self._sign = 1.0 if direction == "max" else -1.0
        self._warm = Counter[Any]()  # slots, by the resources of their trials

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Tune keeps one idle actor; a slot that waits for the others must stay warm too."""
        group = trial.placement_group_factory
        if more := self.slots.now - self._warm[group]:
            self._warm[group] += more
            tune_controller._actor_cache.increase_max(group, more)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Where nodes have left, what is idle is let go: a trial that was there may wait for its cores.
        One that has not started takes an idle slot, and does not count; but first come those for which no
        slot is starting: Tune would give that slot up, and one that starts slowly would never be ready."""
        idle = tune_controller._actor_cache.num_cached_objects
        running = sum(trial.status == Trial.RUNNING for trial in tune_controller.get_live_trials())
        if idle and idle + running > self.slots.now:
            tune_controller._cleanup_cached_actors(force_all=True)
        chosen = super().choose_trial_to_run(tune_controller)
        return None if chosen in tune_controller._trial_to_actor else chosen

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Stop what falls behind; a trial that has done all its steps completes."""
        job, report = _get_job(trial), result["report"]
        if job.purpose != "search" or report.step == 0:
            return TrialScheduler.CONTINUE
        behind = self.policies[job.arm].report(job.id, report.step, self._signed(report.score))
        return TrialScheduler.STOP if behind and report.step < report.max_steps else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A completed trial counts with its last score."""
        job, report = _get_job(trial), result.get("report")  # none where it never reported
        if report is not None and job.purpose == "search" and report.outcome == Outcome.COMPLETED:
            self.policies[job.arm].completed(job.id, self._signed(report.score))

    def _signed(self, score: float | None) -> float | None:
        return None if score is None else self._sign * score

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes its schedulers down; the ledger holds what a resume needs


def _get_job(trial: Trial) -> Job:
    job: Job = trial.config["job"]
    return job
