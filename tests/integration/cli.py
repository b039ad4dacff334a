"""Running the main command as a user does, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
DEADLINE_S = 280.0
TINY = ("--max-steps", "18", "--evaluations", "3", "--batch-size", "8", "--train-size", "160")
SMALL = (*TINY, "--race", "0", "--baseline", "none")


@dataclass
class Done:
    """What a command came to. seconds_to_end: since `then`, or since the start.

    processes: how many ran below it when the first trial reported; listening: addresses at which they did;
    left: those still there 30 s after its end.
    """

    status: int
    lines: list[str]
    seconds_to_end: float
    output: Path
    processes: int
    listening: set[str]
    left: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def found(self) -> dict[str, Any]:
        return json.loads((self.output / "search.json").read_text(encoding="utf-8"))


def search(
    output: Path,
    *options: str,
    when: Callable[[str], bool] = lambda line: False,
    then: Callable[[subprocess.Popen[str]], None] = lambda process: process.send_signal(signal.SIGINT),
    env: dict[str, str] | None = None,
) -> Done:
    """Run `python tune/search.py` to its end; at the first line that `when` picks, do `then` to it."""
    command = [sys.executable, "tune/search.py", *options]
    if "--resume" not in options:
        command += ["--output", str(output)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **(env or {})},
    )
    assert process.stdout is not None
    began, lines = time.monotonic(), []
    acted: float | None = None
    below: list[psutil.Process] = []
    listening: set[str] = set()
    try:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if not below and " step " in line:
                below = psutil.Process(process.pid).children(recursive=True)
                listening = set[str]().union(*map(_find_addresses, below))
            if acted is None and when(line):
                acted = time.monotonic()
                then(process)
            assert time.monotonic() - began < DEADLINE_S, "\n".join(lines)
        status = process.wait(timeout=60)
    finally:
        process.kill()
    seconds = time.monotonic() - (acted or began)
    _, alive = psutil.wait_procs(below, timeout=30)
    return Done(status, lines, seconds, output, len(below), listening, [str(p) for p in alive])


def _find_addresses(process: psutil.Process) -> set[str]:
    """Return the addresses at which a process listens; none if it has gone."""
    with suppress(psutil.Error):
        connections = process.net_connections(kind="inet")
        return {c.laddr.ip.removeprefix("::ffff:") for c in connections if c.status == psutil.CONN_LISTEN}
    return set()
