"""Methods that change the loss, or pull at the weights, and vanilla."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dps.methods import make_method
from tests import families, tiny
from tests.unit.dps.methods.helpers import RATE, give_grads, grads, plain_grads, put, rows_of, shift

LABELS = torch.tensor([0, 2, 1, 1])
Batch = dict[str, Tensor]


class Fixed(nn.Module):
    """Says the same logits (2n, classes) whatever it reads, and the loss of transformers' heads."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.embedding = nn.Embedding(4, 2)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.logits + 0 * self.embedding(input_ids).sum()
        if labels is None:
            return SimpleNamespace(logits=logits)
        wrong = functional.mse_loss(logits.squeeze(-1), labels) if labels.is_floating_point() else None
        loss = functional.cross_entropy(logits, labels) if wrong is None else wrong
        return SimpleNamespace(logits=logits, loss=loss)


def fixed(classes: int) -> tuple[Fixed, Tensor, Tensor, Batch]:
    """(model, its logits for the first half of the doubled batch, for the second, the batch)."""
    one, other = torch.randn(2, 4, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = LABELS if classes > 1 else LABELS.double()
    batch = {"input_ids": torch.zeros(4, 3, dtype=torch.long), "labels": labels}
    return Fixed(torch.cat([one, other])), one, other, batch


def cross_entropy(logits: Tensor) -> Tensor:
    odds = logits.exp()
    return -(odds[torch.arange(4), LABELS] / odds.sum(dim=1)).log().mean()


def divergence(one: Tensor, other: Tensor) -> Tensor:
    """KL(p||q) + KL(q||p) = sum of (p - q) * log(p/q), a mean over the examples."""
    p, q = (logits.exp() / logits.exp().sum(dim=1, keepdim=True) for logits in (one, other))
    return ((p - q) * (p / q).log()).sum(dim=1).mean()


def halves(model: nn.Module, method: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """What the model predicts for the two halves of the doubled batch."""
    seen: list[Tensor] = []
    hook = model.register_forward_hook(lambda module, args, output: seen.append(output.logits.detach()))
    method.loss(model, batch)
    hook.remove()
    one, other = seen[0].chunk(2)
    return one, other


# R-Drop


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_passes_of_r_drop_differ_by_their_dropout(dropout: float) -> None:
    one, other = halves(tiny.bert(dropout=dropout).double(), make_method("r-drop"), tiny.batches(1)[0])
    assert torch.allclose(one, other) == (dropout == 0.0)


def test_the_loss_of_r_drop_by_hand() -> None:
    model, one, other, batch = fixed(classes=3)
    expected = (cross_entropy(one) + cross_entropy(other)) / 2 + 0.7 * divergence(one, other) / 2
    torch.testing.assert_close(make_method("r-drop", alpha=0.7).loss(model, batch).detach(), expected)


def test_r_drop_of_a_regression_asks_for_the_same_number() -> None:
    model, one, other, batch = fixed(classes=1)
    wrong = [(logits[:, 0] - batch["labels"]).square().mean() for logits in (one, other)]
    expected = sum(wrong) / 2 + 0.7 / 2 * (one - other).square().mean()
    torch.testing.assert_close(make_method("r-drop", alpha=0.7).loss(model, batch).detach(), expected)


@pytest.mark.parametrize(("name", "knob"), [("r-drop", "alpha"), ("r3f", "weight")])
def test_without_weight_there_is_one_pass_and_the_models_own_loss(name: str, knob: str) -> None:
    model, (batch,) = tiny.bert(), tiny.batches(1)
    seen = rows_of(model)
    loss = make_method(name, **{knob: 0.0}).loss(model, batch)
    make_method(name, **{knob: 0.5}).loss(model, batch)
    assert seen == [8, 16]
    assert torch.equal(loss, model(**batch).loss)


# R3F


@pytest.mark.parametrize("family", families.CONFIGURATIONS)
def test_the_noise_of_r3f_is_on_the_second_half_alone(family: str) -> None:
    (batch,) = tiny.batches(1)
    batch["labels"] = batch["labels"].long()
    model = families.classifier(family).double()
    torch.manual_seed(0)
    clean, noisy = halves(model, make_method("r3f", sigma=0.3), batch)
    expected = model(**batch).logits.detach()
    torch.testing.assert_close(clean, expected)
    assert ((noisy - expected).abs().amax(dim=1) > 1e-4).all()


def test_the_noise_of_r3f_is_normal_with_standard_deviation_sigma() -> None:
    model, (batch,) = tiny.bert(), tiny.batches(1, rows=64, length=16)
    seen: list[Tensor] = []
    norm = model.bert.embeddings.LayerNorm
    norm.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    torch.manual_seed(0)
    make_method("r3f", sigma=0.3).loss(model, batch)
    clean, noisy = seen[0].chunk(2)
    noise = ((noisy - clean) / 0.3).flatten()
    count = noise.numel()
    assert abs(float(noise.mean())) < 5 / count**0.5
    assert float(noise.var()) == pytest.approx(1, abs=5 * (2 / count) ** 0.5)
    assert float((noise**4).mean()) == pytest.approx(3, abs=5 * (96 / count) ** 0.5)  # as a normal one


def test_the_loss_of_r3f_by_hand_takes_the_clean_cross_entropy() -> None:
    model, clean, noisy, batch = fixed(classes=3)
    expected = cross_entropy(clean) + 0.7 * divergence(clean, noisy)
    torch.testing.assert_close(make_method("r3f", weight=0.7).loss(model, batch).detach(), expected)


def test_r3f_of_a_regression_asks_for_the_same_number() -> None:
    model, clean, noisy, batch = fixed(classes=1)
    expected = (clean[:, 0] - batch["labels"]).square().mean() + 0.7 * (clean - noisy).square().mean()
    torch.testing.assert_close(make_method("r3f", weight=0.7).loss(model, batch).detach(), expected)


def test_r3f_refuses_a_model_without_token_embeddings() -> None:
    with pytest.raises(ValueError, match="r3f needs token embeddings, but MLP has no get_input_embeddings"):
        put(make_method("r3f"), tiny.MLP(4, 3))


def test_r3f_takes_its_noise_off_the_model_also_where_the_forward_pass_fails() -> None:
    model, (batch,) = tiny.bert(), tiny.batches(1)
    embeddings = model.get_input_embeddings()
    make_method("r3f").loss(model, batch)
    assert not embeddings._forward_hooks

    def fail(module: nn.Module, args: Any) -> None:
        assert embeddings._forward_hooks
        raise RuntimeError("out of memory")

    model.classifier.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        make_method("r3f").loss(model, batch)
    assert not embeddings._forward_hooks


# L2-SP


@pytest.mark.parametrize("max_grad_norm", [None, 0.05])
def test_l2_sp_adds_the_way_back_to_the_gradient_before_clipping(max_grad_norm: float | None) -> None:
    strength, (batch,) = 0.5, tiny.batches(1)
    model = tiny.bert().double()
    start = tiny.snapshot(model)
    optimizer, attachment = put(make_method("l2-sp", strength=strength), model, max_grad_norm=max_grad_norm)
    shift(model.parameters())
    expected = plain_grads(model, batch)
    for name, value in model.named_parameters():
        if not name.startswith("classifier"):
            expected[name] = expected[name] + strength * (value.detach() - start[name])
    if max_grad_norm is not None:
        norm = torch.cat([grad.flatten() for grad in expected.values()]).norm()
        expected = {name: grad * max_grad_norm / norm for name, grad in expected.items()}
    attachment.backward(model, batch)
    optimizer.step()
    for name, grad in grads(model).items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-4 if max_grad_norm else 1e-7, atol=1e-12)


def test_l2_sp_pulls_back_where_the_loss_says_nothing() -> None:
    model = tiny.bert().double()
    start = tiny.snapshot(model)
    optimizer, _ = put(make_method("l2-sp", strength=2.0), model)
    shift(model.parameters())
    moved = tiny.snapshot(model)
    for _ in range(3):
        give_grads(model, 0.0)
        optimizer.step()
    for name, value in model.state_dict().items():
        left = 1.0 if name.startswith("classifier") else (1 - RATE * 2.0) ** 3
        torch.testing.assert_close(value - start[name], left * (moved[name] - start[name]))


def test_l2_sp_takes_the_place_of_the_decay_to_zero_but_in_the_head() -> None:
    """In numpy, without a gradient from the loss: SGD with a decay of 0.3 towards zero."""
    model = tiny.bert().double()
    start = tiny.snapshot(model)
    optimizer = torch.optim.SGD(model.parameters(), RATE, weight_decay=0.3)
    _, attachment = put(make_method("l2-sp", strength=2.0), model, optimizer)
    shift(model.parameters())
    moved = tiny.snapshot(model)
    give_grads(model, 0.0)
    optimizer.step()
    for name, value in model.state_dict().items():
        w, w0 = moved[name].numpy(), start[name].numpy()
        expected = w * (1 - RATE * 0.3) if name.startswith("classifier") else w - RATE * 2.0 * (w - w0)
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-12)
    attachment.detach()
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3] * len(optimizer.param_groups)


