"""What every method says of itself is true: its search space, its source, its costs."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dps.coverage import find_covered_weights
from dps.errors import InputError
from dps.methods import METHODS, Attachment, Method, make_method
from dps.models import PretrainedEncoder
from dps.ranges import Choice, Range
from dps.selection import StageSchedule
from dps.training.config import FineTuneConfig
from dps.training.data import TaskData
from dps.training.run import finetune_model
from tests import tiny
from tests.unit.dps.methods.helpers import put, rows_of

LAYERS = (0, 1, 2, 6, 12, 24)  # 0: unknown
RUNS = (4, 5, 12, 100, 468, 2000)
every_name = pytest.mark.parametrize("name", METHODS)


def values(domain: Range | Choice) -> tuple[Any, ...]:
    """Every value of a choice; the ends of a range and its middle."""
    if isinstance(domain, Choice):
        return domain.values
    middle = math.sqrt(domain.low * domain.high) if domain.log else (domain.low + domain.high) / 2
    return domain.low, middle, domain.high


# the search space

PUBLISHED: dict[str, dict[str, Range | Choice]] = {
    "vanilla": {},
    "vanilla-no-dropout": {},
    "mixout": {"p": Range(0.1, 0.8)},
    "child-tuning-f": {"reserve_p": Choice((0.2, 0.3, 0.4))},
    "child-tuning-d": {"reserve_p": Choice((0.1, 0.2, 0.3))},
    "r-drop": {"alpha": Range(0.05, 16.0, log=True)},  # 0.1, 0.5, 1 in each of its scales
    "mixconnect": {"p": Range(0.1, 0.8)},
    "random-mask": {"selection_ratio": Range(0.2, 0.9)},
    "magnitude-mask": {"selection_ratio": Range(0.2, 0.9)},
    "gradient-mask": {"selection_ratio": Range(0.2, 0.9)},
    "r3f": {"weight": Choice((0.1, 0.5, 1.0))},
    "l2-sp": {"strength": Range(1e-3, 1e-1, log=True)},
    "weight-decay": {"strength": Range(1e-2, 1.0, log=True)},
    "top-k": {"layers": Choice((3, 6, 12))},
    "re-init": {"layers": Choice((1, 2, 3, 4, 5))},
    "llrd": {"decay": Range(0.8, 0.95)},
    "noisytune": {"noise": Choice((0.1, 0.15, 0.2))},
    "bi-drop": {"selection_ratio": Range(0.3, 0.9)},
    "dps-dense": {"selection_ratio": Range(0.2, 0.9), "update_ratio": Range(0.01, 0.25, log=True)},
    "dps-mix": {"selection_ratio": Range(0.2, 0.9), "update_ratio": Range(0.01, 0.25, log=True)},
    "dps-random": {"selection_ratio": Range(0.2, 0.9), "update_ratio": Range(0.01, 0.25, log=True)},
    "wise-ft": {},
    "ema": {"decay": Choice((0.99, 0.999))},
    "swa": {"averaged_share": Range(0.1, 0.5)},
    "lora": {"rank": Choice((8, 16))},
    "dora": {"rank": Choice((8, 16))},
    "ia3": {},
    "bitfit": {},
    "linear-probe": {},
    "lp-ft": {"head_share": Choice((0.1, 0.2, 0.3))},
    "label-smoothing": {"smoothing": Choice((0.05, 0.1, 0.2))},
    "sam": {"rho": Choice((0.02, 0.05, 0.1, 0.15))},
}


def test_the_spaces_of_a_large_model_and_a_long_run_are_the_published_ones() -> None:
    assert {name: kind.search_space(5000, 24) for name, kind in METHODS.items()} == PUBLISHED


@every_name
@pytest.mark.parametrize("layers", LAYERS)
def test_every_value_of_the_space_is_one_that_the_method_takes(name: str, layers: int) -> None:
    for max_steps in RUNS:
        space = METHODS[name].search_space(max_steps, layers)
        assert space.keys() <= {field.name for field in fields(METHODS[name])}
        for knob, domain in space.items():
            assert values(domain)
            for value in values(domain):
                method: Any = make_method(name, **{knob: value})
                if knob == "layers" and layers:
                    assert 1 <= value <= layers
                if knob == "update_ratio":
                    assert StageSchedule(max_steps, method.update_ratio).interval >= 1


@every_name
def test_every_value_of_the_space_of_a_small_model_goes_onto_it(name: str) -> None:
    for knob, domain in METHODS[name].search_space(12, tiny.SIZES["num_hidden_layers"]).items():
        for value in values(domain):
            staged = {"update_ratio": 0.25} if METHODS[name].selects_weights else {}
            method = make_method(name, **{**staged, knob: value})
            assert put(method, tiny.bert(), max_steps=12)[1].method is method


def test_a_run_too_short_for_two_stages_has_no_space_for_dps_alone() -> None:
    for name, kind in METHODS.items():
        if kind.selects_weights:
            with pytest.raises(InputError, match=r"--max-steps: DPS needs at least 4 steps .* has 3"):
                kind.search_space(3, 2)
        elif name != "ema":  # it averages few steps of a short run
            assert kind.search_space(1, 2) == kind.search_space(2000, 2), name


# the source


@every_name
def test_a_method_names_its_source_and_values_to_try(name: str) -> None:
    text = sys.modules[METHODS[name].__module__].__doc__
    assert text is not None
    assert "Source:" in text
    assert "Values to try" in text


# the costs


def variants() -> Iterator[Method]:
    for name, kind in METHODS.items():
        if kind.selects_weights:
            for freeze in ("gradient", "update"):
                yield make_method(name, update_ratio=0.25, freeze=freeze)
        else:
            yield make_method(name, **({"passes": 3} if name == "bi-drop" else {}))


every_variant = pytest.mark.parametrize("method", list(variants()), ids=repr)


@every_variant
def test_the_declared_passes_are_those_of_a_run(
    method: Method, tiny_base: PretrainedEncoder, tiny_data: TaskData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 60 examples in tens: six batches an epoch, none of them short."""
    rows: list[list[int]] = []
    build = PretrainedEncoder.build

    def counted(self: PretrainedEncoder, seed: int, dropout: float) -> Any:
        model = build(self, seed, dropout)
        rows.append(rows_of(model))
        return model

    monkeypatch.setattr(PretrainedEncoder, "build", counted)
    config = FineTuneConfig(method=method, max_steps=8, batch_size=10, evaluations=1)
    result = finetune_model(config, tiny_base, tiny_data)
    assert result.outcome == "completed"
    assert result.passes == method.cost.passes(8, 6)
    assert sum(rows[0]) == 10 * result.passes


