"""Folders, files and stores from somebody else, and MLflow as it is found."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from tests.trust.case import Case, Outcome
from tests.unit.tune.helpers import restore_old_search

OLD_DATA = Path(__file__).parents[1] / "data" / "521c27d"
LETTER = "mine"  # what stands in a file of the user's, beside the folder
IMPOSSIBLE = {"method": "dps-dense", "learning_rate": 1e-4, "selection_ratio": 0.7, "update_ratio": -1}
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e[x](http://x)"
RESUME = ["tune/search.py", "--resume", "old", "--tracking-uri", "none"]
REFUSED_RESUME = [*RESUME, "--max-length", "33"]  # another search: it ends before Ray starts
DRY = ["tune/search.py", "--task", "cola", "--data", "builtin", "--model", "builtin", "--dry-run"]
STORE = "sqlite:///store/mlflow.db"
SYNC = ["-m", "tune.tracking", "sync", "old"]
TESTS = "tests/unit/"
LINKS = f"{TESTS}test_bad_inputs.py::test_it_is_refused_in_one_line"
FOLDER = f"{TESTS}tune/records/test_search_folder.py::"
STORES = f"{TESTS}tune/records/test_stores.py::"
TRACKING = "tests/integration/test_tracking.py::"
MARKDOWN = (
    f"{TESTS}tune/reporting/test_comparison_page.py::"
    "test_hostile_names_are_text_on_the_terminal_in_markdown_and_in_latex"
)
Prepare = Callable[[Path], Sequence[str] | Sequence[Sequence[str]]]


def _with_letter(folder: Path) -> Path:
    """Write a file of the user's, and an old search beside it."""
    (folder / "letter").write_text(LETTER)
    return restore_old_search("search", folder / "old")


def _is_untouched(outcome: Outcome) -> bool:
    return (outcome.folder / "letter").read_text() == LETTER


def _says(*words: str, code: int = 2) -> Callable[[Outcome], bool]:
    """Return a check of the exit status, of one line and its words, and that no file was touched."""

    def check(outcome: Outcome) -> bool:
        said = outcome.output.strip()
        kept = not (outcome.folder / "letter").exists() or _is_untouched(outcome)
        return outcome.code == code and "\n" not in said and all(word in said for word in words) and kept

    return check


def _linked(name: str, command: Sequence[str], target: str = "../letter") -> Prepare:
    """Put a link in an old search's folder."""

    def prepare(folder: Path) -> Sequence[str]:
        file = _with_letter(folder) / name
        if file.is_dir():
            shutil.rmtree(file)
        file.unlink(missing_ok=True)
        file.symlink_to(target)
        return command

    return prepare


def _piped(folder: Path) -> Sequence[str]:
    os.mkfifo(restore_old_search("search", folder / "old") / ".lock")
    return REFUSED_RESUME


def _proposed(folder: Path) -> Sequence[str]:
    rows = "".join(f"text number {row},{'ab'[row % 2]}\n" for row in range(60))
    (folder / "data.csv").write_text(f"text,label\n{rows}")
    (folder / "data.yaml").symlink_to("outside")
    return ["tune/search.py", "--init-task", "data.csv"]


def _stolen(shared: str) -> Prepare:
    """Let the ledger name a folder in the storage that is not the search's, and end the search."""

    def prepare(folder: Path) -> Sequence[str]:
        (folder / "home").mkdir()
        (folder / "home" / "letter").write_text(LETTER)
        (folder / "old").mkdir()
        (folder / "storage" / "x").mkdir(parents=True)
        return ["-c", END_WITH_SHARED.replace("SHARED", shared)]

    return prepare


END_WITH_SHARED = """
from pathlib import Path
from types import SimpleNamespace
try:
    from tune.records.search_folder import SearchFolder
except ImportError:  # as a session of an earlier version had it
    from tune import storage
    from tune.sitting import Sitting
    notes = SimpleNamespace(noted={"shared": "SHARED"}.get, note=lambda key, value: None)
    given = SimpleNamespace(storage="storage/x")
    fake = SimpleNamespace(options=given, notes=notes, output=Path("old"), search_id="abc")
    storage.remove(Sitting._shared(fake))
else:
    open_folder = lambda: SearchFolder(Path("old"), "max", {"": {}}, "storage/x")
    open_folder().notes.note("shared", "SHARED")
    open_folder().remove_working_files()
"""


def _has_home(outcome: Outcome) -> bool:
    return (outcome.folder / "home" / "letter").is_file()


