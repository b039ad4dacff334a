"""What makes a training step on this CPU quicker: bf16 beside fp32, and memory that glibc keeps.

    python benchmarks/cpu.py                                  # steps alone, a minute
    python benchmarks/cpu.py --seeds 20 --tasks cola          # and scores, on built-in data
    python benchmarks/cpu.py --data ../glue --tasks cola rte --train-size 500 --max-length 64 --seeds 12

A step is one of DPS Dense on the built-in model, with one thread, in a thread of its own, as in a slot. In a
process that is started plainly and in one with a slot's environment
(`tune.execution.connection.MALLOC_ENVIRONMENT`), in turns, both
precisions take steps in turns on the same batches of the first task. A ratio is the median over the repeats
of (a side's median / that of fp32 in the plain process beside it), its spread the smallest and the largest.
With --seeds, DPS Dense is trained in both precisions with each seed; see `benchmarks/score_pairs.py`. Prints
Markdown.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import sys
import time
from argparse import Namespace
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest import mock

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a process for each core

import numpy as np
import torch

from benchmarks import score_pairs
from dps import sources
from dps.methods import DPSDense, attachment_of
from dps.models import PretrainedEncoder, locate_model
from dps.tasks import registry
from dps.training import optim
from dps.training.data import TaskData, TrainingBatches
from tune.execution.connection import MALLOC_ENVIRONMENT

PRECISIONS = ("fp32", "bf16")
MEMORY = ("given back", "kept")
REPEATS, TURNS, WARM = 4, 28, 4
CPU = torch.device("cpu")


def steps(chosen: Namespace) -> dict[str, tuple[float, float]]:
    """(seconds, page faults) of a step in each precision, medians over the turns."""
    task = registry.get_task(chosen.tasks[0])
    base = PretrainedEncoder(locate_model("builtin"), task)
    data = TaskData(task, sources.open_data_source(chosen.data), base.tokenizer, chosen.max_length)
    batches = TrainingBatches(
        data.get_train_examples(chosen.train_size), base.tokenizer, chosen.batch_size, 0
    )
    arms = {}
    for precision in PRECISIONS:
        model = base.build(0, 0.1)
        model.train()
        optimizer = optim.make_adamw(model, 1e-5, 0.01)
        DPSDense().attach(model, optimizer, 1000, 1.0)
        arms[precision] = model, optimizer, optim.make_autocast_and_scaler(precision, CPU)[0]
    taken: dict[str, list[tuple[float, float]]] = {precision: [] for precision in PRECISIONS}
    for turn in range(TURNS):
        batch = batches.get_batch(turn + 1)
        for precision in PRECISIONS if turn % 2 else reversed(PRECISIONS):
            model, optimizer, autocast = arms[precision]
            attachment = attachment_of(optimizer)
            assert attachment is not None
            faults, began = page_faults(), time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            attachment.backward(model, batch, autocast=autocast)
            optimizer.step()
            taken[precision].append((time.perf_counter() - began, page_faults() - faults))
    return {precision: tuple(np.median(each[WARM:], axis=0).tolist()) for precision, each in taken.items()}


def page_faults() -> int:
    """Return the page faults of this process so far for which nothing is read from a disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def in_a_thread(chosen: Namespace) -> dict[str, tuple[float, float]]:
    """`steps`, as Ray Train runs its function."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(steps, chosen).result()


def apart(chosen: Namespace, memory: str) -> dict[str, tuple[float, float]]:
    """`steps` in a process of its own."""
    with (
        mock.patch.dict(os.environ, MALLOC_ENVIRONMENT if memory == "kept" else {}),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process,
    ):
        return process.submit(in_a_thread, chosen).result()


def print_steps(chosen: Namespace) -> None:
    """The table of steps."""
    taken = [{memory: apart(chosen, memory) for memory in MEMORY} for _ in range(REPEATS)]
    has = "has" if torch.cpu.get_capabilities().get("avx512_bf16") else "lacks"
    print(f"{platform.machine()} CPU that {has} AVX512_BF16, 1 thread, torch {torch.__version__}\n")
    print("| precision | memory | s a step | ratio | page faults a step |\n|---|---|---|---|---|")
    for precision in PRECISIONS:
        for memory in MEMORY:
            middle, faults = np.median([turn[memory][precision] for turn in taken], axis=0)
            ratios = [turn[memory][precision][0] / turn["given back"]["fp32"][0] for turn in taken]
            spread = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"| {precision} | {memory} | {middle:.3f} | {spread} | {faults:,.0f} |")


def trained(chosen: Namespace, side: str, task: str, seed: int) -> tuple[float, float]:
    """(score on dev, seconds) of one run."""
    return score_pairs.trained(chosen, task, seed, precision=side)


def main() -> int:
    chosen = score_pairs.options(__doc__)
    print_steps(chosen)
    if chosen.seeds:
        score_pairs.compare(partial(trained, chosen), PRECISIONS, chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
