"""Submit a search to a Ray cluster; follow or stop it.

python cluster/submit.py --address http://HEAD:8265 --task cola
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: hand over to the package
    sys.path[0] = str(Path(__file__).resolve().parents[1])

    from cluster import submit as package

    sys.exit(package.main(sys.argv[1:]))

import itertools
import os
import re
import shlex
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cluster.jobs import JobRequest, JobServer, describe_job_outcome
from cluster.shipping import PROJECT_ROOT, copy_shipped_files, list_shipped_files
from cluster.task_tables import show_tables
from dps.command import CommandParser, drop_option, outlive_readers
from dps.errors import InputError
from dps.paths import is_folder
from dps.tasks.registry import get_task_name, is_task_file
from tune.core.command import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    EXIT_WRONG_INPUT,
    format_command,
    name_tasks,
    print_error,
)
from tune.core.option_types import split_names
from tune.core.options import CommonOptions, CompareOptions, SearchOptions
from tune.core.parsing import parse_options

DEFAULT_JOB_SERVER = os.environ.get("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:8265")
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
MAX_JOBS = 100
RECIPES = {
    "slurm": "slurm/search.sbatch",
    "kuberay": "kuberay/rayjob.yaml",
    "kuberay-cluster": "kuberay/raycluster.yaml",
    "aws": "aws.yaml",
    "gcp": "gcp.yaml",
    "ssh": "ssh.yaml",
    "docker": "docker/Dockerfile",
    "compose": "docker/compose.yaml",
}
EXAMPLES = """
All other options are those of `python tune/search.py`, or after the word compare those of `python
tune/compare.py` (see their --help); they are checked before anything is sent. Several tasks (--task cola,rte)
share the slots of one job. A matrix over tasks ends with their table if this machine sees the folders of the
jobs, else with the command that makes it.

Ctrl-C detaches from the job, which keeps running. A stopped search has written its checkpoints: submit it
again with --resume DIR, the output folder that it printed. Exit status: that of the job (0 done, 2 wrong
input, 3 the cluster cannot run it, 4 no trial finished), 130 if stopped or detached, 1 if Ray could not run
it.

examples:
  python cluster/submit.py --address http://HEAD:8265 --task cola --storage /shared/dps
  python cluster/submit.py --task rte --env MLFLOW_TRACKING_PASSWORD,HF_TOKEN
  python cluster/submit.py --matrix task=cola,rte method=vanilla,dps-dense --storage /shared/dps
  python cluster/submit.py compare --task rte --methods vanilla,dps-dense,r-drop --storage /shared/dps
  python cluster/submit.py --follow cola-1126-101500
  python cluster/submit.py --stop cola-1126-101500
  python cluster/submit.py --recipe slurm > search.sbatch
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    try:
        chosen, rest = _make_parser().parse_known_args(argv)
        if chosen.recipe:
            print((Path(__file__).parent / RECIPES[chosen.recipe]).read_text(encoding="utf-8"), end="")
            return EXIT_DONE
        if (chosen.follow or chosen.stop) and (rest or chosen.matrix):
            raise InputError("--follow, --stop: cannot be combined with options of a search; leave those out")
        if chosen.stop:
            return _stop(chosen)
        if chosen.follow:
            server = JobServer(chosen.address)
            ids = _find_job_ids(server, chosen.follow, "--follow")
            return _follow(server, ids, chosen.follow, JobOutput())
        return _submit(chosen, rest)
    except InputError as error:
        return print_error(str(error), EXIT_WRONG_INPUT)
    except ConnectionError as error:
        return print_error(f"--address: {error}", EXIT_REFUSED)
    except KeyboardInterrupt:
        return print_error("interrupted", EXIT_INTERRUPTED)


def _submit(chosen: Namespace, rest: list[str]) -> int:
    requests = plan_jobs(rest, chosen.matrix or [], time.strftime("%m%d-%H%M%S"))
    variables = collect_variables(chosen.env)
    output = JobOutput("--json" in rest)
    server = JobServer(chosen.address)
    if _is_on_loopback(variables.get(TRACKING_VARIABLE, "")) and not _is_on_loopback(server.address):
        output.note(
            f"warning: {TRACKING_VARIABLE} names this machine's loopback, which the cluster does not reach"
        )
    started = list[str]()
    with tempfile.TemporaryDirectory(prefix="dps-job-") as folder:
        output.note(copy_shipped_files(PROJECT_ROOT, Path(folder)))
        output.note(f"passing      {', '.join(sorted(variables)) or 'no variables'} (values are not shown)")
        try:
            for request in server.submit(requests, Path(folder), variables):
                output.note(f"submitted    {request.id}: {request.entrypoint}")
                started.append(request.id)
        except ConnectionError as error:
            left = f"; submitted before it, and running: {', '.join(started)}" if started else ""
            raise ConnectionError(f"{error}{left}") from None
    name = requests[0].id if len(requests) == 1 else requests[0].group
    if chosen.detach:
        output.note(_format_follow_up(server.address, name))
        return EXIT_DONE
    status = _follow(server, started, name, output)
    if not {"--preflight", "--dry-run"} & {*rest}:  # else nothing was run
        for line in show_tables(requests):
            output.note(line)
    return status


