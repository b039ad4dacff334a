"""What a confirmation predicted, example by example: one small safetensors file a run.

Tensors "<split>.logits" (n, classes) float32 and "<split>.labels" (n,), or (n, classes) where an example has
several, in the order of the examples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from dps.errors import InputError

PREDICTIONS_FILE = "logits.safetensors"  # where a run writes them


def locate_predictions(output: Path, id: str) -> Path:
    """Return where the predictions of a run lie in an output folder."""
    return output / "predictions" / f"{id}.safetensors"


def write_predictions(
    file: Path, logits: dict[str, NDArray[np.float32]], labels: dict[str, NDArray[Any]]
) -> None:
    """Write logits (n, classes) and labels by split, in one piece."""
    tensors = {f"{split}.logits": np.ascontiguousarray(values) for split, values in logits.items()}
    tensors |= {f"{split}.labels": np.ascontiguousarray(values) for split, values in labels.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    save_file(tensors, part)
    part.replace(file)


def read_predictions(file: Path) -> dict[str, tuple[NDArray[Any], NDArray[np.float32]]]:
    """Read (labels, logits) by split. Raises InputError unless the file is there and whole."""
    try:
        tensors = load_file(file)
        splits = sorted(key.removesuffix(".logits") for key in tensors if key.endswith(".logits"))
        return {split: (tensors[f"{split}.labels"], tensors[f"{split}.logits"]) for split in splits}
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(f"predictions: cannot read {file}: {' '.join(str(error).split())}") from None
