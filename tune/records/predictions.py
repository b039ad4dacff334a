"""What a confirmation predicted, example by example: one small safetensors file a run.

Tensors "<split>.logits" (n, classes) float32 and "<split>.labels" (n,), or (n, classes) where an example has
several, in the order of the examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from dps.errors import InputError
from dps.paths import hash_file, sync_tree, write_in_one_piece

if TYPE_CHECKING:
    from tune.records.ledger import TrialRecord

RunKey = TypeVar("RunKey")
PREDICTIONS_FILE = "logits.safetensors"  # where a run writes them


@dataclass(frozen=True)
class PredictionFile:
    """The predictions of a run. sha256: of what the run wrote; empty where a search of an earlier version did
    not note it."""

    path: Path
    sha256: str = ""

    def check_content(self) -> None:
        """Raise InputError unless the file is there, and is what the run wrote."""
        try:
            is_changed = self.sha256 not in ("", hash_file(self.path))
        except OSError as error:
            raise InputError(f"predictions: cannot read {self.path}: {error.strerror}") from None
        if is_changed:
            raise InputError(
                f"predictions: {self.path} is not what its run wrote (checksum); restore the file, or "
                f"start again with another --output"
            )


def locate_predictions(output: Path, id: str) -> Path:
    """Return where the predictions of a run lie in an output folder."""
    return output / "predictions" / f"{id}.safetensors"


def find_predictions(output: Path, run: TrialRecord) -> PredictionFile:
    """Return the predictions of a run that completed, as its record describes them."""
    return PredictionFile(locate_predictions(output, run.id), run.predictions_sha256)


def write_predictions(
    file: Path, logits: dict[str, NDArray[np.float32]], labels: dict[str, NDArray[Any]]
) -> str:
    """Write logits (n, classes) and labels by split, in one piece. Returns the file's SHA-256."""
    tensors = {f"{split}.logits": np.ascontiguousarray(values) for split, values in logits.items()}
    tensors |= {f"{split}.labels": np.ascontiguousarray(values) for split, values in labels.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_in_one_piece(file) as part:
        save_file(tensors, part)
    sync_tree(file)
    return hash_file(file)


def read_predictions(file: Path) -> dict[str, tuple[NDArray[Any], NDArray[np.float32]]]:
    """Read (labels, logits) by split. Raises InputError unless the file is there and whole."""
    try:
        tensors = load_file(file)
        splits = sorted(key.removesuffix(".logits") for key in tensors if key.endswith(".logits"))
        return {split: (tensors[f"{split}.labels"], tensors[f"{split}.logits"]) for split in splits}
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(f"predictions: cannot read {file}: {' '.join(str(error).split())}") from None


def read_evaluation_set(
    evaluation_set: str, files: Mapping[RunKey, PredictionFile], option: str
) -> tuple[NDArray[Any], dict[RunKey, NDArray[np.float32]]]:
    """Read the labels (n,) of an evaluation set, and the logits of each run that has a file.

    Raises InputError, beginning with `option`, without a file, or for one that lacks the set or was made on
    other examples than the rest; beginning with "predictions" for one that is not what its run wrote.
    """
    labels: NDArray[Any] | None = None
    logits = {}
    for run, written in files.items():
        written.check_content()
        file = written.path
        by_set = read_predictions(file)
        if evaluation_set not in by_set:
            rule = f"has no predictions for {evaluation_set}, only for {', '.join(by_set)}"
            raise InputError(f"{option}: {file} {rule}")
        run_labels, logits[run] = by_set[evaluation_set]
        if labels is not None and not np.array_equal(labels, run_labels):
            rule = f"was made on different examples of {evaluation_set} than the other runs"
            raise InputError(f"{option}: {file} {rule}")
        labels = run_labels
    if labels is None:
        raise InputError(f"{option}: no confirmation completed")
    return labels, logits
