"""Choose the winner of a search, and summarise its replicates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dps.tasks.task import EVEN_THRESHOLD
from dps.training.result import Outcome
from tune.core.direction import Direction
from tune.records.ledger import TrialRecord


@dataclass(frozen=True)
class Confirmation:
    """Scores of one configuration on the dev set, one for each fresh seed. std: None with one seed."""

    scores: dict[int, float]
    mean: float
    std: float | None


def rank_trials(records: Sequence[TrialRecord], direction: str, count: int) -> list[TrialRecord]:
    """Rank at most `count` trials by choosing a winner repeatedly."""
    remaining, ranked = list(records), list[TrialRecord]()
    while len(ranked) < count and (best := choose_winner(remaining, direction)) is not None:
        ranked.append(best)
        remaining.remove(best)
    return ranked


def choose_winner(records: Sequence[TrialRecord], direction: str) -> TrialRecord | None:
    """Choose the best of the trials that went to their end; None if no trial has a score.

    If none went to its end, those that were stopped are compared at equal shares of their steps: at the
    fewest evaluations the best one leads; if it went further, it is compared again among those that did. The
    earlier trial wins a tie.
    """
    sign = Direction(direction).sign
    completed = [r for r in records if r.outcome == Outcome.COMPLETED and r.scores]
    if completed:
        return max(completed, key=lambda r: (sign * r.scores[-1][1], -r.number))
    candidates = [r for r in records if r.outcome == Outcome.STOPPED and r.scores]
    best = None
    while candidates and (best is None or best in candidates):
        count = min(len(r.scores) for r in candidates)
        best = max(candidates, key=lambda r: (sign * r.scores[count - 1][1], -r.number))
        candidates = [r for r in candidates if len(r.scores) > count]
    return best


def select_by_configuration(
    configuration: dict[str, Any] | None, records: Sequence[TrialRecord]
) -> list[TrialRecord]:
    """Return the records of a configuration; a continued search may also hold those of an earlier winner."""
    return [record for record in records if record.configuration == configuration]


def group_by_configuration(records: Sequence[TrialRecord]) -> list[list[TrialRecord]]:
    """Return the records of each configuration, in the order in which the configurations came."""
    groups: dict[str, list[TrialRecord]] = {}
    for record in records:
        groups.setdefault(record.configuration_key, []).append(record)
    return list(groups.values())


def collect_full_scores(records: Sequence[TrialRecord]) -> dict[int, float]:
    """Return the full-length score by seed, NaN for a diverged run; the first run of a seed counts."""
    scores: dict[int, float] = {}
    for record in records:
        if record.outcome == Outcome.DIVERGED:
            scores.setdefault(record.seed, math.nan)
        elif record.outcome == Outcome.COMPLETED and record.scores:
            scores.setdefault(record.seed, record.scores[-1][1])
    return scores


def summarise_confirmation(records: Sequence[TrialRecord], metric: str) -> Confirmation | None:
    """Summarise the completed replicates; None without any."""
    scores = {
        r.seed: r.final["dev"][metric] for r in records if r.outcome == Outcome.COMPLETED and "dev" in r.final
    }
    if not scores:
        return None
    values = list(scores.values())
    std = statistics.stdev(values) if len(values) > 1 else None
    return Confirmation(scores, statistics.fmean(values), std)


def choose_median_replicate(records: Sequence[TrialRecord], metric: str) -> TrialRecord | None:
    """Return the replicate with the (lower) median score, whose model is delivered."""
    completed = [r for r in records if r.outcome == Outcome.COMPLETED and "dev" in r.final]
    ranked = sorted(completed, key=lambda r: r.final["dev"][metric])
    return ranked[(len(ranked) - 1) // 2] if ranked else None


def choose_median(name: str, configuration: dict[str, Any], records: Sequence[TrialRecord]) -> float | None:
    """Return the median of what the runs of a configuration chose, each on its own slice; where they chose
    none, since it was stopped or never run, that of all that went to their end; where none did, 0.5 of
    "threshold" and None of "alpha"."""
    own = select_by_configuration(configuration, records)
    for runs in (own, [record for record in records if record.outcome == Outcome.COMPLETED]):
        if chosen := [value for run in runs if (value := getattr(run, name)) is not None]:
            return float(statistics.median(chosen))
    return {"threshold": EVEN_THRESHOLD}.get(name)


def find_threshold(runs: Sequence[TrialRecord]) -> float | None:
    """Return the threshold that these confirmations of one configuration were scored with; None for that of
    the task."""
    return next((run.threshold for run in runs if run.threshold is not None), None)
