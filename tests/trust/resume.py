"""What a search left in its folder, as a kill, a disk, a stranger or another program left it; secrets."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from dps.paths import hash_file
from dps.training.result import Outcome as RunOutcome
from dps.training.result import RunResult
from tests.trust.case import Case, Outcome
from tune.planning.space_options import build_search_space
from tune.records.ledger import Ledger
from tune.records.predictions import locate_predictions
from tune.records.saved_options import CONFIG_NOTE

OLD = Path(__file__).parents[1] / "data" / "521c27d"  # searches that both commits read
DRY = ["--dry-run", "--tracking-uri", "none"]
OPTIONS = "tests/unit/tune/records/test_saved_options.py::"
LEDGER = "tests/unit/tune/records/test_ledger.py::"
Prepare = Callable[[Path], Sequence[str]]


def _restore(name: str, folder: Path) -> Path:
    """Make a search of 521c27d in `folder`, with its options in the ledger too, as they are now."""
    old = folder / "old"
    shutil.copytree(OLD / name, old)
    with closing(sqlite3.connect(old / "study.db")) as held:
        held.executescript((old / "study.sql").read_text(encoding="utf-8"))
        noted = json.dumps((old / "config.yaml").read_text(encoding="utf-8"))
        held.execute(
            "INSERT INTO study_user_attributes (study_id, key, value_json) "
            "SELECT study_id, ?, ? FROM studies WHERE study_name = 'search'",
            (CONFIG_NOTE, noted),
        )
        held.commit()
    (old / "study.sql").unlink()
    return old


def _says(*words: str, code: int = 2) -> Callable[[Outcome], bool]:
    """Return a check of the exit status, and that each of these words is printed, without a traceback."""

    def check(outcome: Outcome) -> bool:
        said = outcome.output
        return outcome.code == code and all(word in said for word in words) and "Traceback" not in said

    return check


# What a resume may not change, and where it may not write.


def _resume_with(*options: str) -> Prepare:
    def prepare(folder: Path) -> Sequence[str]:
        _restore("interrupted", folder)
        return ["tune/search.py", "--resume", "old", *options, *DRY]

    return prepare


CHANGES = (
    ("--seed", "3"),
    ("--task", "cola"),
    ("--scheduler", "none"),
    ("--sampler", "random"),
    ("--method", "vanilla"),
    ("--space", '{"learning_rate": [1e-5, 2e-5]}'),
    ("--batch-size", "8"),
    ("--max-length", "64"),
    ("--max-steps", "40"),
    ("--precision", "bf16"),
)
CASES = [
    Case(
        "a dry run refuses what the run will",
        f"--resume with another {option}",
        _resume_with(option, value),
        _says("--resume: this is another search"),
        "tests/unit/tune/planning/test_cluster.py::test_a_resumed_sitting_computes_as_its_ledger_says",
    )
    for option, value in CHANGES
]


def _into(output: str, *options: str) -> Prepare:
    def prepare(folder: Path) -> Sequence[str]:
        (folder / "full").mkdir()
        (folder / "full" / "notes.txt").write_text("of the user")
        given = ["--task", "cola", "--data", "builtin", "--model", "builtin"]
        return ["tune/search.py", *given, "--output", output, *options, *DRY]

    return prepare


LOCATIONS = "tests/unit/tune/planning/test_locations.py::"
CASES += [
    Case(
        "a dry run refuses what the run will",
        f"--output {output}",
        _into(output),
        _says("--output: ", said),
        f"{LOCATIONS}test_a_dry_look_refuses_what_cannot_be_a_folder",
    )
    for output, said in (
        ("full", "is not empty"),
        ("full/notes.txt", "Not a directory"),
        ("full/notes.txt/below", "Not a directory"),
    )
]
CASES += [
    Case(
        "a dry run refuses what the run will",
        "--output beside --resume",
        _resume_with("--output", "other"),
        _says("--output, --resume: a search goes on in its own folder"),
        f"{OPTIONS}test_a_resumed_search_has_no_other_output_folder",
    ),
    Case(
        "a dry run refuses what the run will",
        "--resume as it was",
        _resume_with(),
        _says(" trials of at most", code=0),
    ),
]

# config.yaml and study.db.


def _configured(change: Callable[[Path], object]) -> Prepare:
    def prepare(folder: Path) -> Sequence[str]:
        change(_restore("interrupted", folder) / "config.yaml")
        return ["tune/search.py", "--resume", "old", *DRY]

    return prepare


def _cut(share: float) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])


TORN: dict[str, Callable[[Path], object]] = {
    "gone": lambda file: file.unlink(),
    "empty": _cut(0),
    "cut after a quarter": _cut(0.25),
    "cut after a half": _cut(0.5),
    "cut before its last option": _cut(0.95),
    "full of zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
}
CASES += [
    Case(
        "config.yaml and study.db belong together",
        f"config.yaml is {name}",
        _configured(change),
        _says("study.db has its options", "stsb", " trials of at most", code=0),
        f"{OPTIONS}test_a_configuration_that_is_gone_or_cut_is_taken_from_the_ledger",
    )
    for name, change in TORN.items()
]


def _killed_early(folder: Path) -> Sequence[str]:
    (folder / "old").mkdir()
    Ledger(folder / "old" / "study.db", "max").open({"task": "cola"})
    return ["tune/search.py", "--resume", "old", *DRY]


def _overwritten(folder: Path) -> Sequence[str]:
    file = _restore("interrupted", folder) / "study.db"
    content = bytearray(file.read_bytes())
    content[4096 : len(content) - 4096] = b"x" * (len(content) - 8192)
    file.write_bytes(content)
    return ["tune/search.py", "--resume", "old", *DRY]


CASES += [
    Case(
        "config.yaml and study.db belong together",
        "killed before config.yaml was written",
        _killed_early,
        _says("ended before it began", "--output old"),
        f"{OPTIONS}test_a_search_that_was_killed_before_its_first_trial_can_be_started_by_its_command",
    ),
    Case(
        "a ledger that is no ledger",
        "study.db is overwritten in the middle",
        _overwritten,
        lambda outcome: _says("study.db", "malformed")(outcome) and "in the commit" not in outcome.output,
        "tests/unit/tune/test_search_session.py::test_what_became_of_the_ledger_in_a_search_is_said",
    ),
]


def _endless(*command: str) -> Prepare:
    """A study.db with a view that has no end."""

    def prepare(folder: Path) -> Sequence[str]:
        numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
        with closing(sqlite3.connect(_restore("interrupted", folder) / "study.db")) as held:
            held.execute("DROP TABLE studies")
            held.execute(f"CREATE VIEW studies AS {numbers} SELECT x AS study_id, x AS study_name FROM n")
        return command

    return prepare


BEGUN = ["--task", "cola", "--data", "builtin", "--model", "builtin", *DRY]
CASES += [
    Case(
        "a ledger that is no ledger",
        f"a view without an end, {name}",
        _endless(*command),
        _says("it holds a view"),
        f"{OPTIONS}test_a_view_without_an_end_is_refused_at_once",
        seconds=30,
    )
    for name, command in (
        ("--resume", ["tune/search.py", "--resume", "old", *DRY]),
        ("--warm-start", ["tune/search.py", "--warm-start", "old", *BEGUN]),
        ("sync", ["-m", "tune.tracking", "sync", "old"]),
    )
]

# Records, predictions and documents that are not what was written.


def _recorded(change: str) -> Prepare:
    """A ledger of three runs, with a change of its tables."""

    def prepare(folder: Path) -> Sequence[str]:
        (folder / "old").mkdir()
        ledger = Ledger(folder / "old" / "study.db", "max")
        ledger.open({"task": "cola"})
        space = build_search_space(("vanilla",), "gradient", 22_000_000, 60)
        for number in range(3):
            configuration = {"method": "vanilla", "learning_rate": 1e-4 + 1e-5 * number}
            run = ledger.replicate(configuration, space, 5, "search")  # type: ignore[arg-type]
            scores = [(20, 0.25), (60, 0.5 + 0.125 * number)]
            ledger.finish(run.id, RunResult(outcome=RunOutcome.COMPLETED, scores=scores, seconds=4.5))
        with closing(sqlite3.connect(folder / "old" / "study.db")) as held:
            held.execute(change)
            held.commit()
        return ["tune/search.py", "--warm-start", "old", "--method", "vanilla", *BEGUN]

    return prepare


NOTES = {
    "identity of the search": ("identity", "7"),
    "precision": ("precision", '"../../x"'),
    "seconds": ("seconds", '"long"'),
    "description": ("described", '"cola"'),
    "commits": ("commits", '{"a": 1}'),
    "note that is not JSON": ("identity", "not json"),
}


def _noted(key: str, value: str) -> Prepare:
    def prepare(folder: Path) -> Sequence[str]:
        with closing(sqlite3.connect(_restore("interrupted", folder) / "study.db")) as held:
            held.execute("DELETE FROM study_user_attributes WHERE key = ?", (key,))
            held.execute(
                "INSERT INTO study_user_attributes (study_id, key, value_json) "
                "SELECT study_id, ?, ? FROM studies WHERE study_name = 'search'",
                (key, value),
            )
            held.commit()
        return ["tune/search.py", "--resume", "old", *DRY]

    return prepare


CASES += [
    Case(
        "what was written is verified when read",
        f"the {name} in study.db is another kind of value",
        _noted(key, value),
        _says("--resume: "),
        f"{LEDGER}test_a_note_that_no_search_writes_is_refused",
    )
    for name, (key, value) in NOTES.items()
]

VALUES, ATTRIBUTES = "UPDATE trial_intermediate_values SET", "UPDATE trial_user_attributes SET value_json ="
RECORDS = {
    "a score": f"{VALUES} intermediate_value = 0.75 WHERE trial_id = 1 AND step = 60",
    "a step": f"{VALUES} step = 52 WHERE trial_id = 2 AND step = 60",
    "a learning rate": f"{ATTRIBUTES} replace(value_json, '0.0001', '0.0003') "
    "WHERE trial_id = 1 AND key = 'configuration'",
    "a seed": f"{ATTRIBUTES} '7' WHERE trial_id = 3 AND key = 'seed'",
    "the seconds": f"{ATTRIBUTES} '36.5' WHERE trial_id = 1 AND key = 'seconds'",
}
CASES += [
    Case(
        "what was written is verified when read",
        f"{name} of a run is another in study.db",
        _recorded(change),
        _says("study.db", "is not what was written"),
        f"{LEDGER}test_a_record_that_is_not_what_was_written_is_refused",
    )
    for name, change in RECORDS.items()
]
CASES.append(
    Case(
        "what was written is verified when read",
        "study.db as it was written",
        _recorded("SELECT 1"),
        _says("warm start", code=0),
    )
)


def _predicted(change: Callable[[Path], object]) -> Prepare:
    """A comparison whose runs carry the checksums of their predictions; one of these is changed."""

    def prepare(folder: Path) -> Sequence[str]:
        old = folder / "old"
        shutil.copytree(OLD / "compare", old)
        content: dict[str, Any] = json.loads((old / "compare.json").read_text(encoding="utf-8"))
        files = []
        for run in (run for method in content["methods"] for run in method["runs"]):
            files.append(locate_predictions(old, run["id"]))
            run["predictions_sha256"] = hash_file(files[-1])
        (old / "compare.json").write_text(json.dumps(content), encoding="utf-8")
        change(files[0])
        return ["tune/compare.py", "--results", "old", "--allow-dirty", "--output", "new"]

    return prepare


def _flip(file: Path, place: int = -2) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x40
    file.write_bytes(content)


COMPARISON = "tests/unit/tune/reporting/test_comparison.py::"
CASES += [
    Case(
        "what was written is verified when read",
        f"predictions {name}",
        _predicted(change),
        _says(".safetensors is not what its run wrote"),
        f"{COMPARISON}test_predictions_that_are_not_what_was_written_are_refused",
    )
    for name, change in (
        ("with one bit flipped", _flip),
        ("of no bytes, as after a power cut", lambda file: file.write_bytes(b"")),
        ("of half the bytes", _cut(0.5)),
    )
]


def _documented(place: str, value: Any) -> Prepare:
    def prepare(folder: Path) -> Sequence[str]:
        file = _restore("search", folder) / "search.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        *above, last = place.split(".")
        inner: Any = content
        for name in above:
            inner = inner[int(name) if name.isdigit() else name]
        inner[last] = value
        file.write_text(json.dumps(content), encoding="utf-8")
        return ["tune/report.py", "old"]

    return prepare


def _deep(folder: Path) -> Sequence[str]:
    (_restore("search", folder) / "search.json").write_text("[" * 100_000)
    return ["tune/report.py", "old"]


REPORT = "tests/unit/tune/test_search_report.py::"
CASES += [
    Case(
        "what was written is verified when read",
        f"search.json with {place} = {str(value)[:12]}",
        _documented(place, value),
        _says("error: DIR: "),
        f"{REPORT}test_a_document_that_no_search_wrote_is_refused_in_one_line",
    )
    for place, value in (
        ("plan.confirm_steps", 10**400),
        ("plan.confirm_steps", 0),
        ("spent.seconds", float("inf")),
        ("spent.cpu_hours", None),
        ("trials.0.configuration", {}),
        ("metric", "x" * 500),
    )
]
CASES.append(
    Case(
        "what was written is verified when read",
        "search.json of 100,000 brackets",
        _deep,
        _says("error: DIR: "),
    )
)

# Secrets.

REDACT = """
import os
try:
    from dps.text import redact_secrets
