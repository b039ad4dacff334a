"""Seeds: which configuration wins, and what its fresh seeds say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tune.ledger import Record
from tune.outcomes import Outcome
from tune.space import key

LEVEL = 0.95


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
    level: float = LEVEL


def ranked(records: Sequence[Record], direction: str, most: int) -> list[Record]:
    """At most so many trials, each the `winner` of those that are left."""
    left, found = list(records), list[Record]()
    while len(found) < most and (best := winner(left, direction)) is not None:
        found.append(best)
        left.remove(best)
    return found


def winner(records: Sequence[Record], direction: str) -> Record | None:
    """The trial that is best as far as it went: from the fewest steps on, those that went further are looked
    at as long as the best is among them. So a completed trial wins over one that was stopped behind
    it. The earlier trial wins a tie. None where none has a score."""
    sign = 1 if direction == "max" else -1
    field = [r for r in records if r.outcome in (Outcome.COMPLETED, Outcome.STOPPED) and r.scores]
    best = None
    while field and (best is None or best in field):
        step = min(r.step for r in field)
        best = max(field, key=lambda r: (sign * _score_at(r, step), -r.number))
        field = [r for r in field if r.step > step]
    return best


def _score_at(record: Record, step: int) -> float:
    """The last score up to this step."""
    return next(score for at, score in reversed(record.scores) if at <= step)


def of(winner: Record | None, records: Sequence[Record]) -> list[Record]:
    """The replicates of the winner; a search that went on with more trials may hold some of another."""
    return [r for r in records if winner is not None and r.configuration == winner.configuration]


def by_configuration(records: Sequence[Record]) -> list[list[Record]]:
    """The records of each configuration, in the order in which the configurations came."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record.configuration), []).append(record)
    return list(groups.values())


def full_scores(records: Sequence[Record]) -> dict[int, float]:
    """By seed the last score of the run that went to its end, NaN where it diverged; the first of a seed."""
    scores: dict[int, float] = {}
    for record in records:
        if record.outcome == Outcome.DIVERGED:
            scores.setdefault(record.seed, math.nan)
        elif record.outcome == Outcome.COMPLETED and record.scores:
            scores.setdefault(record.seed, record.scores[-1][1])
    return scores


def confirm(records: Sequence[Record], metric: str) -> Confirmation | None:
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
    return Confirmation(scores, mean, statistics.stdev(values), interval(values))


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of the mean; None with fewer than two values."""
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    half = _t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def typical(records: Sequence[Record], metric: str) -> Record | None:
    """The replicate with the (lower) median score: its model is handed over, not the luckiest one's."""
    done = [r for r in records if r.outcome == Outcome.COMPLETED and "dev" in r.final]
    ranked = sorted(done, key=lambda r: r.final["dev"][metric])
    return ranked[(len(ranked) - 1) // 2] if ranked else None


def _t_quantile(degrees: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.5 + LEVEL / 2, degrees))
