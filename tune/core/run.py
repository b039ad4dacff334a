"""What a slot is asked to do: one replicate of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from dps.tasks.definition import make_definition
from dps.tasks.task import Task
from dps.training.result import Evaluation, Outcome, RunResult


class RunPurpose(StrEnum):
    """Why a run is made; the name of its study in the ledger."""

    SEARCH = "search"  # the one run of a configuration that is tried
    RACE = "race"  # a further seed of a promising one
    CONFIRMATION = "confirmation"  # a fresh seed of the winner, or of what it is compared with


_ID_PREFIXES = {RunPurpose.SEARCH: "", RunPurpose.RACE: "race-", RunPurpose.CONFIRMATION: "confirm-"}


@dataclass(frozen=True)
class RunId:
    """The name of a run: "3" for trial 3 of a search, "race-0", "confirm-1"; "dps-dense:3" within an arm.

    arm: of a comparison; empty in a search.
    """

    purpose: RunPurpose
    number: int
    arm: str = ""

    def __str__(self) -> str:
        name = f"{_ID_PREFIXES[self.purpose]}{self.number}"
        return f"{self.arm}:{name}" if self.arm else name

    @classmethod
    def parse(cls, text: str) -> RunId:
        """Read an id back. Raises ValueError for what is none."""
        arm, _, name = text.rpartition(":")
        prefix = name.rstrip("0123456789")
        purpose = next((purpose for purpose, one in _ID_PREFIXES.items() if one == prefix), None)
        if purpose is None or prefix == name:
            raise ValueError(f"run id: {text!r} is none")
        return cls(purpose, int(name.removeprefix(prefix)), arm)


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
        """Return the settings as JSON holds them; a task of one's own by its definition."""
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
        """The arm of a comparison that it belongs to; empty in a search."""
        return RunId.parse(self.id).arm


@dataclass
class RunReport:
    """What a slot says of a job.

    job: its id. result: what the run has come to so far; where its outcome is not RUNNING, the report is the
    last. evaluation: the one that is reported; None in a last report, and before the first.
    """

    job: str
    result: RunResult = field(default_factory=RunResult)
    evaluation: Evaluation | None = None

    @property
    def outcome(self) -> Outcome:
        """How the run stands."""
        return self.result.outcome

    @property
    def is_last(self) -> bool:
        """Whether the slot is done with the job, for good or for now."""
        return self.outcome != Outcome.RUNNING


class RefusedError(Exception):
    """It cannot run here. One line: what, where, what to do."""
