"""What every method of fine-tuning promises, through one suite."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from torch.optim import Optimizer

from dps.methods import METHODS, Attachment, Method, attachment_of, make_method
from dps.methods.dps import _DPS, DPSDenseAttachment
from dps.training import checkpoint
from tests import tiny

STEPS = 12
INTERVAL = 3  # Stage I in steps 1-3 and 7-9, Stage II in 4-6 and 10-12
CUTS = (2, 3, 5, 9)  # inside and at the ends of stages
FEW = 4  # steps that show as much of a method without stages
LABELS = 3  # of two labels the rows of the classifier tie, but for rounding

# A new method adds a line here: values that make it vanilla, and values it refuses.
NEUTRAL: dict[str, dict[str, Any]] = {
    "dps-dense": {"selection_ratio": 1.0},
    "dps-mix": {"selection_ratio": 1.0},
    "vanilla": {},
    "vanilla-no-dropout": {},
    "dps-random": {"selection_ratio": 1.0},
    "random-mask": {"selection_ratio": 1.0},
    "magnitude-mask": {"selection_ratio": 1.0},
    "gradient-mask": {"selection_ratio": 1.0},
    "mixout": {"p": 0.0},
    "mixconnect": {"p": 0.0},
    "child-tuning-f": {"reserve_p": 1.0},
    "child-tuning-d": {"reserve_p": 1.0},
    "r-drop": {"alpha": 0.0},
    "r3f": {"weight": 0.0},
    "l2-sp": {"strength": 0.0},
    "weight-decay": {"strength": 0.0},
    "top-k": {"layers": tiny.SIZES["num_hidden_layers"] + 1},
    "re-init": {"layers": 0},
    "llrd": {"decay": 1.0},
    "noisytune": {"noise": 0.0},
    "bi-drop": {"selection_ratio": 1.0},
    "ema": {"decay": 0.0},
    "swa": {"averaged_share": 0.0},
    "wise-ft": {"alpha": 1.0},
    "lp-ft": {"head_share": 0.0},
    "label-smoothing": {"smoothing": 0.0},
    "sam": {"rho": 0.0},
}
ADD_LAYERS = ("lora", "dora", "ia3")
TRAIN_A_PART = (*ADD_LAYERS, "bitfit", "linear-probe")  # whatever their values, they are not vanilla
STRENGTH: list[Any] = [-0.1, math.inf, math.nan]
PROBABILITY: list[Any] = [-0.1, 1.0, math.nan]
SHARE: list[Any] = [0.0, -0.1, 1.1, math.nan]
REFUSED: dict[str, list[Any]] = {  # by hyper-parameter, or by method and hyper-parameter
    "selection_ratio": SHARE,
    "update_ratio": SHARE,
    "freeze": ["weights", ""],
    "dropout_ratio": PROBABILITY,
    "p": PROBABILITY,
    "reserve_p": SHARE,
    "alpha": STRENGTH,
    "weight": STRENGTH,
    "sigma": STRENGTH,
    "strength": STRENGTH,
    "noise": STRENGTH,
    "layers": [-1],
    "llrd.decay": [0.0, 1.1, math.nan],
    "ema.decay": PROBABILITY,
    "wise-ft.alpha": [-0.1, 1.1, math.nan],
    "passes": [1, 0],
    "rank": [0, -1, 1.5],
    "head_share": PROBABILITY,
    "averaged_share": PROBABILITY,
    "smoothing": PROBABILITY,
    "rho": STRENGTH,
}
SELECTING = [name for name, method in METHODS.items() if method.selects_weights]
NEEDING_WEIGHTS = [
    *SELECTING,
    *("mixout", "mixconnect", "bi-drop", "random-mask", "magnitude-mask", "gradient-mask"),
]
# They do more around a step than change gradients: move weights, set rates, take gradients away.
WITH_EVERY_OPTIMIZER = [*SELECTING, "weight-decay", "llrd", "top-k"]


def _variants() -> Iterator[Method]:
    for name, kind in METHODS.items():
        knobs = {field.name for field in fields(kind)}
        staged = {"update_ratio": INTERVAL / STEPS} if "update_ratio" in knobs else {}
        for choice in [{"freeze": "gradient"}, {"freeze": "update"}] if "freeze" in knobs else [{}]:
            yield make_method(name, **staged, **choice)


VARIANTS = list(_variants())
OptimizerOf = Callable[[Any], Optimizer]
FUSED, SGD = "adamw-fused", "sgd"


def _name(method: Method) -> str:
    return "-".join([method.name, *([method.freeze] if isinstance(method, _DPS) else [])])


every_method = pytest.mark.parametrize("method", VARIANTS, ids=_name)
PAIRS = [
    pytest.param(method, kind, id=f"{_name(method)}-{kind}")
    for method in VARIANTS
    for kind in (tiny.OPTIMIZERS if method.name in WITH_EVERY_OPTIMIZER else (FUSED,))
]
every_optimizer = pytest.mark.parametrize(("method", "kind"), PAIRS)
every_optimizer_of_vanilla = pytest.mark.parametrize(
    ("method", "kind"), [pair for pair in PAIRS if pair.values[0].name not in TRAIN_A_PART]
)


@cache
def _pretrained() -> nn.Module:
    return tiny.bert(labels=LABELS)


def plain_model() -> nn.Module:
    """A tiny BERT, always the same."""
    return copy.deepcopy(_pretrained())


def length(method: Method) -> int:
    """Steps that a test trains: as many as it takes to come through every stage."""
    return STEPS if method.selects_weights else FEW


def start(
    method: Method, kind: str = FUSED, seed: int = 0, double: bool = False, **options: Any
) -> tuple[nn.Module, Optimizer]:
    """A tiny model with the method on its optimizer."""
    torch.manual_seed(seed)
    model = plain_model().double() if double else plain_model()
    optimizer = tiny.OPTIMIZERS[kind](model.parameters())
    assert method.attach(model, optimizer, STEPS, **{"max_grad_norm": 1.0, **options}) is optimizer
    if method.cost.calibration_epochs:
        at_work(optimizer).calibrate(model, tiny.batches(2))
    return model, optimizer


def at_work(optimizer: Optimizer) -> Attachment:
    """The method on the optimizer."""
    attachment = attachment_of(optimizer)
    assert attachment is not None
    return attachment


def train(model: nn.Module, optimizer: Optimizer, first: int, last: int) -> list[float]:
    """Steps `first` to `last`; returns their losses."""
    losses = []
    for step, batch in enumerate(tiny.batches(last)[first - 1 :], start=first):
        torch.manual_seed(step)  # as the training loop does
        optimizer.zero_grad()
        losses.append(at_work(optimizer).backward(model, batch).item())
        optimizer.step()
    return losses


def evaluated(model: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """A copy of the weights that are scored and saved."""
    with at_work(optimizer).evaluated():
        return tiny.snapshot(model)


@every_method
def test_attach_returns_the_very_optimizer(method: Method) -> None:
    _, optimizer = start(method)
    assert at_work(optimizer).optimizer is optimizer
    assert at_work(optimizer).method is method


@every_optimizer
def test_training_lowers_the_loss(method: Method, kind: str) -> None:
    model, optimizer = start(method, kind)
    (batch,) = tiny.batches(1, rows=16)

    def loss() -> float:
        with torch.no_grad():
            return float(model.eval()(**batch).loss)

    before = loss()
    model.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        at_work(optimizer).backward(model, batch)
        optimizer.step()
    assert loss() < 0.95 * before


@every_optimizer
def test_save_and_resume_equals_training_through(method: Method, kind: str, tmp_path: Path) -> None:
    model, optimizer = start(method, kind)
    cuts, last = CUTS if method.selects_weights else CUTS[:1], length(method)
    losses: list[float] = []
    for cut, following in zip((0, *cuts), (*cuts, last), strict=True):
        losses += train(model, optimizer, cut + 1, following)
        tree = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        if following in cuts:
            checkpoint.save_checkpoint(tmp_path / str(following), following, tree)
    for cut in cuts:
        resumed, its_optimizer = start(method, kind, seed=100 + cut)
        tree = checkpoint.load_checkpoint(tmp_path / str(cut))
        resumed.load_state_dict(tree["model"])
        its_optimizer.load_state_dict(tree["optimizer"])
        assert train(resumed, its_optimizer, cut + 1, last) == losses[cut:]
        assert tiny.same(evaluated(resumed, its_optimizer), evaluated(model, optimizer))
        assert tiny.same(tiny.snapshot(resumed), tiny.snapshot(model))
        assert tiny.same(its_optimizer.state_dict(), optimizer.state_dict())


@every_method
def test_the_models_state_dict_is_untouched_during_and_after(method: Method) -> None:
    plain = plain_model()
    model, optimizer = start(method)
    shapes = {name: value.shape for name, value in plain.state_dict().items()}
    names = [name for name, _ in plain.named_parameters()]
    for step in range(length(method)):
        with at_work(optimizer).evaluated() if method.name in ADD_LAYERS else nullcontext():
            assert {name: value.shape for name, value in model.state_dict().items()} == shapes
            assert [name for name, _ in model.named_parameters()] == names
            assert all(isinstance(parameter, nn.Parameter) for parameter in model.parameters())
        train(model, optimizer, step + 1, step + 1)
    at_work(optimizer).finish()
    assert list(model.state_dict()) == list(shapes)


@every_method
def test_a_saved_model_loads_into_a_plain_one(method: Method, tmp_path: Path) -> None:
    model, optimizer = start(method)
    train(model, optimizer, 1, INTERVAL + 1)
    with at_work(optimizer).evaluated():
        model.save_pretrained(tmp_path)
    plain, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert tiny.same(plain.state_dict(), evaluated(model, optimizer))


@every_method
def test_what_is_scored_is_what_stays_and_training_goes_on_from_its_own_weights(method: Method) -> None:
    (model, optimizer), (usual, its_optimizer) = start(method), start(method)
    last = length(method)
    for step in range(1, last + 1):
        losses = train(model, optimizer, step, step), train(usual, its_optimizer, step, step)
        assert losses[0] == losses[1]
        before, scored = tiny.snapshot(model), evaluated(model, optimizer)
        with at_work(optimizer).evaluated(), at_work(optimizer).evaluated():
            assert tiny.same(tiny.snapshot(model), scored)
            with pytest.raises(ValueError, match=r"a step within evaluated\(\)"):
                optimizer.step()
            with pytest.raises(ValueError, match=r"leave evaluated\(\) before detach"):
                at_work(optimizer).finish()
        assert tiny.same(tiny.snapshot(model), before)
    at_work(optimizer).finish()
    assert tiny.same(tiny.snapshot(model), scored)
    assert attachment_of(optimizer) is None
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", METHODS)
def test_every_hyper_parameter_refuses_what_is_outside_its_range(name: str) -> None:
    for field in fields(METHODS[name]):
        for value in REFUSED.get(f"{name}.{field.name}") or REFUSED[field.name]:
            with pytest.raises(ValueError, match=rf"^{field.name} must be .*, but got '?{value}'?$"):
                make_method(name, **{field.name: value})


@pytest.mark.parametrize("name", METHODS)
def test_an_unknown_hyper_parameter_is_refused_naming_the_known(name: str) -> None:
    with pytest.raises(ValueError, match=f"method: {name} has no temperature; it has "):
        make_method(name, temperature=1.0)


def test_an_unknown_method_is_refused_naming_the_known() -> None:
    with pytest.raises(ValueError, match=r"no method 'magic'; choose one of .*vanilla"):
        make_method("magic")


@every_method
def test_gradient_accumulation_counts_optimizer_steps(method: Method) -> None:
    """With SGD: AdamW blows the rounding of a gradient that is zero up to a whole step."""
    whole, its_optimizer = start(method, SGD, double=True)
    halves, other = start(method, SGD, double=True)
    one, two = at_work(its_optimizer), at_work(other)
    for number, batch in enumerate(tiny.batches(length(method)), start=1):
        its_optimizer.zero_grad()
        one.backward(whole, batch)
        its_optimizer.step()
        other.zero_grad()
        for rows in (slice(0, 4), slice(4, 8)):
            half = {key: value[rows] for key, value in batch.items()}
            two.backward(halves, half, scale=lambda loss: loss / 2)
        other.step()
        assert one.steps == two.steps == number
        if isinstance(one, DPSDenseAttachment) and isinstance(two, DPSDenseAttachment):
            for a, b in zip(one.weights, two.weights, strict=True):
                assert tiny.same(a.active, b.active)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(halves.state_dict()[name], value, rtol=1e-6, atol=1e-6)


@cache
def vanilla_weights(kind: str, steps: int) -> dict[str, torch.Tensor]:
    """What plain training with clipping comes to."""
    plain = plain_model()
    optimizer = tiny.OPTIMIZERS[kind](plain.parameters())
    for batch in tiny.batches(steps):
        optimizer.zero_grad()
        plain(**batch).loss.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
    return tiny.snapshot(plain)


@every_optimizer_of_vanilla
def test_at_strength_zero_it_is_vanilla_bit_for_bit(method: Method, kind: str) -> None:
    values = {field.name: getattr(method, field.name) for field in fields(method)}
    neutral = make_method(method.name, **{**values, **NEUTRAL[method.name]})
    model, optimizer = start(neutral, kind)
    train(model, optimizer, 1, length(method))
    assert tiny.same(evaluated(model, optimizer), vanilla_weights(kind, length(method)))


@every_method
def test_a_second_method_on_one_optimizer_is_refused_and_leaves_the_first(method: Method) -> None:
    model, optimizer = start(method)
    hooks = [len(module._forward_pre_hooks) for module in model.modules()]
    for second in VARIANTS:
        with pytest.raises(ValueError, match="already has a method attached"):
            second.attach(model, optimizer, max_steps=STEPS)
    assert [len(module._forward_pre_hooks) for module in model.modules()] == hooks
    alone, its_optimizer = start(method)
    steps = length(method)
    assert train(model, optimizer, 1, steps) == train(alone, its_optimizer, 1, steps)


@every_method
def test_a_state_without_the_method_is_refused(method: Method) -> None:
    model, optimizer = start(method)
    bare = tiny.OPTIMIZERS[FUSED](plain_model().parameters()).state_dict()
    with pytest.raises(ValueError, match=f"the state holds no method, but '{method.name}' is attached"):
        optimizer.load_state_dict(bare)
    other = next(variant for variant in VARIANTS if variant.name != method.name)
    with pytest.raises(ValueError, match=f"holds the method '{other.name}', but '{method.name}' is attached"):
        optimizer.load_state_dict(start(other)[1].state_dict())
    losses = train(model, optimizer, 1, length(method))
    assert losses == train(*start(method), 1, length(method))


@every_method
def test_a_norm_to_clip_at_must_be_above_zero(method: Method) -> None:
    with pytest.raises(ValueError, match="max_grad_norm must be above 0 or None, but got 0"):
        start(method, max_grad_norm=0.0)


@pytest.mark.parametrize("name", NEEDING_WEIGHTS)
def test_a_model_without_a_covered_weight_is_refused(name: str) -> None:
    for model in (nn.Sequential(nn.Embedding(4, 3), nn.LayerNorm(3)), nn.Linear(3, 3).requires_grad_(False)):
        with pytest.raises(ValueError, match=f"{name} needs at least one trained linear weight, but"):
            make_method(name).attach(model, torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1), max_steps=100)


@pytest.mark.parametrize("name", SELECTING)
def test_an_interval_below_one_step_is_refused(name: str) -> None:
    model = tiny.MLP(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"max_steps \* update_ratio must be at least 1, but got 10 \* 0.05"):
        make_method(name, update_ratio=0.05).attach(model, optimizer, max_steps=10)
    assert attachment_of(optimizer) is None


@every_method
def test_detaching_leaves_a_plain_model_and_optimizer(method: Method) -> None:
    model, optimizer = start(method)
    train(model, optimizer, 1, 1)
    at_work(optimizer).detach()
    assert list(model.state_dict()) == list(plain_model().state_dict())
    assert all(type(a) is type(b) for a, b in zip(model.modules(), plain_model().modules(), strict=True))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert optimizer.state_dict().keys() == {"state", "param_groups"}


@every_method
def test_a_step_with_a_closure_is_a_step(method: Method) -> None:
    model, optimizer = start(method)
    losses = []
    for step, batch in enumerate(tiny.batches(length(method)), start=1):
        torch.manual_seed(step)

        def closure(batch: dict[str, torch.Tensor] = batch) -> torch.Tensor:
            optimizer.zero_grad()
            return at_work(optimizer).backward(model, batch)

        losses.append(float(optimizer.step(closure).detach()))  # type: ignore[arg-type]
    usual, its_optimizer = start(method)
    assert losses == train(usual, its_optimizer, 1, length(method))
    assert tiny.same(tiny.snapshot(model), tiny.snapshot(usual))
