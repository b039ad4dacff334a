"""Help of the commands: groups of options, what stands for their values, and the short form."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

GROUPS: Mapping[str, tuple[str, ...]] = {  # options by heading; what stands in none is for experts
    "what to learn": (
        *(
            "task",
            "init_task",
            "data",
            "model",
            "train_size",
            "shots",
            "max_length",
            "select_on",
            "transfer",
            "probe",
        ),
    ),
    "what to try": (
        *(
            "method",
            "methods",
            "arms",
            "tune",
            "space",
            "trials",
            "epochs",
            "max_steps",
            "batch_size",
            "sampler",
            "scheduler",
        ),
        *(
            "evaluations",
            "patience",
            "warm_start",
            "target",
            "time_budget",
            "gpu_hours",
            "cpu_hours",
        ),
    ),
    "how sure to be": ("race", "confirm", "baseline", "finalists", "ensemble", "seed", "objectives"),
    "where it runs": (
        *("max_concurrent", "gpus_per_worker", "cpus_per_worker", "workers_per_trial", "share_gpus", "shard"),
        *("precision", "storage", "preflight", "step_timeout", "trial_timeout", "oom_retry", "price"),
        "gradient_checkpointing",
    ),
    "what comes out": (
        *("dry_run", "output", "resume", "config", "quiet", "json", "profile", "tracking_uri", "experiment"),
        *("register", "results", "allow_dirty"),
    ),
}
OTHERS = "for experts"
BRIEF_END = "All options: --help-all. Methods: docs/methods.md. More: docs/index.md."

SHORT_TEXTS: Mapping[str, str] = {  # what --help shows, in a line each
    "task": "cola, rte, ..., or a YAML file of your own",
    "init_task": "inspect a file of examples, propose such a YAML file",
    "data": "auto, hub, builtin, or a folder",
    "model": "auto, builtin, a hub name, or a folder",
    "method": "dps-dense, lora, ...; several with commas",
    "methods": "methods to compare, with commas",
    "arms": "or compare anything: 'NAME: model=..., epochs=10'",
    "space": "what to search: 'learning_rate=1e-5..1e-3:log'",
    "trials": "configurations to try",
    "epochs": "passes over the training data, if not searched",
    "time_budget": "start no more runs after this long: 30m, 2h, 1h30m",
    "race": "further seeds of the best configurations",
    "confirm": "fresh seeds for the verdict",
    "max_concurrent": "runs at once (default: as many as there is room for)",
    "storage": "folder that every node sees, or s3://BUCKET/PATH",
    "dry_run": "print the plan and start nothing",
    "output": "folder for the results (default: a new one in runs/)",
    "resume": "continue what is in this folder",
    "quiet": "print only the result",
}
SEVERAL_WORDS = ("arms", "results")  # options whose values are given one after the other
MAX_BRIEF_TEXT = 54  # characters beside the names of options on 80 columns

METAVARS: Mapping[str, str] = {
    **dict.fromkeys(("init_task", "config"), "FILE"),
    **dict.fromkeys(("time_budget", "step_timeout", "trial_timeout"), "TIME"),
    **dict.fromkeys(("method", "methods", "transfer", "objectives"), "NAME,..."),
    "warm_start": "DIR,...",
    "results": "DIR",
    "storage": "DIR",
    "arms": "ARM",
    "space": "SPACE",
    "tracking_uri": "URI",
}

_SEARCHED = dict.fromkeys(("lr", "learning-rate"), "search it: --space learning_rate=2e-5") | {
    name: f"search it: --space {name.replace('-', '_')}=VALUE"
    for name in ("weight-decay", "warmup-ratio", "label-smoothing", "selection-ratio", "update-ratio")
}
ADVICE: Mapping[str, str] = {  # for what others call an option
    **{f"--{name}": advice for name, advice in _SEARCHED.items()},
    **dict.fromkeys(("--metric", "--metrics"), "set the metric in the task's YAML file"),
    "--class-weights": "weigh the classes with --loss balanced",
    "--seeds": "did you mean --confirm, for fresh seeds?",
    "--gpus": "did you mean --gpus-per-worker?",
}


def add_options(
    parser: argparse.ArgumentParser, options: Mapping[str, FieldInfo], is_brief: bool = False
) -> None:
    """Add options to a parser, by group; their values stay text, and those that are not given are left out.

    is_brief: whether its help shows those of SHORT_TEXTS alone.
    """
    grouped = {name for names in GROUPS.values() for name in names}
    others = tuple(name for name in options if name not in grouped)
    for heading, names in {**GROUPS, OTHERS: others}.items():
        group = parser.add_argument_group(heading)
        for name in (name for name in names if name in options):
            _add_option(group, name, options[name], is_brief)
    for names in (("-h", "--help"), ("--help-all",)):
        parser.add_argument(*names, action="help", help=argparse.SUPPRESS)


def _add_option(group: Any, name: str, field: FieldInfo, is_brief: bool) -> None:
    text = SHORT_TEXTS.get(name) if is_brief else field.description
    whole = text and _append_default(text, field.default)
    fits = whole and (not is_brief or len(whole) <= MAX_BRIEF_TEXT)
    shown = ((whole if fits else text) or argparse.SUPPRESS).replace("%", "%%")
    flag = name.replace("_", "-")
    if field.annotation is bool:
        yes_or_no = {"dest": name, "default": argparse.SUPPRESS, "action": "store_const"}
        group.add_argument(f"--{flag}", const=True, help=shown, **yes_or_no)
        group.add_argument(f"--no-{flag}", const=False, help=argparse.SUPPRESS, **yes_or_no)
        return
    metavar = METAVARS.get(name) or _choose_metavar(str(field.annotation))
    many = {"nargs": "+"} if name in SEVERAL_WORDS else {}
    group.add_argument(f"--{flag}", default=argparse.SUPPRESS, metavar=metavar, help=shown, **many)


def _append_default(text: str, default: object) -> str:
    is_said = default is None or default is False or default == {} or "default: " in text
    return text if is_said else f"{text} (default: {default})"


def _choose_metavar(annotation: str) -> str:
    if annotation.startswith("typing.Literal"):
        names = annotation.partition("[")[2].rstrip("]")
        return "{" + names.replace("'", "").replace(", ", ",") + "}"
    if "Path" in annotation:
        return "DIR"
    return "NUM" if "int" in annotation or "float" in annotation else "NAME"
