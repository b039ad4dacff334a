"""Optimizer, learning rate and precision of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dps.errors import InputError
from dps.lazy import nn, torch

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MAX_PLAIN_ATTENTION = 256  # tokens up to which attention is computed in plain products on a CPU in bf16


def make_adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> Optimizer:
    """Return a fused AdamW without decay on biases and normalisation."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def compute_learning_rate_factor(step: int, max_steps: int, warmup_ratio: float) -> float:
    """Return the share of the peak learning rate at `step` (from 1), in [0, 1].

    It rises linearly from 0 over int(max_steps * warmup_ratio) steps, then falls linearly towards 0.
    """
    warmup = int(max_steps * warmup_ratio)
    if step <= warmup:
        return (step - 1) / warmup
    return (max_steps - step + 1) / max(1, max_steps - warmup)


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every parameter group, times its "lr_scale" if a method set one."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_scale", 1.0)


def resolve_precision(precision: str, device: torch.device) -> str:
    """Resolve "auto" for this device. Raises InputError if the device lacks the precision."""
    if precision == "auto":
        if device.type == "cpu":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if precision == "fp16" and device.type == "cpu":
        raise InputError("precision: fp16 needs a GPU; use fp32 or bf16 on a CPU")
    return precision


def choose_attention(model: PreTrainedModel, precision: str, device: torch.device, max_length: int) -> None:
    """Let a model compute attention in plain products on a CPU in bf16, where PyTorch's fused kernel takes
    longer (`benchmarks/cpu.py`), but for long texts, where plain products take as long and more memory.
    Everywhere else it stays as it was loaded. Saved models do not tell.

    max_length: tokens of an example, at most.
    """
    is_slower = device.type == "cpu" and resolve_precision(precision, device) == "bf16"
    if is_slower and max_length <= MAX_PLAIN_ATTENTION and model.config._attn_implementation == "sdpa":
        model.set_attn_implementation("eager")


def make_autocast_and_scaler(precision: str, device: torch.device) -> tuple[Any, torch.amp.GradScaler]:
    """Return (autocast context, loss scaler) for a precision on this device."""
    precision = resolve_precision(precision, device)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    autocast = torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")
    return autocast, torch.amp.GradScaler(device.type, enabled=precision == "fp16")
