"""What a worker computes with: its GPUs, its precision."""

from __future__ import annotations

from dataclasses import dataclass

from dps.errors import InputError
from tune.core.options import CommonOptions
from tune.core.run import RefusedError

WORKER_MEMORY_BYTES = 1.5 * 2**30  # bytes: interpreter, libraries, a small model with its optimizer

SHARING_MEASURED_LATER = "as many workers as fit will share one; that is measured when the search starts"


@dataclass(frozen=True)
class Node:
    """What one machine offers to all that runs there. memory: bytes; id: Ray's, of a cluster's node."""

    cpus: float
    gpus: float
    memory: float
    id: str = ""


@dataclass(frozen=True)
class Cluster:
    """What a cluster offers. address: None for one that a search starts for itself."""

    address: str | None
    each: tuple[Node, ...]

    @property
    def nodes(self) -> int:
        """How many there are."""
        return len(self.each)

    @property
    def cpus(self) -> float:
        """Cores of all nodes."""
        return sum(node.cpus for node in self.each)

    @property
    def gpus(self) -> float:
        """Number of GPUs of all nodes."""
        return sum(node.gpus for node in self.each)

    @property
    def memory(self) -> float:
        """Bytes of all nodes."""
        return sum(node.memory for node in self.each)


EMPTY_NODE = Node(0.0, 0.0, 0.0)


def choose_gpus_per_worker(options: CommonOptions, cluster: Cluster) -> float:
    """Raises Refused where the cluster lacks what was asked for."""
    wanted = options.gpus_per_worker
    if wanted is None:
        return 1.0 if cluster.gpus else 0.0
    if wanted > cluster.gpus:
        raise RefusedError(f"--gpus-per-worker: {wanted:g} wanted, but the cluster has {cluster.gpus:g} GPUs")
    return wanted


def choose_precision(options: CommonOptions, cluster: Cluster, gpus: float) -> tuple[str, str]:
    """(precision of every run, the line that says what was taken). gpus: of a worker.

    On this machine's CPU "auto" is bf16 where it has AVX512_BF16: there a step takes about half of the time
    and scores stay within noise (`benchmarks/cpu.py`); elsewhere bf16 is many times slower. Not on a
    cluster, whose nodes may differ. Raises InputError for fp16 without a GPU.
    """
    named = options.precision
    if named == "fp16" and not gpus:
        raise InputError("--precision: fp16 needs a GPU; use fp32 or bf16 on a CPU")
    if named == "bf16" and not gpus and cluster.address is None and not _cpu_has_bf16():
        return named, "bf16 (named; this CPU lacks it in hardware and will be many times slower than in fp32)"
    if named != "auto":
        return named, f"{named} (named)"
    if gpus:
        return named, "auto: bf16 on GPUs that have it, else fp16"
    if cluster.address is not None:
        return "fp32", "fp32 (auto: the CPUs of a cluster may differ)"
    if _cpu_has_bf16():
        return "bf16", "bf16 (auto: this CPU has it in hardware)"
    return "fp32", "fp32 (auto: this CPU has no bf16 in hardware)"


def _cpu_has_bf16() -> bool:
    import torch

    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def count_trials_by_resource(options: CommonOptions, cluster: Cluster, gpus: float) -> dict[str, int]:
    """Trials at once that there is enough of each for, by its name; last, that find all of it. gpus: of one
    worker. A worker needs one node, a trial may lie over several."""
    each = [_count_workers_by_resource(options, node, gpus) for node in cluster.each]
    by_name = {
        name: sum(workers[name] for workers in each)
        for name in _count_workers_by_resource(options, EMPTY_NODE, gpus)
    }
    together = {"on one node": sum(min(workers.values()) for workers in each)}
    return {name: workers // options.workers_per_trial for name, workers in (by_name | together).items()}


def _count_workers_by_resource(options: CommonOptions, node: Node, gpus: float) -> dict[str, int]:
    """Workers that a node has enough of each for, by its name."""
    found = {
        "CPU cores": int(node.cpus // options.cpus_per_worker),
        "memory": int(node.memory // WORKER_MEMORY_BYTES),
    }
    if gpus:  # Ray gives a share of one GPU, or whole ones
        found["GPUs"] = int(node.gpus) * int(1 / gpus + 1e-6) if gpus < 1 else int(node.gpus // gpus)
    return found


def count_wanted_slots(options: CommonOptions) -> int:
    """Trials at once that were asked for and that there is work for, at most."""
    work = max(options.trials, options.confirm) * len(options.methods_by_arm)
    return min(work, options.max_concurrent or work)


def count_slots(options: CommonOptions, cluster: Cluster, gpus: float) -> int:
    """Slots on this cluster; none where it has too little for one trial."""
    return min(count_wanted_slots(options), count_trials_by_resource(options, cluster, gpus)["on one node"])
