"""Commands: from arguments to an exit status, with each refusal printed as one line."""

from __future__ import annotations

import gc
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dps.command import find_console_script, outlive_readers
from dps.errors import InputError, is_disk_full
from dps.tasks.registry import get_task_name
from dps.text import sanitise_line
from tune.core.option_types import split_names
from tune.core.options import CommonOptions
from tune.core.parsing import OptionsT, parse_options
from tune.core.run import RefusedError

EXIT_DONE, EXIT_CRASHED, EXIT_WRONG_INPUT, EXIT_REFUSED, EXIT_NOTHING_FINISHED = 0, 1, 2, 3, 4
EXIT_INTERRUPTED = 130
MAX_TASK_NAMES_LENGTH = 80  # letters
PROJECT_ROOT = Path(__file__).resolve().parents[2]
_START_TIME = time.localtime()


class UnfinishedError(Exception):
    """Raised when a search or comparison ends without a result. status: exit status of the command."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def print_error(message: str, status: int) -> int:
    """Print one line on standard error. Returns the exit status."""
    print(f"error: {sanitise_line(message)}", file=sys.stderr)
    return status


@outlive_readers()
def run_session_command(
    argv: Sequence[str] | None, kind: type[OptionsT], start: Callable[[OptionsT], int]
) -> int:
    """Parse the options and start a session. Returns the exit status."""
    try:
        with suspend_collection():
            return start(parse_options(argv, kind))
    except InputError as error:  # one of the library dps names an argument, which is an option here
        message = re.sub(r"^(task|data|model|transfer): ", r"--\1: ", str(error))
        return print_error(message, EXIT_WRONG_INPUT)
    except RefusedError as error:
        return max(print_error(line, EXIT_REFUSED) for line in str(error).splitlines())
    except UnfinishedError as error:
        return print_error(str(error), error.status)
    except ConnectionError as error:
        return print_error(f"RAY_ADDRESS: {error}", EXIT_REFUSED)
    except Exception as error:
        if not is_disk_full(error):
            raise
        return print_error(
            f"the disk is full ({error}); make room, and run the command again", EXIT_INTERRUPTED
        )
    except KeyboardInterrupt:
        return print_error("interrupted before the first trial", EXIT_INTERRUPTED)


@contextmanager
def suspend_collection() -> Iterator[None]:
    """Collect no garbage until the first trial: imported objects stay, and looking at them is waste."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def format_command(program: str, *arguments: str | Path) -> str:
    """Return a command that runs in any folder, without an activated environment.

    program: as --help has it, "python tune/search.py" or "python -m tune.tracking". Paths become absolute.
    The short form stays in a submitted job, whose copy of the project is deleted after it.
    """
    words = [str(word.absolute()) if isinstance(word, Path) else word for word in arguments]
    if is_in_ray_job():
        return shlex.join([*program.split(), *words])
    if (script := find_console_script(program)) is not None:
        return shlex.join([str(script), *words])
    name = program.split()[-1]
    file = PROJECT_ROOT / (name if name.endswith(".py") else f"{name.replace('.', '/')}/__main__.py")
    return shlex.join([sys.executable, str(file), *words])


def choose_output_folder(options: CommonOptions, prefix: str = "") -> Path:
    """Return the output folder: --output, or runs/<task>-<date-time>, with each of several tasks named. A
    submitted job uses ~/runs, since Ray deletes its working directory."""
    runs = Path.home() / "runs" if is_in_ray_job() else Path("runs")
    task = name_tasks(options)
    return options.output or runs / f"{prefix}{task}-{time.strftime('%Y%m%d-%H%M%S', _START_TIME)}"


def name_tasks(options: CommonOptions) -> str:
    """Return the names of the tasks of --task, as a name of a folder or an experiment begins."""
    names = [get_task_name(task) for task in split_names(options.task)]
    if len(names) == 1:
        return names[0]
    return re.sub(r"[^\w-]+", "-", "-".join(names))[:MAX_TASK_NAMES_LENGTH]


@contextmanager
def catch_stop_signals() -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT, SIGTERM or SIGHUP sets; a second one ends the process. Python
    gives signals to the main thread alone: in another one nothing sets it."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            os._exit(EXIT_INTERRUPTED)
        stop.set()
        print("\nstopping: writing checkpoints (once more: stop now)", file=sys.stderr, flush=True)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as `nohup` sets it
        numbers.append(signal.SIGHUP)
    previous_handlers = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


def is_in_ray_job() -> bool:
    """Return whether this process was started by `ray job submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
