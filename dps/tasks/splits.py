"""Stratified splits of examples, which keep a text on one side."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
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


def normalise_text(text: str) -> str:
    """Return what two texts have in common that a reader takes for one.

    Runs of blanks become one space, blanks at the ends, characters without a width and other controls go, and
    accents are composed (NFC).
    """
    words = unicodedata.normalize("NFC", text).split()
    if text.isascii() and "".join(words).isprintable():
        return " ".join(words)
    visible = ("".join(c for c in word if unicodedata.category(c) not in ("Cf", "Cc")) for word in words)
    return " ".join(word for word in visible if word)


def fold_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the key of the texts of an example, the same for examples that must be on one side of a split.

    Besides what `normalise_text` leaves out, capitals, HTML entities and the order of a pair do not count.
    """
    return tuple(sorted(normalise_text(html.unescape(text).casefold()) for text in texts))


def number_texts(columns: Sequence[Sequence[str]]) -> Indices:
    """Return a number for the texts of each example (n,), the same for the same texts (`fold_texts`).

    columns: one text column or two. Numbers begin at 0 and grow in the order of first appearance.
    """
    numbers: dict[tuple[str, ...], int] = {}
    rows = map(fold_texts, zip(*columns, strict=True))
    return np.array([numbers.setdefault(row, len(numbers)) for row in rows], dtype=np.int64)


def hold_out_texts(
    task: Task, labels: NDArray[Any], texts: Indices, share: float, seed: int
) -> tuple[Indices, Indices]:
    """Return (kept, held out), both sorted: a stratified slice of `share` of the texts is held out, each with
    all its repetitions.

    texts: (n,), see `number_texts`. Raises InputError for fewer than two different texts.
    """
    _, first, group = np.unique(texts, return_index=True, return_inverse=True)
    if len(first) < 2:
        raise InputError("data: every example has the same text; give different ones")
    chosen, _ = split_stratified(task, labels[first], max(1, round(share * len(first))), seed)
    is_held_out = np.isin(group, chosen)
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def split_stratified(task: Task, labels: NDArray[Any], size: int, seed: int) -> tuple[Indices, Indices]:
    """Choose `size` examples with the labels in proportion: return (chosen, rest), sorted indices.

    labels: (n,) ids or numbers; (n, labels) of 0 and 1 for multi-label tasks, where the rarest label counts.

    Shares are rounded by largest remainder; then each stratum of two examples or more has one on either side,
    as far as `size` allows it. Raises InputError unless 0 < size < n.
    """
    if not 0 < size < len(labels):
        raise InputError(
            f"cannot choose {size} of {len(labels)} examples; give more examples or another size"
        )
    strata = _assign_strata(task, labels)
    rng = np.random.default_rng(seed)
    groups = [rng.permutation(np.flatnonzero(strata == stratum)) for stratum in np.unique(strata)]
    counts = _share_out(np.array([len(group) for group in groups]), size)
    chosen = np.sort(np.concatenate([group[:count] for group, count in zip(groups, counts, strict=True)]))
    return chosen, np.setdiff1d(np.arange(len(labels)), chosen)


def _share_out(sizes: Indices, size: int) -> Indices:
    """Return how many of `size` examples come from each stratum; see `split_stratified`."""
    exact = sizes * size / sizes.sum()
    counts: Indices = np.floor(exact).astype(np.int64)
    for index in np.argsort(counts - exact, kind="stable")[: size - counts.sum()]:
        counts[index] += 1
    lowest, highest = (sizes > 1).astype(np.int64), np.maximum(sizes - 1, 1)
    for sign, short in ((1, counts < lowest), (-1, counts > highest)):
        for index in np.flatnonzero(short):
            room = counts - lowest if sign > 0 else highest - counts
            giver = int(np.argmax(room))
            if room[giver] > 0:
                counts[index] += sign
                counts[giver] -= sign
    return counts


def _assign_strata(task: Task, labels: NDArray[Any]) -> NDArray[Any]:
    if task.multi_label:
        return _find_rarest_labels(labels)
    if not task.is_regression:
        return labels
    edges = np.quantile(labels, np.linspace(0, 1, MAX_STRATA + 1)[1:-1])
    frequent = edges[1:][edges[1:] == edges[:-1]]  # values so frequent that each is a stratum of its own
    strata: Indices = np.digitize(labels, np.unique([*edges, *np.nextafter(frequent, np.inf)]))
    return strata


def _find_rarest_labels(labels: NDArray[Any]) -> Indices:
    """Return the rarest label of each example (n,), for labels (n, labels); -1 without a label."""
    is_set = labels > 0
    rarest: Indices = np.where(is_set, is_set.sum(axis=0), len(labels) + 1).argmin(axis=1)
    return np.where(is_set.any(axis=1), rarest, -1)
