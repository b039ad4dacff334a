"""An attachment belongs to its model: what is attached twice, wrongly or too early is right or refused."""

from __future__ import annotations

import copy
import gc
import math
import warnings
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.optim import AdamW

import dps
from dps.coverage import describe_coverage, find_covered_weights
from dps.methods import METHODS, Attachment, Method, attachment_of, make_method
from tests import families, tiny

STEPS, INTERVAL = 12, 3
VARIANTS = [
    make_method(name, **({"update_ratio": INTERVAL / STEPS} if kind.selects_weights else {}))
    for name, kind in METHODS.items()
]
NEED_HEAD = ("linear-probe", "lp-ft")
CHANGING_WEIGHTS = ("noisytune", "re-init")  # once, at attach
MIX = dps.DPSMix(selection_ratio=0.4, update_ratio=INTERVAL / STEPS)
DENSE = dps.DPSDense(selection_ratio=0.4, update_ratio=INTERVAL / STEPS)
every_method = pytest.mark.parametrize("method", VARIANTS, ids=lambda method: method.name)


def attach(method: Method, model: nn.Module, optimizer: Any = None, **options: Any) -> Attachment:
    torch.manual_seed(7)
    optimizer = AdamW(model.parameters(), 3e-3) if optimizer is None else optimizer
    method.attach(model, optimizer, options.pop("max_steps", STEPS), **options)
    attachment = attachment_of(optimizer)
    assert attachment is not None
    if method.cost.calibration_epochs:
        attachment.calibrate(model, tiny.batches(2))
    return attachment


def train(attachment: Attachment, model: nn.Module, count: int = 2 * INTERVAL) -> list[float]:
    losses = []
    for number, batch in enumerate(tiny.batches(count)):
        torch.manual_seed(number)
        attachment.optimizer.zero_grad()
        losses.append(attachment.backward(model, batch).item())
        attachment.optimizer.step()
    return losses


def bert() -> nn.Module:
    return tiny.bert(labels=3, dropout=0.1)


def copy_of(model: nn.Module) -> nn.Module:
    """A model of its own with these weights, and without the layers of a method."""
    plain, found = bert(), attachment_of(model)
    with found.evaluated() if found is not None and found.method.extra else nullcontext():
        plain.load_state_dict(model.state_dict())
    return plain


def whole(model: nn.Module) -> bool:
    held = [value for module in model.modules() for value in module._parameters.values()]
    return all(isinstance(value, nn.Parameter) and value.is_leaf for value in held if value is not None)


# twice


@every_method
@pytest.mark.parametrize("middle", [False, True], ids=["after a step", "in the middle of a step"])
@pytest.mark.filterwarnings("ignore:.*an earlier attach changed these weights")
def test_a_second_attach_takes_over_and_trains_as_a_first(method: Method, middle: bool) -> None:
    """As a notebook cell that runs twice, and Lightning's configure_optimizers."""
    model = bert()
    first = attach(method, model)
    train(first, model)
    if middle:
        model(**tiny.batches(1)[0])
    second_model = copy_of(model)
    second = attach(method, model)
    assert attachment_of(model) is second
    usual = make_method("vanilla") if method.name in CHANGING_WEIGHTS else method
    alone = attach(usual, second_model)
    assert train(second, model) == train(alone, second_model)
    assert tiny.same(tiny.snapshot(model), tiny.snapshot(second_model))
    assert whole(model)
    hooks = [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules()]
    alone.detach()
    attach(method, second_model)
    assert hooks == [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in second_model.modules()]
    first.optimizer.zero_grad()
    first.backward(model, tiny.batches(1)[0])
    before = tiny.snapshot(model)
    with pytest.raises(ValueError, match="was attached to this model again, with another optimizer"):
        first.optimizer.step()
    assert tiny.same(tiny.snapshot(model), before)


@every_method
def test_an_optimizer_without_the_method_may_not_train_attached_weights(method: Method) -> None:
    model = bert()
    attached = attach(method, model)
    stranger = AdamW([*model.classifier.parameters()], 3e-3)
    attached.backward(model, tiny.batches(1)[0])
    with pytest.raises(ValueError, match=f"{method.name} is attached to this model by another optimizer"):
        stranger.step()
    attached.detach()
    stranger.step()