def _is_on_loopback(address: str) -> bool:
    return urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1")


@dataclass
class JobOutput:
    """Output of a job's command: notes and log on standard output, with --json its events there alone."""

    is_json: bool = False
    _begun: str = ""

    def note(self, text: str) -> None:
        """Print a line of this command."""
        print(text, file=sys.stderr if self.is_json else sys.stdout, flush=True)

    def write(self, text: str) -> None:
        """Print a piece of a log, which may end within a line."""
        if not self.is_json:
            print(text, end="", flush=True)
            return
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            print(line, file=sys.stdout if line.startswith("{") else sys.stderr, flush=True)


@outlive_readers()
def _follow(server: JobServer, ids: Sequence[str], name: str, output: JobOutput) -> int:
    try:
        status = server.follow(ids, output.write)
    except KeyboardInterrupt:
        output.note(f"\ndetached from {name}, which runs on\n{_format_follow_up(server.address, name)}")
        return EXIT_INTERRUPTED
    for job in ids:
        output.note(f"{job} {describe_job_outcome(server.get_info(job))}")
    return status


def _stop(chosen: Namespace) -> int:
    server = JobServer(chosen.address)
    ids = _find_job_ids(server, chosen.stop, "--stop")
    print(f"stopping {', '.join(ids)}: a search writes its checkpoints first", flush=True)
    server.stop(ids)
    for job in ids:
        print(f"{job} {describe_job_outcome(server.get_info(job))}")
    return EXIT_DONE


def _find_job_ids(server: JobServer, name: str, option: str) -> list[str]:
    ids = server.find_jobs(name)
    if not ids:
        raise InputError(f"{option}: {server.address} has no job or group {name!r}; see its dashboard")
    return ids


def _format_follow_up(address: str, name: str) -> str:
    command = format_command("python cluster/submit.py", "--address", address)
    return f"  follow: {command} --follow {name}\n  stop:   {command} --stop {name}"


def plan_jobs(rest: list[str], matrix: list[str], stamp: str) -> list[JobRequest]:
    """Return the jobs for these options of a search and this matrix, each checked as the search would.

    stamp: part of every id. Raises InputError.
    """
    group = f"matrix-{stamp}"
    requests: list[JobRequest] = []
    for row in expand_matrix(matrix):
        argv = [*rest, *(word for name, value in row.items() for word in (f"--{name}", value))]
        options, argv = check_job_options(argv)
        name = _name_job(row, options)
        if any(request.id == f"{name}-{stamp}" for request in requests):
            name = f"{name}-{len(requests) + 1}"
        folder = _choose_job_folder(options, group, name) if matrix else ""
        outputs = _separate_outputs(options, group, folder) if matrix else []
        kept = drop_option(argv, "--output") if matrix else argv
        command = " ".join([options.command, shlex.join(kept), *outputs]).strip()
        requests.append(JobRequest(f"{name}-{stamp}", command, group if matrix else name, folder, row))
    return requests


def _name_job(row: dict[str, str], options: CommonOptions) -> str:
    """Name a job after its values in the matrix, the folder that it resumes, or its task, in letters, digits,
    dot, dash and underscore."""
    values = [get_task_name(value) if name == "task" else value for name, value in row.items()]
    if not row:
        values = [options.resume.name if options.resume else name_tasks(options)]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(values)).strip("-") or "job"


def expand_matrix(matrix: Sequence[str]) -> list[dict[str, str]]:
    """Return the combinations of a matrix: ["task=cola,rte", "lr=1"] gives two dicts, [] gives [{}].

    Raises InputError for a malformed axis, an axis or a value that is given twice, or more than `MAX_JOBS`
    combinations.
    """
    axes: dict[str, list[str]] = {}
    for axis in matrix:
        option, equals, text = axis.partition("=")
        name, values = option.lstrip("-"), [value.strip() for value in text.split(",")]
        if not equals or not name or not all(values):
            raise InputError(f"--matrix: must be OPTION=VALUE,VALUE ..., but got {axis!r}")
        if twice := [name] * (name in axes) + [value for value in values if values.count(value) > 1]:
            raise InputError(f"--matrix: {twice[0]} is given twice, in {axis!r}; leave one out")
        axes[name] = values
    rows = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    if len(rows) > MAX_JOBS:
        raise InputError(f"--matrix: at most {MAX_JOBS} jobs, but got {len(rows)}; give fewer values")
    return rows


