"""Seeds: which configuration wins, and what its fresh seeds say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tune.core.run import Outcome
from tune.core.space import make_configuration_key
from tune.records.ledger import TrialRecord

BASELINE_METHOD = "vanilla"
BASELINE_NAME = f"{BASELINE_METHOD} at the same learning rate"

SEED_INTERVAL_LEVEL = 0.95


@dataclass(frozen=True)
class Confirmation:
    """Scores of the winner on the dev set, one for each fresh seed.

    std and interval (Student's t for the mean over seeds, the dev set held fixed) need two seeds
    and are None with one.
    """

    scores: dict[int, float]
    mean: float
    std: float | None
    interval: tuple[float, float] | None
    level: float = SEED_INTERVAL_LEVEL


def rank_trials(records: Sequence[TrialRecord], direction: str, most: int) -> list[TrialRecord]:
    """At most so many trials, each the `choose_winner` of those that are left."""
    left, found = list(records), list[TrialRecord]()
    while len(found) < most and (best := choose_winner(left, direction)) is not None:
        found.append(best)
        left.remove(best)
    return found


def choose_winner(records: Sequence[TrialRecord], direction: str) -> TrialRecord | None:
    """The trial that is best as far as it went: from the fewest steps on, those that went further are looked
    at as long as the best is among them. So a completed trial wins over one that was stopped behind
    it. The earlier trial wins a tie. None where none has a score."""
    sign = 1 if direction == "max" else -1
    field = [r for r in records if r.outcome in (Outcome.COMPLETED, Outcome.STOPPED) and r.scores]
    best = None
    while field and (best is None or best in field):
        step = min(r.step for r in field)
        best = max(field, key=lambda r: (sign * _score_up_to(r, step), -r.number))
        field = [r for r in field if r.step > step]
    return best


def _score_up_to(record: TrialRecord, step: int) -> float:
    """The last score up to this step."""
    return next(score for at, score in reversed(record.scores) if at <= step)


def select_replicates(winner: TrialRecord | None, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The replicates of the winner; a search that went on with more trials may hold some of another."""
    return [r for r in records if winner is not None and r.configuration == winner.configuration]


def group_by_configuration(records: Sequence[TrialRecord]) -> list[list[TrialRecord]]:
    """The records of each configuration, in the order in which the configurations came."""
    groups: dict[str, list[TrialRecord]] = {}
    for record in records:
        groups.setdefault(make_configuration_key(record.configuration), []).append(record)
    return list(groups.values())


def collect_full_scores(records: Sequence[TrialRecord]) -> dict[int, float]:
    """By seed the last score of the run that went to its end, NaN where it diverged; the first of a seed."""
    scores: dict[int, float] = {}
    for record in records:
        if record.outcome == Outcome.DIVERGED:
            scores.setdefault(record.seed, math.nan)
        elif record.outcome == Outcome.COMPLETED and record.scores:
            scores.setdefault(record.seed, record.scores[-1][1])
    return scores


def summarise_confirmation(records: Sequence[TrialRecord], metric: str) -> Confirmation | None:
    """What the completed replicates say together; None where there is none."""
    scores = {
        r.seed: r.final["dev"][metric] for r in records if r.outcome == Outcome.COMPLETED and "dev" in r.final
    }
    if not scores:
        return None
    values = list(scores.values())
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Confirmation(scores, mean, None, None)
    return Confirmation(scores, mean, statistics.stdev(values), compute_t_interval(values))


def compute_t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of the mean; None with fewer than two values."""
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    half = _t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def choose_median_replicate(records: Sequence[TrialRecord], metric: str) -> TrialRecord | None:
    """The replicate with the (lower) median score: its model is handed over, not the luckiest one's."""
    done = [r for r in records if r.outcome == Outcome.COMPLETED and "dev" in r.final]
    ranked = sorted(done, key=lambda r: r.final["dev"][metric])
    return ranked[(len(ranked) - 1) // 2] if ranked else None


def _t_quantile(degrees: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.5 + SEED_INTERVAL_LEVEL / 2, degrees))


def derive_baseline(configuration: dict[str, Any]) -> dict[str, Any] | None:
    """Ordinary fine-tuning at the learning rate of this configuration; None where it is that itself."""
    if configuration["method"] == BASELINE_METHOD:
        return None
    return {"method": BASELINE_METHOD, "learning_rate": configuration["learning_rate"]}


def select_by_configuration(
    configuration: dict[str, Any] | None, records: Sequence[TrialRecord]
) -> list[TrialRecord]:
    """The records of this configuration."""
    return [record for record in records if record.configuration == configuration]
