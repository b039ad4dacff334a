"""Any order of attach, forward pass, step, detach, copy, save and load leaves a model whole and right."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch import Tensor, nn
from torch.optim import Optimizer

import dps
from dps.methods import Method, attachment_of, make_method
from tests import tiny
from tests.unit.dps.methods.slow_reference import attach_slow

STEPS = 10
METHODS: list[Method] = [
    dps.DPSMix(selection_ratio=0.4, update_ratio=0.2),
    dps.DPSMix(selection_ratio=0.4, update_ratio=0.2, freeze="update"),
    make_method("mixout", p=0.4),
]
PAIRS = tiny.pairs(8, 5, 3, rows=4)


class Twin:
    """A model with its optimizer, by the fast form or the slow one."""

    def __init__(self, fast: bool, method: Method) -> None:
        self.fast, self.method = fast, method
        self.model: nn.Module = tiny.MLP(5, 6, 3)
        self.optimizer: Optimizer | None = None
        self.attached = False

    def attach(self, seed: int, new: bool) -> None:
        if self.optimizer is None or new:
            self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-2)
        torch.manual_seed(seed)
        if self.fast:
            self.method.attach(self.model, self.optimizer, STEPS, 1.0)
        else:
            if (earlier := attachment_of(self.model)) is not None:
                earlier.detach()
            attach_slow(self.method, self.model, self.optimizer, STEPS, 1.0)
        self.attached = True

    def detach(self) -> None:
        attachment = attachment_of(self.model)
        assert attachment is not None
        attachment.detach()
        self.attached = False

    def weights(self) -> dict[str, Tensor]:
        return tiny.snapshot(self.model)


class AnyOrder(RuleBasedStateMachine):
    """The fast form beside the slow one, through the same events."""

    @initialize(method=st.sampled_from(METHODS))
    def start(self, method: Method) -> None:
        self.fast, self.slow = Twin(True, method), Twin(False, method)
        self.parameters = dict(self.fast.model.named_parameters())
        self.forwarded = False  # a forward pass in training mode has taken place since the last step
        self.saved: Any = None

    @property
    def twins(self) -> tuple[Twin, Twin]:
        return self.fast, self.slow

    @rule(seed=st.integers(0, 3))
    def attach(self, seed: int) -> None:
        new = self.fast.attached or self.fast.optimizer is None
        for twin in self.twins:
            twin.attach(seed, new)
            twin.optimizer.zero_grad()  # type: ignore[union-attr]
        self.forwarded = False

    @precondition(lambda self: self.fast.attached)
    @rule()
    def attach_to_the_same_optimizer_is_refused(self) -> None:
        with pytest.raises(ValueError, match="already has a method attached"):
            self.fast.method.attach(self.fast.model, self.fast.optimizer, STEPS)  # type: ignore[arg-type]

    @precondition(lambda self: self.fast.attached)
    @rule()
    def another_method_is_refused(self) -> None:
        optimizer = torch.optim.SGD(self.fast.model.parameters(), 0.1)
        with pytest.raises(ValueError, match="already has a method attached"):
            dps.DPSDense(update_ratio=0.5).attach(self.fast.model, optimizer, STEPS)

    @precondition(lambda self: self.fast.attached)
    @rule()
    def detach(self) -> None:
        for twin in self.twins:
            twin.detach()
            twin.optimizer.zero_grad()  # type: ignore[union-attr]
        self.forwarded = False

    @precondition(lambda self: self.fast.optimizer is not None)
    @rule(number=st.integers(0, 7), look=st.booleans())
    def add_gradients(self, number: int, look: bool) -> None:
        x, y = PAIRS[number]
        losses = [nn.functional.mse_loss(twin.model(x), y) for twin in self.twins]
        assert losses[0] == losses[1]
        if look:
            self.evaluate(number, grad=False)
            self.copy_the_model(pickled=False)
        for loss in losses:
            loss.backward()
        self.forwarded = True

    @rule(number=st.integers(0, 7))
    def forward(self, number: int) -> None:
        outputs = [twin.model(PAIRS[number][0]) for twin in self.twins]
        assert torch.equal(*outputs)

    @precondition(lambda self: self.fast.optimizer is not None)
    @rule(number=st.integers(0, 7))
    def step(self, number: int) -> None:
        if not self.forwarded:
            self.add_gradients(number, look=False)
        for twin in self.twins:
            twin.optimizer.step()  # type: ignore[union-attr]
            twin.optimizer.zero_grad()  # type: ignore[union-attr]
        self.forwarded = False

    @rule(number=st.integers(0, 7), interrupted=st.booleans())
    def interrupt(self, number: int, interrupted: bool) -> None:
        def stop(*args: Any) -> None:
            raise KeyboardInterrupt if interrupted else RuntimeError

        handle = self.fast.model.layers[1].register_forward_hook(stop)
        with pytest.raises(KeyboardInterrupt if interrupted else RuntimeError):
            self.fast.model(PAIRS[number][0])
        handle.remove()

    @rule(number=st.integers(0, 7), grad=st.booleans())
    def evaluate(self, number: int, grad: bool) -> None:
        for twin in self.twins:
            twin.model.eval()
        with torch.set_grad_enabled(grad):
            assert torch.equal(*(twin.model(PAIRS[number][0]) for twin in self.twins))
        for twin in self.twins:
            twin.model.train()

    @rule(pickled=st.booleans())
    def copy_the_model(self, pickled: bool) -> None:
        if pickled:
            mixed = attachment_of(self.fast.model)
            if mixed is not None and mixed.mixed_weights is not None and mixed.mixed_weights.trained:
                with pytest.raises(ValueError, match="cannot be pickled between a forward pass and"):
                    pickle.dumps(self.fast.model)
                return
            twin = pickle.loads(pickle.dumps(self.fast.model))
        else:
            twin, optimizer = copy.deepcopy((self.fast.model, self.fast.optimizer))
            assert optimizer is None or attachment_of(optimizer) is None
        assert attachment_of(twin) is None
        plain = tiny.MLP(5, 6, 3)
        plain.load_state_dict(self.slow.weights())
        assert tiny.same(tiny.snapshot(twin), tiny.snapshot(plain))
        assert torch.equal(twin(PAIRS[0][0]), plain(PAIRS[0][0]))

    @precondition(lambda self: self.fast.attached)
    @rule()
    def save(self) -> None:
        self.saved = [
            copy.deepcopy((t.model.state_dict(), t.optimizer.state_dict()))  # type: ignore[union-attr]
            for t in self.twins
        ]

    @precondition(lambda self: self.saved is not None and self.fast.attached)
    @rule()
    def load(self) -> None:
        for twin, (weights, state) in zip(self.twins, self.saved, strict=True):
            twin.model.load_state_dict(weights)
            twin.optimizer.load_state_dict(copy.deepcopy(state))  # type: ignore[union-attr]
            twin.optimizer.zero_grad()  # type: ignore[union-attr]
        self.forwarded = False

    @invariant()
    def the_model_is_whole_and_right(self) -> None:
        if not hasattr(self, "fast"):
            return
        model = self.fast.model
        for name, parameter in self.parameters.items():
            assert model.get_parameter(name) is parameter
            assert parameter.is_leaf
            assert parameter.requires_grad
        assert tiny.same(self.fast.weights(), self.slow.weights())
        if self.fast.attached:
            states = [twin.optimizer.state_dict() for twin in self.twins]  # type: ignore[union-attr]
            assert tiny.same(*states)
        else:
            assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


with warnings.catch_warnings(action="ignore"):
    AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


class TestAnyOrder(AnyOrder.TestCase):  # type: ignore[name-defined,misc]
    pass


TestAnyOrder.pytestmark = pytest.mark.filterwarnings("ignore:.*")