except ImportError:
    from dps.redact import redacted as redact_secrets  # its name in older versions
"""
TEXT = "tests/unit/dps/test_text.py::"


def _code(text: str) -> Prepare:
    return lambda folder: ["-c", REDACT + text]


CASES += [
    Case(
        "secrets are struck out and break nothing",
        f"a variable named {name}",
        _code(f"os.environ[{name!r}] = 'nobody-knows'\nprint('it is', redact_secrets('nobody-knows'))"),
        lambda outcome: outcome.code == 0 and "it is ***" in outcome.output,
        f"{TEXT}test_names_of_secrets",
    )
    for name in (
        "GITHUB_PAT", "JWT", "DB_PASSPHRASE", "SESSION_COOKIE", "AUTH_HEADER", "PASSWORD_DB", "SLACK_WEBHOOK",
    )
]  # fmt: skip
THREADS = """
import threading
os.environ["HF_TOKEN"] = "nobody-knows"
stop = threading.Event()
def change():
    while not stop.is_set():
        for number in range(50):
            os.environ[f"_NUMBER_{number}"] = "x"
        for number in range(50):
            del os.environ[f"_NUMBER_{number}"]
threading.Thread(target=change, daemon=True).start()
for _ in range(3000):
    assert redact_secrets("nobody-knows") == "***"
