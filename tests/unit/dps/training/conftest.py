"""What the tests of runs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dps.models import PretrainedEncoder
from dps.training.config import Checkpointing, FineTuneResult
from dps.training.data import TaskData
from dps.training.run import finetune_model


@pytest.fixture
def go(
    request: pytest.FixtureRequest, tiny_base: PretrainedEncoder, tiny_data: TaskData
) -> Callable[..., FineTuneResult]:
    """`finetune_model` on the tiny model and data, with changes to the CONFIG of the test's module."""

    def run_with(
        report: Any = lambda evaluation: None,
        control: Any = lambda: "go",
        checkpointing: Checkpointing | None = None,
        **changes: Any,
    ) -> FineTuneResult:
        config = replace(request.module.CONFIG, **changes)
        return finetune_model(config, tiny_base, tiny_data, report, control, checkpointing)

    return run_with
