"""Jobs as configurations of `dps`."""

from __future__ import annotations

from collections.abc import Mapping

from dps.methods import METHODS, make_method
from dps.training.config import TRAINING_PARAMETERS, FineTuneConfig
from tune.core.common_options import CommonOptions
from tune.core.run import Job, RunPurpose


def read_memory_options(options: CommonOptions) -> dict[str, bool]:
    """Return what saves memory in a run and changes no result of it, by the names of `FineTuneConfig`."""
    return {"gradient_checkpointing": options.gradient_checkpointing, "shard": options.shard}


def make_fine_tune_config(job: Job, memory_options: Mapping[str, bool] | None = None) -> FineTuneConfig:
    """Return the job as a `FineTuneConfig`. memory_options: see `read_memory_options`; by default all off.

    A confirmation trains on all data, but for the slice that patience needs, and is scored on dev at its end,
    with the job's threshold, and alpha if the configuration has none. The model is that of the settings.
    """
    own = {key: value for key, value in job.configuration.items() if key != "model"}
    method = own.pop("method")
    searched = {name: own.pop(name) for name in ("learning_rate", *TRAINING_PARAMETERS) if name in own}
    shared = {**vars(job.settings), "micro_batch": job.micro_batch, **searched, **(memory_options or {})}
    if job.purpose == RunPurpose.CONFIRMATION:
        threshold = job.settings.threshold if job.threshold is None else job.threshold
        evaluations = 1 if job.settings.patience is None else job.settings.evaluations
        shared |= {"select_on": "dev", "evaluations": evaluations, "threshold": threshold}
        if METHODS[method].chooses_alpha and job.alpha is not None:
            own = {"alpha": job.alpha, **own}
    elif not job.transfers:
        shared |= {"transfer": (), "probe": None}
    return FineTuneConfig(method=make_method(method, **own), seed=job.seed, **shared)
