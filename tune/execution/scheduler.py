"""Early stopping and warm slots, as Ray Tune calls a scheduler."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune.execution.ray_private import count_idle_actors, has_actor, keep_actors_warm, release_idle_actors
from tune.strategy.pool import JobSource


class SearchScheduler(FIFOScheduler):
    """Asks the source of jobs whether a trial falls behind, and keeps as many warm slots as there are."""

    def __init__(self, jobs: JobSource) -> None:
        super().__init__()
        self.jobs, self.slots = jobs, jobs.slots
        self._warm_slots = Counter[Any]()  # by the resources of their trials

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Let Tune keep as many idle actors as there are slots; its default is one."""
        group = trial.placement_group_factory
        if more := self.slots.now - self._warm_slots[group]:
            self._warm_slots[group] += more
            keep_actors_warm(tune_controller, group, more)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Choose the next trial, and end idle actors after nodes have left: a trial may wait for their cores.

        Trials for which no actor is starting come first. For another, Tune would take an idle actor and give
        up the one that is starting, so that one that starts slowly would never be ready.
        """
        idle = count_idle_actors(tune_controller)
        running = sum(trial.status == Trial.RUNNING for trial in tune_controller.get_live_trials())
        if idle and idle + running > self.slots.now:
            release_idle_actors(tune_controller)
        chosen = super().choose_trial_to_run(tune_controller)
        return None if chosen and has_actor(tune_controller, chosen) else chosen

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Stop a trial that falls behind."""
        behind = self.jobs.is_behind(trial.trial_id, trial.config["job"], result["report"])
        return TrialScheduler.STOP if behind else TrialScheduler.CONTINUE

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its schedulers; a resume uses the ledger
