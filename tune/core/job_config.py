"""Jobs as configurations of `dps`."""

from __future__ import annotations

from dps.methods import METHODS, make_method
from dps.training.config import TRAINING_PARAMETERS, FineTuneConfig
from tune.core.run import Job, RunPurpose


def make_fine_tune_config(job: Job) -> FineTuneConfig:
    """Return the job as a `FineTuneConfig`.

    A confirmation trains on all data, but for the slice that patience needs, and is scored on dev at its end,
    with the job's threshold, and alpha if the configuration has none. The model is that of the settings.
    """
    own = {key: value for key, value in job.configuration.items() if key != "model"}
    method = own.pop("method")
    searched = {name: own.pop(name) for name in ("learning_rate", *TRAINING_PARAMETERS) if name in own}
    shared = {**vars(job.settings), "micro_batch": job.micro_batch, **searched}
    if job.purpose == RunPurpose.CONFIRMATION:
        threshold = job.settings.threshold if job.threshold is None else job.threshold
        evaluations = 1 if job.settings.patience is None else job.settings.evaluations
        shared |= {"select_on": "dev", "evaluations": evaluations, "threshold": threshold}
        if METHODS[method].chooses_alpha and job.alpha is not None:
            own = {"alpha": job.alpha, **own}
    elif not job.transfers:
        shared |= {"transfer": (), "probe": None}
    return FineTuneConfig(method=make_method(method, **own), seed=job.seed, **shared)
