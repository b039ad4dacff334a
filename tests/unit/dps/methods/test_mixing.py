"""The fast form of DPS Mix and Mixout: equal to the slow one bit for bit, and whole at every moment."""

from __future__ import annotations

import copy
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.optim import Optimizer

import dps
from dps.methods import Method, attachment_of, make_method
from tests import families, tiny
from tests.unit.dps.methods.slow_reference import attach_slow

STEPS, INTERVAL = 12, 3  # Stage I in steps 1-3 and 7-9, Stage II in 4-6 and 10-12
MIX = dps.DPSMix(selection_ratio=0.4, update_ratio=INTERVAL / STEPS)
UPDATE = dps.DPSMix(selection_ratio=0.4, update_ratio=INTERVAL / STEPS, freeze="update")
MIXOUT, MIXCONNECT = make_method("mixout", p=0.6), make_method("mixconnect", p=0.6)
every_method = pytest.mark.parametrize(
    "method", [MIX, UPDATE, MIXOUT, MIXCONNECT], ids=["mix", "mix-update", "mixout", "mixconnect"]
)
Attach = Callable[..., Optimizer]


def attach_fast(
    method: Method, model: nn.Module, optimizer: Optimizer, steps: int, norm: float | None
) -> Any:
    return method.attach(model, optimizer, steps, norm)


BOTH: tuple[Attach, Attach] = (attach_slow, attach_fast)


def albert() -> nn.Module:
    """Four layers that share one block."""
    config = transformers.AlbertConfig(
        **{**tiny.SIZES, "num_hidden_layers": 4}, embedding_size=8, num_labels=2, classifier_dropout_prob=0.0
    )
    return families.made(transformers.AutoModelForSequenceClassification, config)


class Run:
    """A model in training, its optimizer and method; what each step came to."""

    def __init__(self, attach: Attach, method: Method, **setting: Any) -> None:
        torch.manual_seed(7)
        self.setting = setting
        self.model = setting.get("model", tiny.bert)()
        self.max_steps = setting.get("max_steps", STEPS)
        self.optimizer = tiny.OPTIMIZERS["adamw"](self.model.parameters())
        attach(method, self.model, self.optimizer, self.max_steps, setting.get("norm", 1.0))
        self.losses: list[float] = []
        self.seen: list[Any] = []  # what is read in the middle of a step

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        autocast = self.setting.get("autocast")
        with torch.autocast("cpu", dtype=autocast) if autocast else nullcontext():
            return self.model(**batch).loss

    def look(self, batch: dict[str, Tensor]) -> None:
        """Evaluate and save in the middle of a step."""
        self.model.eval()
        with torch.no_grad():
            self.seen.append(self.model(**batch).logits)
        self.model.train()
        self.seen += [tiny.snapshot(self.model), tiny.snapshot(self.model.base_model)]

    def train(self, first: int, last: int) -> Run:
        accumulate = self.setting.get("accumulate", 1)
        batches = tiny.batches(last * accumulate)[(first - 1) * accumulate :]
        for number, batch in enumerate(batches):
            loss = self.forward(batch)
            if self.setting.get("look"):
                self.look(batch)
            (loss / accumulate).backward()
            if self.setting.get("look"):
                self.look(batch)
            self.losses.append(loss.item())
            if number % accumulate == accumulate - 1:
                self.optimizer.step()
                self.optimizer.zero_grad()
        return self

    def result(self) -> Any:
        attachment = attachment_of(self.optimizer)
        assert attachment is not None
        return (
            self.losses,
            self.seen,
            tiny.snapshot(self.model),
            self.optimizer.state_dict(),
            attachment.selected_share,
        )


def checkpointed() -> nn.Module:
    model = tiny.bert()
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation over three batches": {"accumulate": 3},
    "evaluation and state_dict in the middle of a step": {"look": True, "accumulate": 2},
    "gradient checkpointing": {"model": checkpointed},
    "ALBERT": {"model": albert},
    "bf16 autocast": {"autocast": torch.bfloat16},
    "no clipping": {"norm": None},
    "past the end": {"max_steps": STEPS - 4},
    "float64": {"model": lambda: tiny.bert().double()},
    "bf16 weights": {"model": lambda: tiny.bert().bfloat16()},
    "XLNet": {"model": lambda: families.classifier("xlnet")},
    "GPT-2": {"model": lambda: families.classifier("gpt2")},
}


