"""Commands of a checkout, run in forks of one process that has imported the libraries already.

Run as a script it is that process, and imports nothing of the checkout that it lies in:

    python checkout.py ROOT    # reads a JSON request a line, answers each with a line

A command that imports torch and transformers anew takes four seconds; a fork takes a tenth of that.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.trust.case import Case, Outcome

LIBRARIES = ("torch", "transformers", "optuna", "numpy", "sklearn.metrics", "scipy.stats", "datasets", "rich")
MEMORY = 12 << 30  # address space of a command, in bytes
POLL = 0.02  # s
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "NO_COLOR": "1",
    "COLUMNS": "200",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Checkout:
    """The commands of one checkout of the project.

    root: its folder; python: the interpreter, by default that of its own virtual environment, or this one.
    """

    def __init__(self, root: Path, python: Path | None = None) -> None:
        own = root / ".venv/bin/python"
        interpreter = python or (own if own.exists() else Path(sys.executable))
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_", "DPS_"))}
        self.process = subprocess.Popen(
            [interpreter, Path(__file__).resolve(), root.resolve()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, **ENVIRONMENT},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)

    def run(self, case: Case, folder: Path) -> Outcome:
        """Run a case in `folder`, which is made."""
        from tests.trust.case import Outcome

        work = folder / "work"
        work.mkdir(parents=True)
        prepared = case.prepare(work)
        commands: Sequence[Any] = [prepared] if isinstance(prepared[0], str) else prepared
        code: int | None = 0
        output = ""
        for command in commands:
            code, text = self._ask([str(word) for word in command], folder, case.seconds)
            output += text
            if code != 0:
                break
        return Outcome(code, output, work)

    def _ask(self, command: list[str], folder: Path, seconds: float) -> tuple[int | None, str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"command": command, "folder": str(folder.resolve()), "seconds": seconds}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["code"], answer["output"]


def serve(root: Path) -> None:
    """Answer the requests on standard input."""
    sys.path[0] = str(root)
    for library in LIBRARIES:
        with suppress(ImportError):
            __import__(library)
    for line in sys.stdin:
        request = json.loads(line)
        answer = _run(root, request["command"], Path(request["folder"]), request["seconds"])
        print(json.dumps(answer), flush=True)


def _run(root: Path, command: list[str], folder: Path, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.setsid()
            _become(root, command, folder, output.fileno())
        code = _wait(child, seconds)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        output.seek(0)
        return {"code": code, "output": output.read().decode(errors="replace")}


def _wait(child: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _become(root: Path, command: list[str], folder: Path, output: int) -> None:
    """Run the command in this process, a fork, and end it."""
    import runpy
    import traceback

    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for variable, name in (("HOME", "home"), ("DPS_CACHE_DIR", "cache")):
            (folder / name).mkdir(exist_ok=True)
            os.environ[variable] = str(folder / name)
        os.chdir(folder / "work")
        kind, *rest = command
        if kind == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<case>", "exec"), {"__name__": "__main__"})
        elif kind == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [str(root / kind), *rest]
            runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
