"""How long something takes, undisturbed."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def measure_cpu_seconds(work: Callable[[], object], times: int = 5) -> float:
    """The least CPU seconds this thread takes for `work` in so many turns.

    The garbage collector is off meanwhile: its passes go over all that a long session of tests keeps alive,
    which is not the work's.
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
