"""Peak memory of a run: of its GPU if it has one, else of the process."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

from dps.lazy import torch

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
