"""The cluster: what it offers, the GPUs and the precision of a worker, the slots that fit."""

from __future__ import annotations

from dataclasses import dataclass

from dps.errors import InputError
from dps.wording import format_count
from tune.core.options import CommonOptions
from tune.core.run import RefusedError
from tune.planning import probe

WORKER_MEMORY_BYTES = 1.5 * 2**30  # interpreter, libraries, a small model with its optimizer

SHARING_MEASURED_LATER = "as many workers as fit share one; measured when the search starts"


@dataclass(frozen=True)
class Node:
    """A machine and what it offers to all that runs there. memory: in bytes; id: that Ray gave it; raylet:
    address of its part of Ray."""

    cpus: float
    gpus: float
    memory: float
    id: str = ""
    raylet: str = ""


@dataclass(frozen=True)
class Cluster:
    """The nodes of a cluster. address: None for one that a search starts for itself; has_bf16: whether every
    node's CPU has bf16 in hardware, None if they were not asked."""

    address: str | None
    nodes: tuple[Node, ...]
    has_bf16: bool | None = None

    @property
    def node_count(self) -> int:
        """The number of nodes."""
        return len(self.nodes)

    @property
    def cpus(self) -> float:
        """The cores of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """The GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)

    @property
    def memory(self) -> float:
        """The memory of all nodes, in bytes."""
        return sum(node.memory for node in self.nodes)


EMPTY_NODE = Node(0.0, 0.0, 0.0)


def choose_gpus_per_worker(options: CommonOptions, cluster: Cluster) -> float:
    """Return the GPUs of a worker. Raises RefusedError if the cluster has too few."""
    wanted = options.gpus_per_worker
    if wanted is None:
        return 1.0 if cluster.gpus else 0.0
    if wanted > cluster.gpus:
        raise RefusedError(
            f"--gpus-per-worker: {wanted:g} wanted, but the cluster has {format_count(cluster.gpus, 'GPU')}"
        )
    return wanted


def choose_precision(options: CommonOptions, cluster: Cluster, gpus: float) -> tuple[str, str]:
    """Return (precision, the line that explains the choice). gpus: of a worker.

    On CPUs "auto" is bf16 if all of them have AVX512_BF16: a step then takes about half of the time and
    scores stay within noise (`benchmarks/cpu.py`); elsewhere bf16 is many times slower. Raises InputError for
    fp16 without a GPU.
    """
    precision = options.precision
    if precision == "fp16" and not gpus:
        raise InputError("--precision: fp16 needs a GPU; use fp32 or bf16 on a CPU")
    has_bf16 = cluster.has_bf16
    if has_bf16 is None and cluster.address is None:
        has_bf16 = probe.has_bf16_in_hardware()
    if precision == "bf16" and not gpus and has_bf16 is False:
        which = "this CPU lacks" if cluster.address is None else "not every node's CPU has"
        warning = f"{which} it in hardware, and without it bf16 is many times slower than fp32"
        return precision, f"bf16 (named; {warning})"
    if precision != "auto":
        return precision, f"{precision} (named)"
    if gpus:
        return precision, "auto: bf16 on GPUs that have it, else fp16"
    if cluster.address is not None:
        kind = "every node's CPU has" if has_bf16 else "not every node's CPU has"
    else:
        kind = "this CPU has" if has_bf16 else "this CPU does not have"
    precision = "bf16" if has_bf16 else "fp32"
    return precision, f"{precision} (auto: {kind} bf16 in hardware)"


def count_trials_by_resource(options: CommonOptions, cluster: Cluster, gpus: float) -> dict[str, int]:
    """Return how many trials each resource is enough for, by its name, and last all of them together.

    A worker needs all of its resources on one node; a trial's workers may be on several. gpus: of a worker.
    """
    counts_per_node = [_count_workers_by_resource(options, node, gpus) for node in cluster.nodes]
    workers = {
        name: sum(counts[name] for counts in counts_per_node)
        for name in _count_workers_by_resource(options, EMPTY_NODE, gpus)
    }
    workers["on one node"] = sum(min(counts.values()) for counts in counts_per_node)
    return {name: count // options.workers_per_trial for name, count in workers.items()}


def _count_workers_by_resource(options: CommonOptions, node: Node, gpus: float) -> dict[str, int]:
    """Return how many workers each resource of a node is enough for, by its name."""
    counts = {
        "CPU cores": int(node.cpus // options.cpus_per_worker),
        "memory": int(node.memory // WORKER_MEMORY_BYTES),
    }
    if gpus:  # Ray gives a share of one GPU, or whole ones
        counts["GPUs"] = int(node.gpus) * int(1 / gpus + 1e-6) if gpus < 1 else int(node.gpus // gpus)
    return counts


def count_wanted_slots(options: CommonOptions) -> int:
    """Return how many trials at once there is work for, limited by --max-concurrent."""
    work = max(options.trials, options.confirm) * len(options.arm_definitions)
    return min(work, options.max_concurrent or work)


def count_slots(options: CommonOptions, cluster: Cluster, gpus: float) -> int:
    """Return the number of slots that fit on this cluster, 0 if it has too little for one trial."""
    return min(count_wanted_slots(options), count_trials_by_resource(options, cluster, gpus)["on one node"])