class Outer(torch.optim.Optimizer):
    """An optimizer that steps another one, as SAM and Lookahead do."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner = inner

    def step(self, closure: Any = None) -> None:
        self.inner.step()


@pytest.mark.parametrize("outer_has_it", [False, True])
def test_an_optimizer_in_another_may_have_the_method_or_its_outer_one(outer_has_it: bool) -> None:
    model = bert()
    inner = AdamW(model.parameters(), 3e-3)
    outer = Outer(inner)
    attachment = attach(DENSE, model, outer if outer_has_it else inner)
    for number in range(3):
        attachment.backward(model, tiny.batches(1)[0])
        outer.step()
        assert attachment.steps == number + 1


@every_method
@pytest.mark.parametrize("part", ["whole", "encoder", "wrapper"])
def test_a_second_attach_may_see_more_or_less_of_the_model(method: Method, part: str) -> None:
    model = bert()
    first = attach(method, model)
    train(first, model, 2)
    other = {"whole": model, "encoder": model.bert, "wrapper": nn.DataParallel(model)}[part]
    if part == "encoder" and (method.cost.calibration_epochs or method.name in NEED_HEAD):
        return  # it has no loss to calibrate by, and no head
    if part == "wrapper" and method.extra:
        return  # see test_a_wrapped_model_is_refused
    with warnings.catch_warnings(action="ignore"):
        second = attach(method, other, AdamW(model.bert.parameters(), 3e-3))
    assert attachment_of(model) is second
    assert first.superseded
    assert whole(model)


@every_method
def test_another_method_for_the_same_model_is_refused_and_leaves_the_first(method: Method) -> None:
    model, usual_model = bert(), bert()
    first, usual = attach(method, model), attach(method, usual_model)
    for other in VARIANTS:
        if other.name != method.name:
            optimizer = AdamW(model.parameters())
            message = f"this model already has a method attached, {method.name}; detach it first"
            with pytest.raises(ValueError, match=message):
                other.attach(model, optimizer, STEPS)
            assert attachment_of(optimizer) is None
    assert attachment_of(model) is first
    assert train(first, model) == train(usual, usual_model)


@every_method
@pytest.mark.filterwarnings("ignore:.*an earlier attach changed these weights")
def test_after_detach_the_same_optimizer_takes_a_method_again(method: Method) -> None:
    model = bert()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    first = attach(method, model, optimizer)
    train(first, model, 2)
    model(**tiny.batches(1)[0])
    found = attachment_of(model)
    assert found is first
    found.detach()
    assert attachment_of(model) is attachment_of(optimizer) is None
    assert whole(model)
    assert rates == {
        id(p): pytest.approx(group["lr"]) for group in optimizer.param_groups for p in group["params"]
    }
    plain = copy_of(model)
    again = attach(method, model, optimizer)
    usual = make_method("vanilla") if method.name in CHANGING_WEIGHTS else method
    alone = attach(usual, plain, torch.optim.SGD(plain.parameters(), 0.05))
    assert train(again, model) == pytest.approx(train(alone, plain), rel=1e-6)


@every_method
def test_an_optimizer_that_was_taken_over_may_take_the_method_back(method: Method) -> None:
    model = tiny.bert(labels=3)
    with warnings.catch_warnings(action="ignore"):
        first = attach(method, model)
        attach(method, model)
        third = attach(method, model, first.optimizer)
    assert attachment_of(model) is third
    train(third, model)


def test_two_optimizers_for_two_parts_of_a_model_may_each_have_a_method() -> None:
    model = bert()
    one = attach(MIX, model, AdamW(model.bert.parameters(), 3e-3))
    other = attach(make_method("weight-decay"), model, AdamW(model.classifier.parameters(), 3e-3))
    for batch in tiny.batches(STEPS):
        model(**batch).loss.backward()
        one.optimizer.step()
        other.optimizer.step()
        one.optimizer.zero_grad()
        other.optimizer.zero_grad()
    assert one.steps == other.steps == STEPS


def test_nothing_keeps_a_model_that_nobody_has() -> None:
    model = bert()
    attach(MIX, model)
    attach(MIX, model)
    train(attach(MIX, model), model, 1)
    there = weakref.ref(model)
    del model
    gc.collect()
    assert there() is None


@pytest.mark.parametrize("name", CHANGING_WEIGHTS)
def test_what_changes_weights_once_does_so_again_on_the_pretrained_weights_alone(name: str) -> None:
    model = bert()
    pretrained = tiny.snapshot(model)
    attach(make_method(name), model).detach()
    changed = tiny.snapshot(model)
    assert not tiny.same(changed, pretrained)
    with pytest.warns(UserWarning, match=f"{name}: an earlier attach changed these weights already"):
        attach(make_method(name), model).detach()
    assert tiny.same(tiny.snapshot(model), changed)
    model.load_state_dict(pretrained)
    attach(make_method(name), model).detach()
    assert tiny.same(tiny.snapshot(model), changed)


# counting


class Inherited(AdamW):
    """Its step calls that of its base class."""

    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


@every_method
@pytest.mark.parametrize("by_closure", [False, True])
def test_a_step_that_calls_that_of_its_base_class_is_one_step(method: Method, by_closure: bool) -> None:
    AdamW(nn.Linear(1, 1).parameters())  # torch hooks the class once one of it was made
    losses = []
    for kind in (AdamW, Inherited):
        model = bert()
        attachment = attach(method, model, kind(model.parameters(), 3e-3), max_grad_norm=1.0)
        if by_closure:
            losses.append([])
            for number, batch in enumerate(tiny.batches(6)):
                torch.manual_seed(number)

                def closure(batch: Any = batch, model: Any = model, attachment: Any = attachment) -> Tensor:
                    attachment.optimizer.zero_grad()
                    return attachment.backward(model, batch)

                losses[-1].append(float(attachment.optimizer.step(closure)))  # type: ignore[arg-type]
        else:
            losses.append(train(attachment, model, 6))
        assert attachment.steps == 6
    assert losses[0] == losses[1]


class Faulty(Inherited):
    """A step of it raises in the middle when it is told to."""

    fails = False

    def step(self, closure: Any = None) -> Any:
        if self.fails:
            raise KeyboardInterrupt
        return super().step(closure)


def test_a_step_that_raises_is_none_and_the_next_one_counts() -> None:
    model, usual_model = bert(), bert()
    attachment = attach(DENSE, model, Faulty(model.parameters(), 3e-3))
    usual = attach(DENSE, usual_model)
    for number, batch in enumerate(tiny.batches(STEPS)):
        for each in (attachment, usual):
            torch.manual_seed(number)
            each.optimizer.zero_grad()
            each.backward(each.model, batch)
        if number % 3 == 1:
            attachment.optimizer.fails = True  # type: ignore[attr-defined]
            with pytest.raises(KeyboardInterrupt):
                attachment.optimizer.step()
            attachment.optimizer.fails = False  # type: ignore[attr-defined]
            torch.manual_seed(number)
            attachment.optimizer.zero_grad()
            attachment.backward(model, batch)
        attachment.optimizer.step()
        usual.optimizer.step()
        assert attachment.steps == usual.steps == number + 1


def test_the_first_step_past_max_steps_warns_once() -> None:
    for method in (MIX, DENSE):
        model = bert()
        attachment = attach(method, model)
        with warnings.catch_warnings(action="error"):
            train(attachment, model, STEPS)
        message = f"{method.name}: step 13 is past max_steps=12: nothing is masked"
        with pytest.warns(UserWarning, match=message) as seen:
            train(attachment, model, 3)
        assert len(seen) == 1


@pytest.mark.parametrize("value", ["0.5", None, True, torch.tensor(0.5)])
def test_a_hyper_parameter_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"selection_ratio must be in \(0, 1\], but got "):
        dps.DPSDense(selection_ratio=value, update_ratio=0.1)
    model = tiny.bert()
    with pytest.raises(ValueError, match="max_grad_norm must be above 0 or None" if value else "max_steps"):
        DENSE.attach(model, AdamW(model.parameters()), STEPS if value else value, max_grad_norm=value)


@pytest.mark.parametrize("steps", [math.inf, math.nan, 0, -3, 2.5, "10", None])
def test_max_steps_is_a_whole_number(steps: Any) -> None:
    model = tiny.bert()
    with pytest.raises(ValueError, match=f"max_steps must be at least 1, a whole .*, but got {steps!r}"):
        DENSE.attach(model, AdamW(model.parameters()), steps)  # type: ignore[arg-type]
    assert attach(DENSE, model, max_steps=12.0).max_steps == 12


def test_the_step_by_which_torch_makes_an_optimizers_state_is_none() -> None:
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    for method in VARIANTS:
        model = tiny.bert(labels=3)
        optimizer = AdamW(model.parameters())
        attachment = attach(method, model, optimizer)
        state = copy.deepcopy({k: v for k, v in optimizer.state_dict().items() if k != "state"})
        get_optimizer_state_dict(model, optimizer)
        assert attachment.steps == 0
        after = {k: v for k, v in optimizer.state_dict().items() if k != "state"}
        assert tiny.same(after["method"], state["method"])


def test_a_backward_pass_that_makes_a_graph_leaves_none_in_the_method() -> None:
    model = tiny.MLP(6, 8, 4)
    for method in (DENSE, MIX):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        method.attach(model, optimizer, STEPS)
        attachment = attachment_of(optimizer)
        for x, y in tiny.pairs(2 * INTERVAL, 6, 4):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward(create_graph=True)
            optimizer.step()
            for weight in attachment.weights:  # type: ignore[union-attr]
                assert not any(value.requires_grad for value in weight.state().values())
        attachment.detach()  # type: ignore[union-attr]


# states


@every_method
def test_a_state_of_other_hyper_parameters_is_refused_with_the_difference(method: Method) -> None:
    model = bert()
    state = copy.deepcopy(attach(method, model).optimizer.state_dict())
    for field, value in vars(method).items():
        other = make_method(method.name, **{**vars(method), field: other_value(field, value)})
        model = bert()
        fresh = attach(other, model)
        new = getattr(other, field)
        message = rf"{method.name} was saved with {field}={value!r}, attached with {field}={new!r}"
        with pytest.raises(ValueError, match=message):
            fresh.optimizer.load_state_dict(state)
    model = bert()
    longer = attach(method, model, max_steps=2 * STEPS)
    if method.plans_length:
        with pytest.raises(ValueError, match=r"was saved with max_steps=12, attached with max_steps=24;"):
            longer.optimizer.load_state_dict(state)
    else:
        longer.optimizer.load_state_dict(state)


def other_value(field: str, value: Any) -> Any:
    if isinstance(value, str):
        return "update"
    if value is None:  # chosen by the run
        return 0.5
    return value + 1 if isinstance(value, int) else (value + 0.4) / 2


def test_a_state_from_before_hyper_parameters_were_saved_is_taken() -> None:
    model = bert()
    state = attach(MIX, model).optimizer.state_dict()
    del state["method"]["hyper"], state["method"]["unused"]
    loaded = attach(MIX, bert())
    loaded.steps = 5
    loaded.optimizer.load_state_dict(state)
    assert loaded.steps == 0


# losses of their own


@pytest.mark.parametrize("name", ["r-drop", "r3f"])
def test_a_method_with_a_loss_of_its_own_refuses_the_gradients_of_another(name: str) -> None:
    model = bert()
    attachment = attach(make_method(name), model)
    (batch,) = tiny.batches(1)
    model(**batch).loss.backward()
    before = tiny.snapshot(model)
    message = rf"{name} has a loss of its own, .*attachment_of\(optimizer\).backward\(model, batch\)"
    with pytest.raises(ValueError, match=message):
        attachment.optimizer.step()
    assert tiny.same(tiny.snapshot(model), before)
    attachment.optimizer.zero_grad()
    for target in (model, nn.DataParallel(model)):  # as a loop, or a compute_loss, of one's own
        attachment.method.loss(target, batch).backward()
        attachment.optimizer.step()
        attachment.optimizer.zero_grad()
    assert attachment.steps == 2
    model(**batch).loss.backward()
    with pytest.raises(ValueError, match="has a loss of its own"):
        attachment.optimizer.step()


def test_r3f_without_its_noise_is_refused() -> None:
    """As where torch.compile leaves out the hook of the embeddings."""
    model = bert()
    attachment = attach(make_method("r3f"), model)
    embeddings = model.get_input_embeddings()
    model.bert.embeddings.word_embeddings = nn.Embedding.from_pretrained(embeddings.weight)
    model.get_input_embeddings = lambda: embeddings
    with pytest.raises(ValueError, match=r"r3f: .* left the noise on the embeddings out"):
        attachment.backward(model, tiny.batches(1)[0])


# coverage


class Thin(nn.Module):
    """A convolution, and a small head."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings, self.body, self.head = nn.Embedding(500, 32), nn.Conv1d(32, 64, 5), nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.embeddings(x).mT).mean(-1))


