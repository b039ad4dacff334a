"""Models and optimizers that methods are attached to, in the ways people do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.trust.case import Case, Outcome

PREAMBLE = """
import warnings
import torch, dps
from torch import nn
from dps.methods import attachment_of
torch.manual_seed(0)
X = torch.randn(256, 8)
Y = (X[:, 0] * X[:, 1] > 0).long()
def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
def adam(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-2)
def train(model, optimizer, steps, first=0):
    for step in range(first, first + steps):
        rows = torch.arange(step * 16, step * 16 + 16) % 256
        nn.functional.cross_entropy(model(X[rows]), Y[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
def accuracy(model):
    return (model.eval()(X).argmax(1) == Y).float().mean().item()
def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))
MIX = dps.DPSMix(selection_ratio=0.5, update_ratio=0.1)
DENSE = dps.DPSDense(selection_ratio=0.5, update_ratio=0.1)
make = getattr(dps.methods, "make_method", None) or dps.methods.make  # its name in older versions
MIXOUT = make("mixout", p=0.5)
"""
RIGHT = "as it should be"
ATTACH = "tests/unit/dps/methods/test_attach.py::"
MIXING = "tests/unit/dps/methods/test_mixing.py::"
DEPTH = "tests/unit/dps/methods/test_depth_methods.py"


def _is_right(outcome: Outcome) -> bool:
    return outcome.code == 0 and RIGHT in outcome.output


def _refuses(*words: str) -> Callable[[Outcome], bool]:
    """Return a check that the last line is a ValueError with these words."""

    def check(outcome: Outcome) -> bool:
        last = outcome.output.strip().rpartition("\n")[2]
        return outcome.code == 1 and "ValueError: " in last and all(word in last for word in words)

    return check


def _case(
    name: str, code: str, right: Callable[[Outcome], bool] = _is_right, test: str | None = None
) -> Case:
    def prepare(folder: Path) -> Sequence[str]:
        return ["-c", f"{PREAMBLE}\n{code}\n" + (f"print({RIGHT!r})" if right is _is_right else "")]

    return Case("attach", name, prepare, right, test)


CASES = [
    *(
        _case(
            f"a cell with attach runs twice, {name}",
            f"""
model = net()
train(model, {name}.attach(model, adam(model), max_steps=300), 5)
train(model, {name}.attach(model, adam(model), max_steps=300), 300)
assert all(isinstance(m.weight, nn.Parameter) for m in model if hasattr(m, "weight"))
assert accuracy(model) > 0.85, accuracy(model)
""",
            test=f"{ATTACH}test_a_second_attach_takes_over_and_trains_as_a_first",
        )
        for name in ("MIX", "DENSE")
    ),
    _case(
        "two methods for one model, by two optimizers",
        """
model = net()
MIX.attach(model, adam(model), max_steps=20)
MIXOUT.attach(model, adam(model), max_steps=20)
""",
        _refuses("dps-mix", "detach"),
        f"{ATTACH}test_another_method_for_the_same_model_is_refused_and_leaves_the_first",
    ),
    _case(
        "attach again to the same optimizer",
        """
model = net()
optimizer = DENSE.attach(model, adam(model), max_steps=20)
DENSE.attach(model, optimizer, max_steps=20)
""",
        _refuses("already"),
    ),
    *(
        _case(
            f"the model is trained by another optimizer than the attached one, {name}",
            f"""
model = net()
attached = {name}.attach(model, adam(model), max_steps=100)
train(model, adam(model), 100)
assert accuracy(model) > 0.85, accuracy(model)
""",
            _refuses(method, "another optimizer", "detach"),
            f"{ATTACH}test_an_optimizer_without_the_method_may_not_train_attached_weights",
        )
        for name, method in (("MIX", "dps-mix"), ("DENSE", "dps-dense"), ("MIXOUT", "mixout"))
    ),
    _case(
        "an optimizer that was lost in a function, MIX",
        """
def prepare(model):
    MIX.attach(model, adam(model), max_steps=100)
model = net()
prepare(model)
train(model, adam(model), 100)
assert accuracy(model) > 0.85, accuracy(model)
""",
        _refuses("dps-mix", "another optimizer", "detach"),
        f"{ATTACH}test_an_optimizer_without_the_method_may_not_train_attached_weights",
    ),
    _case(
        "layers that join the optimizer later",
        """
model = net()
optimizer = DENSE.attach(model, adam(model[4]), max_steps=20)
train(model, optimizer, 2)
optimizer.add_param_group({"params": list(model[0].parameters())})
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    train(model, optimizer, 2)
assert any("not trained at attach" in str(each.message) for each in caught), caught
""",
        test=f"{ATTACH}test_weights_that_join_the_optimizer_after_attach_are_told_of",
    ),
    *(
        _case(
            f"max_steps of {value}",
            f"""