def _compared(change: Callable[[dict], None], argv: Sequence[str] = ()) -> Prepare:  # type: ignore[type-arg]
    """Show the comparison of another, whose texts hold markup."""

    def prepare(folder: Path) -> Sequence[str]:
        shutil.copytree(OLD_DATA / "compare", folder / "theirs")
        file = folder / "theirs" / "compare.json"
        document = json.loads(file.read_text(encoding="utf-8"))
        change(document)
        file.write_text(json.dumps(document), encoding="utf-8")
        return ["tune/compare.py", "--results", "theirs", "--output", "joined", "--allow-dirty", *argv]

    return prepare


def _is_text(outcome: Outcome) -> bool:
    """Check that nothing deceives a terminal, and that the files hold no markup of names."""
    if outcome.code == 2:  # refused: also right, where the line is clean
        return not {"\x1b", "\u202e"} & {*outcome.output}
    text = (outcome.folder / "joined" / "compare.md").read_text(encoding="utf-8")
    page = "".join(file.read_text("utf-8") for file in (outcome.folder / "joined").glob("*.html"))
    bare = "".join(text.split("`")[::2])  # what is outside code spans
    deceives = {"\x1b", "\u202e"} & {*outcome.output, *text, *page}
    return not deceives and "<script>alert" not in bare + page and "](http" not in bare


def _in_runs(outcome: Outcome) -> bool:
    """Check that the table went to the working directory, or nowhere."""
    is_outside = any(file.name.startswith("up") for file in outcome.folder.parent.iterdir())
    return outcome.code in (0, 2) and not is_outside and "Traceback" not in outcome.output


def _call_task(folder: Path) -> Sequence[str]:
    document_of_all = _compared(lambda document: document.update(task="../../../../up"))
    command = [*document_of_all(folder)]
    return [word for word in command if word not in ("--output", "joined")]


def _reported_with(**changes: object) -> Prepare:
    """Report on a search whose search.json says this, a key of two levels with __ between them."""

    def prepare(folder: Path) -> Sequence[str]:
        file = restore_old_search("search", folder / "old") / "search.json"
        document = json.loads(file.read_text(encoding="utf-8"))
        for key, value in changes.items():
            section, _, name = key.partition("__")
            document[section][name] = value
        file.write_text(json.dumps(document), encoding="utf-8")
        return ["tune/report.py", "old"]

    return prepare


def _reported_deep(folder: Path) -> Sequence[str]:
    (restore_old_search("search", folder / "old") / "search.json").write_text("[" * 100_000)
    return ["tune/report.py", "old"]


def _name_model(document: dict) -> None:  # type: ignore[type-arg]
    document["model"]["name"] = document["data"]["name"] = document["data"]["source"] = HOSTILE


def _name_split(document: dict) -> None:  # type: ignore[type-arg]
    document["covered"] = HOSTILE
    document["provenance"]["git_commit"] = HOSTILE
    document["budget"]["sampler"] = document["budget"]["scheduler"] = HOSTILE


def _configure(document: dict) -> None:  # type: ignore[type-arg]
    for method in document["methods"]:
        method["configuration"]["freeze"] = HOSTILE


def _predicted(folder: Path) -> Sequence[str]:
    from transformers import AutoModelForSequenceClassification

    from tests.tiny import model_folder

    model_folder(folder / "model")
    names = dict(enumerate(["good\u202e\x9b31m", "bad"]))
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model", id2label=names)
    model.save_pretrained(folder / "model")
    return ["-m", "dps.predict", "--model", "model", "--text", "a text"]


def _tracked(uri: str, *argv: str, make: Callable[[Path], object] = lambda folder: None) -> Prepare:
    def prepare(folder: Path) -> Sequence[str]:
        (folder / "store").mkdir()
        make(folder)
        return [*DRY, "--tracking-uri", uri, *argv]

    return prepare


def _make_database(*statements: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "store" / "mlflow.db")) as database:
            database.executescript(";".join(statements))

    return make


HALF_MADE = _make_database(
    "create table experiments (experiment_id, name, lifecycle_stage)",
    "create table runs (run_uuid)",
    "create table metrics (key, step)",
    "create table _alembic_tmp_metrics (key)",
    "create table alembic_version (version_num)",
)


def _delivered(*between: str, make: Callable[[Path], object] = lambda folder: None) -> Prepare:
    """Deliver an old search, with this code between two deliveries."""

    def prepare(folder: Path) -> Sequence[Sequence[str]]:
        restore_old_search("search", folder / "old")
        (folder / "store").mkdir()
        make(folder)
        with (folder / "old" / "config.yaml").open("a", encoding="utf-8") as config:
            config.write(f"tracking_uri: {STORE}\n")
        if not between:
            return [SYNC]
        return [SYNC, *(["-c", f"{ASK}\n{code}"] for code in between[:-1]), SYNC, ["-c", ASK + between[-1]]]

    return prepare


