"""Whether what is faster learns as well: DPS Dense trained both ways with each seed, and the differences.

For the scripts here that claim so; with each seed both sides have the same head and the same seed of dropout.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

import dps
from dps.tasks import registry

LEARNING_RATE = 3e-4


def options(description: str | None) -> argparse.Namespace:
    """What is trained on, from the command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=tuple(registry.TASKS), default=["cola", "rte"])
    parser.add_argument("--data", default="builtin", help="builtin, or a folder with GLUE files")
    parser.add_argument("--train-size", type=int)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=0, help="train with so many on both sides")
    chosen = parser.parse_args()
    if chosen.seeds == 1:
        parser.error("--seeds: one seed has no interval; give 2 or more")
    return chosen


def trained(chosen: argparse.Namespace, task: str, seed: int, **more: Any) -> tuple[float, float]:
    """(score on dev, seconds) of one run. more: of `dps.FineTuneConfig`."""
    config = dps.FineTuneConfig(
        task=task,
        data=chosen.data,
        learning_rate=LEARNING_RATE,
        batch_size=chosen.batch_size,
        max_length=chosen.max_length,
        train_size=chosen.train_size,
        evaluations=1,
        seed=seed,
        **more,
    )
    began = time.perf_counter()
    score = dps.finetune(config).score
    return score, time.perf_counter() - began


def compare(
    run: Callable[[str, str, int], tuple[float, float]], sides: tuple[str, str], chosen: argparse.Namespace
) -> None:
    """Print the second side less the first, with its 95 % interval (Student's t over the seeds).

    run: (score on dev, seconds) of a side, a task and a seed; it runs in a process for each core, the sides
    in turns."""
    seeds = chosen.seeds
    turns = [(side, task, seed) for task in chosen.tasks for seed in range(seeds) for side in sides]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        found = dict(zip(turns, pool.starmap(run, turns, chunksize=1), strict=True))
    first, second = sides
    print(
        f"\n| task | seeds | metric | {first} | {second} | difference, points | seconds, {second} / {first} |"
    )
    print("|---" * 7 + "|")
    for task in chosen.tasks:
        (before, before_s), (after, after_s) = (
            np.array([found[side, task, seed] for seed in range(seeds)]).T for side in sides
        )
        difference = 100 * (after - before)
        half = stats.sem(difference) * stats.t.ppf(0.975, seeds - 1)
        columns = (
            task,
            str(seeds),
            registry.get_task(task).metric,
            f"{before.mean():.4f} ± {before.std(ddof=1):.4f}",
            f"{after.mean():.4f} ± {after.std(ddof=1):.4f}",
            f"{difference.mean():+.2f} ± {half:.2f}",
            f"{np.median(after_s) / np.median(before_s):.2f}",
        )
        print(f"| {' | '.join(columns)} |")
