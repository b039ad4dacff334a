"""Methods that mask or mix weights: Mixout, Child-Tuning, Bi-Drop, against computations by hand."""

from __future__ import annotations

import copy
import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from dps.coverage import find_covered_weights
from dps.methods import Attachment, make_method
from dps.methods.bi_drop import BiDropAttachment, score_agreement
from dps.methods.child_tuning_d import ChildTuningDAttachment
from dps.methods.mixout import MixoutAttachment
from tests import tiny
from tests.unit.dps.methods.helpers import give_grads, grads, plain_grads, put, shift

LABELS = 3  # of two labels the rows of the classifier tie
BLOCKS = "bert.encoder.layer."


def bert(dropout: float = 0.0, seed: int = 0) -> nn.Module:
    return tiny.bert(seed, dropout, LABELS).double()


def mixout(model: nn.Module, p: float, name: str = "mixout") -> tuple[Any, MixoutAttachment]:
    """Mixout whose weights have moved away from the pre-trained ones."""
    optimizer, attachment = put(make_method(name, p=p), model)
    assert isinstance(attachment, MixoutAttachment)
    shift(model.parameters())
    return optimizer, attachment


def top(score: Tensor, share: float) -> Tensor:
    """By sorting: the elements that reach the score of rank ceil(n * share)."""
    rank = math.ceil(score.numel() * share)
    return score >= score.flatten().sort(descending=True).values[rank - 1]


# Mixout


@pytest.mark.parametrize("p", [0.2, 0.8])
@pytest.mark.parametrize("name", ["mixout", "mixconnect"])
def test_mixout_reads_the_weight_on_average_and_swaps_a_share_of_p(p: float, name: str) -> None:
    draws = 1500
    model = nn.Sequential(nn.Linear(6, 5, bias=False))
    pretrained = model[0].weight.detach().clone()
    optimizer, _ = mixout(model, p, name)
    moved = model[0].weight.detach() - pretrained
    read = []
    for _ in range(draws):  # without a gradient a step only draws anew
        read.append((model(torch.eye(6)).T.detach() - pretrained) / moved)
        optimizer.step()
    factors = torch.stack(read)  # 1/(1-p) where the weight is kept, 0 where it is swapped
    kept = factors > 0.5
    torch.testing.assert_close(factors[kept], torch.full_like(factors[kept], 1 / (1 - p)), rtol=0, atol=1e-2)
    torch.testing.assert_close(factors[~kept], torch.zeros_like(factors[~kept]), rtol=0, atol=1e-2)
    spread = math.sqrt(p / (1 - p) / draws)
    assert (factors.mean(dim=0) - 1).abs().max() < 5 * spread
    by_neuron = all(torch.equal(rows, rows[:1].expand_as(rows)) for rows in kept)
    assert by_neuron == (name == "mixout")  # one draw for all rows of an input neuron


@pytest.mark.parametrize("name", ["mixout", "mixconnect"])
def test_the_gradient_of_mixout_is_that_of_its_equation(name: str) -> None:
    """By the chain rule in mixconnect; mixout leaves out the factor 1/(1-p), as its released code does."""
    p, (batch,) = 0.6, tiny.batches(1)
    model = bert()
    plain, pretrained = copy.deepcopy(model), {k: v.detach().clone() for k, v in model.named_parameters()}
    kind = name
    optimizer, attachment = mixout(model, p, kind)
    weights = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}
    kept = {weight.name: n for weight, n in zip(attachment.weights, attachment.masks, strict=True)}
    assert kept.keys() == {f"{BLOCKS}{i}.{name}" for i in (0, 1) for name in LINEAR} | {
        "bert.pooler.dense.weight"
    }
    read = dict(weights)
    for name, n in kept.items():
        m = n.double()
        read[name] = ((1 - m) * pretrained[name] + m * weights[name] - p * pretrained[name]) / (1 - p)
    expected = functional_call(plain, read, kwargs=batch).loss
    loss = attachment.backward(model, batch)
    optimizer.step()
    torch.testing.assert_close(loss, expected.detach())
    by_hand = torch.autograd.grad(expected, list(weights.values()))
    for (name, grad), value in zip(grads(model).items(), by_hand, strict=True):
        value = value * (1 - p) if kind == "mixout" and name in kept else value
        torch.testing.assert_close(grad, value, msg=lambda text, name=name: f"{name}: {text}")


