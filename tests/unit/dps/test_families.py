"""Which weights of each model family are covered, how deep its parameters lie, and that DPS trains it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers.pytorch_utils import Conv1D

import dps
from dps.coverage import TESTED_FAMILIES, describe_coverage, find_covered_weights
from dps.depth import find_transformer_blocks, get_head_parameters, get_parameter_depths
from dps.errors import InputError
from dps.methods import attachment_of
from dps.methods.dps import DPSDenseAttachment
from dps.models import locate_model
from dps.training import optim
from tests import families, tiny
from tests.families import BERT_BLOCK, COVERED, DEPTHS, HEADS, Axes, linear, twice

STEPS, INTERVAL = 12, 3  # Stage I in steps 1-3 and 7-9, Stage II in 4-6 and 10-12
RATIO = 0.4
HYPER: dict[str, Any] = {"selection_ratio": RATIO, "update_ratio": INTERVAL / STEPS}
every_family = pytest.mark.parametrize("name", families.CONFIGURATIONS)


def covered(model: nn.Module) -> Axes:
    return {weight.name: weight.input_axes for weight in find_covered_weights(model)}


def batch_of(number: int = 0) -> dict[str, Tensor]:
    batch = tiny.batches(number + 1)[number]
    return {**batch, "labels": batch["input_ids"][:, 0] % families.LABELS}


def active_inputs(weight: Tensor, axes: tuple[int, ...], step: int) -> Tensor:
    """Three of five input neurons, other ones at each step; no rule of the method's own."""
    size = torch.Size(weight.shape[axis] for axis in axes).numel()
    return (torch.arange(size) * 7 + step * 3) % 5 < 3


def broadcast(active: Tensor, axes: tuple[int, ...], shape: torch.Size) -> Tensor:
    """Which elements of a weight of `shape` belong to the active input neurons, written out."""
    if axes == (1,):
        return active[None, :].expand(shape)
    if axes == (0,):
        return active.reshape(-1, *[1] * (len(shape) - 1)).expand(shape)
    assert axes == (1, 2)
    return active.reshape(1, *shape[1:]).expand(shape)


def start(method: Any, model: nn.Module, **options: Any) -> tuple[torch.optim.Optimizer, DPSDenseAttachment]:
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    method.attach(model, optimizer, STEPS, **options)
    attachment = attachment_of(optimizer)
    assert isinstance(attachment, DPSDenseAttachment)
    return optimizer, attachment


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor]) -> float:
    optimizer.zero_grad()
    loss: Tensor = model(**batch).loss
    loss.backward()
    optimizer.step()
    return loss.item()


@every_family
def test_attention_in_plain_products_is_the_same_attention(name: str) -> None:
    """What a CPU in bf16 computes attention with, beside what it is loaded with, on padded texts."""
    model, batch = families.classifier(name).eval(), batch_of()
    mask = torch.ones_like(batch["attention_mask"])
    mask[::2, 4:] = 0
    batch = {**batch, "attention_mask": mask, "input_ids": torch.where(mask > 0, batch["input_ids"], 0)}
    loaded, kind = model(**batch), model.config._attn_implementation
    for precision, max_length in (("fp32", 32), ("bf16", 257)):
        optim.choose_attention(model, precision, torch.device("cpu"), max_length)
        assert model.config._attn_implementation == kind
    optim.choose_attention(model, "bf16", torch.device("cpu"), 256)
    assert model.config._attn_implementation == "eager"
    plain = model(**batch)
    torch.testing.assert_close(plain.logits, loaded.logits, rtol=1e-4, atol=1e-5)


def test_every_family_of_the_table_is_here() -> None:
    types = {configuration().model_type for configuration in families.CONFIGURATIONS.values()}
    assert types == set(TESTED_FAMILIES)
    assert COVERED.keys() == DEPTHS.keys() == HEADS.keys() == families.CONFIGURATIONS.keys()


@every_family
def test_the_covered_weights_and_their_input_axes(name: str) -> None:
    assert covered(families.classifier(name)) == COVERED[name]


