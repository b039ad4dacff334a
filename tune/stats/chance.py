"""Runs without a result, for which a constant prediction stands, and differences as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dps.tasks.chance import predict_constant
from dps.tasks.task import Task
from tune.stats.evidence import PairedDifference, estimate_seeds_needed
from tune.stats.resampling import AnyArray


def fill_missing_runs(
    task: Task, labels: AnyArray, predicted: Mapping[int, AnyArray], seeds: Sequence[int]
) -> AnyArray:
    """Return the predictions of each seed's run, (seeds, n, ...); a missing run gets the constant."""
    constant = predict_constant(task, labels)
    repeated = np.full((len(labels), *np.shape(constant)), constant)
    return np.stack([predicted.get(seed, repeated) for seed in seeds])


def serialise_difference(
    difference: PairedDifference, adjusted_p: float | None, comparisons: int = 1
) -> dict[str, Any]:
    """Return a difference as a dict for JSON. adjusted_p, comparisons: see `evidence.describe_difference`."""
    return {
        **asdict(difference),
        "points": difference.points,
        "adjusted_p": adjusted_p,
        "seeds_needed": estimate_seeds_needed(difference, comparisons=comparisons),
    }
