"""Methods that score and save other weights than those they train, against a few lines of numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dps.methods import attachment_of, make_method
from dps.methods.ema import EMA
from dps.ranges import Choice
from tests import tiny

STEPS = 7


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ema", {"decay": 0.9}),
        ("ema", {"decay": 0.999}),
        ("swa", {"averaged_share": 0.4}),  # 3 of the 7 steps
        ("wise-ft", {"alpha": 0.3}),
    ],
)
def test_the_scored_weights_are_those_of_the_equation(name: str, values: dict[str, Any]) -> None:
    model = tiny.bert().double()
    optimizer = tiny.OPTIMIZERS["adamw"](model.parameters())
    make_method(name, **values).attach(model, optimizer, STEPS)
    attachment = attachment_of(optimizer)
    assert attachment is not None
    history = [{key: value.numpy() for key, value in tiny.snapshot(model).items()}]
    for batch in tiny.batches(STEPS):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
        history.append({key: value.numpy() for key, value in tiny.snapshot(model).items()})
    with attachment.evaluated():
        scored = {key: value.numpy() for key, value in tiny.snapshot(model).items()}
    first, *trained = history
    if name == "ema":
        weights = values["decay"] ** np.arange(STEPS - 1, -1, -1.0)
        expected = {
            key: sum(w * step[key] for w, step in zip(weights / weights.sum(), trained, strict=True))
            for key in first
        }
    elif name == "swa":
        expected = {key: np.mean([step[key] for step in trained[-3:]], axis=0) for key in first}
    else:
        alpha = values["alpha"]
        expected = {key: (1 - alpha) * first[key] + alpha * trained[-1][key] for key in first}
        expected |= {key: trained[-1][key] for key in first if key.startswith("classifier.")}
    for key, value in expected.items():
        np.testing.assert_allclose(scored[key], value, rtol=1e-9, atol=1e-12)
    assert any(np.abs(scored[key] - trained[-1][key]).max() > 1e-4 for key in first)


@pytest.mark.parametrize(
    ("steps", "decays"),
    [(10, (0.9,)), (50, (0.9,)), (499, (0.9,)), (500, (0.9, 0.99)), (5000, (0.99, 0.999))],
)
def test_a_short_run_averages_few_steps(steps: int, decays: tuple[float, ...]) -> None:
    assert EMA.search_space(steps, 12) == {"decay": Choice(decays)}


def test_an_average_of_weights_in_bfloat16_does_not_stall() -> None:
    model = torch.nn.Linear(2, 2, bias=False).to(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    make_method("ema", decay=0.999).attach(model, optimizer, 2000)
    with torch.no_grad():
        model.weight.fill_(1.0)
    for _ in range(2000):
        model.weight.grad = torch.ones_like(model.weight)
        optimizer.step()
    attachment = attachment_of(optimizer)
    assert attachment is not None
    attachment.finish()
    assert model.weight.tolist() == [[1.0, 1.0], [1.0, 1.0]]
