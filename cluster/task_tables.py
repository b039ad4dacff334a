"""What the tasks of a matrix of jobs say together."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster.jobs import JobRequest
from tune.core.command import format_command
from tune.core.options import CompareOptions

RESULTS = ("search.json", "compare.json")


def show_tables(requests: Sequence[JobRequest]) -> list[str]:
    """Make the table of the tasks of a matrix, for each combination of its other values, by its command.
    Returns the commands that make those whose folders this machine does not see."""
    combinations: dict[tuple[str, ...], list[JobRequest]] = {}
    for request in requests:
        others = tuple(f"{name}={value}" for name, value in request.row.items() if name != "task")
        if "task" in request.row:
            combinations.setdefault(others, []).append(request)
    lines = []
    for others, group in combinations.items():
        if len(group) < 2:
            continue
        folders = [Path(shlex.split(request.output)[0]) for request in group]
        if all(any((folder / file).is_file() for file in RESULTS) for folder in folders):
            name = "-".join(["suite", *others])
            subprocess.run(shlex.split(_format_table_command(group, folders[0].parent / name)), check=False)
        else:
            said = " ".join(["table of all tasks", *others])
            lines.append(f"{said}, where their folders are: {_format_table_command(group)}")
    return lines


def _format_table_command(group: Sequence[JobRequest], name: Path | None = None) -> str:
    """Return the command that makes the table. name: of its page or folder on this machine; None for the
    command as the cluster's shell reads it."""
    outputs = [request.output for request in group]
    if group[0].entrypoint.startswith(CompareOptions.command):
        program, given, output = CompareOptions.command, f"--results {','.join(outputs)}", name
    else:
        program, given = "python tune/report.py", " ".join(outputs)
        output = name and name.with_name(f"{name.name}.html")
    if output is None:
        return f"{program} {given}"
    return f"{format_command(program)} {given} {shlex.join(['--output', str(output)])}"
