"""Tiny models and data for tests: a two-layer BERT of 16 units, a WordPiece tokenizer, easy examples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from torch.optim import Optimizer

from dps.methods import Vanilla
from dps.tasks.task import Task

torch.set_num_threads(1)

VOCABULARY = 100
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = [f"w{i}" for i in range(VOCABULARY - len(SPECIAL))]
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 3e-3, weight_decay=0.01),
    "adamw-fused": lambda parameters: torch.optim.AdamW(parameters, 3e-3, weight_decay=0.01, fused=True),
    "sgd": lambda parameters: torch.optim.SGD(parameters, 3e-2, momentum=0.9),
}


class MLP(nn.Module):
    """Linear layers with tanh between them, and a LayerNorm."""

    def __init__(self, *sizes: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.norm = nn.LayerNorm(sizes[-1])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.norm(x)


def pairs(count: int, inputs: int, outputs: int, rows: int = 8, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """`count` batches of `rows` random inputs and targets."""
    random = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(rows, inputs, generator=random), torch.randn(rows, outputs, generator=random))
        for _ in range(count)
    ]


def step(model: nn.Module, optimizer: Optimizer, pair: tuple[Tensor, Tensor]) -> Tensor:
    """One step of regression; returns the loss."""
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(pair[0]), pair[1])
    loss.backward()
    optimizer.step()
    return loss.detach()


def bert(seed: int = 0, dropout: float = 0.0, labels: int = 2) -> nn.Module:
    """A tiny BERT classifier, in training mode."""
    config = transformers.BertConfig(
        **SIZES, num_labels=labels, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.BertForSequenceClassification(config).train()


def batches(count: int, rows: int = 8, length: int = 6, seed: int = 0) -> list[dict[str, Tensor]]:
    """`count` batches for `bert`; the label is whether the first token is in the upper half."""
    random = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        tokens = torch.randint(4, VOCABULARY, (rows, length), generator=random)
        labels = (tokens[:, 0] >= VOCABULARY // 2).long()
        made.append({"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": labels})
    return made


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(one: Any, other: Any) -> bool:
    """Whether two trees of tensors and values are equal bit for bit (a list is as good as a tuple)."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A WordPiece tokenizer of `WORDS`."""
    backend = Tokenizer(WordPiece({word: i for i, word in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def model_folder(folder: Path) -> Path:
    """A pre-trained encoder without a head, as `from_pretrained` reads it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BertModel(transformers.BertConfig(**SIZES)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def examples(task: Task, count: int, first: int = 0) -> Iterator[dict[str, Any]]:
    """Examples that are all different; the first word gives the label."""
    kinds = max(2, len(task.labels))
    for number in range(first, first + count):
        kind = number % kinds
        digits = [WORDS[20 + number // 10**place % 10] for place in range(3)]
        texts = {column: " ".join([WORDS[kind], *digits]) for column in task.columns}
        label = float(5 * kind / (kinds - 1)) if task.is_regression else kind
        yield {**texts, "label": label}


def data_folder(folder: Path, task: Task, train: int = 60, dev: int = 24) -> Path:
    """A folder with every split of `task` in JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(task.splits):
        rows = examples(task, train if split == "train" else dev, 300 * number)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Recording(Vanilla):
    """Vanilla that keeps the training batches it saw; its loss is NaN from step `nan_from` on."""

    name: ClassVar[str] = "recording"
    nan_from: int | None = None
    seen: list[list[tuple[int, ...]]] = field(default_factory=list, compare=False)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        rows = zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True)
        self.seen.append([tuple(t for t, kept in zip(*row, strict=True) if kept) for row in rows])
        loss = super().loss(model, batch)
        return loss * float("nan") if self.nan_from and len(self.seen) >= self.nan_from else loss
