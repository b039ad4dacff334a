"""What a worker computes with: its GPUs, its precision."""

from __future__ import annotations

from dps.errors import InputError
from tune.errors import Refused
from tune.options import RunOptions
from tune.runtime import Cluster

MEASURED_LATER = "as many workers as fit will share one; that is measured when the search starts"


def gpus_per_worker(options: RunOptions, cluster: Cluster) -> float:
    """Raises Refused where the cluster lacks what was asked for."""
    wanted = options.gpus_per_worker
    if wanted is None:
        return 1.0 if cluster.gpus else 0.0
    if wanted > cluster.gpus:
        raise Refused(f"--gpus-per-worker: {wanted:g} wanted, but the cluster has {cluster.gpus:g} GPUs")
    return wanted


def precision(options: RunOptions, cluster: Cluster, gpus: float) -> tuple[str, str]:
    """(precision of every run, the line that says what was taken). gpus: of a worker.

    On this machine's CPU "auto" is bf16 where it has AVX512_BF16: there a step takes about half of the time
    and scores stay within noise (`benchmarks/cpu.py`); elsewhere bf16 is many times slower. Not on a
    cluster, whose nodes may differ. Raises InputError for fp16 without a GPU.
    """
    named = options.precision
    if named == "fp16" and not gpus:
        raise InputError("--precision: fp16 needs a GPU; use fp32 or bf16 on a CPU")
    if named == "bf16" and not gpus and cluster.address is None and not _has_bf16():
        return named, "bf16 (named; this CPU lacks it in hardware and will be many times slower than in fp32)"
    if named != "auto":
        return named, f"{named} (named)"
    if gpus:
        return named, "auto: bf16 on GPUs that have it, else fp16"
    if cluster.address is not None:
        return "fp32", "fp32 (auto: the CPUs of a cluster may differ)"
    if _has_bf16():
        return "bf16", "bf16 (auto: this CPU has it in hardware)"
    return "fp32", "fp32 (auto: this CPU has no bf16 in hardware)"


def _has_bf16() -> bool:
    import torch

    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