@pytest.mark.filterwarnings("ignore:.*is past max_steps")
@every_method
@pytest.mark.parametrize("setting", SETTINGS)
def test_it_equals_the_slow_form_bit_for_bit(method: Method, setting: str) -> None:
    slow, fast = (
        Run(attach, method, **SETTINGS[setting]).train(1, STEPS) for attach in (attach_slow, attach_fast)
    )
    assert tiny.same(fast.result(), slow.result())
    assert slow.losses != Run(attach_fast, dps.Vanilla(), **SETTINGS[setting]).train(1, STEPS).losses


@pytest.mark.parametrize("interval", [1, 50])
def test_short_and_long_intervals_equal_the_slow_form(interval: int) -> None:
    steps = 4 * interval
    method = dps.DPSMix(selection_ratio=0.4, update_ratio=0.25)
    slow, fast = (
        Run(attach, method, max_steps=steps).train(1, min(steps, 120))
        for attach in (attach_slow, attach_fast)
    )
    assert tiny.same(fast.result(), slow.result())


@every_method
@pytest.mark.parametrize("cut", [2, 5])
@pytest.mark.parametrize("there", [attach_slow, attach_fast], ids=["from-slow", "from-fast"])
def test_a_resumed_run_equals_the_slow_form(method: Method, cut: int, there: Attach) -> None:
    slow = Run(attach_slow, method).train(1, cut)
    saved = Run(there, method).train(1, cut)
    tree = copy.deepcopy((saved.model.state_dict(), saved.optimizer.state_dict()))
    resumed = Run(attach_fast, method)
    resumed.model(**tiny.batches(1)[0])  # it holds mixed weights when the state comes
    resumed.model.load_state_dict(tree[0])
    resumed.optimizer.load_state_dict(tree[1])
    slow.train(cut + 1, STEPS)
    resumed.train(cut + 1, STEPS)
    assert tiny.same(resumed.result()[1:], slow.result()[1:])
    assert resumed.losses == slow.losses[cut:]


def test_weights_of_several_types_equal_the_slow_form() -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8).double(), Cast(), nn.Linear(8, 4))

    def trained(attach: Attach) -> Any:
        torch.manual_seed(7)
        network = model()
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        attach(MIX, network, optimizer, STEPS, None)
        for x, y in tiny.pairs(STEPS, 6, 4):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(x.double()), y).backward()
            optimizer.step()
        return tiny.snapshot(network), optimizer.state_dict()

    assert tiny.same(trained(attach_fast), trained(attach_slow))


class Cast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x).float()


# whole at every moment


def in_the_middle(method: Method = MIX, steps: int = 1) -> tuple[nn.Module, Optimizer, dict[str, Tensor]]:
    """A model that ran a forward pass after a few steps, and the weights that it trains."""
    run = Run(attach_fast, method).train(1, steps)
    weights = tiny.snapshot(run.model)
    run.model(**tiny.batches(1)[0])
    held = dict(run.model.named_parameters())
    assert any(not torch.equal(value, held[name].detach()) for name, value in weights.items() if name in held)
    return run.model, run.optimizer, weights


@every_method
def test_state_dict_in_the_middle_of_a_step_shows_the_trained_weights(method: Method) -> None:
    model, _, weights = in_the_middle(method)
    assert tiny.same(dict(model.state_dict()), weights)
    assert tiny.same(dict(model.state_dict(keep_vars=True)), weights)
    wrapper = nn.ModuleDict({"inner": model})
    assert tiny.same(dict(wrapper.state_dict()), {f"inner.{name}": value for name, value in weights.items()})


