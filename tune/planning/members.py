"""Several tasks, or sizes of one, in one go: the options of each, and what they are called together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dps.errors import InputError
from tune.core.command import name_tasks
from tune.core.option_types import name_size
from tune.core.options import CommonOptions
from tune.core.parsing import write_options
from tune.planning.locations import claim_output
from tune.planning.plan import Plan
from tune.records.saved_options import CONFIG_FILE, is_unstarted, load_resumed_options

SHARED_HOURS = ("gpu_hours", "cpu_hours")  # budgets of all tasks together


def make_member_options(given: CommonOptions, options: CommonOptions, output: Path) -> list[CommonOptions]:
    """Return the options of each task or size, whose folder is OUTPUT/NAME: resumed where it has begun.

    given: those of the command; options: with those of a suite that is resumed. Raises InputError for two
    tasks of one name, and for the folder of one task alone.
    """
    if (output / "study.db").exists():
        kind = "shots" if isinstance(options.shots, tuple) else "task"
        raise InputError(f"--{kind}: {output} is of one {kind} alone; start several with another --output")
    names = [name for name, _ in options.members]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--task: {twice[0]} is named twice; name it once")
    hours = {name: getattr(options, name) for name in SHARED_HOURS}
    shares = {name: value / len(names) for name, value in hours.items() if value is not None}
    found = []
    for name, changes in options.members:
        folder = output / name
        if (folder / "study.db").is_file() and not is_unstarted(folder):
            explicit = {key: value for key, value in given.get_explicit().items() if key != "output"}
            own = {key: value for key, value in shares.items() if key in explicit}
            resumed = type(options)(**{**explicit, **own, **changes, "resume": folder})
            found.append(load_resumed_options(resumed))
        else:
            found.append(options.copy_with(**shares, **changes, output=folder, resume=None))
    return found


def name_member(plan: Plan) -> str:
    """Return what a plan is called among those that run in one go: its folder's name if that is of a size,
    else the task's."""
    size, output = name_size(plan.options.shot_count or 0), plan.options.output
    return size if output is not None and output.name == size else plan.task.name


def claim_suite_output(options: CommonOptions, output: Path, holding: ExitStack) -> Path:
    """Return the folder of several tasks, checked, locked as long as `holding`, and with their options, which
    are gone again where an error ends all before the first task has begun."""
    output = claim_output(output, options.output is not None, options.resume is not None, holding)

    def clear_unstarted(error: type[BaseException] | None, *_: object) -> None:
        left = [file.name for file in output.iterdir() if not file.name.startswith(".")]
        if error is not None and left == [CONFIG_FILE]:
            (output / CONFIG_FILE).unlink()

    if options.resume is None:
        holding.push(clear_unstarted)
    write_options(options, output / CONFIG_FILE)
    return output


def name_experiment(plans: Sequence[Plan], options: CommonOptions) -> list[Plan]:
    """Return the plans with one experiment for all tasks: that of a task that has begun, or one named by the
    tasks and their data."""
    data = "".join(plan.data.fingerprint for plan in plans)
    name = f"{name_tasks(options)}-{hashlib.sha256(data.encode()).hexdigest()[:8]}"
    named = next((plan.options.experiment for plan in plans if plan.options.experiment), name)
    return [replace(plan, options=plan.options.copy_with(experiment=named)) for plan in plans]
