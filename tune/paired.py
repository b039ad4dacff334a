"""Paired runs on one evaluation set, as `tune.evidence` takes them and as JSON holds what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dps.tasks import Task
from tune import evidence
from tune.resampling import Values

BOOTSTRAP_SEED = 0


def filled(task: Task, labels: Values, predicted: Mapping[int, Values], seeds: Sequence[int]) -> Values:
    """(seeds, *labels.shape): the predictions of each seed's run; where there are none, the constant one."""
    constant = np.full(labels.shape, evidence.constant_prediction(task, labels))
    return np.stack([predicted.get(seed, constant) for seed in seeds])


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
