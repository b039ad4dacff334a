"""Slots that start slowly, in a real Ray Tune: each comes to be, however short the runs of the others."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytestmark = pytest.mark.integration

SECOND_TAKES_S = 12.0
RUN_S = 1.0
RUNS = 30


def test_a_slot_that_starts_slowly_is_not_given_up_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray
    import ray.tune
    from ray.tune.search.basic_variant import BasicVariantGenerator

    from tune.execution import connection
    from tune.execution.scheduler import SearchScheduler
    from tune.strategy.arms import Arms
    from tune.strategy.budget import SlotCount

    class Slot(ray.tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            folder = Path(config["folder"])
            (folder / f"slot-{os.getpid()}").touch()
            try:
                (folder / "first").touch(exist_ok=False)
            except FileExistsError:
                time.sleep(SECOND_TAKES_S)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            time.sleep(RUN_S)
            (Path(self.config["folder"]) / f"run-{os.getpid()}").touch()
            return {"done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            pass

    class Warm(SearchScheduler):
        """Stops nothing; what runs here is no job."""

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            return self.CONTINUE

    for name, value in connection.DRIVER_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        ray.tune.Tuner(
            ray.tune.with_resources(Slot, {"CPU": 1}),
            param_space={"folder": str(tmp_path)},
            tune_config=ray.tune.TuneConfig(
                search_alg=BasicVariantGenerator(max_concurrent=2),
                scheduler=Warm(cast(Arms, SimpleNamespace(slots=SlotCount(2)))),
                num_samples=RUNS,
                reuse_actors=True,
            ),
            run_config=ray.tune.RunConfig(storage_path=str(tmp_path / "ray"), verbose=0),
        ).fit()
    finally:
        ray.shutdown()
    started, ran = (_slots(tmp_path, what) for what in ("slot", "run"))
    assert len(started) == 2
    assert ran == started


def _slots(folder: Path, what: str) -> set[str]:
    return {mark.name.removeprefix(f"{what}-") for mark in folder.glob(f"{what}-*")}
