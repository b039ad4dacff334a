"""Methods that train a part of the model: BitFit, the linear probe, LP-FT."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dps.methods import make_method
from tests import families, tiny
from tests.unit.dps.methods.helpers import put

HEAD = {"classifier.weight", "classifier.bias"}


def find_moved(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for batch in tiny.batches(last)[first - 1 :]:
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["bitfit", "linear-probe"])
def test_what_is_frozen_stays_and_the_rest_trains_as_ever(name: str) -> None:
    model = tiny.bert(labels=3)
    before, plain = tiny.snapshot(model), copy.deepcopy(model)
    optimizer, attachment = put(make_method(name), model, tiny.OPTIMIZERS["adamw"](model.parameters()))
    train(model, optimizer, 1, 3)
    trained = HEAD | {n for n in before if name == "bitfit" and n.endswith("bias")}
    moved = find_moved(model, before)
    assert moved <= trained
    assert len(trained - moved) <= 2  # the biases of keys have no gradient
    own = [parameter for n, parameter in plain.named_parameters() if n in trained]
    train(plain, tiny.OPTIMIZERS["adamw"](own), 1, 3)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == trained
    attachment.detach()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_lp_ft_trains_the_head_at_ten_times_the_rate_and_then_everything() -> None:
    model = tiny.bert(labels=3)
    before, plain = tiny.snapshot(model), copy.deepcopy(model)
    optimizer, _ = put(make_method("lp-ft", head_share=0.3), model, max_steps=10)
    train(model, optimizer, 1, 3)
    assert find_moved(model, before) == HEAD
    head = torch.optim.SGD(plain.classifier.parameters(), 1.0)  # type: ignore[union-attr]
    train(plain, head, 1, 3)
    whole = torch.optim.SGD(plain.parameters(), 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1]
    plain.zero_grad()
    train(model, optimizer, 4, 6)
    train(plain, whole, 4, 6)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value)
    assert len(find_moved(model, before)) > 20


def test_what_has_no_head_or_no_bias_is_refused_by_name() -> None:
    for name in ("linear-probe", "lp-ft"):
        with pytest.raises(ValueError, match=f"{name} needs a head on .*, but MLP has none"):
            put(make_method(name), tiny.MLP(3, 2))
    with pytest.raises(ValueError, match="bitfit needs biases, but the encoder of 'llama' has none"):
        put(make_method("bitfit"), families.classifier("llama"))
