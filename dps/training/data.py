"""Data of a run: tokenised splits, subsets, the batches of each step, padding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dps.attachment.draws import derive_step_seed
from dps.errors import InputError
from dps.lazy import torch
from dps.sources.examples import fingerprint_examples
from dps.tasks.examples import ExampleTable
from dps.tasks.splits import Indices, choose_examples, hold_out_texts
from dps.tasks.task import Task
from dps.training.tokens import EncodedExamples, TokenCache, encode_dataset, fingerprint_tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from dps.sources.base import Source

BATCHES_PER_POOL = 16  # batches whose examples are sorted by length together, for little padding


class TaskData:
    """Examples of a task, read and tokenised on first use.

    cache: token cache of this node; None to keep nothing on disk.
    fingerprints: of the examples by split, where they are known, those of other tasks by "task/split"; other
        examples are refused. See `dps.sources.examples.fingerprint_examples`.
    """

    def __init__(
        self,
        task: Task,
        source: Source,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        cache: TokenCache | None = None,
        fingerprints: Mapping[str, str] | None = None,
    ) -> None:
        self.task, self.source, self.tokenizer, self.max_length = task, source, tokenizer, max_length
        self.cache, self.fingerprints = cache, dict(fingerprints or {})
        self._encoded: dict[str, EncodedExamples] = {}
        self._by_task: dict[Task, TaskData] = {}

    def for_task(self, task: Task) -> TaskData:
        """Return the examples of another task from the same source, tokenised alike."""
        if task == self.task:
            return self
        if task not in self._by_task:
            prefix = f"{task.name}/"
            known = {
                key.removeprefix(prefix): value
                for key, value in self.fingerprints.items()
                if key.startswith(prefix)
            }
            self._by_task[task] = TaskData(
                task, self.source, self.tokenizer, self.max_length, self.cache, known
            )
        return self._by_task[task]

    def get_split(self, name: str) -> EncodedExamples:
        """Return all examples of one of `task.all_splits`.

        Raises InputError for data that cannot be used, or that are not those of `fingerprints`.
        """
        if name not in self._encoded:
            self._encoded[name] = self._read_or_encode(name)
        return self._encoded[name]

    def _read_or_encode(self, name: str) -> EncodedExamples:
        """Read a split from the cache, or tokenise it. A file's name says what it was made of."""
        if self.cache is None or self._tokenizer_fingerprint is None or name not in self.task.splits:
            return self._encode(self.load_split(name))
        known, examples = self.fingerprints.get(name), None
        if not known:
            examples = self.load_split(name)
            known = fingerprint_examples(self.task, examples)
        return self.cache.get(
            [known, self._tokenizer_fingerprint, self.max_length],
            lambda: self._encode(self.load_split(name) if examples is None else examples),
        )

    @cached_property
    def _tokenizer_fingerprint(self) -> str | None:
        return fingerprint_tokenizer(self.tokenizer)

    def load_split(self, name: str) -> ExampleTable:
        """Load a split as it is, not tokenised. Raises InputError as `get_split` does."""
        examples = self.source.load(self.task, name)
        known = self.fingerprints.get(name)
        if known and fingerprint_examples(self.task, examples) != known:
            raise InputError(
                f"data: {name} of {self.source.name} is not what the plan was made from; put the same data "
                f"there on every node, or start a new search"
            )
        return examples

    def _encode(self, examples: ExampleTable) -> EncodedExamples:
        return encode_dataset(examples, self.task, self.tokenizer, self.max_length)

    def get_train_examples(
        self, size: int | None, shots: int | None = None, seed: int = 0
    ) -> EncodedExamples:
        """Return the training examples of a run, see `dps.tasks.splits.choose_examples`."""
        every = self.get_split("train")
        return every.take(choose_examples(self.task, every.labels, size, shots, seed))


def split_holdout(
    task: Task, data: EncodedExamples, share: float, seed: int
) -> tuple[EncodedExamples, EncodedExamples]:
    """Return (kept, held out): a stratified slice of `share` of the texts is held out."""
    kept, held_out = hold_out_texts(task, data.labels, data.texts, share, seed)
    return data.take(kept), data.take(held_out)


class TrainingBatches:
    """Training batches as a function of (seed, step), so that a resume needs no state.

    Each epoch visits every example once, in a new order; one batch may be short. Examples of similar length
    share a batch: a shuffled epoch is cut into pools of `BATCHES_PER_POOL` batches, each pool is sorted by
    length and cut into batches, and the batches of the epoch are shuffled.

    batch_size: examples of a step over all ranks; each rank takes its share.
    """

    def __init__(
        self,
        data: EncodedExamples,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.collate = PaddingCollator(tokenizer)
        self.lengths = data.lengths()
        self._epoch, self._order = -1, list[Indices]()

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches of an epoch."""
        return math.ceil(len(self.data) / self.batch_size)

    def get_indices(self, step: int) -> Indices:
        """Return the examples of this rank at `step` (from 1): as many on every rank."""
        epoch, position = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._shuffle_epoch(epoch)
        batch = self._order[position]
        if short := -len(batch) % self.world_size:
            batch = np.concatenate([batch, np.resize(batch, short)])
        return batch[self.rank :: self.world_size]

    def _shuffle_epoch(self, epoch: int) -> list[Indices]:
        """Return the batches of one epoch."""
        rng = np.random.default_rng(derive_step_seed(self.seed, epoch))
        order, pool = rng.permutation(len(self.data)), BATCHES_PER_POOL * self.batch_size
        batches: list[Indices] = []
        for start in range(0, len(order), pool):
            chunk = order[start : start + pool]
            chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
            batches += [chunk[i : i + self.batch_size] for i in range(0, len(chunk), self.batch_size)]
        return [batches[number] for number in rng.permutation(len(batches))]

    def get_batch(self, step: int) -> dict[str, Tensor]:
        """Return the padded batch of this rank at `step`."""
        return self.collate(self.data, self.get_indices(step))


class PaddingCollator:
    """Collator that pads the examples at given indices to the longest of them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        from transformers import DataCollatorWithPadding

        self._pad = DataCollatorWithPadding(tokenizer)

    def __call__(self, data: EncodedExamples, indices: Indices) -> dict[str, Tensor]:
        batch = dict(self._pad([data.example(i) for i in indices]))
        batch["labels"] = torch.from_numpy(data.labels[indices])
        return batch


def batch_by_length(data: EncodedExamples, batch_size: int) -> Iterator[Indices]:
    """Yield the indices of evaluation batches, longest examples first, so that little is padded."""
    order = np.argsort(data.lengths(), kind="stable")[::-1]
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size].copy()