# weight decay


def test_weight_decay_is_a_factor_of_the_rate_on_matrices_alone() -> None:
    model = tiny.bert()
    optimizer, _ = put(make_method("weight-decay", strength=0.5), model)
    for rate in (0.1, 0.02):
        before = tiny.snapshot(model)
        optimizer.param_groups[0]["lr"] = rate
        give_grads(model, 0.0)
        optimizer.step()
        for name, value in model.named_parameters():
            factor = 1 - rate * 0.5 if value.ndim > 1 else 1.0
            assert torch.equal(value.detach(), before[name] * factor)


def test_weight_decay_adds_to_that_of_adamw() -> None:
    model = tiny.MLP(5, 4)
    before = model.layers[0].weight.detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.3)
    put(make_method("weight-decay", strength=0.5), model, optimizer)
    give_grads(model, 0.0)
    optimizer.step()
    torch.testing.assert_close(model.layers[0].weight.detach(), before * (1 - 0.1 * 0.5) * (1 - 0.1 * 0.3))


def test_weight_decay_leaves_a_weight_without_a_gradient_alone() -> None:
    model = tiny.MLP(5, 4, 3)
    before = tiny.snapshot(model)
    optimizer, _ = put(make_method("weight-decay", strength=0.5), model)
    give_grads(model, 0.0)
    model.layers[0].weight.grad = None
    optimizer.step()
    assert torch.equal(model.layers[0].weight, before["layers.0.weight"])
    assert not torch.equal(model.layers[1].weight, before["layers.1.weight"])