model = net()
DENSE.attach(model, adam(model), max_steps={value})
""",
            _refuses("max_steps", f"but got {value}"),
            f"{ATTACH}test_max_steps_is_a_whole_number",
        )
        for value in ("'10'", "None")
    ),
    *(
        _case(
            f"a selection ratio of {value}",
            f"dps.DPSDense(selection_ratio={value}, update_ratio=0.1)",
            _refuses("selection_ratio", f"but got {value}"),
            f"{ATTACH}test_a_hyper_parameter_that_is_no_number_is_refused",
        )
        for value in ("'0.5'", "None", "True")
    ),
    *(
        _case(
            f"a GradScaler and a fused kernel, {name}",
            f"""
made = []
for use in (False, True):
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    torch.manual_seed(7)
    {name}.attach(model, optimizer, max_steps=30, max_grad_norm=0.05)
    scaler = torch.amp.GradScaler("cpu", enabled=use, init_scale=1024.0)
    for step in range(30):
        scaler.scale(nn.functional.cross_entropy(model(X), Y)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    made.append(model.state_dict())
assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(made[0].values(), made[1].values()))
""",
        )
        for name in ("MIX", "DENSE", "MIXOUT")
    ),
    _case(
        "an average of weights by torch.optim.swa_utils, MIX",
        """
model = net()
optimizer = MIX.attach(model, adam(model), max_steps=40)
mean = torch.optim.swa_utils.AveragedModel(model, avg_fn=lambda mean, value, count: value)
for step in range(30):
    train(model, optimizer, 1, step)
    mean.update_parameters(model)
assert same(mean.module, model)
""",
    ),
    _case(
        "detach, then attach to the same optimizer",
        """
model = net()
optimizer = MIX.attach(model, adam(model), max_steps=20)
attachment_of(optimizer).detach()
train(model, DENSE.attach(model, optimizer, max_steps=20), 20)
assert attachment_of(optimizer).steps == 20
""",
        test=f"{ATTACH}test_after_detach_the_same_optimizer_takes_a_method_again",
    ),
    _case(
        "an interrupt in a forward pass",
        """
class Stop(nn.Module):
    def forward(self, x):
        if on: raise KeyboardInterrupt
        return x
for name, method in (("mix", MIX), ("mixout", MIXOUT)):
    on = False
    model = net()
    model.insert(3, Stop())
    optimizer = method.attach(model, adam(model), max_steps=20)
    train(model, optimizer, 3)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    on = True
    for i in range(5):
        try: model(X)
        except KeyboardInterrupt: pass
    assert all(type(m.weight) is nn.Parameter for m in model if hasattr(m, "weight")), name
    after = model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before), name
""",
        test=f"{MIXING}test_an_interrupt_in_a_forward_pass_leaves_a_whole_model",
    ),
    *(
        _case(
            f"an interrupt within a layer that was mixed already, {name}",
            f"""
class Broken(nn.Linear):
    def forward(self, x):
        if on: raise KeyboardInterrupt
        return super().forward(x)
on = False
model = nn.Sequential(Broken(8, 16), nn.Linear(16, 2))
optimizer = {name}.attach(model, adam(model), max_steps=20)
train(model, optimizer, 3)
on = True
try: model(X)
except KeyboardInterrupt: pass
assert type(model[0].weight) is nn.Parameter, type(model[0].weight)
""",
            test=f"{MIXING}test_an_interrupt_in_a_forward_pass_leaves_a_whole_model",
        )
        for name in ("MIX", "MIXOUT")
    ),
    _case(
        "a step that calls super().step()",
        """
class Own(torch.optim.AdamW):
    def step(self, closure=None): return super().step(closure)
