"""Tokenised examples in flat arrays, and their cache on disk, shared by the processes of a node."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dps.paths import write_in_one_piece
from dps.tasks.examples import ExampleTable
from dps.tasks.splits import Indices, number_examples
from dps.tasks.task import LABEL_COLUMN, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CACHE_LAYOUT_VERSION = 2  # raise it when `encode_dataset` makes something else of the same examples
STARTS_KEY, LABELS_KEY, TEXTS_KEY = "starts", "labels", "texts"
CHECKSUM_KEY = "checksum"
CACHE_LOCK_TIMEOUT_S = 600.0  # for another process of this node that tokenises the same split


@dataclass(frozen=True)
class EncodedExamples:
    """Tokenised examples, a selection of those stored end to end.

    ids: int32 (tokens,) by input of the model.
    starts: (stored + 1,), the start of each stored example, and the end.
    rows: (n,), the stored examples that these are.
    labels: (n,), or (n, labels) for multi-label tasks.
    texts: (n,), the same number for what stays together (`dps.tasks.splits.number_examples`).
    """

    ids: Mapping[str, NDArray[np.int32]]
    starts: Indices
    rows: Indices
    labels: NDArray[Any]
    texts: Indices

    @classmethod
    def from_tokens(
        cls,
        tokens: Sequence[Mapping[str, Sequence[int]]],
        labels: NDArray[Any],
        texts: Indices | None = None,
    ) -> EncodedExamples:
        """Store examples end to end.

        tokens: a dict of id lists an example, all with the same keys.
        texts: see the class; None if all texts differ.
        """
        names = list(tokens[0]) if tokens else ["input_ids"]
        ids = {
            name: np.fromiter((value for example in tokens for value in example[name]), dtype=np.int32)
            for name in names
        }
        ends = np.cumsum([len(example[names[0]]) for example in tokens], dtype=np.int64)
        rows = np.arange(len(tokens))
        starts = np.concatenate([[0], ends]).astype(np.int64)
        return cls(ids, starts, rows, labels, rows if texts is None else texts)

    def __len__(self) -> int:
        return len(self.rows)

    def example(self, index: int) -> dict[str, list[int]]:
        """Return the ids of one example by input of the model."""
        row = self.rows[index]
        begin, end = self.starts[row], self.starts[row + 1]
        return {name: values[begin:end].tolist() for name, values in self.ids.items()}

    @property
    def tokens(self) -> list[dict[str, list[int]]]:
        """Ids of every example, see `example`."""
        return [self.example(index) for index in range(len(self))]

    def take(self, indices: Indices) -> EncodedExamples:
        """Return the examples at `indices`, in that order."""
        rows, labels, texts = self.rows[indices], self.labels[indices], self.texts[indices]
        return EncodedExamples(self.ids, self.starts, rows, labels, texts)

    def lengths(self) -> Indices:
        """Return the number of tokens of each example without padding: (n,)."""
        return (self.starts[1:] - self.starts[:-1])[self.rows]


def encode_dataset(
    dataset: ExampleTable, task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> EncodedExamples:
    """Tokenise a data set, cutting at `max_length` tokens, without padding."""
    columns = [dataset[column] for column in task.columns]
    dtype = np.float32 if task.is_regression or task.multi_label else np.int64  # as the losses need them
    return EncodedExamples.from_tokens(
        tokenise_texts(columns, tokenizer, max_length),
        np.asarray(dataset[LABEL_COLUMN], dtype=dtype),
        number_examples(task, dataset),
    )


def tokenise_texts(
    texts: list[list[str]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[dict[str, list[int]]]:
    """Return the tokens of each example, cut at `max_length`. texts: one column or two."""
    batch = tokenizer(*texts, truncation=True, max_length=max_length)
    keys = [key for key in batch if key != "special_tokens_mask"]
    return [dict(zip(keys, row, strict=True)) for row in zip(*(batch[key] for key in keys), strict=True)]


def fingerprint_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return a hash of all that decides token ids; None for a tokenizer without a fast backend."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    import tokenizers

    rules = json.loads(backend.to_str())
    for state in ("truncation", "padding"):  # they are those of the last call
        rules.pop(state, None)
    inputs = [*tokenizer.model_input_names, tokenizer.truncation_side, tokenizers.__version__]
    return hashlib.sha256(json.dumps([type(tokenizer).__name__, inputs, rules]).encode()).hexdigest()


def get_cache_folder() -> Path:
    """Return DPS_CACHE_DIR, or "dps" in the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("DPS_CACHE_DIR") or platformdirs.user_cache_path("dps"))


class TokenCache:
    """Cache of tokenised splits in a folder of this node, a safetensors file each.

    The first process writes a file, the others wait for it, and all map the same pages into memory. A file
    carries the checksum of its key and content: one that is not what was written is made again. If the folder
    cannot be written, each process tokenises for itself.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Set the folder; None for that of `get_cache_folder`."""
        self.folder = (folder or get_cache_folder()) / "tokens"

    def get(self, key: Sequence[Any], make: Callable[[], EncodedExamples]) -> EncodedExamples:
        """Return the examples of a key from its file, or from `make`, and write the file.

        key: JSON values, all that decides the examples.
        """
        import filelock

        name = hashlib.sha256(json.dumps([CACHE_LAYOUT_VERSION, *key]).encode()).hexdigest()[:32]
        file = self.folder / f"{name}.safetensors"
        with ExitStack() as lock:
            if not file.is_file():
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    lock.enter_context(
                        filelock.FileLock(self.folder / f"{name}.lock", timeout=CACHE_LOCK_TIMEOUT_S)
                    )
                except (OSError, NotImplementedError, filelock.Timeout):  # a file system without locks
                    return make()
            examples = _read_cached(file, name)
            if examples is None:
                examples = make()
                _write_cached(file, name, examples)
        return examples


def _compute_checksum(name: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of arrays, of their names, types and shapes, and of the key they are kept under."""
    digest = hashlib.sha256(name.encode())
    for key, values in sorted(arrays.items()):
        digest.update(json.dumps([key, values.dtype.str, values.shape]).encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _read_cached(file: Path, name: str) -> EncodedExamples | None:
    """Return the examples in a file; None if it is missing, broken or not what was written under its name."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as stored:
            arrays = {key: stored.get_tensor(key).numpy() for key in stored.keys()}  # noqa: SIM118
            checksum = (stored.metadata() or {}).get(CHECKSUM_KEY)
        if checksum != _compute_checksum(name, arrays):
            return None
        starts, labels, texts = (arrays.pop(key) for key in (STARTS_KEY, LABELS_KEY, TEXTS_KEY))
    except (OSError, SafetensorError, KeyError):
        return None
    return EncodedExamples(arrays, starts, np.arange(len(labels)), labels, texts)


def _write_cached(file: Path, name: str, data: EncodedExamples) -> None:
    """Write the file atomically; on failure nothing is kept."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with suppress(OSError, SafetensorError), write_in_one_piece(file) as part:
        arrays: dict[str, NDArray[Any]] = {
            **data.ids,
            STARTS_KEY: data.starts,
            LABELS_KEY: data.labels,
            TEXTS_KEY: data.texts,
        }
        save_file(arrays, part, {CHECKSUM_KEY: _compute_checksum(name, arrays)})
