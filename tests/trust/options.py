"""Options, YAML, addresses and printed plans: each input is read as it says, or refused in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import indent

from tests.bad_inputs import LAUGHS
from tests.trust.case import Case, Outcome

DRY = ["tune/search.py", "--dry-run", "--tracking-uri", "none", "--data", "builtin", "--model", "builtin"]
JOB = ["cluster/submit.py", "--address", "http://127.0.0.1:1"]
RATIO = "update_ratio"
HOME_FILES = {
    "own.yaml": "name: own\ncolumns: text\nlabels: [a, b]\nfiles: rows.csv\n",
    "rows.csv": "text,label\n" + "".join(f"some words {i},{'ab'[i % 2]}\n" for i in range(200)),
    "options.yaml": "trials: 3\n",
}
TEST_OPTIONS = "tests/unit/tune/core/test_options.py"
TEST_TWICE = "tests/unit/dps/test_command.py::test_an_option_given_twice_is_refused_by_every_command"
TEST_YAML = "tests/unit/dps/test_yaml_text.py"
TEST_ADDRESSES = "tests/unit/tune/execution/test_addresses.py"
TEST_SUBMIT = "tests/unit/cluster/test_submit.py"
ENVIRONMENT_PREAMBLE = """
import os, sys, threading
from tune import search
def plan(**variables):
    os.environ.update(variables)
    argv = "--dry-run --tracking-uri none --data builtin --model builtin".split()
    sys.exit(search.main(argv))
