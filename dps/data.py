"""From examples to batches: subsets, slices, tokens, order, padding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dps.errors import InputError
from dps.methods.draws import step_seed
from dps.tasks import LABEL, Task

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from dps.sources.base import Source

Indices = NDArray[np.int64]
SUBSET_SEED = 0  # a low-resource subset is the same for every method and seed
MOST_STRATA = 10  # a regression label is stratified by its quantiles
POOL = 16  # batches whose examples are sorted by length together, so that little is padded


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples. tokens: one dict of id lists an example; labels: (n,)."""

    tokens: list[dict[str, list[int]]]
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, indices: Indices) -> Encoded:
        """The examples at `indices`, in that order."""
        return Encoded([self.tokens[i] for i in indices], self.labels[indices])

    def lengths(self) -> list[int]:
        """Tokens of each example, without padding."""
        return [len(example["input_ids"]) for example in self.tokens]


class TaskData:
    """The examples of a task, read and tokenised when they are first asked for."""

    def __init__(
        self, task: Task, source: Source, tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> None:
        self.task, self.source, self.tokenizer, self.max_length = task, source, tokenizer, max_length
        self._encoded: dict[str, Encoded] = {}
        self._others: dict[str, TaskData] = {}

    def of(self, task: Task) -> TaskData:
        """The examples of another task from the same source, with the same tokens."""
        if task == self.task:
            return self
        if task.name not in self._others:
            self._others[task.name] = TaskData(task, self.source, self.tokenizer, self.max_length)
        return self._others[task.name]

    def split(self, name: str) -> Encoded:
        """All examples of one of `task.all_splits`."""
        if name not in self._encoded:
            dataset = self.source.load(self.task, name)
            self._encoded[name] = encode(dataset, self.task, self.tokenizer, self.max_length)
        return self._encoded[name]

    def train(self, size: int | None) -> Encoded:
        """The training examples, or a stratified subset of `size` that is always the same."""
        return subset(self.task, self.split("train"), size)


def encode(dataset: Dataset, task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Encoded:
    """Tokenise, cutting at `max_length` tokens. Nothing is padded here."""
    tokens = tokenise([list(dataset[column]) for column in task.columns], tokenizer, max_length)
    dtype = np.float32 if task.is_regression else np.int64
    return Encoded(tokens, np.asarray(dataset[LABEL], dtype=dtype))


def tokenise(
    texts: list[list[str]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[dict[str, list[int]]]:
    """Tokens of each example, cut at `max_length`. texts: one column of them, or two."""
    batch = tokenizer(*texts, truncation=True, max_length=max_length)
    keys = [key for key in batch if key != "special_tokens_mask"]
    return [dict(zip(keys, row, strict=True)) for row in zip(*(batch[key] for key in keys), strict=True)]


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

    Shares are rounded by largest remainder, so that no class moves by more than one example.
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
    if not task.is_regression:
        return labels
    edges = np.quantile(labels, np.linspace(0, 1, MOST_STRATA + 1)[1:-1])
    strata: Indices = np.digitize(labels, edges)
    return strata


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
        self.lengths = np.asarray(data.lengths())
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
        batch = dict(self._pad([data.tokens[i] for i in indices]))
        batch["labels"] = torch.from_numpy(data.labels[indices])
        return batch


def by_length(data: Encoded, batch_size: int) -> Iterator[Indices]:
    """Evaluation batches, longest first, so that little is padded."""
    order = np.argsort(data.lengths(), kind="stable")[::-1]
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size].copy()
