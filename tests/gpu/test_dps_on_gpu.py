"""What only a GPU shows: fused kernels under loss scaling, bf16, equality with the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import dps
from dps.methods import attachment_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

METHODS = [
    dps.DPSDense(0.6, 0.25),
    dps.DPSDense(0.6, 0.25, freeze="update"),
    dps.DPSMix(0.6, 0.25),
]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 4))


def train(model: nn.Module, method: dps.Method, device: str, steps: int = 16) -> list[torch.Tensor]:
    model.to(device).double()
    optimizer = method.attach(model, torch.optim.AdamW(model.parameters(), 1e-2), steps, max_grad_norm=1.0)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        inputs, targets = torch.randn(8, 12, generator=generator), torch.randn(8, 4, generator=generator)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs.to(device).double()), targets.to(device).double()).backward()
        optimizer.step()
    return [parameter.detach().cpu() for parameter in model.parameters()]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.name}-{m.freeze}")
def test_the_gpu_follows_the_cpu(method: dps.Method) -> None:
    model = network()
    twin = copy.deepcopy(model)
    torch.manual_seed(7)
    for here, there in zip(train(model, method, "cpu"), train(twin, method, "cuda"), strict=True):
        torch.testing.assert_close(here, there, atol=1e-9, rtol=0)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.name}-{m.freeze}")
@pytest.mark.parametrize("fused", [False, True])
def test_an_overflow_step_leaves_no_trace(method: dps.Method, fused: bool) -> None:
    model = network().cuda()
    optimizer = method.attach(model, torch.optim.AdamW(model.parameters(), 1e-2, fused=fused), 16)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**10)
    for step in range(6):
        inputs = torch.randn(8, 12, device="cuda")
        before = copy.deepcopy([p.detach() for p in model.parameters()])
        done = attachment_of(optimizer).steps  # type: ignore[union-attr]
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = model(inputs).square().mean()
        scaler.scale(loss).backward()
        if step == 2:
            next(model.parameters()).grad[0, 0] = float("inf")  # type: ignore[index]
        scaler.step(optimizer)
        scaler.update()
        moved = any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        assert moved == (step != 2)
        assert attachment_of(optimizer).steps == done + (step != 2)  # type: ignore[union-attr]
    state = optimizer.state_dict()["method"]["weights"]
    for weight in state.values():
        assert all(torch.isfinite(value.float()).all() for value in weight.values())
