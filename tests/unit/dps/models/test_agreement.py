"""What a model says of a text does not depend on the texts beside it, whatever its tokenizer says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dps.errors import InputError
from dps.models import PretrainedEncoder, load_finetuned_model, locate_model
from dps.models.agreement import agree_on_padding, count_max_tokens, count_readable_tokens
from dps.predict import Predictor
from dps.tasks.registry import get_task
from tests import families, tiny

OTHER_SIZES: dict[str, Any] = {
    "bart": transformers.BartConfig(
        vocab_size=tiny.VOCABULARY, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=64,
        pad_token_id=0, bos_token_id=2, eos_token_id=3, decoder_start_token_id=3, forced_eos_token_id=3,
    ),
    "opt": transformers.OPTConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=16, word_embed_proj_dim=16, num_hidden_layers=1, ffn_dim=32,
        num_attention_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=2, eos_token_id=3,
    ),
    "roformer": transformers.RoFormerConfig(**{**tiny.SIZES, "embedding_size": 16}),
    "roberta": transformers.RobertaConfig(**{**tiny.SIZES, "max_position_embeddings": 65}),
}  # fmt: skip


def save(folder: Path, model: Any, **tokenizer: Any) -> str:
    """Save a classifier with the tiny tokenizer, some of whose attributes are others; return the folder."""
    model.save_pretrained(folder)
    saved: Any = tiny.tokenizer()
    for name, value in tokenizer.items():
        setattr(saved, name, value)
    saved.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module", params=families.CONFIGURATIONS)
def predictor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A classifier of each family, with a tokenizer that names the wrong side for most of them."""
    folder = tmp_path_factory.mktemp("family")
    return Predictor.load(save(folder, families.classifier(request.param), padding_side="left"))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.lists(st.sampled_from(tiny.WORDS), min_size=1, max_size=90).map(" ".join), min_size=2, max_size=6
    ),
    seed=st.randoms(use_true_random=False),
)
def test_a_prediction_depends_on_its_text_alone(predictor: Predictor, texts: list[str], seed: Any) -> None:
    together = predictor.compute_logits(texts)
    assert np.allclose(together, [predictor.compute_logits(text)[0] for text in texts], atol=1e-4)
    order = seed.sample(range(len(texts)), len(texts))
    assert np.allclose(predictor.compute_logits([texts[i] for i in order]), together[order], atol=1e-4)


@pytest.mark.parametrize(("name", "wrong", "right"), [("gpt2", "left", "right"), ("xlnet", "right", "left")])
def test_the_side_that_changes_nothing_is_kept(name: str, wrong: str, right: str, tmp_path: Path) -> None:
    folder = save(tmp_path, families.classifier(name), padding_side=wrong)
    assert PretrainedEncoder(locate_model(folder), get_task("mnli")).tokenizer.padding_side == right


@pytest.mark.parametrize(
    ("asked", "tokenizer", "padding"),
    [
        (None, {"pad_token": "[PAD]"}, 0),
        (3, {}, 3),
        (-1, {"pad_token": "[PAD]"}, 0),
        (None, {"eos_token": "[SEP]"}, 3),
        (0, {"pad_token": "[PAD]"}, 0),
    ],
)
def test_what_one_knows_both_have(asked: int | None, tokenizer: dict[str, str], padding: int) -> None:
    own = tiny.tokenizer()
    own.pad_token = None
    for name, value in tokenizer.items():
        setattr(own, name, value)
    config = transformers.LlamaConfig(pad_token_id=asked)
    agree_on_padding("m", own, config)
    assert (own.pad_token_id, config.pad_token_id) == (padding, padding)


def test_two_padding_tokens_or_none_are_refused() -> None:
    own = tiny.tokenizer()
    with pytest.raises(InputError, match=r"'m' pads with token 1 in config\.json, but its tokenizer with 0 "):
        agree_on_padding("m", own, transformers.LlamaConfig(pad_token_id=1))
    own.pad_token = None
    with pytest.raises(InputError, match="'m' has no padding token"):
        agree_on_padding("m", own, transformers.LlamaConfig(pad_token_id=None))


@pytest.mark.parametrize("name", OTHER_SIZES)
def test_the_positions_of_a_model_are_what_it_can_read(name: str) -> None:
    model = families.made(transformers.AutoModelForSequenceClassification, OTHER_SIZES[name]).eval()
    limit = count_max_tokens(model)
    assert limit == count_readable_tokens(model) == 64
    tokens = torch.full((1, limit + 1), 5)
    tokens[:, -2:] = 3  # BART reads the last end
    model(input_ids=tokens[:, :-1])
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=tokens)


def test_without_learned_positions_the_declared_ones_or_the_default_count() -> None:
    assert count_readable_tokens(families.classifier("llama")) == 64
    assert count_readable_tokens(families.classifier("xlnet")) == 512


def test_a_model_that_reads_its_padding_is_refused(tmp_path: Path) -> None:
    model = families.classifier("bert")
    folder = save(tmp_path, model)
    told = tmp_path / "tokenizer_config.json"
    told.write_text(json.dumps({**json.loads(told.read_text()), "model_input_names": ["input_ids"]}))
    with pytest.raises(InputError, match=r"predictions of .* depend on which texts share a batch"):
        load_finetuned_model(folder)


def test_a_tokenizer_larger_than_the_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "larger")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["new"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(InputError, match=r"has tokens up to 100 \('new'\), but the model embeds 100"):
        PretrainedEncoder(locate_model(str(folder)), get_task("cola"))