@every_method
def test_what_is_loaded_in_the_middle_of_a_step_stays(method: Method) -> None:
    model, optimizer, weights = in_the_middle(method)
    model.load_state_dict({name: value + 1 for name, value in weights.items()})
    attachment_of(optimizer).detach()  # type: ignore[union-attr]
    assert tiny.same(
        {name: value - 1 for name, value in model.state_dict().items()},
        {name: value + 1 - 1 for name, value in weights.items()},
    )


@every_method
@pytest.mark.parametrize("part", ["", "bert", "bert.encoder.layer.0.output.dense"])
def test_a_copy_in_the_middle_of_a_step_is_whole_and_vanilla(method: Method, part: str) -> None:
    model, optimizer, weights = in_the_middle(method)
    weights = {n[len(part) + 1 if part else 0 :]: v for n, v in weights.items() if n.startswith(part)}
    twin = copy.deepcopy(model.get_submodule(part))
    assert tiny.same(
        {name: p.detach() for name, p in twin.named_parameters()},
        {name: weights[name] for name, _ in twin.named_parameters()},
    )
    plain = copy.deepcopy(tiny.bert().get_submodule(part))
    plain.load_state_dict(weights)
    batch = tiny.batches(1)[0] if not part else {"hidden_states": 0}
    if not part:
        assert torch.equal(twin(**batch).logits, plain(**batch).logits)
    twins, its_optimizer = copy.deepcopy((model, optimizer))
    assert attachment_of(its_optimizer) is attachment_of(twins) is None
    own = {id(p) for p in twins.parameters()}
    assert all(id(p) in own for group in its_optimizer.param_groups for p in group["params"])
    method.attach(twins, its_optimizer, STEPS)  # it may have a method of its own


def test_a_pickled_model_is_vanilla_and_one_in_the_middle_of_a_step_is_refused() -> None:
    model, optimizer, _weights = in_the_middle()
    with pytest.raises(
        ValueError, match=r"cannot be pickled between a forward pass and .*save model.state_dict"
    ):
        pickle.dumps(model)
    model(**tiny.batches(1)[0]).loss.backward()
    optimizer.step()
    again = pickle.loads(pickle.dumps(model))
    assert tiny.same(dict(again.state_dict()), dict(model.state_dict()))
    assert attachment_of(again) is None
    plain = tiny.bert()
    plain.load_state_dict(model.state_dict())
    batch = tiny.batches(1)[0]
    assert torch.equal(again(**batch).logits, plain(**batch).logits)


@every_method
@pytest.mark.parametrize("layer", range(14))
def test_an_interrupt_in_a_forward_pass_leaves_a_whole_model(method: Method, layer: int) -> None:
    usual = Run(attach_fast, method).train(1, 6)
    run = Run(attach_fast, method)
    linear = [module for module in run.model.modules() if isinstance(module, nn.Linear)]
    for step in range(1, 7):
        weights, parameters = tiny.snapshot(run.model), dict(run.model.named_parameters())
        handle = linear[layer].register_forward_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.model(**tiny.batches(1)[0])
        handle.remove()
        assert all(run.model.get_parameter(name) is value for name, value in parameters.items())
        assert tiny.same(dict(run.model.state_dict()), weights)
        run.model.eval()
        plain = tiny.bert().eval()
        plain.load_state_dict(weights)
        batch = tiny.batches(1)[0]
        with torch.no_grad():
            assert torch.equal(run.model(**batch).logits, plain(**batch).logits)
        run.model.train()
        run.train(step, step)
    assert tiny.same(run.result(), usual.result())


def interrupt(*args: Any) -> None:
    raise KeyboardInterrupt


