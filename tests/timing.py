"""How long something takes, undisturbed."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def measure_cpu_seconds(work: Callable[[], object], times: int = 5) -> float:
    """The least CPU seconds this thread takes for `work` in so many turns.

    The garbage collector is off meanwhile: a pass over all that a long session keeps alive takes most of a
    second, and it is not the work's.
    """
    seconds: list[float] = []
    collects = gc.isenabled()
    gc.disable()
    try:
        for _ in range(times):
            began = time.thread_time()
            work()
            seconds.append(time.thread_time() - began)
    finally:
        if collects:
            gc.enable()
    return min(seconds)