@every_family
def test_every_parameter_lies_at_its_depth(name: str) -> None:
    model = families.classifier(name)
    found = get_parameter_depths(model)
    assert found.keys() == dict(model.named_parameters()).keys()
    prefixes = {prefix: depth for depth, many in DEPTHS[name].items() for prefix in many.split()}
    for parameter, depth in found.items():
        assert [d for prefix, d in prefixes.items() if parameter.startswith(prefix)] == [depth], parameter
    for prefix in prefixes:
        assert any(parameter.startswith(prefix) for parameter in found), prefix


@every_family
def test_the_blocks_are_the_two_layers_from_bottom_to_top(name: str) -> None:
    model = families.classifier(name)
    prefixes = [DEPTHS[name][depth].split()[0] for depth in (1, 2)]
    assert find_transformer_blocks(model) == [model.get_submodule(prefix.rstrip(".")) for prefix in prefixes]


@every_family
def test_the_head_is_what_lies_outside_the_encoder(name: str) -> None:
    model = families.classifier(name)
    assert get_head_parameters(model) == HEADS[name]


@every_family
def test_an_encoder_alone_has_no_head_and_the_same_depths(name: str) -> None:
    model = families.classifier(name)
    assert get_head_parameters(model.base_model) == set()
    prefix, whole = f"{model.base_model_prefix}.", get_parameter_depths(model)
    inside = {n.removeprefix(prefix): d for n, d in whole.items() if n not in HEADS[name]}
    assert get_parameter_depths(model.base_model) == inside
    assert len(find_transformer_blocks(model.base_model)) == 2


@every_family
def test_dense_trains_it(name: str) -> None:
    model = families.classifier(name)
    optimizer, attachment = start(dps.DPSDense(**HYPER), model)
    names, before = list(model.state_dict()), tiny.snapshot(model)
    for number in range(1, STEPS + 1):
        chosen = {w.covered.name: w.active for w in attachment.weights}
        assert chosen.keys() == COVERED[name].keys()
        step(model, optimizer, batch_of(number))
        for weight, mask in chosen.items():
            grad = model.get_parameter(weight).grad
            if (number - 1) // INTERVAL % 2 == 0:
                assert mask is None
            else:
                assert mask is not None
                assert RATIO <= mask.float().mean() < RATIO + 0.02  # the rank is rounded up
                assert not grad[~mask].any()
                assert grad.any()
    assert list(model.state_dict()) == names
    assert all(not torch.equal(before[weight], model.get_parameter(weight)) for weight in COVERED[name])


@every_family
def test_mix_trains_it_and_reads_the_mixed_weights(name: str) -> None:
    model, byhand = families.classifier(name), families.classifier(name)
    pretrained, names = tiny.snapshot(model), list(model.state_dict())

    def draw(weight: str, number: int) -> Tensor:
        return active_inputs(pretrained[weight], COVERED[name][weight], number)

    optimizer, attachment = start(dps.DPSMix(**HYPER), model, draw=draw)
    for number in range(1, STEPS + 1):
        stage_one, batch = (number - 1) // INTERVAL % 2 == 0, batch_of(number)
        if (number - 1) % INTERVAL == 0:
            anchors = pretrained if stage_one else tiny.snapshot(model)
        mixed, masks = tiny.snapshot(model), {}
        for weight, axes in COVERED[name].items():
            if stage_one:
                masks[weight] = broadcast(draw(weight, number), axes, mixed[weight].shape)
            else:
                masks[weight] = next(w.active for w in attachment.weights if w.covered.name == weight)
                assert RATIO <= masks[weight].float().mean() < RATIO + 0.02
            m, anchor, p = masks[weight].float(), anchors[weight], 1 - RATIO
            mixed[weight] = ((1 - m) * anchor + m * mixed[weight] - p * anchor) / (1 - p)
        byhand.load_state_dict(mixed)
        byhand.zero_grad()
        expected = byhand(**batch).loss
        expected.backward()
        assert step(model, optimizer, batch) == pytest.approx(expected.item(), rel=1e-4)
        for weight, mask in masks.items():
            grad = model.get_parameter(weight).grad
            assert not grad[~mask].any()
            assert grad[mask].any()
            raw = byhand.get_parameter(weight).grad
            torch.testing.assert_close(grad, raw * mask, rtol=1e-3, atol=1e-5)
    assert list(model.state_dict()) == names
    byhand.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(**batch_of()).logits, byhand.eval()(**batch_of()).logits)


