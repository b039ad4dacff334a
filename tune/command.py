"""A whole command, from its arguments to its exit status; what it refuses becomes one line."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dps import tasks
from dps.errors import InputError, disk_is_full
from dps.redact import one_line
from tune import parsing
from tune.errors import Refused
from tune.options import CompareOptions, RunOptions, SearchOptions
from tune.stopping import INTERRUPTED as INTERRUPTED

if TYPE_CHECKING:
    from tune.sitting import Sitting

DONE, BROKE_OFF, WRONG_INPUT, REFUSED, NOTHING_FINISHED = 0, 1, 2, 3, 4
_STARTED = time.localtime()


def fail(message: str, status: int) -> int:
    """Print one line on standard error; returns the exit status."""
    print(f"error: {one_line(message)}", file=sys.stderr)
    return status


def run(argv: list[str], kind: type[parsing.Options], sitting: type[Sitting]) -> int:
    """A whole command: options, plan, the sitting. Returns its exit status."""
    gc.disable()  # until the first trial: what is imported stays, and is not looked through again and again
    try:
        options = parsing.parse(argv, kind)
        if options.resume is not None:
            options = resumed(options)
        return sitting.of(options)
    except InputError as error:
        return fail(str(error), WRONG_INPUT)
    except Refused as error:
        return fail(str(error), REFUSED)
    except ConnectionError as error:
        return fail(f"RAY_ADDRESS: {error}; start the cluster, or unset it for a local one", REFUSED)
    except Exception as error:
        if not disk_is_full(error):
            raise
        return fail(f"the disk is full ({error}); make room, and run the command again", INTERRUPTED)
    except KeyboardInterrupt:
        return fail("interrupted before the first trial", INTERRUPTED)
    finally:
        gc.enable()


def resumed(options: parsing.Options) -> parsing.Options:
    """The options of the run in --resume, under those given now. Raises InputError where there is none."""
    folder = options.resume
    assert folder is not None
    if not (folder / "study.db").is_file() or not (folder / "config.yaml").is_file():
        raise InputError(f"--resume: {folder} holds no search (study.db and config.yaml)")
    held = parsing.read_yaml(folder / "config.yaml")
    for option, kind in (("method", SearchOptions), ("methods", CompareOptions)):
        if option in held and not isinstance(options, kind):
            raise InputError(f"--resume: {folder} was made by another command; use {kind.command}")
    return parsing.resume(folder, options)


def output_folder(options: RunOptions, prefix: str = "") -> Path:
    """Where results go: --output, or runs/<task>-<date-time>; under the home folder in a submitted
    job, whose working directory Ray deletes."""
    from tune import runtime

    runs = Path.home() / "runs" if runtime.in_job() else Path("runs")
    task = tasks.name_of(options.task)
    return options.output or runs / f"{prefix}{task}-{time.strftime('%Y%m%d-%H%M%S', _STARTED)}"
