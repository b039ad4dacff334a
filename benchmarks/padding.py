"""How much of what is computed is padding: tokens computed for each token given, in one epoch.

    python benchmarks/padding.py                                    # built-in data
    python benchmarks/padding.py --data ../glue --tasks cola rte --train-size 2000
    python benchmarks/padding.py --data ../glue --train-size 1000 --seeds 20     # and what it does to scores

Beside the project's batches (`dps.training.data.TrainingBatches`: examples of like length share a batch)
stand those of a
plain shuffled epoch, which visit the same examples. With --seeds, DPS Dense is trained on both with each seed
(the same head, the same seed of dropout); shown are the scores on dev, and their paired difference with its
95 % interval (Student's t). Prints Markdown.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import sys
from functools import partial
from pathlib import Path

from dps.tasks.task import Task

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a process for each core

import numpy as np

from benchmarks import score_pairs
from dps import sources
from dps.models import PretrainedEncoder, locate_model
from dps.tasks import registry
from dps.tasks.splits import Indices
from dps.training.data import TaskData, TrainingBatches, batch_by_length

EPOCHS = 5
SIDES = ("shuffled", "ours")


class Shuffled(TrainingBatches):
    """A plain shuffled epoch."""

    def _batches(self, rng: np.random.Generator) -> list[Indices]:
        order = rng.permutation(len(self.data))
        return [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]


def ratio(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    """Tokens computed, each batch padded to its longest, for each token given."""
    return sum(len(b) * lengths[b].max() for b in batches) / lengths.sum()


def row(task: Task, data: str, train_size: int | None, batch_size: int, max_length: int) -> str:
    """A line of the table, means over some epochs."""
    base = PretrainedEncoder(locate_model("builtin"), task)
    found = TaskData(task, sources.open_data_source(data), base.tokenizer, max_length)
    train, dev = found.get_train_examples(train_size), found.get_split("dev")
    ratios: dict[type[TrainingBatches], list[float]] = {Shuffled: [], TrainingBatches: []}
    for seed, kind in itertools.product(range(EPOCHS), ratios):
        batches = kind(train, base.tokenizer, batch_size, seed)
        epoch = [batches.get_indices(step) for step in range(1, batches.steps_per_epoch + 1)]
        assert sorted(np.concatenate(epoch)) == list(range(len(train)))
        ratios[kind].append(ratio(batches.lengths, epoch))
    plain, grouped = ratios.values()
    evaluated = ratio(np.asarray(dev.lengths()), list(batch_by_length(dev, 4 * batch_size)))
    return (
        f"| {task.name} | {len(train):,} | {np.mean(batches.lengths):.1f} | {np.mean(plain):.3f} | "
        f"{np.mean(grouped):.3f} | {evaluated:.3f} |"
    )


def trained(chosen: argparse.Namespace, side: str, task: str, seed: int) -> tuple[float, float]:
    """(score on dev, seconds) of one run."""
    module = importlib.import_module("dps.training.run")
    module.Batches = Shuffled if side == "shuffled" else TrainingBatches  # type: ignore[attr-defined]
    return score_pairs.trained(chosen, task, seed)


def main() -> int:
    chosen = score_pairs.options(__doc__)
    print(
        "| task | training examples | tokens an example | shuffled | ours | evaluation |\n" + "|---" * 6 + "|"
    )
    for name in chosen.tasks:
        print(
            row(registry.get_task(name), chosen.data, chosen.train_size, chosen.batch_size, chosen.max_length)
        )
    if chosen.seeds:
        score_pairs.compare(partial(trained, chosen), SIDES, chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