def as_linear(name: str, raw: Tensor) -> Tensor:
    return raw.flatten(1) if name.endswith("o") else raw.flatten(1).T


@pytest.mark.parametrize("method_of", [dps.DPSDense, dps.DPSMix], ids=["dense", "mix"])
def test_xlnets_raw_weights_train_as_the_linear_layers_they_are(method_of: Any) -> None:
    raw, twin = families.classifier("xlnet").double(), families.classifier("xlnet").double()
    for block in twin.transformer.layer:
        block.rel_attn = families.LinearAttention(block.rel_attn)
    drawn: dict[str, Any] = {}
    if method_of is dps.DPSMix:
        drawn["draw"] = lambda name, number: active_inputs(
            raw.get_parameter(named(name)), COVERED["xlnet"][named(name)], number
        )

    def named(name: str) -> str:
        return re.sub(r"(rel_attn\.[qkvor])\.weight$", r"\1", name)

    optimizers = []
    for model in (raw, twin):
        optimizers.append(torch.optim.SGD(model.parameters(), 0.05))
        method_of(**HYPER).attach(model, optimizers[-1], STEPS, max_grad_norm=1.0, **drawn)
    assert {named(name) for name in covered(twin)} == covered(raw).keys()
    for number in range(1, STEPS + 1):
        batch = batch_of(number)
        batch["token_type_ids"] = (torch.arange(6) > 2).long().expand_as(batch["input_ids"])
        losses = [step(model, o, batch) for model, o in zip((raw, twin), optimizers, strict=True)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    for name, value in twin.named_parameters():
        theirs = raw.get_parameter(named(name))
        if named(name) != name:
            theirs = as_linear(named(name), theirs)
        torch.testing.assert_close(theirs, value, rtol=1e-7, atol=1e-10)


def test_a_silent_input_neuron_is_what_the_axes_say() -> None:
    """A weight gets no gradient, and only there, from an input neuron whose activation is zero."""
    model = families.classifier("xlnet")
    attention = model.transformer.layer[0].rel_attn
    random = torch.Generator().manual_seed(0)
    h, r = torch.randn(5, 3, 16, generator=random), torch.randn(10, 3, 16, generator=random)
    h[..., 4], r[..., 4] = 0, 0
    attention.v.data[:, 1, 6] = 0  # then the values, and what o reads, are zero there
    attention(h, None, None, None, r, None)[0].pow(3).sum().backward()
    for weight in find_covered_weights(attention):
        silent = torch.arange(weight.in_features) == (4 if weight.name in "qkvr" else 8 + 6)
        where = weight.broadcast_inputs(silent).expand_as(weight.parameter)
        assert weight.parameter.grad is not None
        assert not weight.parameter.grad[where].any()
        assert weight.parameter.grad[~where].ne(0).float().mean() > 0.95


def test_an_exception_in_xlnet_leaves_every_raw_parameter_in_place() -> None:
    model = families.classifier("xlnet")
    start(dps.DPSMix(**HYPER), model)
    parameters = dict(model.named_parameters())
    with pytest.raises(IndexError):
        model(input_ids=torch.tensor([[tiny.VOCABULARY]]))
    with pytest.raises(RuntimeError):
        model.transformer.layer[0].rel_attn(
            torch.randn(2, 1, 5), None, None, None, torch.randn(4, 1, 16), None
        )
    assert all(model.get_parameter(name) is value for name, value in parameters.items())


def test_xlnet_saves_and_evaluates_as_a_plain_model(tmp_path: Path) -> None:
    model = families.classifier("xlnet")
    plain = families.classifier("xlnet").eval()
    optimizer, _ = start(dps.DPSMix(**HYPER), model)
    assert torch.equal(model.eval()(**batch_of()).logits, plain(**batch_of()).logits)
    model.train()
    for number in range(1, INTERVAL):
        step(model, optimizer, batch_of(number))
    before = model(**batch_of()).logits
    model.save_pretrained(tmp_path)
    loaded, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert tiny.same(dict(model.state_dict()), loaded.state_dict())
    assert torch.equal(model.eval()(**batch_of()).logits, loaded.eval()(**batch_of()).logits)
    assert not torch.allclose(before, loaded(**batch_of()).logits)  # training reads the mixed weights
    assert torch.equal(model.train()(**batch_of()).logits, before)


def test_a_resumed_xlnet_trains_on_as_one_that_was_not_stopped() -> None:
    whole = families.classifier("xlnet")
    optimizer, _ = start(dps.DPSMix(**HYPER), whole)
    for number in range(1, 6):  # into Stage II
        step(whole, optimizer, batch_of(number))
    resumed = families.classifier("xlnet", seed=1)
    other, _ = start(dps.DPSMix(**HYPER), resumed)
    resumed.load_state_dict(whole.state_dict())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for number in range(6, STEPS + 1):
        assert step(whole, optimizer, batch_of(number)) == step(resumed, other, batch_of(number))
    assert tiny.same(tiny.snapshot(whole), tiny.snapshot(resumed))


def test_the_line_says_the_family_and_the_share() -> None:
    model = families.classifier("gpt2")
    weights = find_covered_weights(model)
    assert describe_coverage(model, weights) == "gpt2: 9 linear weights, 6,192 of 9,264 parameters"
    line = describe_coverage(nn.Linear(500, 400), find_covered_weights(nn.Linear(500, 400)))
    assert line == "unknown family 'Linear': its 1 linear weight, 0.2 M of 0.2 M parameters"


def test_the_built_in_model_is_a_bert() -> None:
    try:
        folder = locate_model("builtin").path
    except InputError as error:
        pytest.skip(str(error))
    config = transformers.AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = transformers.AutoModelForSequenceClassification.from_config(config)
    weights = find_covered_weights(model)
    blocks_of_six = {
        f"bert.encoder.layer.{i}.{name}": axes for i in range(6) for name, axes in BERT_BLOCK.items()
    }
    assert covered(model) == blocks_of_six | linear("bert.pooler.dense", "classifier")
    assert describe_coverage(model, weights) == "bert: 38 linear weights, 10.8 M of 22.7 M parameters"
    assert len(find_transformer_blocks(model)) == 6
    assert {d for n, d in get_parameter_depths(model).items() if n.startswith("bert.pooler.")} == {7}


def test_an_unknown_family_gets_its_linear_weights_and_the_line_says_so() -> None:
    config = transformers.DistilBertConfig(
        vocab_size=tiny.VOCABULARY, dim=16, n_layers=2, n_heads=2, hidden_dim=32, num_labels=families.LABELS
    )
    model = families.made(transformers.AutoModelForSequenceClassification, config)
    block = linear(
        "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "ffn.lin1", "ffn.lin2"
    )
    expected = twice("distilbert.transformer.layer", block) | linear("pre_classifier", "classifier")
    assert covered(model) == expected
    line = describe_coverage(model, find_covered_weights(model))
    assert line.startswith("unknown family 'distilbert': its 14 linear weights, 4,400 of ")
    assert find_transformer_blocks(model) == list(model.distilbert.transformer.layer)
    assert get_parameter_depths(model)["distilbert.embeddings.LayerNorm.weight"] == 0
    _, attachment = start(dps.DPSMix(**HYPER), model)
    assert [weight.covered.name for weight in attachment.weights] == list(expected)


def test_two_stacks_of_layers_are_refused_not_guessed() -> None:
    config = transformers.BartConfig(
        vocab_size=tiny.VOCABULARY, d_model=16, encoder_layers=3, decoder_layers=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=64,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2,
    )  # fmt: skip
    model = families.made(transformers.AutoModelForSequenceClassification, config)
    rule = (
        "model: 'bart' must have one stack of layers of one class, but has encoder.layers, decoder.layers; "
    )
    for function in (find_transformer_blocks, get_parameter_depths):
        with pytest.raises(ValueError, match=rule):
            function(model)
    assert len(find_covered_weights(model)) == 3 * 6 + 2 * 10 + 2


def test_names_under_ddp_have_no_prefix() -> None:
    model = families.classifier("bert")
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(model)
        assert get_parameter_depths(wrapped) == get_parameter_depths(model)
        assert get_head_parameters(wrapped) == HEADS["bert"]
        assert find_transformer_blocks(wrapped) == find_transformer_blocks(model)
        assert covered(wrapped) == COVERED["bert"]
        assert describe_coverage(wrapped, find_covered_weights(wrapped)).startswith(
            "bert: 14 linear weights, 4,400 of "
        )
    finally:
        torch.distributed.destroy_process_group()


def test_a_plain_module_has_no_blocks_and_one_depth() -> None:
    model = tiny.MLP(6, 8, 4)
    assert find_transformer_blocks(model) == []
    assert get_parameter_depths(model) == {name: 1 for name, _ in model.named_parameters()}
    assert get_head_parameters(model) == set()
    assert covered(model) == {"layers.0.weight": (1,), "layers.1.weight": (1,)}


class Narrow(nn.Linear):
    pass


class Wide(Conv1D):
    pass


def test_what_derives_from_a_linear_layer_is_covered_and_frozen_weights_are_not() -> None:
    model = nn.Sequential(Narrow(6, 8), Wide(4, 8), nn.Linear(4, 4))
    model[2].weight.requires_grad_(False)
    assert covered(model) == {"0.weight": (1,), "1.weight": (0,)}
    narrow, wide = find_covered_weights(model)
    assert (narrow.in_features, wide.in_features) == (6, 8)


class Tied(nn.Module):
    """Two linear layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = tiny.MLP(6, 6, 6).layers
        self.above.weight = self.below.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.above(torch.tanh(self.below(x)))


def test_a_tied_weight_is_covered_once_and_read_mixed_in_both_places() -> None:
    model, byhand = Tied(), Tied()
    pretrained = model.below.weight.detach().clone()
    active = torch.tensor([True, False, True, True, False, True])
    asked = []

    def draw(name: str, step: int) -> Tensor:
        asked.append((name, step))
        return active

    optimizer, attachment = start(dps.DPSMix(**HYPER), model, draw=draw)
    (weight,) = attachment.weights
    assert weight.covered.name == "below.weight"
    assert weight.covered.readers == ((model.below, "weight"), (model.above, "weight"))
    ((x, y),) = tiny.pairs(1, 6, 6)
    tiny.step(model, optimizer, (x, y))
    assert asked == [("below.weight", 1), ("below.weight", 2)]
    byhand.load_state_dict(model.state_dict())
    m, p = active.float(), 1 - RATIO
    value = model.below.weight.detach()
    byhand.below.weight.data = ((1 - m) * pretrained + m * value - p * pretrained) / (1 - p)
    torch.testing.assert_close(model(x), byhand(x))
    tiny.step(model, optimizer, (x, y))
    assert model.below.weight.grad is not None
    assert model.below.weight.grad.any(dim=0).tolist() == active.tolist()


def test_a_linear_layer_tied_to_an_embedding_is_an_embedding() -> None:
    config = families.CONFIGURATIONS["bert"]()
    model = families.made(transformers.AutoModelForMaskedLM, config)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    block = twice("bert.encoder.layer", BERT_BLOCK)
    assert covered(model) == block | linear("cls.predictions.transform.dense")
    assert get_parameter_depths(model)["bert.embeddings.word_embeddings.weight"] == 0
    assert "bert.embeddings.word_embeddings.weight" not in get_head_parameters(model)
