"""Submit a search to a Ray cluster, follow it, stop it.

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
import shlex
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from urllib.parse import urlsplit

from cluster import shipping
from cluster.command import Parser
from cluster.jobs import JobServer, Request
from dps import tasks
from dps.errors import InputError
from tune.command import DONE, INTERRUPTED, REFUSED, WRONG_INPUT, fail
from tune.options import SearchOptions
from tune.parsing import parse

ADDRESS = os.environ.get("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:8265")
TRACKING = "MLFLOW_TRACKING_URI"
MOST_JOBS = 100
EXAMPLES = """
Every other option is one of `python tune/search.py` (see its --help), checked here before anything is sent.

Ctrl-C lets go of the job, which runs on. A stopped search has written its checkpoints: submit it again with
--resume DIR, the folder that it named as its output. Exit status: the job's own (0 done, 2 wrong input, 3 the
cluster cannot run it, 4 no trial finished), 130 stopped or let go of; 1 Ray could not run it.

examples:
  python cluster/submit.py --address http://HEAD:8265 --task cola --storage /shared/dps
  python cluster/submit.py --task rte --env MLFLOW_TRACKING_PASSWORD,HF_TOKEN
  python cluster/submit.py --matrix task=cola,rte method=vanilla,dps-dense --storage /shared/dps
  python cluster/submit.py --follow cola-1126-101500
  python cluster/submit.py --stop cola-1126-101500