def test_an_interrupt_while_the_weights_change_places_leaves_a_whole_model() -> None:
    """Ctrl-C comes between any two lines: a real signal, at every line of the exchange in turn."""
    usual = Run(attach_fast, MIX).train(1, 3)
    for line in range(1, 200):
        run = Run(attach_fast, MIX)
        count = [0]

        def trace(frame: Any, event: str, arg: Any, count: list[int] = count, line: int = line) -> Any:
            if not frame.f_code.co_filename.endswith("dps/attachment/mixing.py"):
                return None
            count[0] += event == "line"
            if count[0] == line:
                count[0] += 1
                signal.raise_signal(signal.SIGINT)
            return trace

        sys.settrace(trace)
        try:
            run.model(**tiny.batches(1)[0])
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        if count[0] < line:
            assert line > 50
            break
        plain = tiny.bert()
        assert tiny.same(dict(run.model.state_dict()), dict(plain.state_dict())), line
        batch = tiny.batches(1)[0]
        with torch.no_grad():
            assert torch.equal(run.model.eval()(**batch).logits, plain.eval()(**batch).logits), line
        run.model.train()
        assert tiny.same(run.train(1, 3).result(), usual.result()), line


# what the forward pass read, and what it did not


class Attention(nn.Module):
    """torch's own attention, which reads out_proj.weight without calling out_proj."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.attention(x, x, x, need_weights=False)[0])


@every_method
@pytest.mark.parametrize("by_part", [False, True])
def test_a_weight_that_is_read_without_calling_its_layer_is_mixed(method: Method, by_part: bool) -> None:
    torch.manual_seed(7)
    model = Attention()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    method.attach(model, optimizer, STEPS)
    x = torch.randn(2, 3, 8)
    for _ in range(2):
        model(x).square().sum().backward()
        optimizer.step()
    weight = model.attention.out_proj.weight
    trained = weight.detach().clone()
    if by_part:
        model.attention(x, x, x)
    else:
        model(x)
    assert not torch.equal(weight.detach(), trained)
    assert torch.equal(model.state_dict()["attention.out_proj.weight"], trained)


@every_method
def test_gradients_of_an_evaluation_pass_are_refused(method: Method) -> None:
    run = Run(attach_fast, method).train(1, 1)
    run.model.eval()
    run.model(**tiny.batches(1)[0]).loss.backward()
    before = tiny.snapshot(run.model)
    with pytest.raises(ValueError, match=r"needs the model in training mode, but .*; call model.train\(\)"):
        run.optimizer.step()
    run.model.train()
    with pytest.raises(ValueError, match=r"gradients are not those of the mixed weights, .*model.train\(\)"):
        run.optimizer.step()
    assert tiny.same(tiny.snapshot(run.model), before)
    run.optimizer.zero_grad()
    assert run.train(2, STEPS).losses == Run(attach_fast, method).train(1, STEPS).losses


@every_method
@pytest.mark.parametrize("asleep", ["bert", "classifier"])
def test_a_model_of_which_a_part_is_in_evaluation_mode_is_refused(method: Method, asleep: str) -> None:
    if method in (MIXOUT, MIXCONNECT) and asleep == "classifier":
        return  # they do not mix the head
    run = Run(attach_fast, method)
    run.model.get_submodule(asleep).eval()
    with pytest.raises(ValueError, match=r"needs the whole model in training mode, .*; call model.train\(\)"):
        run.model(**tiny.batches(1)[0])
    run.model.train()
    assert run.train(1, 3).losses == Run(attach_fast, method).train(1, 3).losses


@every_method
def test_an_evaluation_between_forward_and_backward_changes_nothing(method: Method) -> None:
    """With families whose layers keep the parameter itself for the backward pass, too."""
    for family in ("bert", "gpt2", "xlnet"):
        results = []
        for look in (False, True):
            run = Run(attach_fast, method, model=lambda: families.classifier(family), look=look)  # noqa: B023
            results.append(run.train(1, 5).result())
        assert tiny.same(results[0][2:], results[1][2:])


def test_a_backward_pass_that_would_read_other_weights_is_refused() -> None:
    model = families.classifier("gpt2")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    MIX.attach(model, optimizer, STEPS)
    (batch,) = tiny.batches(1)
    model(**batch).loss.backward()
    optimizer.step()
    loss = model(**batch).loss
    model.eval()
    model(**batch)  # with a graph of its own
    model.train()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_autocast_does_not_keep_mixed_weights_for_an_evaluation() -> None:
    run = Run(attach_fast, MIX).train(1, 2)
    (batch,) = tiny.batches(1)
    plain = tiny.bert().eval()
    plain.load_state_dict(run.model.state_dict())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        run.model(**batch)
        logits = run.model.eval()(**batch).logits
        assert torch.equal(logits, plain(**batch).logits)


def replicas(model: nn.Module) -> nn.Module:
    """What nn.DataParallel makes of a model for each GPU."""
    network = {module: module._replicate_for_data_parallel() for module in model.modules()}
    for module, replica in network.items():
        for name, child in module._modules.items():
            setattr(replica, name, network[child])
        for name, parameter in module._parameters.items():
            setattr(replica, name, parameter.clone() if parameter is not None else None)
    return network[model]


class Parallel(nn.DataParallel):
    """nn.DataParallel with two replicas on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        copies = [replicas(self.module) for _ in range(2)]
        return torch.cat([copy(part) for copy, part in zip(copies, x.chunk(2), strict=True)])