stop.set()
print("as it should be")
"""
KEPT = """
from pathlib import Path
try:
    from tune.core.parsing import parse_options, read_options, write_options
except ImportError:
    from tune.parsing import parse as parse_options, read_yaml as read_options, write_yaml as write_options
os.environ["DB_PASSWORD"] = "developer"
write_options(parse_options(["--data", "/home/developer/glue"]), Path("config.yaml"))
print("it is", read_options(Path("config.yaml"))["data"])
"""
CASES += [
    Case(
        "a name that no file system takes",
        "sync of a folder with a name of 256 bytes",
        lambda folder: ["-m", "tune.tracking", "sync", "x" * 256],
        _says("holds no search"),
        "tests/integration/test_tracking.py::test_what_mlflow_never_heard_is_delivered_from_the_ledger",
    ),
    Case(
        "a name that no file system takes",
        "--method=,",
        lambda folder: ["tune/search.py", "--task", "cola", "--method=,", *DRY],
        _says("--method: "),
        "tests/unit/tune/core/test_options.py::test_a_wrong_command_line_is_refused_in_one_line",
    ),
    Case(
        "secrets are struck out and break nothing",
        "another thread changes the environment meanwhile",
        _code(THREADS),
        lambda outcome: outcome.code == 0 and "as it should be" in outcome.output,
        f"{TEXT}test_the_environment_may_change_meanwhile",
    ),
    Case(
        "secrets are struck out and break nothing",
        "a password that is the name of a folder of the search",
        _code(KEPT),
        lambda outcome: outcome.code == 0 and "it is /home/developer/glue" in outcome.output,
        f"{TEXT}test_a_secret_that_is_an_ordinary_word_changes_nothing_that_is_read_again",
    ),
]
