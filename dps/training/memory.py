"""Memory of a run: how its ranks save it, and its peak, of its GPU if it has one, else of the process."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from dps import distributed
from dps.coverage import get_model_family
from dps.depth import find_transformer_blocks
from dps.errors import InputError
from dps.lazy import nn, torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # see proc(5)


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak-memory counter, where the system can.

    Objects that an earlier run left uncollected still count (models and optimizers refer to one another
    through hooks): call `gc.collect` first.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError, AttributeError):  # return to the system what glibc kept of an earlier run
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")


def get_peak_memory(device: torch.device) -> int | None:
    """Return the peak memory in bytes since `reset_peak_memory`; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else None


def recompute_activations(model: nn.Module) -> None:
    """Let the backward pass compute again what a transformer block kept of the forward pass.

    Raises InputError for a model that cannot.
    """
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise InputError(
            f"gradient_checkpointing: {get_model_family(model)!r} has none; leave it out, and lower "
            f"batch_size or micro_batch"
        )
    names = "activation_checkpointing_enable", "gradient_checkpointing_enable"  # its older name
    enable: Any = next(getattr(model, name) for name in names if hasattr(model, name))
    enable({"use_reentrant": False})


def shard_model(model: nn.Module, device: torch.device) -> dict[int, nn.Parameter]:
    """Split the weights of a model over the ranks, each on its `device`; a forward or backward pass has those
    of one transformer block whole at a time.

    Returns the new parameters by the id of the old ones. Raises InputError with one rank.
    """
    if distributed.get_world_size() == 1:
        raise InputError(
            "shard: one rank has nothing to share; start several (--workers-per-trial 2, or torchrun), or "
            "leave it out"
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where fully_shard puts the weights
    old = {name: id(parameter) for name, parameter in model.named_parameters()}
    mesh = torch.distributed.device_mesh.init_device_mesh(device.type, (distributed.get_world_size(),))
    fsdp = import_module("torch.distributed.fsdp")
    for module in (*_find_blocks(model), model):
        fsdp.fully_shard(module, mesh=mesh, reshard_after_forward=True)
    return {old[name]: parameter for name, parameter in model.named_parameters()}


def _find_blocks(model: nn.Module) -> list[nn.Module]:
    try:
        return find_transformer_blocks(model)
    except ValueError:  # several stacks, or none: the model is one piece
        return []