def test_data_parallel_mixes_where_attach_knows_it_and_is_refused_elsewhere() -> None:
    results = []
    for kind in (lambda model: model, Parallel):
        torch.manual_seed(7)
        model = kind(tiny.MLP(6, 8, 4))
        optimizer = tiny.OPTIMIZERS["adamw"](model.parameters())
        MIX.attach(model, optimizer, STEPS, 1.0)
        results.append([float(tiny.step(model, optimizer, pair)) for pair in tiny.pairs(STEPS, 6, 4)])
    assert results[1] == pytest.approx(results[0], rel=1e-5)
    inner = tiny.MLP(6, 8, 4)
    optimizer = tiny.OPTIMIZERS["adamw"](inner.parameters())
    MIX.attach(inner, optimizer, STEPS)
    with pytest.raises(ValueError, match=r"nn.DataParallel copied the weights before they were mixed"):
        Parallel(inner)(torch.randn(4, 6))
    dense = tiny.MLP(6, 8, 4)
    optimizer = tiny.OPTIMIZERS["adamw"](dense.parameters())
    dps.DPSDense(0.4, 0.25).attach(dense, optimizer, STEPS)
    tiny.step(Parallel(dense), optimizer, tiny.pairs(1, 6, 4)[0])


@every_method
def test_a_model_that_was_cast_after_attach_is_refused(method: Method) -> None:
    run = Run(attach_fast, method)
    run.model.double()
    with pytest.raises(ValueError, match=r"moved, cast or split after attach .*float32.*float64"):
        run.model(**tiny.batches(1)[0])


# torch.compile


@pytest.fixture
def compiling() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@every_method
@pytest.mark.parametrize("order", ["attach first", "compile first", "compile and run first"])
@pytest.mark.parametrize("how", ["torch.compile", "model.compile", "attach to the compiled"])
def test_a_compiled_model_equals_eager(method: Method, how: str, order: str, compiling: None) -> None:
    pairs = tiny.pairs(2 * INTERVAL + 1, 6, 4)

    def start(model: nn.Module) -> Optimizer:
        optimizer = tiny.OPTIMIZERS["adamw"](model.parameters())
        torch.manual_seed(7)
        return method.attach(model, optimizer, STEPS, 1.0)

    def train(model: nn.Module, optimizer: Optimizer) -> list[Any]:
        seen: list[Any] = []
        for pair in pairs:
            seen.append(tiny.step(model, optimizer, pair))
            with torch.no_grad():
                seen.append(model.eval()(pair[0]))
            model.train()
        return seen

    usual = tiny.MLP(6, 8, 4)
    expected = train(usual, start(usual))
    model = tiny.MLP(6, 8, 4)
    optimizer = start(model) if order == "attach first" else None
    compiled = model if how == "model.compile" else torch.compile(model, backend="eager")
    if how == "model.compile":
        model.compile(backend="eager")
    if order == "compile and run first":
        compiled(pairs[0][0])
    if optimizer is None:
        optimizer = start(compiled if how == "attach to the compiled" else model)
    assert tiny.same(train(compiled, optimizer), expected)