"""


def _run(*command: str) -> Callable[[Path], list[str]]:
    return lambda folder: list(command)


def _with_config(text: str, *argv: str) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        (folder / "options.yaml").write_text(text, encoding="utf-8")
        return [*DRY, "--config", "options.yaml", *argv]

    return prepare


def _from_home(*argv: str, start: list[str] = DRY) -> Callable[[Path], list[str]]:
    """Run with files in the home folder, which is beside the working directory."""

    def prepare(folder: Path) -> list[str]:
        home = folder.parent / "home"
        home.mkdir(exist_ok=True)
        for name, text in HOME_FILES.items():
            (home / name).write_text(text, encoding="utf-8")
        return [*start, *argv]

    return prepare


def _with_task_of_aliases(folder: Path) -> list[str]:
    (folder / "own.yaml").write_text(f"labels:\n{indent(LAUGHS, '  ')}name: *j\n", encoding="utf-8")
    return [*DRY, "--task", "own.yaml"]


def _python(code: str) -> Callable[[Path], list[str]]:
    return lambda folder: ["-c", ENVIRONMENT_PREAMBLE + code]


def _refused(*words: str, code: int = 2) -> Callable[[Outcome], bool]:
    """Whether the command ended with one line of error that has these words."""

    def right(outcome: Outcome) -> bool:
        lines = [line for line in outcome.output.splitlines() if line.startswith("error: ")]
        return (
            outcome.code == code
            and len(lines) == 1
            and "Traceback" not in outcome.output
            and all(word in lines[0] for word in words)
        )

    return right


def _planned(*words: str, below_s: float = float("inf")) -> Callable[[Outcome], bool]:
    """Whether there is a plan with these words, of at most so many seconds."""

    def right(outcome: Outcome) -> bool:
        expected = re.search(r"expected +about (?:(\d+):)?(\d+):(\d+)", outcome.output)
        if outcome.code != 0 or expected is None:
            return False
        hours, minutes, seconds = (int(part or 0) for part in expected.groups())
        within = hours * 3600 + minutes * 60 + seconds < below_s
        return within and all(word in outcome.output for word in words)

    return right


def _has_task(outcome: Outcome) -> bool:
    return outcome.code == 0 and "200" in outcome.output


CASES = [
    *(
        Case("an option given twice", name, _run(*command), _refused("twice"), TEST_TWICE)
        for name, command in {
            "the task of a search twice": [*DRY, "--task", "cola", "--task", "rte"],
            "a seed twice, once with =": [*DRY, "--seed=1", "--seed", "2"],
            "--quiet and --no-quiet": [*DRY, "--quiet", "--no-quiet"],
            "a space twice, in two forms": [*DRY, "--space", f"{RATIO}=0.1", "--space", f"{{{RATIO}: 0.2}}"],
            "the methods of a comparison twice": [
                *("tune/compare.py", "--dry-run", "--methods", "vanilla,r-drop", "--methods", "r-drop")
            ],
            "a method named twice": [*DRY, "--method", "vanilla,dps-mix,vanilla"],
            "the task of a job twice": [*JOB, "--task", "cola", "--task", "rte"],
            "a task of a job and of its matrix": [*JOB, "--task", "cola", "--matrix", "task=rte"],
            "a matrix with a value twice": [*JOB, "--matrix", "task=cola,cola"],
            "a matrix with an option twice": [*JOB, "--matrix", "task=cola", "task=rte"],
        }.items()
    ),
    *(
        Case("a key that stands twice", name, _with_config(text), _refused(*words), TEST_OPTIONS)
        for name, text, words in (
            ("a seed twice in YAML", "seed: 1\nseed: 2\n", ["line 2", "seed"]),
            ("batch-size beside batch_size", "batch-size: 8\nbatch_size: 32\n", ["batch_size", "twice"]),
            ("a parameter twice in a space", f"space: {{{RATIO}: 0.1, {RATIO}: 0.2}}\n", [RATIO, "twice"]),
            ("a config in a config", "config: other.yaml\n", ["config: "]),
        )
    ),
    *(
        Case("aliases in YAML", name, prepare, _refused("alias"), TEST_YAML, seconds=20)
        for name, prepare in (
            ("a storage of aliases of aliases", _with_config(f"{LAUGHS}storage: *j\n")),
            ("a task name of aliases of aliases", _with_config(f"{LAUGHS}task: *j\n")),
            ("a task file of aliases of aliases", _with_task_of_aliases),
        )
    ),
    *(
        Case("the home folder as ~", name, prepare, right, TEST_OPTIONS)
        for name, prepare, right in (
            ("a task in ~", _from_home("--task=~/own.yaml", start=[*DRY[:4], *DRY[6:]]), _planned("own")),
            ("options in ~", _from_home("--config=~/options.yaml"), _planned("searching    3 trials")),
            ("a file for --init-task in ~", _from_home("--init-task=~/rows.csv", start=DRY[:1]), _has_task),
        )
    ),
    *(
        Case("YAML read as something else", name, _with_config(text), right, TEST_OPTIONS)
        for name, text, right in (
            ("methods as a list", "method: [dps-dense, vanilla]\n", _planned("dps-dense | vanilla")),
            ("objectives as a list", "objectives: [score, seconds]\n", _planned()),
            ("a duration without its unit", "time_budget: 30\n", _refused("--time-budget", "30m")),
            ("a duration as a clock shows it", "time_budget: 1:30:00\n", _refused("1h30m", "1:30:00")),
            ("a number with a zero before it", "trials: 010\n", _planned("searching    10 trials")),
            ("a number of minutes and seconds", "trials: 1:30\n", _refused("--trials", "1:30")),
            ("a date as a name", "experiment: 2026-11-29\n", _planned()),
            ("yes as a name", "experiment: yes\n", _refused("--experiment", "quotes")),
            ("brackets ten thousand deep", "[" * 10_000, _refused("--config")),
            ("a number of 5000 digits", f"trials: {'9' * 5000}\n", _refused("--config")),
        )
    ),
    *(
        Case("beyond its range", name, _run(*DRY, *argv), _refused(*words), TEST_OPTIONS)
        for name, argv, words in (
            ("a time budget of nothing", ["--time-budget", "0s"], ["--time-budget"]),
            ("a target in points", ["--target", "95"], ["--target", "between -1 and 1"]),
            ("one and a half GPUs", ["--gpus-per-worker", "1.5"], ["--gpus-per-worker", "whole"]),
            ("a share of a GPU of five decimals", ["--gpus-per-worker", "0.33333"], ["four decimals"]),
        )
    ),
    *(
        Case(
            "a space as --help shows it", f"--space {text}", _run(*DRY, "--space", text),
            _planned("1e-05 | 2e-05"), f"{TEST_OPTIONS}::test_a_space_on_the_command_line",
        )
        for text in ("{learning_rate: [1e-5, 2e-5]}", "learning_rate=[1e-5,2e-5]")
    ),
    *(
        Case("an address that is none", name, _python(code), right, TEST_ADDRESSES, seconds=30)
        for name, code, right in (
            ("RAY_ADDRESS of a job server", "plan(RAY_ADDRESS='http://127.0.0.1:8265')",
             _refused("RAY_ADDRESS", "job server", "submit.py", code=3)),
            ("RAY_ADDRESS of IPv6 where nothing listens", "plan(RAY_ADDRESS='[::1]:1')",
             lambda outcome: _refused("[::1]:1", code=3)(outcome) and "not known" not in outcome.output),
            ("RAY_ADDRESS of a web server", """
