"""What makes a training step on this CPU quicker: bf16 beside fp32, plain beside fused attention, and memory
that glibc keeps.

    python benchmarks/cpu.py                                  # steps alone, three minutes
    python benchmarks/cpu.py --seeds 20 --tasks cola          # and scores, on built-in data
    python benchmarks/cpu.py --data ../glue --tasks cola rte --train-size 500 --max-length 64 --seeds 12

A step is one of DPS Dense on the built-in model, with one thread, in a thread of its own, as in a slot. In a
process that is started plainly and in one with a slot's environment
(`tune.execution.connection.MALLOC_ENVIRONMENT`), in turns, both
precisions, each with both kinds of attention, take steps in turns on the same batches of the first task: sdpa
is PyTorch's fused kernel, eager are plain products; `dps.training.optim.choose_attention` chooses. A ratio
is the median over the repeats of (a side's median / that of fp32, sdpa in the plain process beside it), its
spread the smallest and the largest.
With --seeds, DPS Dense is trained in both precisions with each seed; see `benchmarks/score_pairs.py`. Prints
Markdown.
"""

from __future__ import annotations

import itertools
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
from benchmarks.heading import format_heading
from dps import sources
from dps.methods import DPSDense, attachment_of
from dps.models import PretrainedEncoder, locate_model
from dps.tasks import registry
from dps.training import optim
from dps.training.data import TaskData, TrainingBatches
from tune.execution.connection import MALLOC_ENVIRONMENT

PRECISIONS = ("fp32", "bf16")
SIDES = tuple(itertools.product(PRECISIONS, ("sdpa", "eager")))
Steps = dict[tuple[str, str], tuple[float, float]]
MEMORY = ("given back", "kept")
REPEATS, TURNS, WARM = 4, 28, 4
CPU = torch.device("cpu")


def steps(chosen: Namespace) -> Steps:
    """(seconds, page faults) of a step of each side, medians over the turns."""
    task = registry.get_task(chosen.tasks[0])
    base = PretrainedEncoder(locate_model("builtin"), task)
    data = TaskData(task, sources.open_data_source(chosen.data), base.tokenizer, chosen.max_length)
    batches = TrainingBatches(
        data.get_train_examples(chosen.train_size), base.tokenizer, chosen.batch_size, 0
    )
    arms = {}
    for precision, attention in SIDES:
        model = base.build(0, 0.0)  # DPS trains without dropout
        model.set_attn_implementation(attention)
        model.train()
        optimizer = optim.make_adamw(model, 1e-5, 0.01)
        DPSDense().attach(model, optimizer, 1000, 1.0)
        arms[precision, attention] = model, optimizer, optim.make_autocast_and_scaler(precision, CPU)[0]
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {side: [] for side in SIDES}
    for turn in range(TURNS):
        batch = batches.get_batch(turn + 1)
        for side in SIDES if turn % 2 else reversed(SIDES):
            model, optimizer, autocast = arms[side]
            attachment = attachment_of(optimizer)
            assert attachment is not None
            faults, began = page_faults(), time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            attachment.backward(model, batch, autocast=autocast)
            optimizer.step()
            taken[side].append((time.perf_counter() - began, page_faults() - faults))
    return {side: tuple(np.median(each[WARM:], axis=0).tolist()) for side, each in taken.items()}


def page_faults() -> int:
    """Return the page faults of this process so far for which nothing is read from a disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def in_a_thread(chosen: Namespace) -> Steps:
    """`steps`, as Ray Train runs its function."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(steps, chosen).result()


def apart(chosen: Namespace, memory: str) -> Steps:
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
    print(format_heading("What makes a training step on a CPU quicker", "python benchmarks/cpu.py"))
    print(f"\n{platform.machine()} CPU that {has} AVX512_BF16, 1 thread.\n")
    print("| precision | attention | memory | s a step | ratio | page faults a step |")
    print("|---|---|---|---|---|---|")
    for side in SIDES:
        for memory in MEMORY:
            middle, faults = np.median([turn[memory][side] for turn in taken], axis=0)
            ratios = [turn[memory][side][0] / turn["given back"][SIDES[0]][0] for turn in taken]
            spread = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"| {' | '.join(side)} | {memory} | {middle:.3f} | {spread} | {faults:,.0f} |")


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
