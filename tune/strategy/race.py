"""The race: further seeds for the best configurations of the exploration; the best mean wins.

A trial has one seed, so the best of many trials was lucky. RACED_CONFIGURATIONS of them run on further seeds,
seed by seed, all on the same ones. Nothing cleverer was seen to choose better at equal cost
(`benchmarks/search_quality.py`). The mean of the chosen one is still too high on average, as that of any
choice: the confirmation tells what it scores on fresh seeds.
"""

from __future__ import annotations

import heapq
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dps.training.result import Outcome
from tune.core.direction import Direction
from tune.records.ledger import TrialRecord
from tune.records.replicates import collect_full_scores

RACED_CONFIGURATIONS = 3
RACE_NOTE = "raced"  # how many configurations race, in the ledger of a search; earlier versions wrote none
RACE_SEED_OFFSET = 1000  # first race seed, from the search's own seed, which the confirmation's follow


@dataclass(frozen=True)
class Standing:
    """A configuration with a run that went to its end.

    scores: at full length by seed, the trial's first, in the metric's own direction; of a seed with which it
        diverged that of a run that learnt nothing, or if this is unknown the worst there is (infinite).
    """

    trial: TrialRecord
    scores: Mapping[int, float]

    @cached_property
    def mean(self) -> float:
        """The mean of its scores."""
        return statistics.fmean(self.scores.values())

    @property
    def first(self) -> float | None:
        """The score of its trial; None if that did not go to its end."""
        return self.scores.get(self.trial.seed)


def choose_raced(
    trials: Sequence[TrialRecord], direction: str, count: int = RACED_CONFIGURATIONS
) -> list[TrialRecord]:
    """Return the trials whose configurations race: the best of those that went to their end, the best first.

    direction: "max" or "min", of the metric. count: how many, at most.
    """
    sign = Direction(direction).sign
    ended = (trial for trial in trials if trial.outcome == Outcome.COMPLETED and trial.scores)
    return heapq.nsmallest(count, ended, key=lambda trial: (-sign * trial.scores[-1][1], trial.number))


def choose_replicate(
    raced: Sequence[TrialRecord], race_runs: Sequence[TrialRecord], seeds: Sequence[int]
) -> tuple[dict[str, Any], int] | None:
    """Return the configuration and the seed to run next: seed by seed, the configurations in their order.

    race_runs: all that were started. Returns None where each had each seed, or with fewer than two
    configurations, between which there is nothing to choose.
    """
    started = {(run.configuration_key, run.seed) for run in race_runs}
    for seed in seeds if len(raced) > 1 else ():
        for trial in raced:
            if (trial.configuration_key, seed) not in started:
                return trial.configuration, seed
    return None


def rank_configurations(
    trials: Sequence[TrialRecord],
    race_runs: Sequence[TrialRecord],
    direction: str,
    chance: float | None,
    count: int = RACED_CONFIGURATIONS,
) -> list[Standing]:
    """Return how configurations stand, the best first: by their means those whose seeds are enough, then all
    others by theirs; the earlier trial wins a tie.

    Enough are as many as two of those that race have, or of these one fewer, since a budget may end a race
    anywhere; but one that does not race, or whose further runs all failed, does not win by the luck of its
    first.

    direction: "max" or "min", of the metric. chance: score of a run that learnt nothing, None if unknown.
    count: how many race, at most.
    """
    sign = Direction(direction).sign
    lost = -sign * math.inf if chance is None else chance
    further: dict[str, list[TrialRecord]] = {}
    for run in race_runs:
        further.setdefault(run.configuration_key, []).append(run)
    standings = {}
    for trial in trials:
        found = collect_full_scores([trial, *further.get(trial.configuration_key, ())])
        if not all(map(math.isnan, found.values())):
            scores = {seed: lost if math.isnan(score) else score for seed, score in found.items()}
            standings[trial.id] = Standing(trial, scores)
    raced = {trial.id for trial in choose_raced(trials, direction, count)}
    most = sorted((len(standings[each].scores) for each in raced), reverse=True)
    enough = most[:2][-1] if most else 0

    def rate(standing: Standing) -> tuple[bool, float, int]:
        trial, seeds = standing.trial, len(standing.scores)
        has_failed = any(run.outcome.is_failure for run in further.get(trial.configuration_key, ()))
        is_lucky = seeds == 1 < max(most, default=0) and (has_failed or trial.id not in raced)
        is_short = seeds + (trial.id in raced) < enough or is_lucky
        return is_short, -sign * standing.mean, trial.number

    return sorted(standings.values(), key=rate)


def find_leader(
    trials: Sequence[TrialRecord], race_runs: Sequence[TrialRecord], direction: str, chance: float | None
) -> Standing | None:
    """Return the first of `rank_configurations` in far less time where trials are many; None without any.

    With one seed nothing leads but what races, so that the others need not be looked at.
    """
    raced = choose_raced(trials, direction)
    keys = {trial.configuration_key for trial in raced} | {run.configuration_key for run in race_runs}
    contenders = raced if not race_runs else [trial for trial in trials if trial.configuration_key in keys]
    return next(iter(rank_configurations(contenders, race_runs, direction, chance)), None)
