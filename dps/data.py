"""From examples to batches: subsets, slices, tokens, order, padding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dps.errors import InputError
from dps.methods.draws import step_seed
from dps.tasks import Task
from dps.tokens import Encoded, Indices, TokenCache, encode, identity

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from dps.sources.base import Source

SUBSET_SEED = 0  # a low-resource subset is the same for every method and seed
MOST_STRATA = 10  # a regression label is stratified by its quantiles
POOL = 16  # batches whose examples are sorted by length together, so that little is padded


class TaskData:
    """The examples of a task, read and tokenised when they are first asked for.

    cache: where the tokens of this node are; without one nothing is kept on disk. fingerprint: the source's
    of this task, where it is known already.
    """

    def __init__(
        self,
        task: Task,
        source: Source,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        cache: TokenCache | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.task, self.source, self.tokenizer, self.max_length = task, source, tokenizer, max_length
        self.cache, self.fingerprint = cache, fingerprint
        self._encoded: dict[str, Encoded] = {}
        self._others: dict[str, TaskData] = {}

    def of(self, task: Task) -> TaskData:
        """The examples of another task from the same source, with the same tokens."""
        if task == self.task:
            return self
        if task.name not in self._others:
            self._others[task.name] = TaskData(task, self.source, self.tokenizer, self.max_length, self.cache)
        return self._others[task.name]

    def split(self, name: str) -> Encoded:
        """All examples of one of `task.all_splits`."""
        if name not in self._encoded:
            self._encoded[name] = self._kept(name)
        return self._encoded[name]

    def _kept(self, name: str) -> Encoded:
        """From the cache; what the fingerprint does not cover is not kept there."""
        task = self.task
        if self.cache is None or self._rules is None or name not in task.splits:
            return self._encode(name)
        self.fingerprint = self.fingerprint or self.source.fingerprint(task)
        examples = [self.source.kind, self.fingerprint, task.name, task.columns, task.labels, name]
        if task.multi_label:
            examples.append(task.separator)
        return self.cache.get([*examples, self._rules, self.max_length], lambda: self._encode(name))

    @cached_property
    def _rules(self) -> str | None:
        return identity(self.tokenizer)

    def _encode(self, name: str) -> Encoded:
        return encode(self.source.load(self.task, name), self.task, self.tokenizer, self.max_length)

    def train(self, size: int | None) -> Encoded:
        """The training examples, or a stratified subset of `size` that is always the same."""
        return subset(self.task, self.split("train"), size)


def subset(task: Task, data: Encoded, size: int | None) -> Encoded:
    """A stratified subset, the same at every call. Raises InputError where there are fewer examples."""
    if size is None or size == len(data):
        return data
    if size > len(data):
        raise InputError(f"train-size: {size} examples were asked for, but the training set has {len(data)}")
    return data.take(stratified(task, data.labels, size, SUBSET_SEED)[0])


def holdout(task: Task, data: Encoded, share: float, seed: int) -> tuple[Encoded, Encoded]:
    """(kept, held out): a stratified slice of `share` of the examples is held out."""
    size = max(1, round(len(data) * share))
    held, kept = stratified(task, data.labels, size, seed)
    return data.take(kept), data.take(held)


def stratified(task: Task, labels: NDArray[Any], size: int, seed: int) -> tuple[Indices, Indices]:
    """(chosen, rest): `size` indices with the labels in proportion, and the others; both sorted.

    Shares are rounded by largest remainder, so that no class moves by more than one example. Of several
    labels an example the rarest one counts.
    """
    if not 0 < size < len(labels):
        raise InputError(
            f"cannot choose {size} of {len(labels)} examples; give more examples or another size"
        )
    strata = _strata(task, labels)
    rng = np.random.default_rng(seed)
    groups = [rng.permutation(np.flatnonzero(strata == stratum)) for stratum in np.unique(strata)]
    wanted = np.array([len(group) for group in groups]) * size / len(labels)
    counts = np.floor(wanted).astype(int)
    for index in np.argsort(counts - wanted, kind="stable")[: size - counts.sum()]:
        counts[index] += 1
    chosen = np.sort(np.concatenate([group[:count] for group, count in zip(groups, counts, strict=True)]))
    return chosen, np.setdiff1d(np.arange(len(labels)), chosen)


def _strata(task: Task, labels: NDArray[Any]) -> NDArray[Any]:
    if task.multi_label:
        return _rarest(labels)
    if not task.is_regression:
        return labels
    edges = np.quantile(labels, np.linspace(0, 1, MOST_STRATA + 1)[1:-1])
    strata: Indices = np.digitize(labels, edges)
    return strata


def _rarest(labels: NDArray[Any]) -> Indices:
    """The rarest label of each example, of labels (n, labels); -1 where it has none."""
    has = labels > 0
    rarest: Indices = np.where(has, has.sum(axis=0), len(labels) + 1).argmin(axis=1)
    return np.where(has.any(axis=1), rarest, -1)


class Batches:
    """The training batch of each step: a function of (seed, step), so that a resume needs no state.

    An epoch visits every example once, in an order of its own; one batch may be short. Examples of
    like length share a batch: a shuffled epoch is cut into pools of `POOL` batches, each pool is
    sorted by length and cut into batches, and the batches of the epoch are shuffled.
    With several ranks each takes its share of the global batch.
    """

    def __init__(
        self,
        data: Encoded,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.rank, self.world = rank, world
        self.collate = collator(tokenizer)
        self.lengths = data.lengths()
        self._epoch, self._order = -1, list[Indices]()

    @property
    def steps_per_epoch(self) -> int:
        """Batches that it takes to visit every example."""
        return math.ceil(len(self.data) / self.batch_size)

    def indices(self, step: int) -> Indices:
        """The examples of this rank at `step`, counted from 1."""
        epoch, position = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = (
                epoch,
                self._batches(np.random.default_rng(step_seed(self.seed, epoch))),
            )
        batch = self._order[position]
        if short := -len(batch) % self.world:  # every rank needs as many
            batch = np.concatenate([batch, np.resize(batch, short)])
        return batch[self.rank :: self.world]

    def _batches(self, rng: np.random.Generator) -> list[Indices]:
        """The batches of one epoch."""
        order, pool = rng.permutation(len(self.data)), POOL * self.batch_size
        batches: list[Indices] = []
        for start in range(0, len(order), pool):
            chunk = order[start : start + pool]
            chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
            batches += [chunk[at : at + self.batch_size] for at in range(0, len(chunk), self.batch_size)]
        return [batches[number] for number in rng.permutation(len(batches))]

    def at(self, step: int) -> dict[str, Tensor]:
        """The padded batch of this rank at `step`."""
        return self.collate(self.data, self.indices(step))


class collator:  # noqa: N801 - reads as a function
    """Pads the examples at some indices to the longest among them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        from transformers import DataCollatorWithPadding

        self._pad = DataCollatorWithPadding(tokenizer)

    def __call__(self, data: Encoded, indices: Indices) -> dict[str, Tensor]:
        batch = dict(self._pad([data.example(i) for i in indices]))
        batch["labels"] = torch.from_numpy(data.labels[indices])
        return batch


def by_length(data: Encoded, batch_size: int) -> Iterator[Indices]:
    """Evaluation batches, longest first, so that little is padded."""
    order = np.argsort(data.lengths(), kind="stable")[::-1]
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size].copy()