torch.optim.AdamW([nn.Parameter(torch.ones(1))])
model = net()
optimizer = DENSE.attach(model, Own(model.parameters(), lr=1e-2), max_steps=32)
train(model, optimizer, 16)
assert attachment_of(optimizer).steps == 16, attachment_of(optimizer).steps
""",
        test=f"{ATTACH}test_a_step_that_calls_that_of_its_base_class_is_one_step",
    ),
    _case(
        "a weight that is read without calling its layer, MultiheadAttention",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.attention = nn.MultiheadAttention(8, 2)
        self.head = nn.Linear(8, 2)
    def forward(self, x):
        x = x[None]
        return self.head(self.attention(x, x, x, need_weights=False)[0][0])
model = Net()
plain = model(X).detach()
optimizer = MIXOUT.attach(model, torch.optim.SGD(model.parameters(), lr=0.0), max_steps=20)
W = model.attention.out_proj.weight
with torch.no_grad():
    W.add_(0.5 * torch.randn_like(W))
loss = nn.functional.cross_entropy(model.train()(X), Y)
read = torch.autograd.grad(loss, W, retain_graph=True)[0]
seen = W.detach().clone()  # what the forward pass read
model.eval()
trained = model.attention.out_proj.weight.detach().clone()
optimizer.step()
assert not torch.equal(seen, model.attention.out_proj.weight), "W itself was read"
""",
        test=f"{MIXING}test_a_weight_that_is_read_without_calling_its_layer_is_mixed",
    ),
    _case(
        "torch.compile before attach",
        """
model, twin = net(), net()
torch._dynamo.reset()
compiled = torch.compile(model, backend="eager")
compiled(X)
optimizer = MIX.attach(model, adam(model), max_steps=32)
other = MIX.attach(twin, adam(twin), max_steps=32)
torch.manual_seed(5); train(compiled, optimizer, 12)
torch.manual_seed(5); train(twin, other, 12)
assert same(model, twin)
""",
        test=f"{MIXING}test_a_compiled_model_equals_eager",
    ),
    *(
        _case(
            f"{name} by attach and the usual loss.backward()",
            f"""
import transformers
config = transformers.BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=32, max_position_embeddings=16)
model = transformers.BertForSequenceClassification(config)
optimizer = make("{name}").attach(model, adam(model), max_steps=20)
model(input_ids=torch.ones(4, 6, dtype=torch.long), labels=torch.zeros(4, dtype=torch.long)).loss.backward()
optimizer.step()
""",
            _refuses(name, "backward"),
            f"{ATTACH}test_a_method_with_a_loss_of_its_own_refuses_the_gradients_of_another",
        )
        for name in ("r-drop", "r3f")
    ),
    *(
        _case(
            f"gradients of an evaluation pass, {name}",
            f"""
model = net()
optimizer = {name}.attach(model, adam(model), max_steps=20)
model.eval()
nn.functional.cross_entropy(model(X), Y).backward()
model.train()
optimizer.step()
""",
            _refuses("mixed weights", "model.train()"),
            f"{MIXING}test_gradients_of_an_evaluation_pass_are_refused",
        )
        for name in ("MIX", "MIXOUT")
    ),
    _case(
        "more steps than max_steps",
        """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model = net()
    train(model, DENSE.attach(model, adam(model), max_steps=20), 22)
assert [w for w in caught if "max_steps" in str(w.message)], "no word"
""",
        test=f"{ATTACH}test_the_first_step_past_max_steps_warns_once",
    ),
    *(
        _case(
            f"a state loaded into {words}",
            f"""
model = net()
method = dps.DPSDense(selection_ratio=0.3, update_ratio=0.1, freeze="update")
optimizer = method.attach(model, adam(model), max_steps=20)
train(model, optimizer, 6)
method = dps.DPSDense({arguments}, freeze="update")
other = method.attach(model := net(), adam(model), max_steps={steps})
other.load_state_dict(optimizer.state_dict())
""",
            _refuses("load_state_dict", word),
            f"{ATTACH}test_a_state_of_other_hyper_parameters_is_refused_with_the_difference",
        )
        for words, arguments, steps, word in (
            ("another selection ratio", "selection_ratio=0.9, update_ratio=0.1", 20, "selection_ratio"),
            ("another update ratio", "selection_ratio=0.3, update_ratio=0.2", 20, "update_ratio"),
            ("another max_steps", "selection_ratio=0.3, update_ratio=0.1", 60, "max_steps"),
        )
    ),
    _case(
        "deepcopy of model and optimizer",
        """
import copy
model = net()
optimizer = MIX.attach(model, adam(model), max_steps=40)
train(model, optimizer, 3)
model(X)
copied, other = copy.deepcopy((model, optimizer))
assert all(torch.equal(a, b) for a, b in zip(copied.state_dict().values(), model.state_dict().values()))
plain = net(); plain.load_state_dict(model.state_dict())
plain_optimizer = adam(plain)
plain_optimizer.load_state_dict({k: v for k, v in optimizer.state_dict().items() if k != "method"})
train(copied, other, 5); train(plain, plain_optimizer, 5)
assert same(copied, plain), "the copy mixes with the masks of the original"
""",
        test=f"{MIXING}test_a_copy_in_the_middle_of_a_step_is_whole_and_vanilla",
    ),
    _case(
        "a model cast to another type after attach",
        """
model = net()
optimizer = MIX.attach(model, adam(model), max_steps=20)
model.to(torch.bfloat16)
nn.functional.cross_entropy(model(X.bfloat16()), Y).backward()
optimizer.step()
""",
        _refuses("attach once the model is where it trains"),
        f"{MIXING}test_a_model_that_was_cast_after_attach_is_refused",
    ),
    *(
        _case(
            f"max_steps of {steps}",
            f"model = net(); DENSE.attach(model, adam(model), max_steps={steps})",
            _refuses("max_steps"),
            f"{ATTACH}test_max_steps_is_a_whole_number",
        )
        for steps in ("float('inf')", "2.5", "0", "-1")
    ),
    _case(
        "a coverage of 3 % of the parameters",
        """
class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(8, 64, 1)
        self.head = nn.Linear(64, 2)
    def forward(self, x): return self.head(self.convolution(x[:, :, None])[:, :, 0])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model = Odd()
    model.convolution = nn.Sequential(nn.Conv1d(8, 64, 1), nn.Conv1d(64, 64, 1))
    DENSE.attach(model, adam(model), max_steps=20)
assert [w for w in caught if "%" in str(w.message)], "no word"
""",
        test=f"{ATTACH}test_a_coverage_that_is_almost_empty_warns_with_its_share",
    ),
    _case(
        "a backward pass that makes a graph",
        """
model = net()
optimizer = DENSE.attach(model, adam(model), max_steps=20)
for step in range(2):
    loss = nn.functional.cross_entropy(model(X), Y)
    loss.backward(create_graph=True)
    optimizer.step()
    model.zero_grad()
state = optimizer.state_dict()["method"]
def tensors(value):
    if isinstance(value, torch.Tensor): yield value
    elif isinstance(value, dict):
        for v in value.values(): yield from tensors(v)
    elif isinstance(value, (list, tuple)):
        for v in value: yield from tensors(v)
assert not any(t.requires_grad for t in tensors(state))
""",
        test=f"{ATTACH}test_a_backward_pass_that_makes_a_graph_leaves_none_in_the_method",
    ),
    *(
        _case(
            f"{name} on layers that are shared (ALBERT)",
            f"""
import transformers
config = transformers.AlbertConfig(vocab_size=50, embedding_size=8, hidden_size=16, num_hidden_layers=4,
    num_attention_heads=2, intermediate_size=32, max_position_embeddings=16)
model = transformers.AlbertForSequenceClassification(config)
make("{name}", {arguments}).attach(model, adam(model), max_steps=20)
""",
            _refuses("share"),
            f"{DEPTH}",
        )
        for name, arguments in (("top-k", "layers=2"), ("re-init", "layers=1"))
    ),
    *(
        _case(
            f"{name} and a head beside its encoder",
            f"""
import transformers
config = transformers.BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=32, max_position_embeddings=16)
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = transformers.BertModel(config)
        self.head = nn.Linear(16, 2)
model = Own()
before = model.head.weight.detach().clone()
make("{name}").attach(model, adam(model), max_steps=20)
assert torch.equal(before, model.head.weight), "the random head was disturbed"
""",
            test=f"{ATTACH}test_a_head_beside_its_encoder_is_left_alone",
        )
        for name in ("noisytune",)
    ),
    _case(
        "NoisyTune attached twice to one model",
        """
model = net()
method = make("noisytune")
method.attach(model, adam(model), max_steps=20)
once = [p.detach().clone() for p in model.parameters()]
method.attach(model, adam(model), max_steps=20)
assert all(torch.equal(a, b) for a, b in zip(once, model.parameters())), "noise upon noise"
""",
        test=f"{ATTACH}test_what_changes_weights_once_does_so_again_on_the_pretrained_weights_alone",
    ),
    _case(
        "ranks that attach before the process group, with other seeds",
        """
import os, torch.distributed as dist, torch.multiprocessing as mp, tempfile, io
store = tempfile.mktemp()
results = []
for rank in range(2):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        torch.manual_seed(100 + rank)
        model = net()
        torch.manual_seed(100 + rank)
        optimizer = MIX.attach(model, adam(model), max_steps=24)
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
        wrapped = nn.parallel.DistributedDataParallel(model)
        train(wrapped, optimizer, 12)
        with os.fdopen(write, "wb") as out:
            torch.save(model.state_dict(), out)
        dist.destroy_process_group()
        os._exit(0)
    os.close(write)
    results.append(read)
states = [torch.load(io.BytesIO(os.fdopen(read, "rb").read())) for read in results]
assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values())), "ranks differ"
""",
        test="tests/integration/test_ddp.py::test_ranks_that_attached_before_the_process_group_was_up_stay_equal",
    ),
]
