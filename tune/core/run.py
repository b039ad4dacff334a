"""Runs: their ids, the jobs that slots receive, and the reports that they return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from dps.tasks.definition import make_definition
from dps.tasks.task import Task
from dps.training.result import Evaluation, Outcome, RunResult


class RunPurpose(StrEnum):
    """The purpose of a run; also the name of its study in the ledger."""

    SEARCH = "search"  # the one run of a configuration that is tried
    RACE = "race"  # a further seed of one of the best
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
        """Parse an id. Raises ValueError for anything else."""
        arm, _, name = text.rpartition(":")
        prefix = name.rstrip("0123456789")
        purpose = next((purpose for purpose, one in _ID_PREFIXES.items() if one == prefix), None)
        if purpose is None or prefix == name:
            raise ValueError(f"run id: {text!r} is none")
        return cls(purpose, int(name.removeprefix(prefix)), arm)


@dataclass(frozen=True)
class RunSettings:
    """Training settings shared by all runs of a search; named as in `dps.FineTuneConfig`."""

    task: str | Task  # by name, or user-defined
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
    loss: str = "plain"
    shots: int | None = None
    threshold: float | str | None = None
    patience: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values; a user-defined task becomes its definition."""
        task = self.task if isinstance(self.task, str) else make_definition(self.task)
        return {**vars(self), "task": task}


@dataclass(frozen=True)
class Job:
    """One run, as a slot receives it. id: see `RunId`.

    configuration: "method" and its hyper-parameters, "learning_rate", and what else is searched of
        `dps.training.config.TRAINING_PARAMETERS`, which then stands in place of the settings' value.
    fingerprints: of the examples by split, see `dps.training.data.TaskData`.
    location: storage of checkpoints, logits and (with keep_model) the model, see `tune.core.storage`.
    transfers: whether a run of the search is scored on other sets at its end, as a confirmation is.
    oom_retry: retry with half the micro-batch after running out of memory; micro_batch: examples that a
    worker has in the model at once, None for the whole batch.
    threshold: of a confirmation, what the search chose if the settings say "tuned".
    alpha: of a confirmation, what the search chose for a method that chooses it, see `dps.attachment.Method`.
    """

    id: str
    purpose: RunPurpose
    configuration: dict[str, Any]
    seed: int
    settings: RunSettings
    location: str
    keep_model: bool = False
    transfers: bool = False
    oom_retry: bool = False
    micro_batch: int | None = None
    threshold: float | None = None
    alpha: float | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def halve_micro_batch(self, workers: int) -> Job | None:
        """Return the job with half the micro-batch, or None if it cannot be halved or oom_retry is off."""
        batch_size = self.configuration.get("batch_size", self.settings.batch_size)
        before = self.micro_batch or -(-batch_size // workers)
        return replace(self, micro_batch=before // 2) if self.oom_retry and before > 1 else None

    @property
    def arm(self) -> str:
        """The arm of a comparison that it belongs to; empty in a search."""
        return RunId.parse(self.id).arm


@dataclass(frozen=True)
class Progress:
    """What a run is doing: before step 1 it reads data and model, after the last it is scored."""

    step: int = 0
    max_steps: int = 0

    @property
    def share(self) -> float:
        """The share of its steps that are done."""
        return self.step / self.max_steps if self.max_steps else 0.0

    def __str__(self) -> str:
        if not self.step:
            return "loading"
        return "scoring" if self.step == self.max_steps else f"{self.step}/{self.max_steps}"


@dataclass
class RunReport:
    """A slot's report on a job.

    job: its id. result: the run's result so far; the report is the last if its outcome is not RUNNING.
    evaluation: the one that is reported; None in the last report, and before the first evaluation.
    progress: between evaluations, in a report of nothing else.
    """

    job: str
    result: RunResult = field(default_factory=RunResult)
    evaluation: Evaluation | None = None
    progress: Progress | None = None

    @property
    def outcome(self) -> Outcome:
        """The outcome so far."""
        return self.result.outcome

    @property
    def is_last(self) -> bool:
        """Whether the slot is done with the job, for good or for now."""
        return self.outcome != Outcome.RUNNING


class RefusedError(Exception):
    """Raised when the cluster or a service cannot do what was asked. The message is a line for each problem:
    what, where, remedy."""