ASK = f"""
import json, sqlite3
from mlflow import MlflowClient
client = MlflowClient(tracking_uri="{STORE}")
(experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
def read():
    runs = client.search_runs([experiment.experiment_id])
    return {{run.data.tags["dps.trial"]: run for run in runs}}
runs = read()
"""
CHANGE_WINNER = """
from pathlib import Path
file = Path("old/search.json")
document = json.loads(file.read_text())
document["winner"]["configuration"]["learning_rate"] = 0.5
document["sentence"] = "Another won."
file.write_text(json.dumps(document))
"""
HAS_WINNER = """
parent = runs["search"]
assert parent.info.status == "FINISHED", parent.info.status
assert parent.data.tags["mlflow.note.content"].startswith("Another won.")
shown = parent.data.params | parent.data.tags
assert shown["winner.learning_rate"] == "0.5", shown
print("right")
"""
DELETE_PARENT = 'client.delete_run(runs["search"].info.run_id)'
HAS_CHILDREN = """
parents = {run.data.tags.get("mlflow.parentRunId") for trial, run in runs.items() if trial != "search"}
assert parents == {runs["search"].info.run_id}, parents
print("right")
"""
FORGET_PARAMETERS = """
with sqlite3.connect("store/mlflow.db") as store:
    store.execute("delete from params")
"""
HAS_PARAMETERS = """
assert all(run.data.params for run in runs.values())
print("right")
"""
DELETE_CHILD = 'client.delete_run(runs["0"].info.run_id)'
HAS_CHILD = """
assert "0" in runs
print("right")
"""
IS_SILENT = """
import os, runpy, sys
for name in ("CI", "PYTEST_CURRENT_TEST"):
    os.environ.pop(name, None)
sys.argv = ["tracking", "sync", "old"]
try:
    runpy.run_module("tune.tracking", run_name="__main__")
except SystemExit:
    pass
from mlflow.telemetry.utils import is_telemetry_disabled
assert is_telemetry_disabled()
print("right")
"""


def _reported(folder: Path) -> Sequence[str]:
    _delivered()(folder)
    return ["-c", IS_SILENT]


def _deleted_experiment(folder: Path) -> Sequence[Sequence[str]]:
    prepared = _delivered("client.delete_experiment(experiment.experiment_id)", "")(folder)
    return [list(map(str, command)) for command in prepared[:3]]


def _is_right(outcome: Outcome) -> bool:
    return outcome.code == 0 and outcome.output.rstrip().endswith("right")