@pytest.mark.filterwarnings("ignore:.*holds no model of transformers")
@pytest.mark.parametrize("name", ["dps-dense", "dps-mix", "mixout", "bi-drop"])
def test_a_coverage_that_is_almost_empty_warns_with_its_share(name: str) -> None:
    model = Thin()
    method = make_method(name, **({"update_ratio": 0.25} if METHODS[name].selects_weights else {}))
    with pytest.warns(UserWarning, match=f"{name}: its linear weights are only 1.2 % of the trained"):
        method.attach(model, AdamW(model.parameters()), STEPS)
    described = describe_coverage(model, find_covered_weights(model))
    assert ", only 1.2 % of those outside the embeddings" in described


@pytest.mark.filterwarnings("error")
def test_a_usual_coverage_does_not_warn() -> None:
    for family in families.CONFIGURATIONS:
        model = families.classifier(family)
        attach(DENSE, model)
        assert "only" not in describe_coverage(model, find_covered_weights(model))
    model = tiny.bert()
    model.bert.requires_grad_(False)  # its user wants the head alone
    attach(DENSE, model)


def test_weights_that_are_unfrozen_after_attach_are_told_of() -> None:
    model = tiny.bert()
    model.bert.encoder.layer[0].requires_grad_(False)
    attachment = attach(DENSE, model)
    train(attachment, model, 1)
    model.bert.encoder.layer[0].requires_grad_(True)
    with pytest.warns(UserWarning, match="6 linear weights that were not trained at attach are trained now"):
        train(attachment, model, 2)


