"""WiSE-FT after training: alpha is the best of the grid on the held-out slice, and dev has no say in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import dps
from dps.methods.wise_ft import WiSEFT
from dps.models import PretrainedEncoder
from dps.tasks.metrics import get_metric
from dps.training.config import FineTuneConfig, FineTuneResult
from dps.training.data import PaddingCollator, TaskData, split_holdout
from tests import tiny

CONFIG = FineTuneConfig(method=WiSEFT(), learning_rate=5e-2, batch_size=8, evaluations=2)
GRID = np.arange(11) / 10
Run = Callable[..., FineTuneResult]


@pytest.mark.parametrize(("steps", "seed"), [(4, 0), (24, 1)])
def test_it_is_the_best_of_the_grid_on_the_slice_and_the_weights_are_saved_with_it(
    go: Run,
    tiny_base: PretrainedEncoder,
    tiny_data: TaskData,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    seed: int,
) -> None:
    monkeypatch.setitem(tiny_data._encoded, "dev", None)  # nobody may look at it
    result = go(select_on="holdout", max_steps=steps, seed=seed)
    plain = go(method=dps.Vanilla(), select_on="holdout", max_steps=steps, seed=seed).model
    assert plain is not None
    assert result.model is not None
    trained = tiny.snapshot(plain)
    model = tiny_base.build(seed, 0.0).eval()
    start = tiny.snapshot(model)
    _, held_out = split_holdout(tiny_data.task, tiny_data.get_split("train"), 0.2, seed)
    batch = PaddingCollator(tiny_data.tokenizer)(held_out, np.arange(len(held_out)))
    scores, mixed = [], []
    for alpha in GRID:
        mixed.append({key: (1 - alpha) * start[key] + alpha * value for key, value in trained.items()})
        mixed[-1] |= {key: value for key, value in trained.items() if key.startswith("classifier.")}
        model.load_state_dict(mixed[-1], strict=False)
        with torch.no_grad():
            said = model(**batch).logits.argmax(-1).numpy()
        scores.append(get_metric("matthews_correlation")(held_out.labels, said))
    best = np.flatnonzero(np.equal(scores, max(scores)))
    number = min(best, key=lambda number: abs(number - 5))
    assert number != 5, "an alpha that nobody chose would be right too"
    assert (result.alpha, result.score) == (GRID[number], pytest.approx(scores[number]))
    for key, value in tiny.snapshot(result.model).items():
        torch.testing.assert_close(value, mixed[number][key])


def test_without_a_slice_it_is_a_half_and_the_run_says_so(go: Run) -> None:
    result = go(max_steps=2)
    assert result.alpha == 0.5
    assert result.warnings == ["wise-ft: no slice is held out to choose alpha on: it is 0.5"]
    assert go(max_steps=2, method=WiSEFT(alpha=0.9)).warnings == []
