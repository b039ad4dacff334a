"""The recorded trajectories of the reference implementation, followed step by step."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import dps

GOLDEN = sorted((Path(__file__).parents[2] / "data" / "golden").glob("*.npz"))


class MLP(nn.Module):
    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(dims))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x)


def test_the_recordings_are_here() -> None:
    assert len(GOLDEN) == 5


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_masks_equal_and_weights_and_losses_to_1e_10(path: Path) -> None:
    record = np.load(path)
    config = json.loads(str(record["config"]))
    model = MLP(config["dims"]).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(record[f"init/{name}"]))
    made = {
        "sgd": lambda: torch.optim.SGD(model.parameters(), config["lr"]),
        "adamw": lambda: torch.optim.AdamW(
            model.parameters(), config["lr"], weight_decay=config["weight_decay"]
        ),
    }
    optimizer = made[config["optimizer"]]()
    hyper = {"selection_ratio": 1 - config["p"], "update_ratio": config["update_ratio"]}
    schedule = dps.StageSchedule(config["max_steps"], config["update_ratio"])
    assert schedule.interval == config["interval"]
    if config["variant"] == "dense":
        dps.DPSDense(**hyper).attach(model, optimizer, config["max_steps"])
    else:

        def replay(name: str, step: int) -> torch.Tensor:
            assert schedule.stage(step) == 1
            return torch.from_numpy(record[f"mask/{name}"][step - 1][0])

        dps.DPSMix(**hyper).attach(model, optimizer, config["max_steps"], draw=replay)

    weights = [name for name, _ in model.named_parameters() if name.endswith("weight")]
    for t in range(config["max_steps"]):
        optimizer.zero_grad()
        inputs, targets = (torch.from_numpy(record[key][t]) for key in ("inputs", "targets"))
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        assert loss.item() == pytest.approx(record["loss"][t], abs=1e-10, rel=0)
        for name, parameter in model.named_parameters():
            np.testing.assert_allclose(
                parameter.detach().numpy(), record[f"weight/{name}"][t], atol=1e-10, rtol=0
            )
        for name in weights:
            grad = model.get_parameter(name).grad.numpy()
            np.testing.assert_allclose(grad, record[f"grad/{name}"][t], atol=1e-10, rtol=0)
            if schedule.stage(t + 1) == 2:
                assert not grad[~record[f"mask/{name}"][t]].any()
