"""Tiny random classifiers of every tested model family: two layers of 16 units, two heads of 8.

And what is expected of each, written out: covered weights, depths, heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.models.xlnet.modeling_xlnet import XLNetRelativeAttention

from dps.models import set_dropout
from tests.tiny import SIZES, VOCABULARY

LABELS = 3
NO_IDS = {"bos_token_id": None, "eos_token_id": None, "cls_token_id": None, "sep_token_id": None}
BERT_LIKE = {**SIZES, "num_labels": LABELS}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}

CONFIGURATIONS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertConfig(**BERT_LIKE),
    "roberta": lambda: transformers.RobertaConfig(**BERT_LIKE),
    "electra": lambda: transformers.ElectraConfig(**BERT_LIKE, embedding_size=8),
    "deberta": lambda: transformers.DebertaConfig(**BERT_LIKE, **RELATIVE, embedding_size=8),
    "deberta-v2": lambda: transformers.DebertaV2Config(  # as v2-xlarge: a convolution, own projections
        **BERT_LIKE, **RELATIVE, position_buckets=8, norm_rel_ebd="layer_norm", conv_kernel_size=3
    ),
    "deberta-v3": lambda: transformers.DebertaV2Config(
        **BERT_LIKE, **RELATIVE, position_buckets=8, norm_rel_ebd="layer_norm", share_att_key=True
    ),
    "xlnet": lambda: transformers.XLNetConfig(
        vocab_size=VOCABULARY, d_model=16, n_layer=2, n_head=2, d_inner=32, initializer_range=0.2,
        pad_token_id=0, num_labels=LABELS,
    ),
    "modernbert": lambda: transformers.ModernBertConfig(**BERT_LIKE, **NO_IDS),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.2,
        pad_token_id=0, bos_token_id=None, eos_token_id=None, num_labels=LABELS,
    ),
    "llama": lambda: transformers.LlamaConfig(**BERT_LIKE, num_key_value_heads=1),
}  # fmt: skip


def classifier(name: str, seed: int = 0) -> Any:
    """A classifier of `LABELS` labels without dropout, in training mode."""
    return made(transformers.AutoModelForSequenceClassification, CONFIGURATIONS[name](), seed)


def made(auto: Any, config: Any, seed: int = 0) -> Any:
    """`auto.from_config(config)` from a seed, without dropout, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = auto.from_config(config)
    set_dropout(model, 0.0)
    return model.train()


class LinearAttention(nn.Module):
    """XLNet's attention with linear layers in place of its raw parameters."""

    rel_attn_core = XLNetRelativeAttention.rel_attn_core
    rel_shift_bnij = staticmethod(XLNetRelativeAttention.rel_shift_bnij)

    def __init__(self, raw: Any) -> None:
        super().__init__()
        for name in ("q", "k", "v", "r"):
            setattr(self, name, self.layer(getattr(raw, name).flatten(1).T))  # (n_head * d_head, d_model)
        self.o = self.layer(raw.o.flatten(1))  # (d_model, n_head * d_head)
        self.r_w_bias, self.r_r_bias, self.r_s_bias = raw.r_w_bias, raw.r_r_bias, raw.r_s_bias
        self.seg_embed, self.layer_norm, self.dropout = raw.seg_embed, raw.layer_norm, raw.dropout
        self.heads, self.scale = (raw.n_head, raw.d_head), raw.scale

    @staticmethod
    def layer(weight: Tensor) -> nn.Linear:
        made = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        made.weight.data = weight.detach().clone()
        return made

    def forward(
        self, h: Tensor, g: None, attn_mask_h: Any, attn_mask_g: Any, r: Tensor, seg_mat: Any, **_: Any
    ) -> tuple[Tensor, None]:
        q, k, v = (layer(h).unflatten(2, self.heads) for layer in (self.q, self.k, self.v))
        position = self.r(r.to(h.dtype)).unflatten(2, self.heads)
        mixed = self.rel_attn_core(q, k, v, position, seg_mat=seg_mat, attn_mask=attn_mask_h)
        return self.layer_norm(self.dropout(self.o(mixed.flatten(2))) + h), None


Axes = dict[str, tuple[int, ...]]


def linear(*names: str) -> Axes:
    """Linear layers: (out, in)."""
    return {f"{name}.weight": (1,) for name in names}


def conv1d(*names: str) -> Axes:
    """Layers of transformers' Conv1D: (in, out)."""
    return {f"{name}.weight": (0,) for name in names}


def twice(stack: str, block: Axes) -> Axes:
    return {f"{stack}.{i}.{name}": axes for i in (0, 1) for name, axes in block.items()}


FEED_FORWARD = ("attention.output.dense", "intermediate.dense", "output.dense")
BERT_BLOCK = linear("attention.self.query", "attention.self.key", "attention.self.value", *FEED_FORWARD)
V3_BLOCK = linear(
    "attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj", *FEED_FORWARD
)
LLAMA_ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")