def test_weights_that_join_the_optimizer_after_attach_are_told_of() -> None:
    model = tiny.bert()
    attachment = attach(DENSE, model, AdamW(model.bert.encoder.layer[-1].parameters(), 3e-3))
    train(attachment, model, 1)
    attachment.optimizer.add_param_group({"params": [*model.bert.encoder.layer[0].parameters()]})
    with pytest.warns(UserWarning, match="6 linear weights that were not trained at attach are trained now"):
        train(attachment, model, 2)


def test_a_layer_that_is_never_used_counts_in_no_share() -> None:
    model = nn.ModuleDict({"used": nn.Linear(10, 10), "idle": nn.Linear(10, 10)})
    for method in (DENSE, MIX):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        method.attach(model, optimizer, 2 * INTERVAL * 2)
        attachment = attachment_of(optimizer)
        assert attachment is not None
        for x, _ in tiny.pairs(2 * INTERVAL - 1, 10, 1):
            model["used"](x).square().sum().backward()
            optimizer.step()
            state = copy.deepcopy(optimizer.state_dict())
            optimizer.load_state_dict(state)
        assert attachment.selected_share == pytest.approx(0.4, abs=0.02)
        attachment.detach()


# heads beside an encoder


class Own(nn.Module):
    """A pre-trained encoder in a module of one's own."""

    def __init__(self, head_first: bool = False) -> None:
        super().__init__()
        encoder = tiny.bert().bert
        if head_first:
            self.head = nn.Linear(16, 3)
        self.encoder = encoder
        if not head_first:
            self.head = nn.Linear(16, 3)

    def forward(self, labels: Tensor | None = None, **batch: Tensor) -> Any:
        logits = self.head(self.encoder(**batch).pooler_output)
        return transformers.modeling_outputs.SequenceClassifierOutput(
            loss=nn.functional.cross_entropy(logits, labels), logits=logits
        )


