"""What a search does, from its first proposal to its last confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tune.core.run import RunSettings
from tune.core.space import SearchSpace
from tune.strategy.budget import SlotCount, StopRule
from tune.strategy.race import RaceSettings

NO_RACE = RaceSettings()


@dataclass(frozen=True)
class Strategy:
    """What a search does.

    seed: of the search; confirmations use seed + 1 .. seed + confirm, the race those from seed + 1000 on.
    trials: how many the design of a "latin" sampler has. max_steps: of a full trial. chance: the score of a
    run that learnt nothing, if known. rules end the exploration, race_rules the race. target: a score that
    ends the exploration once the best configuration is expected to have it; worth: so does a further trial
    that is not expected to add so much (metric's scale). first: configurations that are tried before any is
    proposed; earlier: (configuration, standing) of other searches, see `tune.strategy.warm_start`.
    finalists: how many of
    the best configurations are confirmed; baseline: whether vanilla is, beside them. keep_models: whether
    the winner's confirmations write their models. oom_retry: see `tune.core.run.Job`.
    """

    space: SearchSpace
    settings: RunSettings
    direction: str
    sampler: str
    seed: int
    trials: int
    confirm: int
    slots: SlotCount
    rules: Sequence[StopRule]
    folder: str
    max_steps: int
    scheduler: str = "asha"
    evaluations: int = 6
    racing: RaceSettings = NO_RACE
    race_rules: Sequence[StopRule] = ()
    target: float | None = None
    worth: float | None = None
    chance: float | None = None
    first: Sequence[dict[str, Any]] = ()
    earlier: Sequence[tuple[dict[str, Any], float]] = ()
    finalists: int = 1
    baseline: bool = False
    keep_models: bool = True
    oom_retry: bool = False
