"""Jobs as configurations of `dps`."""

from __future__ import annotations

from dps.methods import make_method
from dps.training.config import FineTuneConfig
from tune.core.run import Job, RunPurpose


def make_fine_tune_config(job: Job) -> FineTuneConfig:
    """Return the job as a `FineTuneConfig`.

    A confirmation trains on all data and is scored on dev at its end.
    """
    hyper_parameters = dict(job.configuration)
    method, learning_rate = hyper_parameters.pop("method"), hyper_parameters.pop("learning_rate")
    shared = {**vars(job.settings), "micro_batch": job.micro_batch}
    if job.purpose == RunPurpose.CONFIRMATION:
        shared |= {"select_on": "dev", "evaluations": 1}
    elif not job.transfers:
        shared |= {"transfer": (), "probe": None}
    return FineTuneConfig(
        method=make_method(method, **hyper_parameters), learning_rate=learning_rate, seed=job.seed, **shared
    )