# vanilla


def test_vanilla_trains_with_dropout_and_its_control_without() -> None:
    for max_steps in (1, 5000):
        assert make_method("vanilla").dropout(max_steps) == 0.1
        assert make_method("vanilla-no-dropout").dropout(max_steps) == 0.0


@pytest.mark.parametrize("name", ["vanilla", "vanilla-no-dropout"])
def test_vanilla_is_the_optimizer_alone(name: str) -> None:
    (batch,) = tiny.batches(1)
    model = tiny.bert().double()
    expected, before = plain_grads(model, batch), tiny.snapshot(model)
    optimizer, attachment = put(make_method(name), model)
    attachment.backward(model, batch)
    optimizer.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.detach(), before[name] - RATE * expected[name])


def test_label_smoothing_mixes_the_target_with_the_uniform_distribution() -> None:
    model, one, _, batch = fixed(3)
    model.logits.data = one
    odds = np.exp(one.numpy())
    targets = 0.8 * np.eye(3)[LABELS.numpy()] + 0.2 / 3
    expected = -(targets * np.log(odds / odds.sum(axis=1, keepdims=True))).sum(axis=1).mean()
    found = make_method("label-smoothing", smoothing=0.2).loss(model, batch)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-12)


def test_label_smoothing_of_several_labels_leaves_each_a_doubt_and_numbers_are_refused() -> None:
    model, one, *_ = fixed(3)
    model.logits.data = one
    labels = torch.eye(3, dtype=torch.float64)[LABELS]
    chance, targets = 1 / (1 + np.exp(-one.numpy())), 0.8 * labels.numpy() + 0.1
    expected = -(targets * np.log(chance) + (1 - targets) * np.log(1 - chance)).mean()
    ids, method = torch.zeros(4, 3, dtype=torch.long), make_method("label-smoothing", smoothing=0.2)
    found = method.loss(model, {"input_ids": ids, "labels": labels})
    assert float(found.detach()) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="label-smoothing needs classes, but the labels are numbers"):
        method.loss(model, {"input_ids": ids, "labels": LABELS.double()})


