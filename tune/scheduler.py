"""Which trials are stopped early. Confirmations never are."""

from __future__ import annotations

from typing import Any

import ray.tune.schedulers as schedulers
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune.outcomes import Outcome

REDUCTION = 3  # at each rung about one in three goes on


class SearchScheduler(FIFOScheduler):
    """Ray's ASHA over the trials of the search, on the optimizer step as fidelity.

    Keeps failed trials out of ASHA's rungs (a NaN would poison their quantiles), lets
    confirmations run, and keeps as many warm slots as there are.
    """

    def __init__(self, kind: str, direction: str, max_steps: int, evaluations: int, slots: int) -> None:
        super().__init__()
        self.slots = slots
        self._warm: set[Any] = set()
        self._asha = None
        if kind == "asha" and evaluations > 1:
            self._asha = schedulers.AsyncHyperBandScheduler(
                time_attr="training_step",
                metric="score",
                mode=direction,
                max_t=max_steps,
                grace_period=max(1, max_steps // evaluations),
                reduction_factor=REDUCTION,
            )

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Tune keeps one idle actor; a slot that waits for the others must stay warm too."""
        group = trial.placement_group_factory
        if group not in self._warm:
            self._warm.add(group)
            tune_controller._actor_cache.increase_max(group, self.slots)
        if self._asha and _explores(trial):
            self._asha.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Stop what falls behind at a rung."""
        report = result["report"]
        if (
            self._asha is None
            or not _explores(trial)
            or report.score is None
            or report.step >= report.max_steps
        ):
            return TrialScheduler.CONTINUE  # a trial that has done all its steps completes
        return str(self._asha.on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A completed trial counts in the last rung."""
        if self._asha and _explores(trial) and result["report"].outcome == Outcome.COMPLETED:
            self._asha.on_trial_complete(tune_controller, trial, result)


def _explores(trial: Trial) -> bool:
    return bool(trial.config["job"].purpose == "search")