# every covered weight with the axes of its input neurons
COVERED: dict[str, Axes] = {
    "bert": twice("bert.encoder.layer", BERT_BLOCK) | linear("bert.pooler.dense", "classifier"),
    "roberta": twice("roberta.encoder.layer", BERT_BLOCK) | linear("classifier.dense", "classifier.out_proj"),
    "electra": twice("electra.encoder.layer", BERT_BLOCK) | linear("classifier.dense", "classifier.out_proj"),
    "deberta": twice(
        "deberta.encoder.layer",
        linear(
            "attention.self.in_proj", "attention.self.pos_proj", "attention.self.pos_q_proj", *FEED_FORWARD
        ),
    )
    | linear("pooler.dense", "classifier"),
    "deberta-v2": twice(
        "deberta.encoder.layer",
        V3_BLOCK | linear("attention.self.pos_key_proj", "attention.self.pos_query_proj"),
    )
    | linear("pooler.dense", "classifier"),
    "deberta-v3": twice("deberta.encoder.layer", V3_BLOCK) | linear("pooler.dense", "classifier"),
    "xlnet": twice(
        "transformer.layer",
        {
            "rel_attn.q": (0,),
            "rel_attn.k": (0,),
            "rel_attn.v": (0,),
            "rel_attn.o": (1, 2),
            "rel_attn.r": (0,),
            **linear("ff.layer_1", "ff.layer_2"),
        },
    )
    | linear("sequence_summary.summary", "logits_proj"),
    "modernbert": twice("model.layers", linear("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo"))
    | linear("head.dense", "classifier"),
    "gpt2": twice("transformer.h", conv1d("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"))
    | linear("score"),
    "llama": twice("model.layers", linear(*LLAMA_ATTENTION, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"))
    | linear("score"),
}

# name prefixes at each depth: 0 the embeddings, 1 and 2 the blocks, 3 what comes after
DEPTHS: dict[str, dict[int, str]] = {
    "bert": {
        0: "bert.embeddings.",
        1: "bert.encoder.layer.0.",
        2: "bert.encoder.layer.1.",
        3: "bert.pooler. classifier.",
    },
    "roberta": {
        0: "roberta.embeddings.",
        1: "roberta.encoder.layer.0.",
        2: "roberta.encoder.layer.1.",
        3: "classifier.",
    },
    "electra": {
        0: "electra.embeddings. electra.embeddings_project.",
        1: "electra.encoder.layer.0.",
        2: "electra.encoder.layer.1.",
        3: "classifier.",
    },
    "deberta": {
        0: "deberta.embeddings. deberta.encoder.rel_embeddings.",
        1: "deberta.encoder.layer.0.",
        2: "deberta.encoder.layer.1.",
        3: "pooler. classifier.",
    },
    "deberta-v2": {
        0: "deberta.embeddings. deberta.encoder.rel_embeddings. deberta.encoder.LayerNorm.",
        1: "deberta.encoder.layer.0. deberta.encoder.conv.",
        2: "deberta.encoder.layer.1.",
        3: "pooler. classifier.",
    },
    "deberta-v3": {
        0: "deberta.embeddings. deberta.encoder.rel_embeddings. deberta.encoder.LayerNorm.",
        1: "deberta.encoder.layer.0.",
        2: "deberta.encoder.layer.1.",
        3: "pooler. classifier.",
    },
    "xlnet": {
        0: "transformer.mask_emb transformer.word_embedding.",
        1: "transformer.layer.0.",
        2: "transformer.layer.1.",
        3: "sequence_summary. logits_proj.",
    },
    "modernbert": {
        0: "model.embeddings.",
        1: "model.layers.0.",
        2: "model.layers.1.",
        3: "model.final_norm. head. classifier.",
    },
    "gpt2": {
        0: "transformer.wte. transformer.wpe.",
        1: "transformer.h.0.",
        2: "transformer.h.1.",
        3: "transformer.ln_f. score.",
    },
    "llama": {
        0: "model.embed_tokens.",
        1: "model.layers.0.",
        2: "model.layers.1.",
        3: "model.norm. score.",
    },
}

POOLED = {"pooler.dense.weight", "pooler.dense.bias", "classifier.weight", "classifier.bias"}
TWO_LAYERS = {
    "classifier.dense.weight",
    "classifier.dense.bias",
    "classifier.out_proj.weight",
    "classifier.out_proj.bias",
}
HEADS: dict[str, set[str]] = {
    "bert": {"classifier.weight", "classifier.bias"},
    "roberta": TWO_LAYERS,
    "electra": TWO_LAYERS,
    "deberta": POOLED,
    "deberta-v2": POOLED,
    "deberta-v3": POOLED,
    "xlnet": {
        "sequence_summary.summary.weight",
        "sequence_summary.summary.bias",
        "logits_proj.weight",
        "logits_proj.bias",
    },
    "modernbert": {"head.dense.weight", "head.norm.weight", "classifier.weight", "classifier.bias"},
    "gpt2": {"score.weight"},
    "llama": {"score.weight"},
}
