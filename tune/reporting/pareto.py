"""Several objectives at once: the configurations that no other one beats in all of them.

A configuration has a score only where a run of it went to its end: one that was stopped early is no point.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dps.training.result import Outcome
from tune.core.run import RunPurpose
from tune.records.ledger import TrialRecord
from tune.records.replicates import collect_full_scores, group_by_configuration


@dataclass(frozen=True)
class ParetoPoint:
    """A configuration. trial: its first in the search, None where it has none there. seeds: how many the
    score is a mean of. values: by objective, see `build_pareto_points`; None where not known. costs: the
    values as what is
    minimised, NaN where not known."""

    trial: int | None
    configuration: dict[str, Any]
    seeds: int
    values: dict[str, float | None]
    costs: tuple[float, ...]


def build_pareto_points(
    records: Sequence[TrialRecord], objectives: Sequence[str], direction: str, evaluations: int
) -> list[ParetoPoint]:
    """Return a point for each configuration with a run to its end, in the order of the records.

    records: of the search and the race. direction: "max" or "min", of the score. evaluations: of a full run.
    Over the seeds of the runs that went to their end, score is the mean and stability the standard deviation
    (ddof 1, not known with one seed) of the last scores; neither is known where a run diverged. Over all runs
    with a score, seconds are those of a full run and memory is the highest peak in bytes.
    """
    return [
        _build_pareto_point(runs, objectives, direction, evaluations)
        for runs in group_by_configuration(records)
        if any(run.outcome == Outcome.COMPLETED and run.scores for run in runs)
    ]


def _build_pareto_point(
    runs: Sequence[TrialRecord], objectives: Sequence[str], direction: str, evaluations: int
) -> ParetoPoint:
    scores = list(collect_full_scores(runs).values())
    useful = [run for run in runs if run.outcome in (Outcome.COMPLETED, Outcome.STOPPED) and run.scores]
    peaks = [run.peak_memory for run in useful if run.peak_memory]
    known = {
        "score": statistics.fmean(scores),
        "seconds": sum(run.seconds for run in useful) / sum(run.measure_share(evaluations) for run in useful),
        "memory": float(max(peaks)) if peaks else math.nan,
        "stability": _standard_deviation(scores),
    }
    costs = [-known[name] if (name, direction) == ("score", "max") else known[name] for name in objectives]
    return ParetoPoint(
        trial=next((run.number for run in runs if run.purpose == RunPurpose.SEARCH), None),
        configuration=runs[0].configuration,
        seeds=len(scores),
        values={name: known[name] if math.isfinite(known[name]) else None for name in objectives},
        costs=tuple(costs),
    )


def _standard_deviation(scores: Sequence[float]) -> float:
    """Return the standard deviation over seeds; NaN if it is unknown."""
    return statistics.stdev(scores) if len(scores) > 1 and all(map(math.isfinite, scores)) else math.nan


def find_pareto_front(points: Sequence[ParetoPoint]) -> list[ParetoPoint]:
    """Return the points that no other one dominates, in their order; equal ones all stay.

    A point with an unknown objective is not among them, and dominates none.
    """
    known = [point for point in points if all(map(math.isfinite, point.costs))]
    return [point for point in known if not any(is_dominating(other, point) for other in known)]


def is_dominating(one: ParetoPoint, other: ParetoPoint) -> bool:
    """Return whether one is no worse in any objective and better in at least one."""
    pairs = list(zip(one.costs, other.costs, strict=True))
    return all(mine <= its for mine, its in pairs) and any(mine < its for mine, its in pairs)
