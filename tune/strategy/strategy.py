"""The strategy of a search: everything that decides what runs, and when the search ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tune.core.direction import Direction
from tune.core.run import RunSettings
from tune.core.space import SearchSpace
from tune.strategy.budget import SlotCount, StopRule
from tune.strategy.race import RACED_CONFIGURATIONS


@dataclass(frozen=True)
class WarmStart:
    """Results of earlier searches.

    initial_configurations: are tried before any is proposed.
    observations: (configuration, normal score), see `tune.strategy.warm_start.EarlierConfiguration`.
    origins: the searches.
    """

    initial_configurations: Sequence[dict[str, Any]] = ()
    observations: Sequence[tuple[dict[str, Any], float]] = ()
    origins: Sequence[str] = ()


NO_WARM_START = WarmStart()


@dataclass(frozen=True)
class Strategy:
    """Strategy of a search, from its first proposal to its last confirmation.

    space: what is searched.
    settings: what every run shares; fingerprints: of the examples by split. settings_by_model: those of each
        model, where several are searched.
    direction: "max" or "min", of the primary metric.
    sampler: "tpe", "gp", "random", "latin" or "grid".
    seed: of the search; the confirmation's seeds follow it, the race's begin at seed + RACE_SEED_OFFSET.
    design_size: number of configurations in the design of the latin sampler.
    confirmation_seeds: number of fresh seeds of each configuration that is confirmed.
    slots: number of runs at once.
    stop_rules: end the exploration.
    folder: where runs keep their files.
    scheduler: name of the early stopping policy.
    evaluations: per trial; each may stop it.
    race_seeds: number of further seeds of each configuration that races, see `tune.strategy.race`; 0: none.
    raced_configurations: how many race, at most.
    race_stop_rules: end the race.
    target_score: exploration also ends when a trial has it.
    chance: score of a run that learnt nothing, None if unknown.
    first_configurations: tried before any is proposed.
    earlier_configurations: (configuration, normal score) of other searches, see `tune.strategy.warm_start`.
    finalist_count: number of best configurations that are confirmed.
    confirms_published: whether the published values of the winner's method are confirmed too.
    is_baseline: whether the search tunes what another one's winner is compared with, for which it waits.
    keep_models: whether the winner's confirmations write their models.
    oom_retry: see `tune.core.run.Job`.
    given_configuration: is confirmed as it is, and nothing is explored; None for a search.
    """

    space: SearchSpace
    settings: RunSettings
    direction: str
    sampler: str
    seed: int
    design_size: int
    confirmation_seeds: int
    slots: SlotCount
    stop_rules: Sequence[StopRule]
    folder: str
    scheduler: str = "asha"
    evaluations: int = 6
    race_seeds: int = 0
    raced_configurations: int = RACED_CONFIGURATIONS
    race_stop_rules: Sequence[StopRule] = ()
    target_score: float | None = None
    chance: float | None = None
    first_configurations: Sequence[dict[str, Any]] = ()
    earlier_configurations: Sequence[tuple[dict[str, Any], float]] = ()
    finalist_count: int = 1
    confirms_published: bool = False
    is_baseline: bool = False
    keep_models: bool = True
    oom_retry: bool = False
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    settings_by_model: Mapping[str, RunSettings] = field(default_factory=dict)
    given_configuration: dict[str, Any] | None = None

    @property
    def sign(self) -> int:
        """1 where a higher score is better, else -1."""
        return Direction(self.direction).sign

    def choose_settings(self, configuration: Mapping[str, Any]) -> RunSettings:
        """Return the settings of the runs of a configuration: with its model, and its length of texts."""
        settings = self.settings_by_model.get(configuration.get("model", ""), self.settings)
        return replace(settings, max_length=configuration.get("max_length", settings.max_length))
