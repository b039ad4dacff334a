"""Inputs of a run: the pre-trained encoder and the examples of its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dps.models import PretrainedEncoder, locate_model
from dps.sources import open_data_source
from dps.tasks.registry import get_task
from dps.tasks.task import Task
from dps.training.data import TaskData
from dps.training.tokens import TokenCache


class RunInputs(NamedTuple):
    """Pre-trained encoder, and the task's examples encoded by its tokenizer."""

    base: PretrainedEncoder
    data: TaskData


def load_run_inputs(
    task: str | Task,
    data: str | None,
    model: str,
    max_length: int,
    cache: TokenCache | None = None,
    fingerprints: Mapping[str, str] | None = None,
) -> RunInputs:
    """Read the weights of a model and open the data of a task; see `dps.FineTuneConfig` for the values.

    cache: keeps tokenised examples.
    fingerprints: of the data by split, where they are known; see `TaskData`.

    Raises InputError for unusable values and data.
    """
    task = get_task(task)
    base = PretrainedEncoder(locate_model(model), task)
    source = open_data_source(data, task)
    return RunInputs(base, TaskData(task, source, base.tokenizer, max_length, cache, fingerprints))
