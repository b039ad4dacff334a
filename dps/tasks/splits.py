"""Stratified splits of examples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError
from dps.tasks.task import Task

Indices = NDArray[np.int64]

SUBSET_SEED = 0  # of training subsets, the same for every method and seed
MAX_STRATA = 10  # quantiles by which a regression is stratified


def choose_subset(task: Task, labels: NDArray[Any], size: int) -> Indices:
    """Return a stratified subset of `size` training examples, sorted, the same at every call.

    Raises InputError if there are fewer examples.
    """
    if size > len(labels):
        raise InputError(f"--train-size: {size} examples were asked for, but there are {len(labels)}")
    if size == len(labels):
        return np.arange(size)
    return split_stratified(task, labels, size, SUBSET_SEED)[0]


def choose_holdout(task: Task, labels: NDArray[Any], share: float, seed: int) -> tuple[Indices, Indices]:
    """Return (kept, held out), both sorted: a stratified slice of `share` of the examples is held out."""
    held_out, kept = split_stratified(task, labels, max(1, round(share * len(labels))), seed)
    return kept, held_out


def split_stratified(task: Task, labels: NDArray[Any], size: int, seed: int) -> tuple[Indices, Indices]:
    """Choose `size` examples with the labels in proportion: return (chosen, rest), sorted indices.

    labels: (n,) ids or numbers; (n, labels) of 0 and 1 for multi-label tasks, where the rarest label counts.

    Shares are rounded by largest remainder, so that no class differs by more than one example. Raises
    InputError unless 0 < size < n.
    """
    if not 0 < size < len(labels):
        raise InputError(
            f"cannot choose {size} of {len(labels)} examples; give more examples or another size"
        )
    strata = _assign_strata(task, labels)
    rng = np.random.default_rng(seed)
    groups = [rng.permutation(np.flatnonzero(strata == stratum)) for stratum in np.unique(strata)]
    exact = np.array([len(group) for group in groups]) * size / len(labels)
    counts = np.floor(exact).astype(int)
    for index in np.argsort(counts - exact, kind="stable")[: size - counts.sum()]:
        counts[index] += 1
    chosen = np.sort(np.concatenate([group[:count] for group, count in zip(groups, counts, strict=True)]))
    return chosen, np.setdiff1d(np.arange(len(labels)), chosen)


def _assign_strata(task: Task, labels: NDArray[Any]) -> NDArray[Any]:
    if task.multi_label:
        return _find_rarest_labels(labels)
    if not task.is_regression:
        return labels
    edges = np.quantile(labels, np.linspace(0, 1, MAX_STRATA + 1)[1:-1])
    strata: Indices = np.digitize(labels, edges)
    return strata


def _find_rarest_labels(labels: NDArray[Any]) -> Indices:
    """Return the rarest label of each example (n,), for labels (n, labels); -1 without a label."""
    is_set = labels > 0
    rarest: Indices = np.where(is_set, is_set.sum(axis=0), len(labels) + 1).argmin(axis=1)
    return np.where(is_set.any(axis=1), rarest, -1)
