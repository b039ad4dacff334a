"""Peak memory of a run: of the GPU where there is one, else of the process."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # see proc(5)


def reset_peak_memory(device: torch.device) -> None:
    """Begin to measure anew; does nothing where the system cannot. What an earlier run left behind (models
    and optimizers hold one another through their hooks) counts, unless `gc.collect` came before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError, AttributeError):  # what glibc kept of an earlier run is not this one's
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")


def get_peak_memory(device: torch.device) -> int | None:
    """Bytes at the highest since `reset_peak_memory`; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else None