LINEAR = [
    *(f"attention.self.{name}.weight" for name in ("query", "key", "value")),
    "attention.output.dense.weight",
    "intermediate.dense.weight",
    "output.dense.weight",
]


def test_mixout_is_gone_in_evaluation() -> None:
    (batch,) = tiny.batches(1)
    model, plain = bert(), bert()
    mixout(model, 0.5)
    plain.load_state_dict(model.state_dict())
    assert not torch.equal(model(**batch).logits, plain(**batch).logits)
    assert torch.equal(model.eval()(**batch).logits, plain.eval()(**batch).logits)


def test_mixout_draws_anew_at_each_step_and_only_then() -> None:
    (batch,) = tiny.batches(1)
    model = bert()
    optimizer, attachment = mixout(model, 0.5)
    one, again = model(**batch).logits, model(**batch).logits
    assert torch.equal(one, again)
    before = attachment.masks
    optimizer.step()
    assert not torch.equal(model(**batch).logits, one)
    share = torch.cat([(a == b).flatten() for a, b in zip(before, attachment.masks, strict=True)])
    assert share.double().mean() == pytest.approx(0.5, abs=0.05)  # as often the same as not


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable`:FutureWarning")
def test_mixout_recomputes_the_same_under_gradient_checkpointing() -> None:
    (batch,) = tiny.batches(1)
    found = []
    for checkpointing in (False, True):
        model = bert()
        _, attachment = mixout(model, 0.5)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        attachment.backward(model, batch)
        found.append(grads(model))
    assert tiny.same(*found)


# Child-Tuning-F


@pytest.mark.parametrize("reserve_p", [0.2, 0.4])
def test_child_tuning_f_updates_a_share_of_everything_scaled_up(reserve_p: float) -> None:
    model = tiny.MLP(100, 100, 10)
    optimizer, _ = put(make_method("child-tuning-f", reserve_p=reserve_p), model)
    masks = []
    for _ in range(2):
        give_grads(model, 1.0)
        optimizer.step()
        values = torch.cat([grad.flatten() for grad in grads(model).values()])
        updated = values != 0
        torch.testing.assert_close(values[updated], torch.full_like(values[updated], 1 / reserve_p))
        assert float(updated.double().mean()) == pytest.approx(reserve_p, abs=0.02)
        masks.append(updated)
    both = float((masks[0] & masks[1]).double().mean())
    assert both == pytest.approx(reserve_p**2, abs=0.02)  # drawn anew, independently


def test_child_tuning_f_keeps_the_gradient_on_average() -> None:
    reserve_p, draws = 0.25, 1500
    model = nn.Linear(5, 4)
    optimizer, _ = put(make_method("child-tuning-f", reserve_p=reserve_p), model)
    total: dict[str, Tensor] = {}
    for _ in range(draws):
        given = give_grads(model)
        optimizer.step()
        total = {name: total.get(name, 0) + grad for name, grad in grads(model).items()}
    spread = math.sqrt((1 - reserve_p) / reserve_p / draws)
    for name, grad in given.items():
        assert ((total[name] / draws - grad) / grad).abs().max() < 5 * spread


def test_the_draws_of_child_tuning_f_follow_from_seed_and_step_alone() -> None:
    def masks(seed: int, state: dict[str, Any] | None = None) -> tuple[list[Any], dict[str, Any]]:
        model = tiny.MLP(8, 8)
        optimizer, _ = put(make_method("child-tuning-f"), model, seed=seed)
        if state is not None:
            optimizer.load_state_dict(state)
        found, states = [], []
        for _ in range(4):
            torch.rand(seed + 1)  # whatever else was drawn
            give_grads(model)
            optimizer.step()
            found.append(grads(model))
            states.append(optimizer.state_dict())
        return found, states[1]

    whole, after_two = masks(1)
    assert tiny.same(masks(1)[0], whole)
    assert not tiny.same(masks(2)[0], whole)
    assert tiny.same(masks(2, after_two)[0][:2], whole[2:])


# Child-Tuning-D


def task_child(model: nn.Module, share: float) -> tuple[Any, ChildTuningDAttachment]:
    optimizer, attachment = put(make_method("child-tuning-d", reserve_p=share), model)
    assert isinstance(attachment, ChildTuningDAttachment)
    return optimizer, attachment


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_mask_of_child_tuning_d_is_the_fisher_information_by_hand(share: float) -> None:
    model, data = tiny.bert(labels=LABELS), tiny.batches(3)
    fisher: dict[str, Tensor] = {}
    for batch in data:
        for name, grad in plain_grads(model, batch).items():
            if name.startswith(BLOCKS):  # each tensor's gradient is clipped to norm 1
                clipped = grad.double() / max(float(grad.double().norm()), 1.0)
                fisher[name] = fisher.get(name, torch.zeros(())) + clipped**2
    _, attachment = task_child(model, share)
    attachment.calibrate(model, data)
    assert attachment.masks.keys() == fisher.keys()
    everything = torch.cat([value.flatten() for value in fisher.values()])
    rank = math.ceil(len(everything) * share)
    threshold = everything.sort(descending=True).values[rank - 1]
    for name, mask in attachment.masks.items():
        near = (fisher[name] / threshold - 1).abs() < 1e-4  # rounding may decide
        assert torch.equal(mask | near, (fisher[name] >= threshold) | near)
    masks = list(attachment.masks.values())
    assert sum(int(mask.sum()) for mask in masks) == rank
    shares = [float(mask.double().mean()) for mask in masks]
    assert max(shares) - min(shares) > 0.3  # one threshold for all of them


def test_child_tuning_d_holds_its_mask_and_leaves_the_rest_whole() -> None:
    model, data = bert(), tiny.batches(4)
    optimizer, attachment = task_child(model, 0.2)
    attachment.calibrate(model, data)
    masks = {name: mask.clone() for name, mask in attachment.masks.items()}
    for batch in data:
        expected = plain_grads(model, batch)
        optimizer.zero_grad()
        attachment.backward(model, batch)
        optimizer.step()
        for name, grad in grads(model).items():
            mask = masks[name] if name.startswith(BLOCKS) else torch.ones_like(grad)
            torch.testing.assert_close(grad, expected[name] * mask, rtol=0, atol=0)
    assert tiny.same(attachment.masks, masks)


def test_calibrating_leaves_weights_optimizer_and_gradients_alone() -> None:
    model, data = bert(dropout=0.1), tiny.batches(2)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    before = tiny.snapshot(model)
    _, attachment = put(make_method("child-tuning-d"), model, optimizer)
    attachment.calibrate(model, data)
    assert tiny.same(tiny.snapshot(model), before)
    assert optimizer.state_dict()["state"] == {}
    assert grads(model) == {}
    assert attachment.steps == 0
    assert model.training


def test_child_tuning_d_without_a_look_at_the_training_set_is_refused() -> None:
    model = bert()
    optimizer, _ = task_child(model, 0.2)
    before = tiny.snapshot(model)
    give_grads(model)
    with pytest.raises(ValueError, match=r"reads the training set first: call .*calibrate\(model, batch"):
        optimizer.step()
    assert tiny.same(tiny.snapshot(model), before)


@pytest.mark.parametrize("name", ["child-tuning-f", "child-tuning-d"])
def test_child_tuning_clips_before_it_masks(name: str) -> None:
    """As the released code: its trainer clips, its optimizer masks. In numpy, from the gradients alone."""
    model, (batch,) = tiny.bert(dropout=0.0, labels=LABELS).double(), tiny.batches(1)
    optimizer, attachment = put(make_method(name), model, max_grad_norm=0.01)
    attachment.calibrate(model, tiny.batches(2))
    whole = {key: value.numpy() for key, value in plain_grads(model, batch).items()}
    norm = np.sqrt(sum((value**2).sum() for value in whole.values()))
    attachment.backward(model, batch)
    optimizer.step()
    share = make_method(name).reserve_p if name == "child-tuning-f" else 1.0
    for key, grad in grads(model).items():
        clipped = whole[key] * 0.01 / (norm + 1e-6) / share
        kept = grad.numpy() != 0
        np.testing.assert_allclose(grad.numpy()[kept], clipped[kept], rtol=1e-9)


# controls of DPS

CONTROLS = ("dps-random", "random-mask", "magnitude-mask", "gradient-mask")


def control(name: str, model: nn.Module, seed: int = 7) -> tuple[Any, Attachment]:
    staged = {"update_ratio": 0.2} if name == "dps-random" else {}  # two steps a stage
    return put(make_method(name, selection_ratio=0.3, **staged), model, seed=seed)


def masks_of(name: str, seed: int = 7, steps: int = 8) -> list[dict[str, Tensor]]:
    """The masks that each step shows, by weight, from gradients of one."""
    model = bert()
    optimizer, attachment = control(name, model, seed)
    attachment.calibrate(model, tiny.batches(2))
    found = []
    for _ in range(steps):
        give_grads(model, 1.0)
        optimizer.step()
        found.append({key: grad != 0 for key, grad in grads(model).items()})
    return found


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_of_dps_masks_a_share_of_each_covered_weight_and_nothing_else(name: str) -> None:
    covered = {weight.name for weight in find_covered_weights(bert())}
    for step, masks in enumerate(masks_of(name)):
        for key, mask in masks.items():
            masked = key in covered and (name != "dps-random" or step % 4 >= 2)
            assert int(mask.sum()) == (math.ceil(mask.numel() * 0.3) if masked else mask.numel())


def test_the_masks_of_the_controls_are_what_they_are_named_after() -> None:
    model, data = bert(), tiny.batches(2)
    squares: dict[str, Tensor] = {}
    for batch in data:
        for key, grad in plain_grads(model, batch).items():
            squares[key] = squares.get(key, torch.zeros(())) + grad**2
    scores = {"magnitude-mask": {key: p.detach().abs() for key, p in model.named_parameters()}}
    scores["gradient-mask"] = squares
    for name, score in scores.items():
        (masks,) = masks_of(name, steps=1)
        for weight in find_covered_weights(model):
            values = score[weight.name].numpy()
            lowest = np.sort(values, axis=None)[::-1][math.ceil(values.size * 0.3) - 1]
            assert np.array_equal(masks[weight.name].numpy(), values >= lowest)


@pytest.mark.parametrize("name", ["random-mask", "magnitude-mask"])
def test_ranks_that_attach_before_they_share_weights_have_one_mask(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attached alone with another seed and head, as rank 1 is before its wrapper takes over rank 0's."""
    first, second = bert(seed=0), bert(seed=1)
    method = make_method(name, selection_ratio=0.5)
    attached = [put(method, model, seed=seed) for seed, model in enumerate((first, second), start=3)]
    second.load_state_dict(first.state_dict())
    for module in ("dps.attachment.draws", "dps.methods.fixed_masks"):
        monkeypatch.setattr(f"{module}.get_world_size", lambda: 2)
    monkeypatch.setattr("dps.attachment.draws.broadcast_value", lambda value: 0)
    for model, (optimizer, _) in zip((first, second), attached, strict=True):
        give_grads(model)
        optimizer.step()
    masks: list[Any] = [cast(Any, attachment).masks for _, attachment in attached]
    assert all(map(torch.equal, *masks))
    saved = attached[0][0].state_dict()
    monkeypatch.setattr("dps.attachment.draws.broadcast_value", lambda value: value)
    optimizer, resumed = put(method, second, seed=9)
    optimizer.load_state_dict(saved)
    give_grads(second)
    optimizer.step()
    assert all(map(torch.equal, cast(Any, resumed).masks, masks[0]))


@pytest.mark.parametrize("name", ["dps-random", "random-mask"])
def test_random_masks_follow_from_the_seed_and_change_as_often_as_they_should(name: str) -> None:
    masks, again, other = masks_of(name), masks_of(name), masks_of(name, seed=8)
    assert all(tiny.same(a, b) for a, b in zip(masks, again, strict=True))
    key = "classifier.weight"
    assert not torch.equal(masks[2][key], other[2][key])
    assert torch.equal(masks[2][key], masks[3][key])  # for a stage at least
    assert torch.equal(masks[2][key], masks[6][key]) == (name == "random-mask")
    weights = [masks[2][f"{BLOCKS}{i}.output.dense.weight"] for i in (0, 1)]
    assert not torch.equal(*weights)


def test_dps_random_differs_from_dps_dense_in_its_masks_alone() -> None:
    """At a selection ratio of 1 and in Stage I it is DPS Dense."""
    (batch,) = tiny.batches(1)
    found = []
    for name in ("dps-dense", "dps-random"):
        model = bert()
        optimizer, attachment = (
            control(name, model)
            if name == "dps-random"
            else put(make_method(name, selection_ratio=0.3, update_ratio=0.2), model)
        )
        for _ in range(2):
            optimizer.zero_grad()
            attachment.backward(model, batch)
            optimizer.step()
        found.append(tiny.snapshot(model))
    assert tiny.same(*found)


# Bi-Drop


def bi_drop(model: nn.Module, share: float = 0.4, passes: int = 2) -> tuple[Any, BiDropAttachment]:
    optimizer, attachment = put(make_method("bi-drop", selection_ratio=share, passes=passes), model)
    assert isinstance(attachment, BiDropAttachment)
    return optimizer, attachment


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_passes_of_bi_drop_differ_by_their_dropout(dropout: float) -> None:
    model = bert(dropout)
    _, attachment = bi_drop(model, passes=3)
    attachment.backward(model, tiny.batches(1)[0])
    for gradients in attachment.gradients:
        for one, other in ((0, 1), (1, 2), (0, 2)):
            assert torch.equal(gradients[one], gradients[other]) == (dropout == 0.0)


@pytest.mark.parametrize("passes", [2, 3])
def test_bi_drop_updates_by_the_masked_mean_of_its_passes(passes: int) -> None:
    share, (batch,) = 0.4, tiny.batches(1)
    model = bert(dropout=0.1)
    torch.manual_seed(3)
    several = [plain_grads(model, batch) for _ in range(passes)]
    optimizer, attachment = bi_drop(model, share, passes)
    torch.manual_seed(3)
    attachment.backward(model, batch)
    optimizer.step()
    covered = {f"{BLOCKS}{i}.{name}" for i in (0, 1) for name in LINEAR}
    covered |= {"bert.pooler.dense.weight", "classifier.weight"}
    for name, grad in grads(model).items():
        stack = torch.stack([each[name] for each in several])
        mean, deviation = stack.mean(dim=0), stack.std(dim=0, correction=0)
        mask = top(mean.abs() / deviation, share) if name in covered else torch.ones_like(mean)
        torch.testing.assert_close(grad, mean * mask, rtol=1e-6, atol=1e-6)  # it keeps them in float32
        assert torch.equal(grad != 0, mask * mean != 0)
        if name in covered:
            assert int(mask.sum()) == math.ceil(mask.numel() * share)


def test_weights_whose_gradients_agree_come_first() -> None:
    gradients = torch.tensor([[1.0, 1.0, 0.1, 2.0, 0.0], [1.0, -0.9, 0.11, 1.0, 0.0]])
    assert score_agreement(gradients).argsort(descending=True).tolist() == [0, 2, 3, 1, 4]
    several = torch.randn(4, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = several.mean(dim=0).abs() / several.std(dim=0, correction=0)
    torch.testing.assert_close(score_agreement(several), expected**2)


def test_a_batch_that_was_given_up_leaves_no_trace_in_bi_drop() -> None:
    """As a step that a GradScaler skips: what is accumulated is zeroed, not stepped with."""
    first, second = tiny.batches(2)
    found = []
    for given_up in (False, True):
        model = bert(dropout=0.1)
        optimizer, attachment = bi_drop(model)
        if given_up:
            attachment.backward(model, first, scale=lambda loss: loss * math.inf)
            optimizer.zero_grad(set_to_none=False)
        torch.manual_seed(5)
        attachment.backward(model, second)
        optimizer.step()
        found.append(grads(model))
    assert tiny.same(*found)


def test_bi_drop_with_a_backward_pass_of_ones_own_is_refused() -> None:
    model = bert()
    optimizer, _ = bi_drop(model)
    model(**tiny.batches(1)[0]).loss.backward()
    with pytest.raises(ValueError, match=r"needs several passes a step: use .*backward\(model, batch\)"):
        optimizer.step()
