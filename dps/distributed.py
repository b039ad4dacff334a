"""Operations across ranks on plain torch.distributed; with one process they do nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from dps.coverage import get_model_family
from dps.lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
FAMILIES_WITH_UNUSED_PARAMETERS = ("xlnet",)  # its mask_emb never gets a gradient


def get_world_size() -> int:
    """Return the number of ranks; 1 without a process group."""
    dist = torch.distributed
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def get_rank() -> int:
    """Return the rank of this process, from 0."""
    return torch.distributed.get_rank() if get_world_size() > 1 else 0


def get_device() -> torch.device:
    """Return the device of this rank: its GPU if it has one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", local % torch.cuda.device_count())


def move_to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on `device`, copied from pinned memory without waiting where that is a GPU."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def wrap_model(model: nn.Module) -> nn.Module:
    """Wrap the model in DistributedDataParallel; with one rank return it as it is."""
    if get_world_size() == 1:
        return model
    on_gpu = next(model.parameters()).is_cuda
    return nn.parallel.DistributedDataParallel(
        model,
        device_ids=[get_device()] if on_gpu else None,
        find_unused_parameters=get_model_family(model) in FAMILIES_WITH_UNUSED_PARAMETERS,
    )


def is_split(tensor: Tensor) -> bool:
    """Return whether a tensor is split over the ranks (a DTensor)."""
    return hasattr(tensor, "full_tensor")


def join_parts(tensor: Tensor) -> Tensor:
    """Return the whole of a split tensor, for which every rank calls this; any other as it is."""
    return tensor.full_tensor() if is_split(tensor) else tensor  # type: ignore[attr-defined,no-any-return]


def join_tree(node: Any) -> Any:
    """Return a tree of dicts and lists in which split tensors are whole: on rank 0, in CPU memory. Every rank
    calls this; the others get None in their place."""
    if isinstance(node, dict):
        return {key: join_tree(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [join_tree(value) for value in node]
    if not is_split(node):
        return node
    whole = join_parts(node.detach())
    return whole.cpu() if get_rank() == 0 else None


def split_like(tensor: Tensor, like: Tensor | None) -> Tensor:
    """Return this rank's part of a whole tensor, split as `like` is; itself if it has another shape, and if
    `like` is whole."""
    if like is None or not is_split(like) or is_split(tensor) or tensor.shape != like.shape:
        return tensor
    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    part: Tensor = torch.distributed.tensor.distribute_tensor(
        tensor.to(like.device), mesh, placements, src_data_rank=None
    )
    return part


def broadcast_value(value: T) -> T:
    """Return rank 0's value, on every rank."""
    if get_world_size() == 1:
        return value
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


def gather_values(value: Any) -> list[Any]:
    """Return the values of all ranks in their order, on every rank."""
    if get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values
