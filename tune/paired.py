"""Paired runs on one evaluation set, as `tune.evidence` takes them and as JSON holds what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dps.tasks import Task
from tune import chance, evidence
from tune.resampling import Values

BOOTSTRAP_SEED = 0


def filled(task: Task, labels: Values, predicted: Mapping[int, Values], seeds: Sequence[int]) -> Values:
    """The predictions of each seed's run, (seeds, n, ...); where there are none, the constant prediction."""
    constant = chance.constant_prediction(task, labels)
    repeated = np.full((len(labels), *np.shape(constant)), constant)
    return np.stack([predicted.get(seed, repeated) for seed in seeds])


def described(
    difference: evidence.Difference, adjusted_p: float | None, comparisons: int = 1
) -> dict[str, Any]:
    """A difference as JSON holds it; adjusted_p, comparisons: see `evidence.words`."""
    return {
        **asdict(difference),
        "points": difference.points,
        "adjusted_p": adjusted_p,
        "seeds_needed": evidence.seeds_needed(difference, comparisons=comparisons),
    }
