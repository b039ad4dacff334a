"""LoRA, DoRA and IA3: what PEFT trains is what the papers say, and what is left is a plain model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

import dps
from dps.attachment import method as method_module
from dps.coverage import TESTED_FAMILIES
from dps.methods import METHODS, attachment_of, make_method
from tests import families, tiny
from tests.unit.dps.methods.helpers import put, shift

NAMES = ("lora", "dora", "ia3")
STEPS = 4
HEAD = {"classifier.weight", "classifier.bias"}
INNER = "output.dense"  # whose input IA3 rescales in a BERT


def adapt(name: str, weights: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the papers' equations. own: of the adapters, by PEFT's names."""
    made = dict(weights)
    for key, value in own.items():
        layer, _, part = key.partition(".ia3_l" if name == "ia3" else ".lora_A")
        if part and name == "ia3":
            made[f"{layer}.weight"] = weights[f"{layer}.weight"] * value
            if not layer.endswith(INNER):
                made[f"{layer}.bias"] = weights[f"{layer}.bias"] * value.flatten()
        elif part:
            moved = weights[f"{layer}.weight"] + 2 * own[f"{layer}.lora_B.default.weight"] @ value
            if name == "dora":
                length = moved.detach().norm(dim=1, keepdim=True)
                moved = own[f"{layer}.lora_magnitude_vector.default.weight"][:, None] * moved / length
            made[f"{layer}.weight"] = moved
    return made


@pytest.mark.parametrize("name", NAMES)
def test_training_is_that_of_the_equation(name: str) -> None:
    model = tiny.bert(labels=3)
    shift(model.parameters())  # biases are zero at first
    plain = copy.deepcopy(model)
    optimizer, attachment = put(make_method(name), model, torch.optim.SGD(model.parameters(), 0.05))
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    start = {n: p.detach().clone() for n, p in model.named_parameters() if id(p) in trained}
    assert start.keys() & dict(plain.named_parameters()).keys() == HEAD
    own = {n: value.requires_grad_() for n, value in start.items()}
    weights = {n: p.detach() for n, p in plain.named_parameters()}
    for batch in tiny.batches(STEPS):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
        head = {n: own[n] for n in HEAD}
        loss = functional_call(plain, {**adapt(name, weights, own), **head}, (), batch).loss
        for value, grad in zip(own.values(), torch.autograd.grad(loss, list(own.values())), strict=True):
            value.data -= 0.05 * grad
    attachment.finish()
    expected = adapt(name, weights, own)
    moved = 0
    for key, value in model.named_parameters():
        if key not in own:
            torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-6)
            moved += not torch.equal(value, weights[key])
    assert moved == {"lora": 13, "dora": 13, "ia3": 12}[name]  # ia3: 4 weights and 2 biases a block


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_as_the_pretrained_model_and_a_second_attach_from_what_was_learned(
    name: str,
) -> None:
    model, (batch, *rest) = tiny.bert(), tiny.batches(3)
    before = model(**batch).logits
    optimizer, _ = put(make_method(name), model)
    torch.testing.assert_close(model(**batch).logits, before)
    for each in rest:
        model(**each).loss.backward()
        optimizer.step()
    learned = model(**batch).logits
    assert not torch.allclose(learned, before)
    _, attachment = put(make_method(name), model)
    torch.testing.assert_close(model(**batch).logits, learned)
    attachment.detach()
    torch.testing.assert_close(model(**batch).logits, learned)
    assert not hasattr(model, "peft_config")
    assert model.state_dict().keys() == tiny.bert().state_dict().keys()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", TESTED_FAMILIES)
def test_every_family_takes_it_or_is_refused_by_name(name: str, family: str) -> None:
    model = families.classifier(family)
    (batch,) = tiny.batches(1)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    if family == "xlnet":
        with pytest.raises(ValueError, match=f"{name} needs linear layers .* 'xlnet' multiplies by"):
            make_method(name).attach(model, optimizer, STEPS)
    elif name == "ia3" and family in ("electra", "modernbert"):
        with pytest.raises(ValueError, match=f"ia3: PEFT names no layers for the family '{family}'"):
            make_method(name).attach(model, optimizer, STEPS)
    else:
        make_method(name).attach(model, optimizer, STEPS)
        attachment = attachment_of(model)
        assert attachment is not None
        for _ in range(2):
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
        model.eval()
        unmerged = model(**batch).logits
        attachment.finish()
        torch.testing.assert_close(model(**batch).logits, unmerged, rtol=1e-3, atol=1e-4)
        return
    assert attachment_of(model) is None
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_wrapped_model_is_refused() -> None:
    class Wrapped(DistributedDataParallel):
        def __init__(self, module: nn.Module) -> None:
            nn.Module.__init__(self)
            self.module = module

    with pytest.raises(ValueError, match="lora puts layers into the model; attach it before a framework"):
        put(make_method("lora"), Wrapped(tiny.bert()))


@pytest.mark.parametrize("name", NAMES)
def test_without_peft_one_line_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_module, "find_spec", lambda package: None)
    with pytest.raises(dps.InputError, match=rf"method: {name} needs the package peft; .*dps-tune\[peft\]'"):
        put(make_method(name), tiny.bert())
    METHODS["vanilla"].require_packages()


def test_gradients_and_optimizer_state_are_of_the_trained_weights_alone() -> None:
    model = tiny.bert()
    optimizer, _ = put(make_method("lora"), model, torch.optim.AdamW(model.named_parameters(), 1e-3))
    (batch,) = tiny.batches(1)
    model(**batch).loss.backward()
    optimizer.step()
    with_gradient = {n for n, p in model.named_parameters() if p.grad is not None}
    assert all("lora_" in n or n.startswith("classifier.") for n in with_gradient)
    assert len(optimizer.state) == len(with_gradient) == 2 * 13 + 2
    group: dict[str, Any] = optimizer.param_groups[0]
    assert {*group["param_names"]} == with_gradient


@pytest.mark.parametrize("name", [*NAMES, "bitfit", "linear-probe", "sam"])
def test_gradient_checkpointing_changes_nothing(name: str) -> None:
    found = []
    for checkpoints in (False, True):
        model = tiny.bert()
        if checkpoints:
            model.gradient_checkpointing_enable()  # type: ignore[operator]
        optimizer, attachment = put(make_method(name), model)
        for batch in tiny.batches(2):
            optimizer.zero_grad()
            attachment.backward(model, batch)
            optimizer.step()
        found.append(tiny.snapshot(model))
    assert tiny.same(*found)
