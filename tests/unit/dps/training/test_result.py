"""What a run comes to, without what a process alone can hold."""

from __future__ import annotations

from dps.training.config import FineTuneResult
from dps.training.result import Evaluation, Outcome, RunResult


def test_the_result_leaves_its_process_without_the_model() -> None:
    whole = FineTuneResult(outcome=Outcome.COMPLETED, scores=[(20, 0.5)], steps=24, model=object())  # type: ignore[arg-type]
    alone = whole.extract_result(slot="a")
    assert type(alone) is RunResult
    assert alone == RunResult(outcome=Outcome.COMPLETED, scores=[(20, 0.5)], slot="a")
    assert (alone.score, alone.step, whole.score) == (0.5, 20, 0.5)


def test_a_run_that_was_not_evaluated_has_no_score() -> None:
    assert (RunResult().score, RunResult().step, RunResult().outcome) == (None, 0, Outcome.RUNNING)


def test_the_score_of_an_evaluation_is_the_last_of_its_curve() -> None:
    assert Evaluation(40, 60, {"f1": 0.2}, None, 1.0, [(20, 0.1), (40, 0.2)]).score == 0.2