@pytest.mark.parametrize("name", ["label-smoothing", "sam"])
def test_the_gradients_of_another_loss_are_refused(name: str) -> None:
    model = tiny.bert()
    optimizer, _ = put(make_method(name), model)
    model(**tiny.batches(1)[0]).loss.backward()
    with pytest.raises(ValueError, match=rf"^{name} .*attachment_of\(optimizer\).backward\(model, batch\)"):
        optimizer.step()


@pytest.mark.parametrize("sizes", [(8,), (3, 5), (2, 2, 4)], ids=str)
def test_sam_steps_with_the_gradient_at_the_worst_point_for_the_whole_batch(sizes: tuple[int, ...]) -> None:
    model = tiny.bert(labels=3).double()
    before = dict(model.named_parameters())
    weights = {name: p.detach().clone() for name, p in before.items()}
    (batch,) = tiny.batches(1)
    optimizer, attachment = put(make_method("sam", rho=0.5), model)
    first = plain_grads(model, batch)
    length = sum(float((g**2).sum()) for g in first.values()) ** 0.5
    with torch.no_grad():
        for name, p in before.items():
            p += 0.5 / length * first[name]
    second = plain_grads(model, batch)
    with torch.no_grad():
        for name, p in before.items():
            p.copy_(weights[name])
    begin = 0
    for size in sizes:
        part = {key: value[begin : begin + size] for key, value in batch.items()}
        attachment.backward(model, part, scale=lambda loss, share=size / 8: loss * share)
        begin += size
    optimizer.step()
    for name, p in before.items():
        torch.testing.assert_close(p.detach(), weights[name] - RATE * second[name], rtol=1e-9, atol=1e-12)
    assert max(float((second[n] - first[n]).abs().max()) for n in first) > 1e-3


def test_the_second_pass_of_sam_has_the_dropout_of_the_first_and_draws_nothing() -> None:
    """At a ball of almost no size both passes are one."""
    (batch,) = tiny.batches(1)
    found, draws = [], []
    for values in ({"rho": 1e-9}, {"rho": 0.0}):
        model = tiny.bert(dropout=0.3)
        optimizer, attachment = put(make_method("sam", **values), model)
        attachment.backward(model, batch)
        optimizer.step()
        found.append(tiny.snapshot(model))
        draws.append(float(torch.rand(())))
    for name, value in found[1].items():
        torch.testing.assert_close(found[0][name], value, rtol=1e-4, atol=1e-6)
    assert draws[0] == draws[1]


def test_sam_refuses_a_loss_that_is_scaled_up_and_forgets_a_step_that_was_left_out() -> None:
    model, (batch, other) = tiny.bert(), tiny.batches(2)
    optimizer, attachment = put(make_method("sam"), model)
    with pytest.raises(ValueError, match="sam takes no scaled loss, which fp16 needs; use bf16 or fp32"):
        attachment.backward(model, batch, scale=lambda loss: loss * 1024)
    attachment.backward(model, other)
    optimizer.zero_grad()
    attachment.backward(model, batch)
    optimizer.step()
    usual = tiny.bert()
    its_optimizer, at_work = put(make_method("sam"), usual)
    at_work.backward(usual, batch)
    its_optimizer.step()
    assert tiny.same(tiny.snapshot(model), tiny.snapshot(usual))
