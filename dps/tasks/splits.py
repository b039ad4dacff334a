"""Stratified splits of examples, which keep texts and groups on one side."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError
from dps.tasks.examples import ExampleTable
from dps.tasks.task import GROUP_COLUMN, Task
from dps.text import quote_value

Indices = NDArray[np.int64]

SUBSET_SEED = 0  # of training subsets, the same for every method and seed
HOLDOUT_SHARE = 0.2  # of the training examples, the slice that configurations are ranked on
HOLDOUT_NAME = "the slice of train that is held out"
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


def choose_examples(
    task: Task, labels: NDArray[Any], size: int | None, shots: int | None, seed: int
) -> Indices:
    """Return the training examples of a run, sorted: all, `size` of them (see `choose_subset`), or `shots` of
    each class, drawn by the seed.

    Raises InputError if there are fewer, and for shots of a task without classes.
    """
    if shots is None:
        return np.arange(len(labels)) if size is None else choose_subset(task, labels, size)
    if task.is_regression or task.multi_label:
        kind = "numbers" if task.is_regression else "several labels an example"
        raise InputError(f"--shots: {task.name} has {kind}, where classes are needed; use --train-size")
    counts = np.bincount(labels, minlength=len(task.labels))
    if (fewest := int(counts.min())) < shots:
        name = quote_value(task.labels[int(counts.argmin())])
        raise InputError(f"--shots: {shots} of each class were asked for, but {name} has {fewest}")
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == each))[:shots] for each in range(len(counts))]
    return np.sort(np.concatenate(drawn))


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


def number_examples(task: Task, examples: ExampleTable) -> Indices:
    """Return a number for each example (n,), the same for those that stay on one side of every split.

    They have the same texts (`number_texts`) or the same group, or are linked by others that have. Numbers
    begin at 0 and grow in the order of first appearance.
    """
    texts = number_texts([examples[column] for column in task.columns])
    return join_groups(texts, examples[GROUP_COLUMN]) if task.group else texts


def join_groups(texts: Indices, groups: Sequence[str]) -> Indices:
    """Return the numbers of examples (n,), see `number_examples`.

    texts: (n,), see `number_texts`. groups: (n,), "" for none.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(texts.max()) + 1
    known = {group: count + number for number, group in enumerate(dict.fromkeys(filter(None, groups)))}
    links = [(text, known[group]) for text, group in zip(texts.tolist(), groups, strict=True) if group]
    ends = tuple(np.array(links, dtype=np.int64).reshape(-1, 2).T)
    size = count + len(known)
    parts = connected_components(coo_array((np.ones(len(links)), ends), (size, size)), directed=False)[1]
    _, first, number = np.unique(parts[texts], return_index=True, return_inverse=True)
    joined: Indices = np.argsort(np.argsort(first)).astype(np.int64)[number]
    return joined


def hold_out_texts(
    task: Task, labels: NDArray[Any], texts: Indices, share: float, seed: int
) -> tuple[Indices, Indices]:
    """Return (kept, held out), both sorted: a stratified slice of `share` of the texts is held out, each with
    all its repetitions. Of a task with groups it is a slice of `share` of the examples, by whole groups.

    texts: (n,), see `number_examples`. Raises InputError for fewer than two different texts.
    """
    _, first, group = np.unique(texts, return_index=True, return_inverse=True)
    if len(first) < 2:
        what = "group" if task.group else "text"
        raise InputError(f"data: every example has the same {what}; give different ones")
    if task.group:
        is_held_out = _choose_groups(_assign_strata(task, labels), group, share, seed)[group]
        return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
    chosen, _ = split_stratified(task, labels[first], max(1, round(share * len(first))), seed)
    is_held_out = np.isin(group, chosen)
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def _choose_groups(strata: NDArray[Any], groups: Indices, share: float, seed: int) -> NDArray[np.bool_]:
    """Choose groups with about `share` of the examples of each stratum, at least one and not all: (groups,).

    In random order, a group is chosen if that brings the strata nearer to their shares. With one stratum no
    more than half of the largest group is missing or too much.

    strata: (n,). groups: (n,), whole numbers from 0 on.
    """
    stratum = np.unique(strata, return_inverse=True)[1]
    counts = np.zeros((groups.max() + 1, stratum.max() + 1))
    np.add.at(counts, (groups, stratum), 1)
    wanted = share * counts.sum(axis=0)
    is_chosen, missing = np.zeros(len(counts), dtype=bool), wanted
    order = np.random.default_rng(seed).permutation(len(counts))
    for number in order:
        left = missing - counts[number]
        if (left**2 / wanted).sum() < (missing**2 / wanted).sum():
            is_chosen[number], missing = True, left
    if is_chosen.all() or not is_chosen.any():
        smallest = order[np.argmin(counts[order].sum(axis=1))]
        is_chosen[smallest] = not is_chosen[smallest]
    return is_chosen


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