CASES = [
    *(
        Case(
            "a link in a resumed folder",
            f"{name} of a resumed search is a link to a file of the user's",
            _linked(name, REFUSED_RESUME),
            _says(f"old/{name}"),
            LINKS,
        )
        for name in (".lock", ".write-probe")
    ),
    *(
        Case(
            "a link in a resumed folder",
            f"{name} of a resumed search is a link out of the folder",
            _linked(name, [*RESUME, "--dry-run"], target),
            _says(f"old/{name}"),
            LINKS,
        )
        for name, target in (
            ("best", ".."),
            ("work", ".."),
            ("predictions", ".."),
            ("error.log", "../letter"),
        )
    ),
    Case("a link in a resumed folder", "a pipe as the lock", _piped, _says("old/.lock"), LINKS),
    Case(
        "a link where a file is written",
        "report.py in a folder with a link under the name of its part",
        _linked(".report.html.part", ["tune/report.py", "old"]),
        lambda outcome: outcome.code == 0 and _is_untouched(outcome),
        f"{TESTS}dps/test_paths.py::test_a_link_is_replaced_and_what_it_points_to_stays",
    ),
    Case(
        "a link where a file is written",
        "--init-task where the task file is a link to a file that is not there",
        _proposed,
        lambda outcome: outcome.code in (0, 2) and not (outcome.folder / "outside").exists(),
        f"{TESTS}dps/test_paths.py::test_a_link_is_replaced_and_what_it_points_to_stays",
    ),
    *(
        Case(
            "a folder that the ledger names",
            f"a ledger names {name} as the search's folder in the storage",
            _stolen(name),
            _has_home,
            f"{FOLDER}test_a_ledger_of_a_stranger_names_no_folder_but_its_own",
        )
        for name in ("../../home", "../x/../../home")
    ),
    *(
        Case("names in another's compare.json", f"markup in {what}", _compared(change), _is_text, MARKDOWN)
        for what, change in (
            ("the names of model and data", _name_model),
            ("commit, sampler and scheduler", _name_split),
            ("configurations", _configure),
        )
    ),
    *(
        Case(
            "values that cannot be",
            f"report.py on a search.json with {what}",
            _reported_with(**changes),
            _says("DIR: ", "resume the search to make it again"),
            f"{TESTS}tune/reporting/test_page.py::test_values_that_cannot_be_are_refused_in_one_line",
        )
        for what, changes in (
            ("confirm_steps of 400 digits", {"plan__confirm_steps": 10**400}),
            ("CPU hours of 400 digits", {"spent__cpu_hours": 10**400}),
            ("an update ratio of -1", {"winner__configuration": IMPOSSIBLE}),
        )
    ),
    Case(
        "values that cannot be",
        "report.py on a search.json of 100,000 brackets",
        _reported_deep,
        _says("DIR: ", "resume the search to make it again"),
        f"{TESTS}tune/reporting/test_page.py::test_what_is_no_search_is_refused_in_one_line",
    ),
    Case(
        "names in another's compare.json",
        "a task that is called like a path out of runs/",
        _call_task,
        _in_runs,
        f"{TESTS}tune/reporting/test_comparison.py::"
        "test_the_default_folder_of_a_table_is_in_runs_whatever_the_task_is_called",
    ),
    Case(
        "names in another's compare.json",
        "dps.predict with a label of control characters",
        _predicted,
        lambda outcome: outcome.code == 0 and not {"\u202e", "\x9b"} & {*outcome.output},
        f"{TESTS}dps/test_text.py::test_a_line_of_json_is_read_back_and_deceives_no_terminal",
    ),
    *(
        Case(
            "an address of MLflow",
            f"--tracking-uri {uri}",
            _tracked(uri),
            _says("--tracking-uri", word),
            LINKS,
        )
        for uri, word in (
            ("file:./mlruns", "a folder, which MLflow takes no more"),
            ("sqlite:///:memory:", "sqlite:///FILE"),
            ("sqlite:///", "sqlite:///FILE"),
            ("sqlite:///store", "is a folder"),
        )
    ),
    Case(
        "an address of MLflow",
        "--tracking-uri databricks",
        _tracked("databricks"),
        lambda outcome: outcome.code == 0,
        f"{TESTS}tune/planning/test_locations.py::test_addresses_of_mlflow_are_taken",
    ),
    Case(
        "a name for MLflow",
        "--experiment of 501 letters",
        _tracked(STORE, "--experiment", "x" * 501),
        _says("--experiment", "500"),
        LINKS,
    ),
    Case(
        "MLflow's database",
        "a half-made database, before a search",
        _tracked(STORE, make=HALF_MADE),
        _says("store/mlflow.db", "half-made", "remove the file"),
        f"{STORES}test_a_file_is_looked_into_before_mlflow_writes_to_it",
    ),
    Case(
        "MLflow's database",
        "a half-made database, delivered to",
        _delivered(make=HALF_MADE),
        _says("store/mlflow.db", "half-made", "remove the file"),
        f"{STORES}test_a_file_is_looked_into_before_mlflow_writes_to_it",
    ),
    Case(
        "MLflow's database",
        "the database of another program",
        _tracked(STORE, make=_make_database("create table bookmarks (url)")),
        _says("store/mlflow.db", "no database of MLflow"),
        f"{STORES}test_a_file_is_looked_into_before_mlflow_writes_to_it",
    ),
    Case(
        "MLflow's database",
        "a text in the place of the database",
        _tracked(STORE, make=lambda folder: (folder / "store" / "mlflow.db").write_text("x" * 5000)),
        _says("store/mlflow.db", "no database"),
        f"{STORES}test_a_file_of_another_program_is_no_store",
    ),
    Case(
        "MLflow has what the ledger has",
        "another winner in a later session",
        _delivered(CHANGE_WINNER, HAS_WINNER),
        _is_right,
        f"{TRACKING}test_a_later_session_may_have_another_winner",
    ),
    Case(
        "MLflow has what the ledger has",
        "the parent run was deleted",
        _delivered(DELETE_PARENT, HAS_CHILDREN),
        _is_right,
        f"{TRACKING}test_a_parent_that_was_deleted_is_restored_with_its_children",
    ),
    Case(
        "MLflow has what the ledger has",
        "a child run was deleted",
        _delivered(DELETE_CHILD, HAS_CHILD),
        _is_right,
        f"{TRACKING}test_a_run_that_is_deleted_meanwhile_is_restored_and_the_others_go_on",
    ),
    Case(
        "MLflow has what the ledger has",
        "parameters that MLflow never heard",
        _delivered(FORGET_PARAMETERS, HAS_PARAMETERS),
        _is_right,
        f"{TRACKING}test_what_was_half_heard_is_completed_once",
    ),
    Case(
        "MLflow has what the ledger has",
        "the experiment was deleted",
        _deleted_experiment,
        lambda outcome: outcome.code == 3 and "mlflow experiments restore" in outcome.output,
        f"{TRACKING}test_an_experiment_that_was_deleted_is_told_at_once_with_the_remedy",
    ),
    Case(
        "reports to its makers",
        "MLflow's telemetry",
        _reported,
        _is_right,
        f"{STORES}test_mlflow_reports_nothing_to_its_makers",
    ),
]