def holders() -> Iterator[tuple[nn.Module, set[str]]]:
    """Models that hold an encoder, and the names of their head."""
    yield Own(), {"head.weight", "head.bias"}
    yield Own(head_first=True), {"head.weight", "head.bias"}
    yield nn.ModuleDict({"model": tiny.bert()}), {"model.classifier.weight", "model.classifier.bias"}
    yield torch.compile(tiny.bert(), backend="eager"), {"classifier.weight", "classifier.bias"}
    yield nn.DataParallel(tiny.bert()), {"classifier.weight", "classifier.bias"}
    yield (
        nn.ModuleDict({"left": tiny.bert().bert, "right": tiny.bert().bert, "head": nn.Linear(2, 2)}),
        {
            "head.weight",
            "head.bias",
        },
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["mixout", "l2-sp", "noisytune"])
def test_a_head_beside_its_encoder_is_left_alone(name: str) -> None:
    for model, head in holders():
        inner = model._orig_mod if hasattr(model, "_orig_mod") else model
        inner = inner.module if isinstance(inner, nn.DataParallel) else inner
        before = tiny.snapshot(inner)
        attachment: Any = attach(make_method(name), model)
        if name == "mixout":
            assert not {weight.name for weight in attachment.weights} & head
        elif name == "l2-sp":
            assert not attachment.pretrained.keys() & head
        else:
            after = inner.state_dict()
            assert all(torch.equal(before[key], after[key]) for key in head)
            assert not tiny.same(before, dict(after))


