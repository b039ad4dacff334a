"""Decoders as classifiers: LoRA with gradient checkpointing and bf16, saved for plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import dps
from dps.methods import make_method
from dps.training import memory
from tests import tiny

SIZES = {**tiny.SIZES, "pad_token_id": None}
OPT_SIZES = {**SIZES, "word_embed_proj_dim": 16, "ffn_dim": 32}
GPT2_SIZES = {"vocab_size": tiny.VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
ENDS = {"bos_token_id": 2, "eos_token_id": 3}
DECODERS: dict[str, Any] = {
    "gpt2": transformers.GPT2Config(**GPT2_SIZES, **ENDS, initializer_range=0.2),
    "llama": transformers.LlamaConfig(**SIZES, **ENDS, num_key_value_heads=1),
    "opt": transformers.OPTConfig(**OPT_SIZES, **ENDS),
    "qwen2": transformers.Qwen2Config(**SIZES, **ENDS, num_key_value_heads=1),
}


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A pre-trained decoder without a head, whose tokenizer has no padding token and pads on the left."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.AutoModel.from_config(DECODERS[request.param]).save_pretrained(tmp_path / "model")
    tokenizer: Any = tiny.tokenizer()
    if request.param == "qwen2":  # transformers takes no other for it
        letters = {
            letter: number for number, letter in enumerate(["[PAD]", "[SEP]", "Ġ", "w", *"0123456789"])
        }
        tokenizer = transformers.Qwen2Tokenizer(letters, [])
    tokenizer.pad_token, tokenizer.eos_token, tokenizer.padding_side = None, "[SEP]", "left"
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_lora_trains_a_decoder_that_plain_transformers_load(
    decoder: Path, tiny_cola: Path, tmp_path: Path
) -> None:
    config = dps.FineTuneConfig(
        method=make_method("lora"),
        data=str(tiny_cola),
        model=str(decoder),
        learning_rate=2e-3,
        max_steps=4,
        batch_size=8,
        evaluations=1,
        max_length=32,
        precision="bf16",
        gradient_checkpointing=True,
    )
    result = dps.finetune(config)
    assert result.outcome == "completed"
    assert all(
        module.gradient_checkpointing
        for module in result.model.modules()
        if hasattr(module, "gradient_checkpointing")
    )
    result.save(tmp_path / "saved")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "saved", output_loading_info=True
    )
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    texts = [row["sentence"] for row in tiny.examples(result.task, 24, 300)]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.float().numpy()
    assert np.ptp(logits, axis=0).max() > 0.01
    np.testing.assert_allclose(logits, result.logits["dev"], rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method": make_method("dps-mix")}, "shard: dps-mix needs whole weights; leave it out, or take a"),
        ({"method": make_method("dora")}, "shard: dora needs whole weights"),
        ({"precision": "fp16"}, "shard, precision: split weights need fp32 or bf16"),
        ({"probe": "rte"}, "shard, probe: a probe needs the whole model on one rank"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_sharded_is_refused_at_the_start(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(dps.InputError, match=says):
        dps.FineTuneConfig(shard=True, **changes)


def test_one_rank_has_nothing_to_share() -> None:
    with pytest.raises(dps.InputError, match="shard: one rank has nothing to share; start several"):
        memory.shard_model(tiny.bert(), torch.device("cpu"))


def test_a_model_without_gradient_checkpointing_is_refused() -> None:
    with pytest.raises(dps.InputError, match="gradient_checkpointing: 'MLP' has none; leave it out"):
        memory.recompute_activations(tiny.MLP(6, 4))
