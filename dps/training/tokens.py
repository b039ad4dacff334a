"""Tokenised examples: end to end in a few arrays, and on disk once a node for all its processes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dps.tasks.splits import Indices
from dps.tasks.task import LABEL_COLUMN, Task

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

# of the files of a cache: another where a source or `encode_dataset` makes other examples of the same data
CACHE_LAYOUT_VERSION = 1
STARTS_KEY, LABELS_KEY = "starts", "labels"
CACHE_LOCK_TIMEOUT_S = 600.0  # for another process of this node to tokenise the same


@dataclass(frozen=True)
class EncodedExamples:
    """Examples, tokenised. The ids of all lie end to end; `rows` says which of them these are.

    ids: by the model's input, int32 (tokens,); starts: (stored + 1,), where each stored example begins, and
    the end; rows: (n,); labels: (n,), or (n, labels) where an example has several.
    """

    ids: Mapping[str, NDArray[np.int32]]
    starts: Indices
    rows: Indices
    labels: NDArray[Any]

    @classmethod
    def from_tokens(
        cls, tokens: Sequence[Mapping[str, Sequence[int]]], labels: NDArray[Any]
    ) -> EncodedExamples:
        """tokens: one dict of id lists an example, each with the same inputs; labels: as above."""
        names = list(tokens[0]) if tokens else ["input_ids"]
        ids = {
            name: np.fromiter((value for example in tokens for value in example[name]), dtype=np.int32)
            for name in names
        }
        ends = np.cumsum([len(example[names[0]]) for example in tokens], dtype=np.int64)
        return cls(ids, np.concatenate([[0], ends]).astype(np.int64), np.arange(len(tokens)), labels)

    def __len__(self) -> int:
        return len(self.rows)

    def example(self, index: int) -> dict[str, list[int]]:
        """The ids of one example."""
        row = self.rows[index]
        begin, end = self.starts[row], self.starts[row + 1]
        return {name: values[begin:end].tolist() for name, values in self.ids.items()}

    @property
    def tokens(self) -> list[dict[str, list[int]]]:
        """The ids of every example, as Python has them."""
        return [self.example(index) for index in range(len(self))]

    def take(self, indices: Indices) -> EncodedExamples:
        """The examples at `indices`, in that order."""
        return EncodedExamples(self.ids, self.starts, self.rows[indices], self.labels[indices])

    def lengths(self) -> Indices:
        """Tokens of each example, without padding: (n,)."""
        return (self.starts[1:] - self.starts[:-1])[self.rows]


def encode_dataset(
    dataset: Dataset, task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> EncodedExamples:
    """Tokenise, cutting at `max_length` tokens. Nothing is padded here."""
    tokens = tokenise_texts([list(dataset[column]) for column in task.columns], tokenizer, max_length)
    dtype = np.float32 if task.is_regression or task.multi_label else np.int64  # as the losses take them
    return EncodedExamples.from_tokens(tokens, np.asarray(dataset[LABEL_COLUMN], dtype=dtype))


def tokenise_texts(
    texts: list[list[str]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[dict[str, list[int]]]:
    """Tokens of each example, cut at `max_length`. texts: one column of them, or two."""
    batch = tokenizer(*texts, truncation=True, max_length=max_length)
    keys = [key for key in batch if key != "special_tokens_mask"]
    return [dict(zip(keys, row, strict=True)) for row in zip(*(batch[key] for key in keys), strict=True)]


def fingerprint_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Hex digest of all that decides which ids a text gets; None where a tokenizer cannot say."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    import tokenizers

    rules = json.loads(backend.to_str())
    for state in ("truncation", "padding"):  # of the last call
        rules.pop(state, None)
    inputs = [*tokenizer.model_input_names, tokenizer.truncation_side, tokenizers.__version__]
    return hashlib.sha256(json.dumps([type(tokenizer).__name__, inputs, rules]).encode()).hexdigest()


def get_cache_folder() -> Path:
    """DPS_CACHE_DIR, or "dps" in the user's folder of caches."""
    import platformdirs

    return Path(os.environ.get("DPS_CACHE_DIR") or platformdirs.user_cache_path("dps"))


class TokenCache:
    """Tokenised splits in a folder of this node, a safetensors file each.

    Which process comes first writes; the others wait for it, and all of them map the same pages into
    memory. A folder that cannot be written is no error: then each process has its own.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """folder: `cache_folder()` by default."""
        self.folder = (folder or get_cache_folder()) / "tokens"

    def get(self, key: Sequence[Any], make: Callable[[], EncodedExamples]) -> EncodedExamples:
        """What `make` returns, from the file of this key where there is one. key: JSON values, all that
        decides it."""
        import filelock

        name = hashlib.sha256(json.dumps([CACHE_LAYOUT_VERSION, *key]).encode()).hexdigest()[:32]
        file = self.folder / f"{name}.safetensors"
        with ExitStack() as held:
            if not file.is_file():
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    held.enter_context(
                        filelock.FileLock(self.folder / f"{name}.lock", timeout=CACHE_LOCK_TIMEOUT_S)
                    )
                except (OSError, NotImplementedError, filelock.Timeout):  # a file system without locks
                    return make()
            found = _read_cached(file)
            if found is None:
                found = make()
                _write_cached(file, found)
        return found


def _read_cached(file: Path) -> EncodedExamples | None:
    """None where there is none, or none that is whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as held:
            arrays = {name: held.get_tensor(name).numpy() for name in held.keys()}  # noqa: SIM118
        starts, labels = arrays.pop(STARTS_KEY), arrays.pop(LABELS_KEY)
    except (OSError, SafetensorError, KeyError):
        return None
    return EncodedExamples(arrays, starts, np.arange(len(labels)), labels)


def _write_cached(file: Path, data: EncodedExamples) -> None:
    """Write the file in one piece; without room for it, nothing is kept."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        save_file({**data.ids, STARTS_KEY: data.starts, LABELS_KEY: data.labels}, part)
        part.replace(file)
    except (OSError, SafetensorError):
        part.unlink(missing_ok=True)
