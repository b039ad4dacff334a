"""Patience: the step that is best on the held-out slice is what a run scores, saves and resumes with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dps
from dps.methods.ema import EMA
from dps.methods.lora import LoRA
from dps.methods.wise_ft import WiSEFT
from dps.tasks.metrics import get_metric
from dps.training.config import Checkpointing, FineTuneConfig, FineTuneResult
from dps.training.data import PaddingCollator, TaskData, split_holdout
from dps.training.evaluation import Evaluator
from dps.training.result import Evaluation
from tests import tiny

# At this learning rate the score of the slice rises, and falls again before the end.
CONFIG = FineTuneConfig(method=dps.Vanilla(), learning_rate=5e-2, max_steps=24, batch_size=8, evaluations=12)
METHODS = [dps.DPSMix(selection_ratio=0.5, update_ratio=0.25), EMA(decay=0.5), WiSEFT(), LoRA()]
Run = Callable[..., FineTuneResult]


def script(monkeypatch: pytest.MonkeyPatch, *scores: float) -> None:
    """Let the evaluations of a run have these scores, the last of them for good."""
    left = [*scores]

    def score(evaluator: Evaluator, data: Any) -> dict[str, float]:
        evaluator._latest = evaluator.predict(data)
        return {evaluator.task.metric: left.pop(0) if len(left) > 1 else left[0]}

    monkeypatch.setattr(Evaluator, "score", score)


@pytest.mark.parametrize(
    ("patience", "scores", "reported", "kept", "steps"),
    [
        (2, (0.1, 0.3, 0.2, 0.3, 0.9), (0.1, 0.3, 0.3, 0.3), 4, 8),  # an equal score is no better one
        (3, (0.1, 0.3, 0.2, 0.3, 0.9, 0.0), (0.1, 0.3, 0.3, 0.3, 0.9, 0.9, 0.9, 0.9), 10, 16),
        (11, (0.5, 0.0), (0.5,) * 12, 2, 24),
        (1, (float("nan"), 0.2, 0.1), (pytest.approx(float("nan"), nan_ok=True), 0.2, 0.2), 4, 6),
    ],
)
def test_a_run_ends_where_it_got_no_better_for_long_enough(
    go: Run, monkeypatch: pytest.MonkeyPatch, patience: int, scores: Any, reported: Any, kept: int, steps: int
) -> None:
    script(monkeypatch, *scores)
    reports: list[Evaluation] = []
    result = go(reports.append, select_on="holdout", patience=patience)
    assert (result.outcome, result.kept_step, result.steps) == ("completed", kept, steps)
    assert tuple(score for _, score in result.scores) == reported
    assert [each.score for each in reports] == [*reported]
    assert result.final == {}  # the dev set was not looked at


def test_a_lower_error_is_a_better_score(
    go: Run, tiny_data: TaskData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_data, "task", replace(tiny_data.task, direction="min"))
    script(monkeypatch, 0.4, 0.2, 0.3)
    assert go(select_on="holdout", patience=1).kept_step == 4


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_what_is_scored_is_saved_and_dev_is_scored_with_it(
    go: Run, tiny_data: TaskData, method: dps.Method, tmp_path: Path
) -> None:
    """The best step lies before the end, and the run is interrupted behind it."""
    searched = go(method=method, select_on="holdout", patience=4)
    assert 0 < searched.kept_step < searched.steps  # type: ignore[operator]
    reports: list[Evaluation] = []
    result = go(reports.append, method=method, patience=4)
    assert (result.kept_step, result.steps) == (searched.kept_step, searched.steps)
    assert [(each.step, each.score) for each in reports] == result.scores  # dev once, at the end
    assert result.scores == [(result.steps, result.final["dev"]["matthews_correlation"])]
    assert result.model is not None
    _, held_out = split_holdout(tiny_data.task, tiny_data.get_split("train"), 0.2, CONFIG.seed)
    for examples, score in ((held_out, searched.score), (tiny_data.get_split("dev"), result.score)):
        batch = PaddingCollator(tiny_data.tokenizer)(examples, np.arange(len(examples)))
        with torch.no_grad():
            said = result.model.eval()(**batch).logits.argmax(-1).numpy()
        assert get_metric("matthews_correlation")(examples.labels, said) == pytest.approx(score)

    kept, each = result.kept_step or 0, 1 + int(method.cost.evaluations)
    go_on = iter(["go"] * (kept + kept // 2 * each + 3))  # a call a step, and one for each time of scoring
    checkpointing = Checkpointing(tmp_path)
    cut = go(control=lambda: next(go_on, "suspend"), checkpointing=checkpointing, method=method, patience=4)
    assert (cut.outcome, cut.kept_step) == ("suspended", result.kept_step)
    assert cut.steps > result.kept_step  # type: ignore[operator]
    resumed = go(checkpointing=checkpointing, method=method, patience=4)
    assert (resumed.kept_step, resumed.scores) == (result.kept_step, result.scores)
    assert resumed.alpha == result.alpha == searched.alpha
    assert tiny.same(tiny.snapshot(resumed.model), tiny.snapshot(result.model))  # type: ignore[arg-type]


@pytest.mark.parametrize("patience", [0, -1, 12])
def test_patience_that_can_never_end_a_run_is_refused(patience: int) -> None:
    with pytest.raises(
        dps.InputError, match=rf"^patience must be at least 1 and below evaluations=12.*{patience}"
    ):
        replace(CONFIG, patience=patience)
