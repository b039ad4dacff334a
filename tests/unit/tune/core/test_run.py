"""The names of runs, and which scores are better."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.tune.helpers import SETTINGS
from tune.core.direction import Direction
from tune.core.job_config import make_fine_tune_config
from tune.core.run import Job, RunId, RunPurpose


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("3", RunId("search", 3)),
        ("race-0", RunId("race", 0)),
        ("confirm-12", RunId("confirmation", 12)),
        ("dps-dense:3", RunId("search", 3, "dps-dense")),
        ("child-tuning-d:confirm-1", RunId("confirmation", 1, "child-tuning-d")),
    ],
)
def test_the_name_of_a_run_is_read_back(text: str, run: RunId) -> None:
    assert (RunId.parse(text), str(run)) == (run, text)


@pytest.mark.parametrize("text", ["", "race-", "confirm", "-1", "x-1", "confirmation-1", "1.5", "vanilla:"])
def test_what_is_no_name_of_a_run_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="run id"):
        RunId.parse(text)


def test_times_its_sign_the_higher_score_is_better() -> None:
    assert (Direction("max").sign, Direction("min").sign) == (1, -1)


def test_a_configuration_decides_how_its_run_trains() -> None:
    own = {"epochs": 5.0, "batch_size": 8, "weight_decay": 0.1, "warmup_ratio": 0.0}
    configuration = {"method": "mixout", "learning_rate": 1e-4, "p": 0.8, **own}
    job = Job("0", RunPurpose.SEARCH, configuration, 3, SETTINGS, "", oom_retry=True)
    config = make_fine_tune_config(job)
    assert {name: getattr(config, name) for name in own} == own
    assert (config.learning_rate, config.seed, config.method.name) == (1e-4, 3, "mixout")
    assert not config.shard
    assert make_fine_tune_config(job, {"gradient_checkpointing": True}).gradient_checkpointing
    fresh = replace(job, purpose=RunPurpose.CONFIRMATION)
    once, patient = (
        make_fine_tune_config(replace(fresh, settings=replace(SETTINGS, patience=patience)))
        for patience in (None, 2)
    )
    assert (once.select_on, once.evaluations, once.holds_out) == ("dev", 1, False)
    assert (patient.select_on, patient.evaluations, patient.holds_out) == ("dev", SETTINGS.evaluations, True)
    half = job.halve_micro_batch(workers=1)
    assert half is not None
    assert half.micro_batch == 4  # of its own batch of 8