@pytest.mark.parametrize(
    ("hyper", "passes"),
    [
        ({"name": "vanilla"}, 8.0),
        ({"name": "r-drop", "alpha": 0.5}, 16.0),
        ({"name": "r-drop", "alpha": 0.0}, 8.0),
        ({"name": "r3f", "weight": 0.5}, 16.0),
        ({"name": "bi-drop", "passes": 3}, 24.0),
        ({"name": "child-tuning-d"}, 14.0),
    ],
    ids=str,
)
def test_the_passes_of_eight_steps_where_an_epoch_has_six(hyper: dict[str, Any], passes: float) -> None:
    assert make_method(**hyper).cost.passes(8, 6) == passes


def kept(node: Any, found: dict[int, Tensor], seen: set[int]) -> None:
    """Gathers the tensors that an object holds, in containers and attributes too; no parameter or module."""
    if id(node) in seen or isinstance(node, (nn.Module, nn.Parameter, torch.optim.Optimizer, Method)):
        return
    seen.add(id(node))
    if isinstance(node, Tensor):
        found[node.untyped_storage().data_ptr()] = node
    elif isinstance(node, dict):
        for value in node.values():
            kept(value, found, seen)
    elif isinstance(node, (list, tuple)):
        for value in node:
            kept(value, found, seen)
    elif type(node).__module__.startswith("dps."):
        kept(vars(node), found, seen)


def kept_bytes(attachment: Attachment) -> int:
    found: dict[int, Tensor] = {}
    kept(attachment, found, set())
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@every_variant
def test_a_method_keeps_no_more_than_it_declares(method: Method) -> None:
    model = tiny.bert(dropout=0.1, labels=3)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    _, attachment = put(method, model, optimizer, max_steps=12)
    seen = [kept_bytes(attachment)]
    if method.cost.calibration_epochs:
        attachment.calibrate(model, tiny.batches(2))
    for hook in (optimizer.register_step_pre_hook, optimizer.register_step_post_hook):
        hook(lambda *args: seen.append(kept_bytes(attachment)))  # inside a step, after the method's own
    for batch in tiny.batches(12):
        optimizer.zero_grad()
        attachment.backward(model, batch)
        seen.append(kept_bytes(attachment))
        optimizer.step()
    weights = sum(p.numel() for _, p in attachment.trained_parameters())
    covered = sum(w.parameter.numel() for w in find_covered_weights(model))
    neurons = 5 * sum(w.in_features for w in find_covered_weights(model))  # a count and a draw of each
    assert max(seen) <= method.cost.extra_bytes * weights + neurons
    least = 0.9 * method.cost.extra_bytes * covered if method.cost.extra_bytes else 0
    if method.name == "sam":
        least = 0  # it keeps a copy within the step alone
    if method.name == "child-tuning-d":
        least = 0.7 * covered  # of the blocks alone
    if method.name == "dps-dense":
        least = 4 * covered  # the mask comes where the sums go, but with freeze="update"
    assert max(seen) >= least
