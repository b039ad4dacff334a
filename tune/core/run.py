"""What a slot is asked to do: one replicate of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from dps.tasks.task import Task
    from dps.training.config import FineTuneConfig

RunPurpose = Literal["search", "race", "confirm"]


def parse_arm(id: str) -> str:
    """The arm of a comparison that the run of this id belongs to; empty in a search."""
    return id.rpartition(":")[0]


@dataclass(frozen=True)
class RunSettings:
    """What every run of a search shares; the names are those of `dps.FineTuneConfig`."""

    task: str | Task  # by name, or one of one's own
    data: str
    model: str
    epochs: float
    max_steps: int | None
    batch_size: int
    max_length: int
    train_size: int | None
    precision: str
    evaluations: int
    select_on: str
    transfer: tuple[str, ...] = ()
    probe: str | None = None

    def described(self) -> dict[str, Any]:
        """As JSON holds them; a task of one's own by its definition."""
        from dps.tasks.definition import make_definition

        task = self.task if isinstance(self.task, str) else make_definition(self.task)
        return {**vars(self), "task": task}


@dataclass(frozen=True)
class Job:
    """One run. id: "3" for trial 3 of the search, "confirm-1" for a confirmation.

    configuration: "method" and its hyper-parameters, with "learning_rate".
    place: where checkpoints, logits and (with keep_model) the model are kept, see `tune.core.storage`.
    transfers: whether a run of the search is scored on other sets at its end, as a confirmation is.
    oom_retry: whether it is tried again with half the micro-batch where memory ran out; micro_batch: how many
    examples a worker has in the model at once, None for all of a step.
    """

    id: str
    purpose: RunPurpose
    configuration: dict[str, Any]
    seed: int
    settings: RunSettings
    place: str
    keep_model: bool = False
    transfers: bool = False
    oom_retry: bool = False
    micro_batch: int | None = None

    def smaller(self, workers: int) -> Job | None:
        """The same run with half as many examples of a worker in the model at once; None where there is one
        already, and where nobody asked for it."""
        before = self.micro_batch or -(-self.settings.batch_size // workers)
        return replace(self, micro_batch=before // 2) if self.oom_retry and before > 1 else None

    @property
    def arm(self) -> str:
        """See `parse_arm`."""
        return parse_arm(self.id)

    def fine_tune_config(self) -> FineTuneConfig:
        """The same in the words of `dps`.

        Confirmations train on all data and are scored on dev, at the end.
        """
        from dps.methods import make_method
        from dps.training.config import FineTuneConfig

        hyper = dict(self.configuration)
        method = make_method(hyper.pop("method"), **{k: v for k, v in hyper.items() if k != "learning_rate"})
        shared = {**vars(self.settings), "micro_batch": self.micro_batch}
        if self.purpose == "confirm":
            shared |= {"select_on": "dev", "evaluations": 1}
        elif not self.transfers:
            shared |= {"transfer": (), "probe": None}
        return FineTuneConfig(method=method, learning_rate=hyper["learning_rate"], seed=self.seed, **shared)


@dataclass
class RunReport:
    """What a slot says of its job. outcome: None while the job goes on.

    score: the primary metric, None before the first evaluation. seconds: of this job so far, without
    the wait for a slot. final: metrics by split, of a completed confirmation. slot: which worker
    group; began: when its first step began, in seconds since the epoch; waited: seconds from the end
    of the group's job before to that step, None for the group's first job. covered: which
    weights methods select among, in a line; passes: forward-backward passes of a batch; peak_memory: bytes;
    curve: (step, score) of every evaluation so far: who was killed may not have heard of them.
    parts: seconds by part, see `dps.training.config.FineTuneResult`. micro_batch: see `Job`.
    """

    job: str
    outcome: str | None = None
    step: int = 0
    max_steps: int = 0
    score: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)
    loss: float | None = None
    seconds: float = 0.0
    slot: str = ""
    began: float = 0.0
    waited: float | None = None
    covered: str = ""
    selected_share: float | None = None
    passes: float = 0.0
    peak_memory: int | None = None
    micro_batch: int | None = None
    parts: dict[str, float] = field(default_factory=dict)
    final: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: str | None = None


class Outcome(StrEnum):
    """The end of a trial; RUNNING and SUSPENDED are not ends, a resume goes on with those."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    STOPPED = "stopped"  # by the scheduler or a budget
    DIVERGED = "diverged"  # NaN or infinity
    OUT_OF_MEMORY = "out-of-memory"
    TIMED_OUT = "timed-out"
    FAILED = "failed"  # with the error
    LOST = "lost"  # the worker or its node

    @property
    def is_final(self) -> bool:
        """Whether the trial is over."""
        return self not in (Outcome.RUNNING, Outcome.SUSPENDED)

    @property
    def is_usable(self) -> bool:
        """Whether the trial ended with a score that can be compared."""
        return self in (Outcome.COMPLETED, Outcome.STOPPED)

    @property
    def is_failure(self) -> bool:
        """Whether the trial ended without a usable score."""
        return self.is_final and self not in (Outcome.COMPLETED, Outcome.STOPPED)


class RefusedError(Exception):
    """It cannot run here. One line: what, where, what to do."""
