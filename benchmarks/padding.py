"""How much of what is computed is padding: tokens computed for each token given, in one epoch.

    python benchmarks/padding.py                                    # built-in data
    python benchmarks/padding.py --data ../glue --tasks cola rte --train-size 2000
    python benchmarks/padding.py --data ../glue --train-size 1000 --seeds 20     # and what it does to scores

Beside the project's batches (`dps.data.Batches`: examples of like length share a batch) stand those of a
plain shuffled epoch, which visit the same examples. With --seeds, DPS Dense is trained on both with each seed
(the same head, the same seed of dropout); shown are the scores on dev, and their paired difference with its
95 % interval (Student's t). Prints Markdown.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import multiprocessing
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a process for each core

import numpy as np
from scipy import stats

import dps
from dps import sources, tasks
from dps.data import Batches, Indices, TaskData, by_length
from dps.models import Base, locate

EPOCHS = 5
LEARNING_RATE = 3e-4
SIDES = ("shuffled", "ours")


class Shuffled(Batches):
    """A plain shuffled epoch."""

    def _batches(self, rng: np.random.Generator) -> list[Indices]:
        order = rng.permutation(len(self.data))
        return [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]


def ratio(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    """Tokens computed, each batch padded to its longest, for each token given."""
    return sum(len(b) * lengths[b].max() for b in batches) / lengths.sum()


def row(task: tasks.Task, data: str, train_size: int | None, batch_size: int, max_length: int) -> str:
    """A line of the table, means over some epochs."""
    base = Base(locate("builtin"), task)
    found = TaskData(task, sources.open_source(data), base.tokenizer, max_length)
    train, dev = found.train(train_size), found.split("dev")
    ratios: dict[type[Batches], list[float]] = {Shuffled: [], Batches: []}
    for seed, kind in itertools.product(range(EPOCHS), ratios):
        batches = kind(train, base.tokenizer, batch_size, seed)
        epoch = [batches.indices(step) for step in range(1, batches.steps_per_epoch + 1)]
        assert sorted(np.concatenate(epoch)) == list(range(len(train)))
        ratios[kind].append(ratio(batches.lengths, epoch))
    plain, grouped = ratios.values()
    evaluated = ratio(np.asarray(dev.lengths()), list(by_length(dev, 4 * batch_size)))
    return (
        f"| {task.name} | {len(train):,} | {np.mean(batches.lengths):.1f} | {np.mean(plain):.3f} | "
        f"{np.mean(grouped):.3f} | {evaluated:.3f} |"
    )


def trained(run: tuple[str, str, int, argparse.Namespace]) -> tuple[float, float]:
    """(score on dev, seconds) of one run."""
    side, task, seed, chosen = run
    module = importlib.import_module("dps.finetune")
    module.Batches = Shuffled if side == "shuffled" else Batches  # type: ignore[attr-defined]
    config = dps.FineTuneConfig(
        task=task,
        data=chosen.data,
        learning_rate=LEARNING_RATE,
        batch_size=chosen.batch_size,
        max_length=chosen.max_length,
        train_size=chosen.train_size,
        evaluations=1,
        seed=seed,
    )
    began = time.perf_counter()
    score = dps.finetune(config).last
    return score, time.perf_counter() - began


def compared(chosen: argparse.Namespace) -> None:
    """Train on both kinds of batches, turn by turn, and print the table of scores."""
    runs = [
        (side, task, seed, chosen) for task in chosen.tasks for seed in range(chosen.seeds) for side in SIDES
    ]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        scores = dict(zip([run[:3] for run in runs], pool.map(trained, runs, chunksize=1), strict=True))
    print("\n| task | seeds | metric | shuffled | ours | difference, points | seconds, ours / shuffled |")
    print("|---" * 7 + "|")
    for task in chosen.tasks:
        sides = [np.array([scores[side, task, seed] for seed in range(chosen.seeds)]) for side in SIDES]
        (plain, plain_s), (ours, ours_s) = (side.T for side in sides)
        difference = 100 * (ours - plain)
        half = stats.sem(difference) * stats.t.ppf(0.975, chosen.seeds - 1)
        columns = (
            task,
            str(chosen.seeds),
            tasks.get(task).metric,
            f"{plain.mean():.4f} ± {plain.std(ddof=1):.4f}",
            f"{ours.mean():.4f} ± {ours.std(ddof=1):.4f}",
            f"{difference.mean():+.2f} ± {half:.2f}",
            f"{np.median(ours_s) / np.median(plain_s):.2f}",
        )
        print(f"| {' | '.join(columns)} |")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=tuple(tasks.TASKS), default=["cola", "rte"])
    parser.add_argument("--data", default="builtin", help="builtin, or a folder with GLUE files")
    parser.add_argument("--train-size", type=int)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=0, help="train with so many on both sides")
    chosen = parser.parse_args()
    if chosen.seeds == 1:
        parser.error("--seeds: one seed has no interval; give 2 or more")
    print(
        "| task | training examples | tokens an example | shuffled | ours | evaluation |\n" + "|---" * 6 + "|"
    )
    for name in chosen.tasks:
        print(row(tasks.get(name), chosen.data, chosen.train_size, chosen.batch_size, chosen.max_length))
    if chosen.seeds:
        compared(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
