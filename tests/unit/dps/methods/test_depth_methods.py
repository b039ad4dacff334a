"""Methods that go by depth or begin elsewhere: Top-K, re-init, LLRD, NoisyTune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from dps.depth import get_head_parameters, get_parameter_depths
from dps.errors import InputError
from dps.methods import attachment_of, make_method
from dps.models import ModelFolder
from dps.training import optim
from tests import families, tiny
from tests.unit.dps.methods.helpers import give_grads, grads, plain_grads, put
from tune.planning.space_options import refuse_shared_layers

BLOCKS = 2  # of the tiny models; what comes after them lies at depth 3
every_family = pytest.mark.parametrize("family", families.CONFIGURATIONS)


def depth_of(name: str) -> int:
    """Of a parameter of the tiny BERT, by its name."""
    if name.startswith("bert.encoder.layer."):
        return 1 + int(name.split(".")[3])
    return 0 if name.startswith("bert.embeddings.") else BLOCKS + 1


# Top-K


@pytest.mark.parametrize("layers", range(BLOCKS + 2))
def test_top_k_trains_the_top_blocks_and_leaves_the_rest_bit_for_bit(layers: int) -> None:
    model = tiny.bert()
    before = tiny.snapshot(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    _, attachment = put(make_method("top-k", layers=layers), model, optimizer, max_grad_norm=1.0)
    trained = {name for name in before if depth_of(name) > BLOCKS - layers}
    for batch in tiny.batches(3):
        optimizer.zero_grad()
        attachment.backward(model, batch)
        assert grads(model).keys() == trained  # none is computed below
        optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == trained


@every_family
def test_top_k_of_every_family_trains_what_lies_above(family: str) -> None:
    model = families.classifier(family)
    optimizer, attachment = put(make_method("top-k", layers=1), model)
    (batch,) = tiny.batches(1)
    attachment.backward(model, batch)
    optimizer.step()
    above = {name for name, depth in get_parameter_depths(model).items() if depth >= BLOCKS}
    unused = {"r_s_bias", "seg_embed"} if family == "xlnet" else set()  # there are no segments
    assert grads(model).keys() == {name for name in above if name.rpartition(".")[2] not in unused}


def test_top_k_gives_back_what_it_froze_and_nothing_else() -> None:
    model = tiny.bert()
    own = model.bert.embeddings.position_embeddings.weight.requires_grad_(False)
    _, attachment = put(make_method("top-k", layers=1), model)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        name for name, _ in model.named_parameters() if depth_of(name) >= BLOCKS
    ]
    attachment.detach()
    assert [p for p in model.parameters() if not p.requires_grad] == [own]


# re-init


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_re_init_begins_the_top_blocks_and_the_pooler_anew(layers: int) -> None:
    model = tiny.bert()
    with torch.no_grad():
        for parameter in model.parameters():  # as no initialisation would leave them
            parameter += 0.5
    before = tiny.snapshot(model)
    put(make_method("re-init", layers=layers), model)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {
        name
        for name in before
        if layers and depth_of(name) > BLOCKS - layers and not name.startswith("classifier")
    }


@every_family
def test_re_init_draws_as_the_family_does(family: str) -> None:
    model, fresh = (families.classifier(family, seed) for seed in (0, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.full_like(parameter, 9.0))
    put(make_method("re-init", layers=BLOCKS), model)
    heads, depth = get_head_parameters(model), get_parameter_depths(model)
    expected = {name: parameter.detach() for name, parameter in fresh.named_parameters()}
    for name, parameter in model.named_parameters():
        value = parameter.detach()
        if depth[name] == 0 or name in heads:
            assert (value == 9).all()
        elif expected[name].std() == 0:  # a bias or a norm
            assert torch.equal(value, expected[name])
        else:
            spread = 4 * (2 / value.numel()) ** 0.5  # of the ratio of two standard deviations
            assert float(value.std() / expected[name].std()) == pytest.approx(1, abs=spread), name
            assert abs(float(value.mean())) < 5 * float(value.std()) / value.numel() ** 0.5


def test_re_init_depends_on_the_seed_alone_and_leaves_the_random_state_alone() -> None:
    def begun(seed: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        model = tiny.bert()
        put(make_method("re-init", layers=1), model, seed=seed)
        return tiny.snapshot(model), torch.rand(3)

    torch.manual_seed(7)
    undisturbed = torch.rand(3)
    one, after = begun(7)
    assert torch.equal(after, undisturbed)
    torch.rand(5)
    assert tiny.same(begun(7)[0], one)
    other = begun(8)[0]
    differing = {name for name in one if not torch.equal(one[name], other[name])}
    assert "bert.encoder.layer.1.output.dense.weight" in differing
    assert all(depth_of(name) >= BLOCKS for name in differing)


def test_re_init_of_more_layers_than_there_are_is_refused_and_changes_nothing() -> None:
    model = tiny.bert()
    before = tiny.snapshot(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match="layers must be at most the model's 2 blocks, but got 3"):
        make_method("re-init", layers=3).attach(model, optimizer, 10)
    assert tiny.same(tiny.snapshot(model), before)
    assert attachment_of(optimizer) is None


# LLRD


def rates(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


def decayed(rate: float, decay: float) -> dict[str, Any]:
    return {
        name: pytest.approx(rate * decay ** (BLOCKS + 1 - depth_of(name)), rel=1e-12)
        for name, _ in tiny.bert().named_parameters()
    }


def test_llrd_decays_the_rate_of_every_schedule_by_depth() -> None:
    model = tiny.bert()
    optimizer = optim.make_adamw(model, 1e-3, 0.01)
    put(make_method("llrd", decay=0.8), model, optimizer)
    assert rates(model, optimizer) == decayed(1e-3, 0.8)
    for rate in (0.0, 5e-4, 2e-4):
        optim.set_learning_rate(optimizer, rate)
        assert rates(model, optimizer) == decayed(rate, 0.8)


def test_a_scheduler_of_torch_made_after_llrd_keeps_the_decay() -> None:
    model = tiny.bert()
    optimizer, _ = put(make_method("llrd", decay=0.8), model)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    for epoch in range(3):
        assert rates(model, optimizer) == decayed(0.1 / (1 + epoch), 0.8)
        optimizer.step()
        scheduler.step()


def test_a_scheduler_of_torch_made_before_llrd_is_refused() -> None:
    model = tiny.bert()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
    with pytest.raises(
        ValueError, match="llrd splits the parameter groups; attach it before making the scheduler"
    ):
        make_method("llrd").attach(model, optimizer, 10)
    assert len(optimizer.param_groups) == 1


def test_llrd_scales_the_updates_and_keeps_the_decay_of_each_group() -> None:
    (batch,) = tiny.batches(1)
    model = tiny.bert().double()
    before, expected = tiny.snapshot(model), plain_grads(model, batch)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.3},
        {"params": [p for p in model.parameters() if p.ndim <= 1]},
    ]
    optimizer, attachment = put(make_method("llrd", decay=0.8), model, torch.optim.SGD(groups, 0.1))
    attachment.backward(model, batch)
    optimizer.step()
    for name, value in model.named_parameters():
        rate = 0.1 * 0.8 ** (BLOCKS + 1 - depth_of(name))
        gradient = expected[name] + (0.3 * before[name] if value.ndim > 1 else 0)
        torch.testing.assert_close(value.detach(), before[name] - rate * gradient)


def test_llrd_keeps_names_with_their_parameters_and_takes_strangers_for_a_head() -> None:
    model, beside = tiny.bert(), nn.Linear(2, 2)
    named = [*model.named_parameters(), *((f"beside.{n}", p) for n, p in beside.named_parameters())]
    optimizer, _ = put(make_method("llrd", decay=0.8), model, torch.optim.SGD(named, 0.1))
    names = {id(p): name for name, p in named}
    for group in optimizer.param_groups:
        assert group["param_names"] == [names[id(p)] for p in group["params"]]
    groups = [group for group in optimizer.param_groups if any(p is beside.weight for p in group["params"])]
    assert [group["lr"] for group in groups] == [0.1]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(named)


# NoisyTune


def test_noisytune_disturbs_the_encoder_once_within_its_bound() -> None:
    noise, model = 0.3, tiny.bert().double()
    before = tiny.snapshot(model)
    optimizer, _ = put(make_method("noisytune", noise=noise), model)
    after, relative = tiny.snapshot(model), []
    for name, value in after.items():
        moved, spread = value - before[name], before[name].std()
        if name.startswith("classifier") or spread == 0:
            assert torch.equal(value, before[name])
            continue
        assert moved.abs().max() <= noise / 2 * spread
        assert moved.abs().max() > 0
        relative.append((moved / (noise * spread)).flatten())
    everything = torch.cat(relative)  # uniform in (-1/2, 1/2): mean 0, variance 1/12
    assert abs(float(everything.mean())) < 5 * (1 / 12 / len(everything)) ** 0.5
    assert float(everything.var()) == pytest.approx(1 / 12, rel=0.05)
    give_grads(model, 0.0)
    optimizer.step()
    assert tiny.same(tiny.snapshot(model), after)


def test_the_noise_of_noisytune_depends_on_the_seed_alone() -> None:
    def disturbed(seed: int) -> dict[str, torch.Tensor]:
        model = tiny.bert()
        put(make_method("noisytune"), model, seed=seed)
        torch.rand(3)
        return tiny.snapshot(model)

    one = disturbed(1)
    assert tiny.same(disturbed(1), one)
    assert not tiny.same(disturbed(2), one)


# shared layers


def albert(**sizes: int) -> nn.Module:
    """A classifier whose four layers share blocks."""
    config = transformers.AlbertConfig(
        **{**tiny.SIZES, "num_hidden_layers": 4, **sizes}, embedding_size=8, num_labels=2
    )
    return families.made(transformers.AutoModelForSequenceClassification, config)


@pytest.mark.parametrize("name", ["top-k", "re-init", "llrd"])
def test_layers_that_share_a_block_are_refused_by_methods_that_go_by_depth(name: str) -> None:
    for groups in (1, 2):
        model = albert(num_hidden_groups=groups)
        before = tiny.snapshot(model)
        message = f"{name} treats layers by their depth, but the 4 layers .* share the weights of {groups};"
        with pytest.raises(ValueError, match=message):
            make_method(name).attach(model, torch.optim.SGD(model.parameters(), 0.1), 10)
        assert tiny.same(tiny.snapshot(model), before)
    put(make_method(name), albert(num_hidden_groups=4))
    with pytest.raises(InputError, match=f"--method: {name} treats layers by their depth, but the 4 layers"):
        refuse_shared_layers(("vanilla", name), 4, 1)
    refuse_shared_layers(("vanilla", name), 4, 4)
    refuse_shared_layers(("vanilla", "child-tuning-d"), 4, 1)


def test_child_tuning_d_masks_a_shared_block() -> None:
    model = albert()
    optimizer, attachment = put(make_method("child-tuning-d", reserve_p=0.2), model)
    attachment.calibrate(model, tiny.batches(2))
    (batch,) = tiny.batches(1)
    attachment.backward(model, batch)
    optimizer.step()
    block = [p.grad for n, p in model.named_parameters() if ".albert_layer_groups." in n]
    share = sum(int((grad != 0).sum()) for grad in block) / sum(grad.numel() for grad in block)
    assert share == pytest.approx(0.2, abs=0.01)


def test_a_folder_tells_how_many_blocks_its_layers_share(tmp_path: Path) -> None:
    folder = ModelFolder("folder", "here", tmp_path)
    for config, blocks in (
        ({"num_hidden_layers": 12, "num_hidden_groups": 1}, 1),
        ({"num_hidden_layers": 12, "num_hidden_groups": 12}, 12),
        ({"num_hidden_layers": 12}, 12),
        ({"n_layer": 6, "num_hidden_groups": "one"}, 6),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert folder.count_blocks() == blocks
