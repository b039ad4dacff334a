"""Checkpoints: a tree of tensors and plain values in safetensors and JSON, never a pickle.

A checkpoint is a folder `step-00000120` with `tensors.safetensors` and `tree.json`, which holds a checksum of
both. It is written under another name and then renamed. The newest two are kept: if the newest is broken, the
one before is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from dps import distributed
from dps.lazy import nn, safetensors_torch, torch
from dps.paths import sync_path, sync_tree

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

KEPT_CHECKPOINTS = 2
BROKEN_CHECKPOINT_ERRORS = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError,
)  # fmt: skip


def save_checkpoint(folder: Path, step: int, tree: Any) -> Path:
    """Write a tree of dicts, lists, tensors, numbers, strings and None; return the checkpoint's folder.

    Raises OSError if it cannot be written; nothing of it is left then.
    """
    tensors: dict[str, Tensor] = {}
    structure = _pack(tree, tensors)
    target = folder / f"step-{step:08d}"
    part = folder / f".part-{os.getpid()}-{step}"
    for stale in folder.glob(".part-*"):  # of a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _write_files(part, structure, tensors)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    sync_path(folder)
    for old in _list_checkpoints(folder)[KEPT_CHECKPOINTS:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_checkpoint(folder: Path, warn: Callable[[str], None] = lambda message: None) -> Any | None:
    """Return the tree of the newest complete checkpoint, or None. warn: called for each broken one."""
    for path in _list_checkpoints(folder):
        try:
            document = json.loads((path / "tree.json").read_text(encoding="utf-8"))
            if _hash_files(path / "tensors.safetensors", document["tree"]) != document["sha256"]:
                raise ValueError("checksum differs")
            return _unpack(document["tree"], safetensors_torch.load_file(path / "tensors.safetensors"))
        except BROKEN_CHECKPOINT_ERRORS as error:
            warn(f"checkpoint {path.name} is broken ({error}); trying the one before")
    return None


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load whole weights, or parts that are split as those of the model."""
    own = model.state_dict()
    model.load_state_dict(
        {name: distributed.split_like(value, own.get(name)) for name, value in weights.items()}
    )


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load the whole state of an optimizer, whose weights may be split."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    split = {
        number: {key: distributed.split_like(value, parameters[number]) for key, value in values.items()}
        for number, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": split})


def _list_checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _write_files(part: Path, structure: Any, tensors: dict[str, Tensor]) -> None:
    try:
        safetensors_torch.save_file(tensors, part / "tensors.safetensors")
    except SafetensorError as error:  # it wraps errors of the file system
        raise OSError(f"{part.name}: {error}") from error
    document = {"sha256": _hash_files(part / "tensors.safetensors", structure), "tree": structure}
    (part / "tree.json").write_text(json.dumps(document), encoding="utf-8")
    sync_tree(part)


def _hash_files(file: Path, structure: Any) -> str:
    """Return the SHA-256 over the tensor file and the JSON structure."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    digest.update(json.dumps(structure).encode())
    return digest.hexdigest()


def _pack(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, torch.Tensor):
        key = str(len(tensors))
        tensors[key] = node.detach().to("cpu", copy=True).contiguous()
        return {"tensor": key}
    if isinstance(node, dict):
        return {"dict": [[key, _pack(value, tensors)] for key, value in node.items()]}
    if isinstance(node, (list, tuple)):
        return {"list": [_pack(value, tensors) for value in node]}
    if node is None or isinstance(node, (bool, int, float, str)):
        return {"value": node}
    raise TypeError(f"a checkpoint cannot hold a {type(node).__name__}")


def _unpack(node: Any, tensors: dict[str, Tensor]) -> Any:
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(value, tensors) for key, value in content}
    if kind == "list":
        return [_unpack(value, tensors) for value in content]
    return content
