"""How much of what is computed is padding: tokens computed for each token given, in one epoch.

    python benchmarks/padding.py                                    # built-in data
    python benchmarks/padding.py --data ../glue --tasks cola rte --train-size 2000

Beside the project's batches (`dps.data.Batches`: examples of like length share a batch) stand those of a
plain shuffled epoch, which visit the same examples. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from dps import sources, tasks
from dps.data import Batches, TaskData, by_length
from dps.models import Base, locate

EPOCHS = 5


def ratio(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    """Tokens computed, each batch padded to its longest, for each token given."""
    return sum(len(b) * lengths[b].max() for b in batches) / lengths.sum()


def row(task: tasks.Task, data: str, train_size: int | None, batch_size: int, max_length: int) -> str:
    """A line of the table, means over some epochs."""
    base = Base(locate("builtin"), task)
    found = TaskData(task, sources.open_source(data), base.tokenizer, max_length)
    train, dev = found.train(train_size), found.split("dev")
    grouped, plain = [], []
    for seed in range(EPOCHS):
        batches = Batches(train, base.tokenizer, batch_size, seed)
        ours = [batches.indices(step) for step in range(1, batches.steps_per_epoch + 1)]
        assert sorted(np.concatenate(ours)) == list(range(len(train)))
        grouped.append(ratio(batches.lengths, ours))
        order = np.random.default_rng(seed).permutation(len(train))
        plain.append(ratio(batches.lengths, np.array_split(order, range(batch_size, len(order), batch_size))))
    evaluated = ratio(np.asarray(dev.lengths()), list(by_length(dev, 4 * batch_size)))
    return (
        f"| {task.name} | {len(train):,} | {np.mean(batches.lengths):.1f} | {np.mean(plain):.3f} | "
        f"{np.mean(grouped):.3f} | {evaluated:.3f} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=tuple(tasks.TASKS), default=["cola", "rte"])
    parser.add_argument("--data", default="builtin", help="builtin, or a folder with GLUE files")
    parser.add_argument("--train-size", type=int)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=128)
    chosen = parser.parse_args()
    print(
        "| task | training examples | tokens an example | shuffled | ours | evaluation |\n" + "|---" * 6 + "|"
    )
    for name in chosen.tasks:
        print(row(tasks.get(name), chosen.data, chosen.train_size, chosen.batch_size, chosen.max_length))
    return 0


if __name__ == "__main__":
    sys.exit(main())