def check_job_options(argv: list[str]) -> tuple[CommonOptions, list[str]]:
    """Return the options as the search, or with --methods the comparison, will read them; and its arguments,
    with shipped files as the job sees them. Raises InputError for what only this machine has."""
    command, argv = (argv[0], argv[1:]) if argv[:1] in (["search"], ["compare"]) else ("", argv)
    compares = command == "compare" or any(re.match("--(methods|arms)(=|$)", word) for word in argv)
    options: CommonOptions = parse_options(argv, CompareOptions if compares else SearchOptions)
    for name in ("output", "resume", "storage"):
        value = getattr(options, name)
        if value is not None and not str(value).startswith("/") and "://" not in str(value):
            raise InputError(
                f"--{name}: the job's folder is deleted when it ends; give an absolute path, not {value}"
            )
    _check_tracking(options.tracking_uri)
    for name, place in _list_places(options):
        if not place.startswith("/"):
            raise InputError(f"--{name}: {place} is not shipped; give an absolute path that every node sees")
    places: dict[str, dict[str, str]] = {}
    for name, file in _list_files(options):
        shipped = find_shipped_file(file)
        if shipped is None and (name == "config" or not file.is_absolute()):
            raise InputError(
                f"--{name}: {file} is not among the shipped files; put it in {PROJECT_ROOT}/configs, or give "
                f"{'its options' if name == 'config' else 'an absolute path that every node sees'}"
            )
        if shipped is not None:
            places.setdefault(name, {})[str(file)] = str(shipped)
    for name, shipped_as in places.items():
        values = [shipped_as.get(value, value) for value in split_names(str(getattr(options, name)))]
        argv = [*drop_option(argv, f"--{name}"), f"--{name}", ",".join(values)]
    return options, argv


def _list_places(options: CommonOptions) -> Iterator[tuple[str, str]]:
    """Yield the options that name a folder or a file which is not shipped, with each of their values."""
    if options.data not in ("auto", "hub", "builtin", "task"):
        yield "data", options.data
    if options.model.startswith(".") or is_folder(options.model):
        yield "model", options.model
    for name in ("warm_start", "results"):
        for place in split_names(getattr(options, name, None) or "/"):
            if not place.startswith("mlflow:"):
                yield name.replace("_", "-"), place
    if getattr(options, "init_task", None):
        yield "init-task", str(getattr(options, "init_task"))  # noqa: B009


def _list_files(options: CommonOptions) -> Iterator[tuple[str, Path]]:
    """Yield the options that name a YAML file, with the file."""
    if options.config is not None:
        yield "config", options.config
    for name, values in (("task", options.tasks), ("probe", (options.probe or "",))):
        yield from ((name, Path(value)) for value in values if is_task_file(value))


def _check_tracking(uri: str | None) -> None:
    """Raise InputError for an address of MLflow with a password, or of a file in the job's folder."""
    if uri and urlsplit(uri).password:
        raise InputError(
            f"--tracking-uri: has a password, which a command line shows; export {TRACKING_VARIABLE} instead"
        )
    if uri and re.match(r"sqlite(\+\w+)?:///[^/]|file:(//)?[^/]|\.", uri):
        raise InputError(
            f"--tracking-uri: {uri} lies in the job's folder, which is deleted when it ends; give a server, "
            f"or an absolute path that the head sees"
        )


def find_shipped_file(path: Path) -> Path | None:
    """Return the path of a file in the job's folder; None if it is not shipped."""
    try:
        inside = path.resolve().relative_to(PROJECT_ROOT)
    except ValueError:
        return None
    return inside if inside in set(list_shipped_files(PROJECT_ROOT)) else None


def _choose_job_folder(options: CommonOptions, group: str, name: str) -> str:
    """Return the output folder of a job of a matrix, quoted for the shell of the cluster's head."""
    if options.output:
        return shlex.quote(f"{options.output}/{name}")
    return f'"$HOME"/runs/{group}/{shlex.quote(name)}'


def _separate_outputs(options: CommonOptions, group: str, folder: str) -> list[str]:
    """Return options that give each job its own output and the group one experiment."""
    return ["--output", folder, *([] if options.experiment else ["--experiment", group])]


def collect_variables(named: str | None) -> dict[str, str]:
    """Return the environment variables that a job gets: those named, and the tracking URI if it is remote.

    named: names with commas between them. Raises InputError for one that is not set here.
    """
    names = [name.strip() for name in (named or "").split(",") if name.strip()]
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise InputError(f"--env: {', '.join(missing)} is not set here; export it first, or leave it out")
    tracking = os.environ.get(TRACKING_VARIABLE, "")
    if tracking and not tracking.startswith(("sqlite:", "file:", "/")):
        names.append(TRACKING_VARIABLE)
    return {name: os.environ[name] for name in names}


def _make_parser() -> CommandParser:
    parser = CommandParser(
        "python cluster/submit.py",
        "Submit a search or a comparison to a Ray cluster; follow or stop it.",
        EXAMPLES,
    )
    add = parser.add_argument
    add(
        "--address",
        default=DEFAULT_JOB_SERVER,
        metavar="URL",
        help=f"job server (default: {DEFAULT_JOB_SERVER})",
    )
    add(
        "--matrix", nargs="+", metavar="OPTION=VALUES", help="submit one job for each combination, as a group"
    )
    add("--env", metavar="NAMES", help="environment variables to pass to the job, with commas")
    add("--detach", action="store_true", help="return right after submitting")
    add("--recipe", choices=RECIPES, help="print a file to start a cluster with, and exit")
    add("--follow", metavar="JOB", help="follow a running job or group")
    add("--stop", metavar="JOB", help="stop a job or group and wait until it has ended")
    return parser