"""


def main(argv: list[str]) -> int:
    """Run the command; returns its exit status."""
    try:
        chosen, rest = _parser().parse_known_args(argv)
        if (chosen.follow or chosen.stop) and (rest or chosen.matrix):
            raise InputError("--follow, --stop: take no options of a search")
        if chosen.stop:
            return _stop(chosen)
        if chosen.follow:
            server = JobServer(chosen.address)
            return _follow(server, _known(server, chosen.follow, "--follow"), chosen.follow)
        return _submit(chosen, rest)
    except InputError as error:
        return fail(str(error), WRONG_INPUT)
    except ConnectionError as error:
        return fail(f"--address: {error}", REFUSED)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)


def _submit(chosen: Namespace, rest: list[str]) -> int:
    requests = plan(rest, chosen.matrix or [], time.strftime("%m%d-%H%M%S"))
    passed = variables(chosen.env)
    server = JobServer(chosen.address)
    with tempfile.TemporaryDirectory(prefix="dps-job-") as folder:
        print(shipping.stage(shipping.ROOT, Path(folder)))
        print(f"passing      {', '.join(sorted(passed)) or 'no variables'} (by name; values are not shown)")
        server.submit(requests, Path(folder), passed)
    for request in requests:
        print(f"submitted    {request.id}: {request.entrypoint}", flush=True)
    name = requests[0].id if len(requests) == 1 else requests[0].group
    if chosen.detach:
        print(_how(server.address, name))
        return DONE
    return _follow(server, [request.id for request in requests], name)


def _follow(server: JobServer, ids: Sequence[str], name: str) -> int:
    def say(text: str) -> None:
        print(text, end="", flush=True)

    try:
        status = server.follow(ids, say)
    except KeyboardInterrupt:
        print(f"\nlet go of {name}, which runs on\n{_how(server.address, name)}")
        return INTERRUPTED
    for job in ids:
        print(f"{job} {server.outcome(job)}")
    return status


def _stop(chosen: Namespace) -> int:
    server = JobServer(chosen.address)
    ids = _known(server, chosen.stop, "--stop")
    print(f"stopping {', '.join(ids)}: a search writes its checkpoints first", flush=True)
    server.stop(ids)
    for job in ids:
        print(f"{job} {server.outcome(job)}")
    return DONE


def _known(server: JobServer, name: str, option: str) -> list[str]:
    ids = server.named(name)
    if not ids:
        raise InputError(f"{option}: {server.address} knows no job or group {name!r}; see its dashboard")
    return ids


def _how(address: str, name: str) -> str:
    command = f"python cluster/submit.py --address {address}"
    return f"  follow: {command} --follow {name}\n  stop:   {command} --stop {name}"


def plan(rest: list[str], matrix: list[str], stamp: str) -> list[Request]:
    """The jobs that these options of a search, and this matrix, ask for; each is checked as the search would.
    Raises InputError."""
    rows = combinations(matrix)
    group = f"matrix-{stamp}"
    requests = []
    for row in rows:
        argv = [*rest, *(word for name, value in row.items() for word in (f"--{name}", value))]
        options = check(argv)
        name = _named(row, options)
        if matrix:
            requests.append(
                Request(f"{name}-{stamp}", _command(argv, _apart(argv, options, group, name)), group)
            )
        else:
            requests.append(Request(f"{name}-{stamp}", _command(argv), name))
    return requests


def _named(row: dict[str, str], options: SearchOptions) -> str:
    """The job after its values in the matrix, the folder that it goes on with, or its task."""
    if row:
        return "-".join(tasks.name_of(value) if name == "task" else value for name, value in row.items())
    return options.resume.name if options.resume else tasks.name_of(options.task)


def combinations(matrix: Sequence[str]) -> list[dict[str, str]]:
    """[{"task": "cola", "method": "vanilla"}, ...] of ["task=cola,rte", "method=vanilla"]; [{}] of none."""
    axes: dict[str, list[str]] = {}
    for axis in matrix:
        name, equals, values = axis.partition("=")
        axes[name.lstrip("-")] = [value.strip() for value in values.split(",")]
        if not equals or not name or not all(axes[name.lstrip("-")]):
            raise InputError(f"--matrix: must be OPTION=VALUE,VALUE ..., but got {axis!r}")
    rows = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    if len(rows) > MOST_JOBS:
        raise InputError(f"--matrix: {len(rows)} jobs; at most {MOST_JOBS}")
    return rows


def check(argv: list[str]) -> SearchOptions:
    """The options as the search will read them; what names a place on this machine alone is refused."""
    options: SearchOptions = parse(argv)
    for name in ("output", "resume", "storage"):
        value = getattr(options, name)
        if value is not None and not str(value).startswith("/") and "://" not in str(value):
            raise InputError(f"--{name}: a job's own folder ends with it; give an absolute path, not {value}")
    if options.tracking_uri and urlsplit(options.tracking_uri).password:
        raise InputError(f"--tracking-uri: holds a password, which a command line shows; export {TRACKING}")
    if options.config and not _shipped(options.config):
        raise InputError(
            f"--config: {options.config} is not among the files that are shipped; put it in configs/"
        )
    if tasks.is_file(options.task) and not (options.task.startswith("/") or _shipped(Path(options.task))):
        raise InputError(
            f"--task: {options.task} is not among the files that are shipped; put it in configs/, or give an "
            f"absolute path that every node sees"
        )
    if options.data not in ("auto", "hub", "builtin", "task") and not options.data.startswith("/"):
        raise InputError(f"--data: {options.data} is not shipped; give an absolute path that every node sees")
    return options


def _shipped(path: Path) -> bool:
    return (
        not path.is_absolute()
        and path in set(shipping.files(shipping.ROOT))
        and path.resolve() == (shipping.ROOT / path).resolve()
    )


def _apart(argv: list[str], options: SearchOptions, group: str, name: str) -> dict[str, str]:
    """What keeps the jobs of a group apart on disk, and together in MLflow."""
    extra = {} if options.output else {"--output": f'"$HOME"/runs/{group}/{shlex.quote(name)}'}
    if options.output:
        extra["--output"] = shlex.quote(f"{options.output}/{name}")
    return extra if options.experiment else {**extra, "--experiment": group}


def _command(argv: list[str], extra: dict[str, str] | None = None) -> str:
    more = [word for pair in (extra or {}).items() for word in pair]
    return " ".join(["python tune/search.py", shlex.join(argv), *more]).strip()


def variables(named: str | None) -> dict[str, str]:
    """The variables that a job gets: the tracking URI where there is one, and those named, with commas.
    Raises InputError for one that is not set here."""
    names = [name.strip() for name in (named or "").split(",") if name.strip()]
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise InputError(f"--env: {', '.join(missing)} is not set here; export it first, or leave it out")
    tracking = os.environ.get(TRACKING, "")
    if tracking and not tracking.startswith(("sqlite:", "file:", "/")):
        names.append(TRACKING)
    return {name: os.environ[name] for name in names}


def _parser() -> Parser:
    parser = Parser(
        "python cluster/submit.py", "Submit a search to a Ray cluster, follow it, stop it.", EXAMPLES
    )
    add = parser.add_argument
    add("--address", default=ADDRESS, metavar="URL", help=f"of the job server ({ADDRESS})")
    add("--matrix", nargs="+", metavar="OPTION=VALUES", help="one job for each combination, as one group")
    add("--env", metavar="NAMES", help="variables of this shell that the job gets too, with commas")
    add("--detach", action="store_true", help="submit, and return at once")
    add("--follow", metavar="JOB", help="follow a job, or a group, that runs already")
    add("--stop", metavar="JOB", help="stop a job or a group, and wait until it has ended")
    return parser