@pytest.mark.parametrize("name", ["mixout", "l2-sp", "noisytune"])
def test_a_model_whose_head_nothing_tells_is_warned_of(name: str) -> None:
    with pytest.warns(UserWarning, match=f"{name}: MLP holds no model of transformers: every weight"):
        attach(make_method(name), tiny.MLP(6, 8, 4))


@pytest.mark.parametrize("name", ["llrd", "top-k", "re-init", "child-tuning-d"])
def test_methods_by_depth_know_the_blocks_of_an_encoder_within(name: str) -> None:
    model = Own()
    attachment = attach(make_method(name), model)
    train(attachment, model, 2)
    for several in (nn.ModuleDict({"left": tiny.bert().bert, "right": tiny.bert().bert}), tiny.MLP(6, 4)):
        with pytest.raises(ValueError, match=r"must have one pre-trained encoder, but has 2|has none"):
            make_method(name).attach(several, AdamW(several.parameters()), STEPS)


# weights in pieces


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Any]:
    """A process group of one."""
    from torch.distributed.device_mesh import init_device_mesh

    torch.distributed.init_process_group(
        "gloo", init_method=(tmp_path / "meeting").as_uri(), rank=0, world_size=1
    )
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@every_method
def test_weights_in_pieces_are_refused_by_name_or_train_as_whole_ones(method: Method, mesh: Any) -> None:
    from torch.distributed.fsdp import fully_shard

    model = bert()
    fully_shard(model, mesh=mesh)
    optimizer = AdamW(model.parameters(), 3e-3)
    if method.adds_layers or not (method.takes_split_weights or method.takes_shards):
        message = rf"attach: {method.name} needs whole weights, but .* split over devices by DTensor"
        with pytest.raises(ValueError, match=message):
            method.attach(model, optimizer, STEPS)
        return
    whole_model = bert()
    usual = attach(method, whole_model, max_grad_norm=1.0)
    losses = train(attach(method, model, optimizer, max_grad_norm=1.0), model)
    assert losses == pytest.approx(train(usual, whole_model), rel=1e-4)


def test_weights_that_are_split_after_attach_are_refused_at_the_first_step(mesh: Any) -> None:
    from torch.distributed.fsdp import fully_shard

    for method in (DENSE, MIX):
        model = tiny.MLP(6, 8, 4)
        optimizer = AdamW(model.parameters(), 3e-3)
        method.attach(model, optimizer, STEPS)
        wrapped = fully_shard(model, mesh=mesh)
        optimizer.param_groups[0]["params"] = list(wrapped.parameters())  # as Accelerate does
        with pytest.raises(ValueError, match=r"split.*; attach once the model is where it trains"):
            tiny.step(wrapped, optimizer, tiny.pairs(1, 6, 4)[0])


class FullyShardedDataParallel(nn.Module):
    """What FSDP1, which needs a GPU, does to the parameters of a model: they become a flat piece of it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        for parameter in module.parameters():
            parameter.data = parameter.data.view(-1)[: parameter.numel() // 2].clone()


@every_method
def test_fsdp1_is_refused_at_attach_or_at_the_first_step(method: Method) -> None:
    split = FullyShardedDataParallel(tiny.MLP(6, 8, 4))
    if not method.takes_split_weights:
        with pytest.raises(ValueError, match=f"{method.name} needs whole weights, .* by FullyShardedDataPar"):
            method.attach(split, AdamW(split.parameters()), STEPS)
    if not method.selects_weights:
        return
    model = tiny.MLP(6, 8, 4)
    optimizer = AdamW(model.parameters())
    method.attach(model, optimizer, STEPS)
    split = FullyShardedDataParallel(model)
    if method.name == "dps-mix":
        with pytest.raises(ValueError, match="dps-mix: the model was moved, cast or split after attach"):
            model(torch.randn(2, 6))
    else:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        with pytest.raises(ValueError, match=f"{method.name}: the optimizer has other parameters than at"):
            optimizer.step()
