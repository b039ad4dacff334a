"""Types of options: how values of the command line and of YAML are read, beside what pydantic checks."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from dps.paths import expand_home
from dps.tasks.metrics import TUNED_THRESHOLD
from tune.core.arm_definition import parse_arms, parse_assignments

MAX_SHOTS = 1_000_000
MAX_GPU_SHARES = 10_000  # of one GPU, as Ray counts them
TASK_PRESETS = {"glue": ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")}  # the paper's eight


def _check_path(value: Any) -> Any:
    """Return a path with ~ expanded. Raises ValueError for text that cannot be one."""
    if value == "" or "\0" in str(value):
        raise ValueError("must be a path")
    return expand_home(str(value)) if isinstance(value, str | Path) else value


def _expand_location(value: Any) -> Any:
    """Expand the ~ of a text that may be a path, or the URI of a file."""
    if not isinstance(value, str):
        return value
    scheme, path = re.fullmatch(r"((?:sqlite:///|file:(?://)?)?)(.*)", value, re.DOTALL).groups()  # type: ignore[union-attr]
    return scheme + expand_home(path)


def _join_names(value: Any) -> Any:
    """Join the names of a YAML list with commas. Raises ValueError for one that is named twice."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        value = ",".join(value)
    names = split_names(value) if isinstance(value, str) else ()
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise ValueError(f"{twice[0]} is named twice; name it once")
    return value


def _join_locations(value: Any) -> Any:
    joined = _join_names(value)
    if not isinstance(joined, str):
        return joined
    if "" in (names := split_names(joined)):
        raise ValueError("must be names with commas between them")
    return ",".join(map(_expand_location, names))


def _parse_space(value: Any) -> Any:
    """Parse a search space on the command line: {name: value, ...}, or name=1,2 and name=1..2 with commas
    between."""
    if not isinstance(value, str):
        return value
    return parse_assignments(value)


def _check_gpu_share(gpus: float) -> float:
    """Raise ValueError for what Ray cannot give a worker: a share finer than 0.0001, one and a half GPUs."""
    if gpus > 1 and gpus % 1:
        raise ValueError("must be whole above 1: a worker has a share of one GPU, or whole ones")
    if gpus and abs(gpus * MAX_GPU_SHARES - round(gpus * MAX_GPU_SHARES)) > 1e-6:
        raise ValueError("must have at most four decimals")
    return gpus


def _parse_shots(value: Any) -> Any:
    """Return one number of examples, or a tuple of several. Raises ValueError for what is none."""
    parts = (
        value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    )
    counts = [int(part) if re.fullmatch(r"\s*\d{1,7}\s*", str(part)) else 0 for part in parts]
    if not counts or not all(0 < count <= MAX_SHOTS for count in counts):
        raise ValueError(
            f"must be a whole number from 1 to {MAX_SHOTS:,}, or several with commas between them"
        )
    if len({*counts}) < len(counts):
        raise ValueError("must name each number once")
    return counts[0] if len(counts) == 1 else tuple(counts)


def _parse_threshold(value: Any) -> Any:
    """Return "tuned", or a probability in (0, 1). Raises ValueError for anything else."""
    with suppress(TypeError, ValueError):
        if value in (None, TUNED_THRESHOLD) or 0 < float(value) < 1:
            return value if value in (None, TUNED_THRESHOLD) else float(value)
    raise ValueError(f"must be {TUNED_THRESHOLD}, or a probability in (0, 1)")


def split_names(text: str) -> tuple[str, ...]:
    """Split names at the commas between them; a comma within a path that is there separates nothing."""
    parts, names = text.split(","), list[str]()
    while parts:
        starts = ((count, ",".join(parts[:count]).strip()) for count in range(len(parts), 0, -1))
        count, name = next(
            each for each in starts if each[0] == 1 or os.path.exists(os.path.expanduser(each[1]))
        )
        names.append(name)
        del parts[:count]
    return tuple(names)


def name_size(shots: int) -> str:
    """Return what one of several sizes of a training set is called: its folder, its column of the table."""
    return f"{shots}-shots"


def expand_tasks(text: str) -> tuple[str, ...]:
    """Split the names of tasks, and put the tasks that one stands for in its place; each is there once."""
    named = [TASK_PRESETS.get(name, (name,)) for name in split_names(text)]
    return tuple(dict.fromkeys(chain.from_iterable(named)))


SchedulerName = Literal["asha", "none"]  # tune.strategy.early_stopping.EARLY_STOPPING_NAMES
SamplerName = Literal["tpe", "gp", "random", "grid", "latin"]
FolderPath = Annotated[Path, BeforeValidator(_check_path)]
Location = Annotated[str, BeforeValidator(_expand_location)]
NameList = Annotated[str, BeforeValidator(_join_names)]
LocationList = Annotated[str, BeforeValidator(_join_locations)]
Space = Annotated[dict[str, Any], BeforeValidator(_parse_space)]
Shots = Annotated[int | tuple[int, ...], BeforeValidator(_parse_shots)]
Threshold = Annotated[float | str, BeforeValidator(_parse_threshold)]
ArmTable = Annotated[dict[str, dict[str, Any]], BeforeValidator(parse_arms)]
GpuShare = Annotated[float, AfterValidator(_check_gpu_share)]