from http.server import HTTPServer, SimpleHTTPRequestHandler
server = HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
plan(RAY_ADDRESS=f"127.0.0.1:{server.server_port}")
""", _refused("RAY_ADDRESS", "web server", code=3)),
            ("RAY_ADDRESS of a server that never answers", """
import socket
server = socket.create_server(("127.0.0.1", 0))
plan(RAY_ADDRESS=f"127.0.0.1:{server.getsockname()[1]}")
""", _refused("RAY_ADDRESS", "no control store", code=3)),
        )
    ),
    *(
        Case("an address that is none", name, _run(*JOB[:2], address, "--task", "cola"),
             _refused("--address", "http://HOST", code=3), TEST_SUBMIT)
        for name, address in (("a server without http", "127.0.0.1:1"), ("Ray Client", "ray://127.0.0.1:1"))
    ),
    *(
        Case("a plan that ignores its bounds", name, _run(*DRY, *argv), right,
             "tests/unit/tune/planning/test_estimate.py")
        for name, argv, right in (
            ("100 trials within 10 s", ["--time-budget", "10s", "--trials", "100"],
             _planned("budget ", below_s=900)),
            ("0.01 core-hours", ["--cpu-hours", "0.01", "--trials", "100"], _planned("budget ", below_s=900)),
            ("1000 evaluations of 10 steps", ["--evaluations", "1000", "--max-steps", "10"],
             _planned(below_s=900)),
            ("a grid of two points", ["--sampler", "grid", "--method", "vanilla", "--space",
             '{"learning_rate": [1e-5, 2e-5]}'], _planned("searching    2 trials")),
        )
    ),
    *(
        Case("a job with what only this machine has", name, _run(*JOB, *argv), _refused(*words), TEST_SUBMIT)
        for name, argv, words in (
            ("a job with a model of this machine", ["--model", "./m"], ["--model"]),
            ("a job with a search of this machine", ["--warm-start", "runs/x"], ["--warm-start"]),
            ("a job that tracks into its own folder", ["--tracking-uri", "sqlite:///m.db"], ["--tracking"]),
        )
    ),
    Case("a job with what only this machine has", "a comparison as a job",
         _run(*JOB, "--methods", "vanilla,r-drop", "--task", "rte"), _refused("--address", code=3),
         f"{TEST_SUBMIT}::test_methods_make_a_comparison"),
    Case("output that nobody reads", "a plan into a closed pipe", _python("""
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
plan()
"""), lambda outcome: outcome.code == 0 and "Error" not in outcome.output,
         "tests/unit/dps/test_command.py::test_what_nobody_reads_is_dropped"),
]  # fmt: skip

TEST_REFUSED = f"{TEST_OPTIONS}::test_a_wrong_command_line_is_refused_in_one_line"
UNUSUAL = (
    ("--warm-start without a name", ["--warm-start="], "--warm-start: must be names"),
    ("--warm-start with an empty name", ["--warm-start=a,,b"], "--warm-start: must be names"),
    *(
        (f"{name} of 256 letters", [name, "x" * 256], f"{name}: ")
        for name in ("--resume", "--config", "--output")
    ),
)
CASES += [
    Case("an option that cannot be", name, _run(*DRY[:2], *argv), _refused(said), TEST_REFUSED)
    for name, argv, said in UNUSUAL
]
