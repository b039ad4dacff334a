"""How many workers share a GPU: what a run needs there, measured before the search (--share-gpus)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dps.data import TaskData
from dps.redact import one_line
from dps.tokens import Encoded
from tune import preflight
from tune.errors import Refused
from tune.job import Job, Settings

if TYPE_CHECKING:
    from tune.plan import Plan

MOST = 8  # workers on one GPU: they take turns on it
FULL = 0.9  # of its memory that they may need together
STEPS = 20  # of a measured run: both stages of a method that has them
WITHIN_S = 600.0


@dataclass(frozen=True)
class Need:
    """used: bytes of the GPU that are taken when a run has gone through, its process and all; total: bytes
    that it has."""

    used: int
    total: int

    def __str__(self) -> str:
        return f"a run needs {self.used / 2**30:.1f} of {self.total / 2**30:.1f} GiB"


def workers(need: Need) -> int:
    """How many workers fit on the GPU, from 1 to MOST."""
    return max(1, min(MOST, int(FULL * need.total / need.used)))


class Longest(TaskData):
    """The examples of each split that take the most memory."""

    count = 64

    def split(self, name: str) -> Encoded:
        data = super().split(name)
        return data.take(data.lengths().argsort(kind="stable")[-self.count :])


def measure(settings: Settings, methods: tuple[str, ...]) -> Need:
    """Runs each method once on this process's GPU, on the longest examples; what is taken of it then.

    Nothing is given back in between, so that it is what the most needy one took. What others have on the GPU
    counts as well, as there is no room for it."""
    import torch

    from dps import sources, tasks
    from dps.finetune import EVALUATION_BATCHES, run
    from dps.models import Base, locate

    task = tasks.get(settings.task)
    base = Base(locate(settings.model), task)
    data = Longest(task, sources.open_source(settings.data, task), base.tokenizer, settings.max_length)
    data.count = EVALUATION_BATCHES * settings.batch_size
    measured = replace(settings, max_steps=STEPS, train_size=None, transfer=(), probe=None)
    for method in methods:
        configuration = {"method": method, "learning_rate": 1e-5}
        run(Job("", "confirm", configuration, 0, measured, "").fine_tune_config(), base, data)
    free, total = torch.cuda.mem_get_info()
    return Need(total - free, total)


def shared(plan: Plan) -> Plan:
    """The same plan with as many workers on a GPU as fit. Raises Refused where that cannot be measured."""
    need = measured(plan)
    count = workers(need)
    who = f"up to {count} workers share one" if count > 1 else "a worker has one to itself"
    note = f"{who}: {need} (measured)"
    planned = preflight.make_plan(plan.options, plan.cluster, 1 / count)
    return replace(planned, settings=plan.settings, precision_note=plan.precision_note, gpu_note=note)


def measured(plan: Plan) -> Need:
    """`measure` on a GPU of the connected cluster, in a process that ends with it. Raises Refused where it
    cannot be done."""
    import ray

    remote = ray.remote(num_gpus=1, num_cpus=1, max_retries=0, max_calls=1)(measure)
    asked = remote.remote(plan.settings, plan.options.method_names)
    instead = "give --gpus-per-worker instead"
    ready, _ = ray.wait([asked], timeout=WITHIN_S)
    if not ready:
        ray.cancel(asked, force=True)
        raise Refused(f"--share-gpus: no GPU was free to measure on for {WITHIN_S:.0f} s; {instead}")
    try:
        need: Need = ray.get(asked)
    except Exception as error:
        said = one_line(getattr(error, "cause", None) or error)  # of the task, where it has one
        raise Refused(f"--share-gpus: a run cannot be measured: {said}; {instead}") from None
    return need
