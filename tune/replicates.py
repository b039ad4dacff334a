"""Seeds: which configuration wins, and what its fresh seeds say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tune.ledger import Record
from tune.outcomes import Outcome

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


def winner(records: Sequence[Record], direction: str) -> Record | None:
    """The trial with the best last score among those that went furthest: the completed ones, else
    the stopped ones with the most steps. The earlier trial wins a tie. None where none has a score."""
    usable = [r for r in records if r.outcome in (Outcome.COMPLETED, Outcome.STOPPED) and r.scores]
    completed = [r for r in usable if r.outcome == Outcome.COMPLETED]
    most = max((r.step for r in usable), default=0)
    field = completed or [r for r in usable if r.step == most]
    sign = 1 if direction == "max" else -1
    return max(field, key=lambda r: (sign * (r.score or 0.0), -r.number), default=None)


def of(winner: Record | None, records: Sequence[Record]) -> list[Record]:
    """The replicates of the winner; a search that went on with more trials may hold some of another."""
    return [r for r in records if winner is not None and r.configuration == winner.configuration]


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
    std = statistics.stdev(values)
    half = _t_quantile(len(values) - 1) * std / math.sqrt(len(values))
    return Confirmation(scores, mean, std, (mean - half, mean + half))


def typical(records: Sequence[Record], metric: str) -> Record | None:
    """The replicate with the (lower) median score: its model is handed over, not the luckiest one's."""
    done = [r for r in records if r.outcome == Outcome.COMPLETED and "dev" in r.final]
    ranked = sorted(done, key=lambda r: r.final["dev"][metric])
    return ranked[(len(ranked) - 1) // 2] if ranked else None


def _t_quantile(degrees: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.5 + LEVEL / 2, degrees))
