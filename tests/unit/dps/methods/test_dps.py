"""Dynamic parameter selection around one optimizer: what is masked, when, and in which order."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

import dps
from dps.attachment.draws import draw_input_neurons
from dps.methods import Attachment, attachment_of
from dps.methods.dps import DPSDenseAttachment
from tests import tiny
from tests.tiny import MLP

STEPS, INTERVAL = 12, 3  # Stage I in steps 1-3 and 7-9, Stage II in 4-6 and 10-12
HYPER: dict[str, Any] = {"selection_ratio": 0.4, "update_ratio": INTERVAL / STEPS}
PAIRS = tiny.pairs(3 * STEPS, 6, 4)
both_methods = pytest.mark.parametrize("method_of", [dps.DPSDense, dps.DPSMix], ids=["dense", "mix"])
both_freezes = pytest.mark.parametrize("freeze", ["gradient", "update"])
MethodOf = Callable[..., Any]


def start(
    method: Any, kind: str = "adamw", model: nn.Module | None = None, **options: Any
) -> tuple[nn.Module, Optimizer, DPSDenseAttachment]:
    """A model with the method on its optimizer, and what the method keeps."""
    torch.manual_seed(7)
    model = MLP(6, 8, 4) if model is None else model
    optimizer = tiny.OPTIMIZERS[kind](model.parameters())
    method.attach(model, optimizer, STEPS, **options)
    attachment = attachment_of(optimizer)
    assert isinstance(attachment, DPSDenseAttachment)
    return model, optimizer, attachment


def train(model: nn.Module, optimizer: Optimizer, first: int = 1, last: int = STEPS) -> list[float]:
    return [float(tiny.step(model, optimizer, pair)) for pair in PAIRS[first - 1 : last]]


def masks(attachment: DPSDenseAttachment) -> list[Tensor]:
    return [weight.active for weight in attachment.weights if weight.active is not None]


class LiteralDense:
    """DPS Dense as the paper says it, with clipping and SGD: slow, in Python lists of tensors."""

    def __init__(self, model: nn.Module, rate: float, max_norm: float) -> None:
        self.model, self.rate, self.max_norm, self.steps = model, rate, max_norm, 0
        self.gam: dict[str, Tensor] = {}
        self.mask: dict[str, Tensor] = {}

    def step(self, pair: tuple[Tensor, Tensor]) -> None:
        self.steps += 1
        names = [name for name, _ in self.model.named_parameters()]
        loss = nn.functional.mse_loss(self.model(pair[0]), pair[1])
        grads = dict(zip(names, torch.autograd.grad(loss, list(self.model.parameters())), strict=True))
        covered = [name for name in names if name.startswith("layers") and name.endswith("weight")]
        stage_one = (self.steps - 1) // INTERVAL % 2 == 0
        for name in covered:
            if stage_one:
                fresh = (self.steps - 1) % (2 * INTERVAL) == 0
                self.gam[name] = grads[name] ** 2 + (0 if fresh else self.gam[name])
            else:
                if (self.steps - 1) % INTERVAL == 0:
                    ranked = self.gam[name].flatten().sort(descending=True).values
                    rank = -(-ranked.numel() * 4 // 10)
                    self.mask[name] = self.gam[name] >= ranked[rank - 1]
                grads[name] = grads[name] * self.mask[name]
        norm = torch.cat([grad.flatten() for grad in grads.values()]).norm()
        factor = min(1.0, self.max_norm / (float(norm) + 1e-6))
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter -= self.rate * factor * grads[name]


def test_the_order_is_raw_gradient_gam_mask_clip_step() -> None:
    model, reference = MLP(6, 8, 4).double(), MLP(6, 8, 4).double()
    literal = LiteralDense(reference, rate=0.1, max_norm=0.05)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    dps.DPSDense(**HYPER).attach(model, optimizer, STEPS, max_grad_norm=0.05)
    attachment = attachment_of(optimizer)
    assert isinstance(attachment, DPSDenseAttachment)
    for number, (x, y) in enumerate(PAIRS[:STEPS], start=1):
        pair = (x.double(), y.double())
        gams = {weight.covered.name: weight.gam for weight in attachment.weights}
        tiny.step(model, optimizer, pair)
        literal.step(pair)
        norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
        assert norm == pytest.approx(0.05, rel=1e-4)  # clipping acted, on the masked gradient
        for name, gam in gams.items():
            if gam is not None:
                torch.testing.assert_close(gam, literal.gam[name], rtol=1e-9, atol=1e-12)
        if number % (2 * INTERVAL) > INTERVAL:
            active = {weight.covered.name: weight.active for weight in attachment.weights}
            assert tiny.same(active, literal.mask)
        for value, expected in zip(model.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)


@both_methods
def test_freeze_update_keeps_unselected_weights_bit_for_bit(method_of: MethodOf) -> None:
    model, optimizer, attachment = start(method_of(**HYPER, freeze="update"))
    train(model, optimizer, 1, INTERVAL)
    before = [weight.value.clone() for weight in attachment.weights]
    chosen = masks(attachment)
    for number in range(INTERVAL + 1, 2 * INTERVAL + 1):
        train(model, optimizer, number, number)
        for weight, old, mask in zip(attachment.weights, before, chosen, strict=True):
            assert torch.equal(weight.value[~mask], old[~mask])
            assert (weight.value[mask] != old[mask]).all()


@both_methods
def test_freeze_gradient_with_adamw_still_moves_unselected_weights(method_of: MethodOf) -> None:
    model, optimizer, attachment = start(method_of(**HYPER, freeze="gradient"))
    train(model, optimizer, 1, INTERVAL)
    before = [weight.value.clone() for weight in attachment.weights]
    chosen = masks(attachment)
    train(model, optimizer, INTERVAL + 1, INTERVAL + 1)
    for weight, old, mask in zip(attachment.weights, before, chosen, strict=True):
        assert not weight.covered.parameter.grad[~mask].any()  # type: ignore[index]
        assert (weight.value[~mask] != old[~mask]).all()


@both_methods
@both_freezes
def test_biases_embeddings_and_normalisation_are_never_masked(method_of: MethodOf, freeze: str) -> None:
    model = tiny.bert()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    method_of(**HYPER, freeze=freeze).attach(model, optimizer, STEPS)
    attachment = attachment_of(optimizer)
    assert isinstance(attachment, DPSDenseAttachment)
    covered = {weight.covered.name for weight in attachment.weights}
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert covered == linear
    assert len(covered) == 2 * 6 + 2  # Q, K, V, three outputs a layer; pooler and classifier
    others = {name: p for name, p in model.named_parameters() if name not in covered}
    (batch,) = tiny.batches(1, rows=64)
    for _ in range(STEPS):
        raw: dict[str, Tensor] = {}
        optimizer.zero_grad()
        model(**batch).loss.backward()
        raw = {name: p.grad.clone() for name, p in others.items() if p.grad is not None}
        before = {name: p.detach().clone() for name, p in others.items()}
        optimizer.step()
        for name, grad in raw.items():
            assert torch.equal(others[name].grad, grad)  # type: ignore[arg-type]
            torch.testing.assert_close(others[name].detach(), before[name] - 0.05 * grad)


def overflowing(
    method: Any, kind: str, overflow_before: set[int]
) -> tuple[nn.Module, Optimizer, DPSDenseAttachment, list[float]]:
    """Trains with a loss scaler; before each step of the set an extra one overflows."""
    model, optimizer, attachment = start(method, kind, max_grad_norm=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=10**6)
    scales = []
    for number, (x, y) in enumerate(PAIRS[:STEPS], start=1):
        for factor in [float("inf"), 1.0] if number in overflow_before else [1.0]:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y) * factor
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        scales.append(scaler.get_scale())
    return model, optimizer, attachment, scales


@both_methods
@both_freezes
@pytest.mark.parametrize("kind", tiny.OPTIMIZERS)
def test_an_overflow_under_loss_scaling_leaves_no_trace(method_of: MethodOf, freeze: str, kind: str) -> None:
    method = method_of(**HYPER, freeze=freeze)
    clean = overflowing(method, kind, set())
    disturbed = overflowing(method, kind, {2, 4, 5, 9, 12})
    assert disturbed[3][-1] == clean[3][-1] / 2**5  # the scaler did see them
    assert tiny.same(tiny.snapshot(disturbed[0]), tiny.snapshot(clean[0]))
    assert tiny.same(disturbed[1].state_dict(), clean[1].state_dict())


@both_methods
@pytest.mark.parametrize("kind", tiny.OPTIMIZERS)
def test_loss_scaling_does_not_change_the_trajectory(method_of: MethodOf, kind: str) -> None:
    scaled = overflowing(method_of(**HYPER), kind, set())[0]
    model, optimizer, _ = start(method_of(**HYPER), kind, max_grad_norm=1.0)
    train(model, optimizer)
    assert tiny.same(tiny.snapshot(scaled), tiny.snapshot(model))


class Checkpointed(MLP):
    """An MLP that recomputes each layer in the backward pass."""

    reentrant = False

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        for layer in self.layers:
            x = checkpoint(lambda h, layer=layer: torch.tanh(layer(h)), x, use_reentrant=self.reentrant)
        return self.norm(x)


@both_methods
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_does_not_change_the_trajectory(method_of: MethodOf, reentrant: bool) -> None:
    usual = start(method_of(**HYPER))
    recomputed = start(method_of(**HYPER), model=Checkpointed(6, 8, 4))
    recomputed[0].reentrant = reentrant
    assert train(*recomputed[:2]) == train(*usual[:2])
    assert tiny.same(recomputed[1].state_dict(), usual[1].state_dict())


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable`:FutureWarning")
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_of_transformers_does_not_change_the_trajectory(reentrant: bool) -> None:
    losses = []
    for checkpointing in (False, True):
        model = tiny.bert()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        _, optimizer, _ = start(dps.DPSMix(**HYPER), model=model)
        losses.append([])
        for batch in tiny.batches(STEPS):
            optimizer.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0] == losses[1]


def test_two_models_in_one_process_train_as_alone() -> None:
    methods = dps.DPSDense(**HYPER), dps.DPSMix(**HYPER)
    alone = [train(*start(method)[:2]) for method in methods]
    dense, mix = (start(method) for method in methods)
    together = [(train(*dense[:2], n, n)[0], train(*mix[:2], n, n)[0]) for n in range(1, STEPS + 1)]
    assert [list(losses) for losses in zip(*together, strict=True)] == alone


def test_evaluation_of_mix_reads_the_weight_and_training_the_mixed_one() -> None:
    model, optimizer, attachment = start(dps.DPSMix(**HYPER))
    pretrained = tiny.snapshot(model)
    p, (x, _) = 0.6, PAIRS[0]
    for number in range(1, STEPS):
        train(model, optimizer, number, number)
        stage_one = number // INTERVAL % 2 == 0
        if number % (2 * INTERVAL) == INTERVAL:
            start_of_stage = tiny.snapshot(model)
        anchors = pretrained if stage_one else start_of_stage
        mixed = copy.deepcopy(model).eval()
        for weight in attachment.weights:
            m, anchor = weight.active.float(), anchors[weight.covered.name]  # type: ignore[union-attr]
            literal = ((1 - m) * anchor + m * weight.value - p * anchor) / (1 - p)
            mixed.get_parameter(weight.covered.name).data = literal
        plain = MLP(6, 8, 4)
        plain.load_state_dict(model.state_dict())
        torch.testing.assert_close(model(x), mixed(x))
        assert torch.equal(model.eval()(x), plain(x))
        if number > 1 and number % INTERVAL:
            assert not torch.allclose(model(x), mixed(x))
        model.train()


def test_mix_without_training_is_its_pretrained_self_in_stage_one() -> None:
    model, _, _ = start(dps.DPSMix(**HYPER))
    x = PAIRS[0][0]
    torch.testing.assert_close(model(x), MLP(6, 8, 4)(x))


def test_an_exception_in_a_forward_pass_leaves_the_parameter_in_place() -> None:
    model, optimizer, _ = start(dps.DPSMix(**HYPER))
    usual = start(dps.DPSMix(**HYPER))
    parameters = dict(model.named_parameters())
    losses = []
    for number in range(1, STEPS + 1):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            model(torch.randn(2, 5))
        assert all(model.get_parameter(name) is value for name, value in parameters.items())
        losses += train(model, optimizer, number, number)
    assert losses == train(*usual[:2])


def test_a_deep_copy_during_training_is_a_plain_model_of_its_own() -> None:
    model, optimizer, _ = start(dps.DPSMix(**HYPER))
    usual = start(dps.DPSMix(**HYPER))
    losses = train(model, optimizer, 1, 2)
    twin, plain = copy.deepcopy(model), MLP(6, 8, 4)
    weights = tiny.snapshot(model)
    assert tiny.same(tiny.snapshot(twin), weights)
    plain.load_state_dict(weights)
    x = PAIRS[0][0]
    assert torch.equal(twin(x), plain(x))
    twin(x).sum().backward()
    assert twin.layers[0].weight.grad is not None
    twin.load_state_dict({name: torch.zeros_like(value) for name, value in weights.items()})
    assert tiny.same(tiny.snapshot(model), weights)
    assert losses + train(model, optimizer, 3) == train(*usual[:2])


def test_draws_are_reproducible_and_differ_between_steps_weights_and_seeds() -> None:
    def drawn(step: int, seed: int = 1) -> Tensor:
        return draw_input_neurons(400, 0.7, seed, step)

    assert torch.equal(drawn(5), drawn(5))
    seen = [*drawn(1).split(200), *drawn(2).split(200), *drawn(1, seed=2).split(200)]
    assert not any(torch.equal(x, y) for x, y in itertools.combinations(seen, 2))
    share = torch.stack([drawn(step) for step in range(100)]).float().mean()
    assert share == pytest.approx(0.7, abs=0.01)  # 40,000 draws: a standard deviation of 0.0023
    assert drawn(1).dtype == torch.bool


def test_drawing_leaves_the_global_random_state_alone() -> None:
    model, optimizer, _ = start(dps.DPSMix(**HYPER))
    before = torch.get_rng_state()
    train(model, optimizer)
    assert torch.equal(torch.get_rng_state(), before)


def test_mix_draws_once_a_weight_and_step_of_stage_one() -> None:
    asked: list[tuple[str, int]] = []

    def draw(name: str, step: int) -> Tensor:
        asked.append((name, step))
        return torch.arange(6 if name == "layers.0.weight" else 8) % 2 == 0

    model, optimizer, _ = start(dps.DPSMix(**HYPER), draw=draw)
    train(model, optimizer)
    names = ["layers.0.weight", "layers.1.weight"]
    assert asked == [(name, step) for step in (1, 2, 3, 7, 8, 9) for name in names]


@both_methods
def test_conv1d_trains_as_the_linear_layer_it_transposes(method_of: MethodOf) -> None:
    linear = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    conv = nn.Sequential(Conv1D(8, 6), nn.Tanh(), Conv1D(4, 8)).double()
    for there, here in ((linear[0], conv[0]), (linear[2], conv[2])):
        here.weight.data, here.bias.data = there.weight.data.T.clone(), there.bias.data.clone()
    trained = [start(method_of(**HYPER), "sgd", model) for model in (linear, conv)]
    for x, y in PAIRS[:STEPS]:
        for model, optimizer, _ in trained:
            tiny.step(model, optimizer, (x.double(), y.double()))
        for there, here in ((linear[0], conv[0]), (linear[2], conv[2])):
            torch.testing.assert_close(here.weight, there.weight.T)


def test_an_inactive_input_neuron_of_conv1d_gets_no_gradient() -> None:
    model = nn.Sequential(Conv1D(8, 6))
    active = torch.tensor([True, False, True, True, False, True])
    _, optimizer, _ = start(dps.DPSMix(**HYPER), model=model, draw=lambda name, step: active)
    tiny.step(model, optimizer, (PAIRS[0][0], torch.zeros(8, 8)))
    assert model[0].weight.grad.any(dim=1).tolist() == active.tolist()


@both_methods
@both_freezes
def test_masks_never_act_after_max_steps(method_of: MethodOf, freeze: str) -> None:
    model, optimizer, attachment = start(method_of(**HYPER, freeze=freeze))
    train(model, optimizer)
    share, plain = attachment.selected_share, MLP(6, 8, 4)
    for pair in PAIRS[STEPS : 3 * STEPS]:  # past what would be two more cycles
        assert masks(attachment) == []
        plain.load_state_dict(model.state_dict())
        expected = torch.autograd.grad(
            nn.functional.mse_loss(plain(pair[0]), pair[1]), list(plain.parameters())
        )
        tiny.step(model, optimizer, pair)
        assert tiny.same([p.grad for p in model.parameters()], list(expected))
    assert attachment.selected_share == share


@both_methods
@both_freezes
def test_a_run_that_ends_inside_stage_two_can_go_on(method_of: MethodOf, freeze: str) -> None:
    model = MLP(6, 8, 4)
    optimizer = tiny.OPTIMIZERS["adamw"](model.parameters())
    method_of(selection_ratio=0.4, update_ratio=0.3, freeze=freeze).attach(model, optimizer, max_steps=5)
    before = train(model, optimizer, 1, 5)  # an interval of 1: stage two in steps 2 and 4
    assert len(before + train(model, optimizer, 6, 12)) == 12


@both_methods
def test_gam_fam_and_mask_start_anew_in_every_cycle(method_of: MethodOf) -> None:
    model, optimizer, attachment = start(method_of(**HYPER))
    for number in range(1, STEPS + 1):
        stage_one = (number - 1) // INTERVAL % 2 == 0
        for weight in attachment.weights:
            assert (weight.gam is not None) == stage_one
            assert (weight.fam is not None) == (stage_one and method_of is dps.DPSMix)
            if weight.gam is not None and (number - 1) % INTERVAL == 0:
                assert not weight.gam.any()
                assert weight.fam is None or not weight.fam.any()
        train(model, optimizer, number, number)


@both_methods
def test_the_selected_share_is_the_share_of_all_covered_weights(method_of: MethodOf) -> None:
    model, optimizer, attachment = start(method_of(**HYPER))
    train(model, optimizer, 1, INTERVAL)
    assert attachment.selected_share is None
    shares = []
    for number in range(INTERVAL + 1, STEPS + 1):
        chosen = masks(attachment) if (number - 1) // INTERVAL % 2 else []
        if chosen:
            shares.append(sum(int(mask.sum()) for mask in chosen) / (48 + 32))
            assert shares[-1] >= (20 + 13) / 80  # ranks of ceil(48 * 0.4) and ceil(32 * 0.4)
        train(model, optimizer, number, number)
    assert len(shares) == 6
    assert attachment.selected_share == pytest.approx(sum(shares) / 6, abs=1e-12)


def test_a_dense_mask_without_ties_has_exactly_its_share() -> None:
    model, optimizer, attachment = start(dps.DPSDense(**HYPER))
    train(model, optimizer)
    assert attachment.selected_share == pytest.approx((20 + 13) / 80, abs=1e-12)


def test_frozen_weights_and_those_of_another_optimizer_are_not_covered() -> None:
    model = MLP(6, 8, 8, 4)
    model.layers[0].requires_grad_(False)
    optimizer = torch.optim.SGD([*model.layers[0].parameters(), *model.layers[1].parameters()], 0.1)
    dps.DPSDense(**HYPER).attach(model, optimizer, STEPS)
    attachment: Attachment | None = attachment_of(optimizer)
    assert isinstance(attachment, DPSDenseAttachment)
    assert [weight.covered.name for weight in attachment.weights] == ["layers.1.weight"]


def test_the_state_of_another_model_is_refused() -> None:
    state = start(dps.DPSDense(**HYPER))[1].state_dict()
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4), nn.LayerNorm(4))
    _, optimizer, _ = start(dps.DPSDense(**HYPER), model=model)
    with pytest.raises(ValueError, match="covers weights that this model does not have"):
        optimizer.load_state_dict(state)


def test_dropout_is_zero_but_for_long_dense_runs() -> None:
    assert [dps.DPSDense().dropout(steps) for steps in (1, 1999, 2000)] == [0.0, 0.0, 0.1]
    assert [dps.DPSMix().dropout(steps) for steps in (1, 1999, 2000)] == [0.0, 0.0, 0.0]
