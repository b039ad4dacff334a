"""Bad inputs: what was given, what the command says in its one line, and its exit status.

`tests/unit/test_bad_inputs.py` runs them all; `benchmarks/reliability.py` makes a table of them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from dps import probing
from dps.tasks import registry
from tests.tiny import data_folder, model_folder
from tune import compare, report, search
from tune.planning import cluster

COMMANDS = {
    "search": search.main,
    "compare": compare.main,
    "probing": probing.main,
    "report": report.main,
}
PAIR = ("--data", "data", "--model", "model")
PROOF = "proof"  # the file that what is hostile would make
CARRY_OUT = f"touch {PROOF}"

Prepare = Callable[[Path], None]


@dataclass(frozen=True)
class Bad:
    """One bad input. says: parts of its one line. prepare: makes what is bad, in a folder that has a good
    `data`, a good `model` and `old`, a search that was begun."""

    kind: str
    given: str
    argv: tuple[str, ...]
    says: tuple[str, ...]
    status: int = 2
    prepare: Prepare = lambda folder: None
    env: Mapping[str, str] = field(default_factory=dict)
    command: str = "search"


@dataclass(frozen=True)
class Answer:
    """What became of a bad input: exit status, standard error, and whether anything hostile was done."""

    status: int
    said: str
    harmed: bool


def stock(folder: Path) -> Path:
    """What every case starts from: good data, a good model, a search that was begun on them."""
    from tune.core import parsing
    from tune.planning import planner
    from tune.records.ledger import Ledger

    data_folder(folder / "data", registry.get_task("cola"))
    model_folder(folder / "model")
    (folder / "old").mkdir()
    with contextlib.chdir(folder):
        given = parsing.parse_options(["--task", "cola", *PAIR])
        plan = planner.make_plan(given, cluster.Cluster(None, (cluster.Node(2.0, 0.0, 8 * 2.0**30),)))
        Ledger(Path("old/study.db"), "max").open(plan.get_identity(""))
        parsing.write_options(given, Path("old/config.yaml"))
    return folder


def tried(bad: Bad, good: Path, folder: Path) -> Answer:
    """Run the command in `folder`, up to where it would ask for a cluster."""
    for name in ("data", "model", "old"):
        shutil.copytree(good / name, folder / name)
    bad.prepare(folder)
    out, error = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, _environment(bad.env), clear=True),
        mock.patch("ray.init", side_effect=AssertionError("it was not refused")),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        status = COMMANDS[bad.command](list(bad.argv))
    return Answer(status, error.getvalue(), any(folder.rglob(PROOF)))


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    left_out = ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "HF_ENDPOINT", "TRANSFORMERS_OFFLINE")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "HF_HUB_OFFLINE": "1", **own}


# What is bad, made.


def text(path: str, content: str | bytes) -> Prepare:
    """This file, with this content in place of what it had."""

    def prepare(folder: Path) -> None:
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    return prepare


def link(path: str) -> Prepare:
    """This is a link to a file, not there yet, outside its folder."""
    return lambda folder: (folder / path).symlink_to(folder / PROOF)


def without(*patterns: str) -> Prepare:
    """These files are not there."""

    def prepare(folder: Path) -> None:
        for pattern in patterns:
            for file in folder.glob(pattern):
                file.unlink()

    return prepare


def configured(**changes: Any) -> Prepare:
    """The model's config.json says something else."""

    def prepare(folder: Path) -> None:
        file = folder / "model/config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return prepare


def cut(path: str, size: int) -> Prepare:
    """This file ends early."""
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:size]) and None


def both(*steps: Prepare) -> Prepare:
    """One after the other."""

    def prepare(folder: Path) -> None:
        for step in steps:
            step(folder)

    return prepare


class Hostile:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (CARRY_OUT,)


PICKLE = pickle.dumps({"weight": Hostile()})


def sql(*statements: str) -> Prepare:
    """The ledger, changed by hand."""

    def prepare(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "old/study.db")) as held:
            for statement in statements:
                held.execute(statement)
            held.commit()

    return prepare


def trial(outcome: str = "'\"completed\"'", configuration: str = '\'{"method": "vanilla"}\'') -> Prepare:
    """The ledger, with a trial of which attributes hold something odd (SQL of JSON)."""
    study = "(SELECT study_id FROM studies WHERE study_name = 'search')"
    return sql(
        "INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) "
        f"VALUES (900, 0, {study}, 'FAIL', '2026-01-01 00:00:00', '2026-01-01 00:00:01')",
        "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES "
        f"(900, 'configuration', {configuration}), (900, 'outcome', {outcome}), (900, 'seed', '0')",
    )


def row(content: Mapping[str, Any]) -> str:
    """A line of a JSONL file."""
    return json.dumps(content) + "\n"


GOOD_ROW = row({"sentence": "w1 w2", "label": 1})
YAML = ("--config", "options.yaml")
OLD = ("--resume", "old")
NOWHERE = "127.0.0.1:1"  # where nothing listens

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)

OPTIONS = [
    Bad("options", "an option that there is not", ("--trails", "3"), ("--trails 3", "--trials?")),
    Bad("options", "a word without an option", ("cola",), ("cola", "--help")),
    Bad("options", "an option without its value", ("--trials",), ("--trials", "expected one argument")),
    Bad("options", "an option as a value", ("--task", "--x"), ("--task", "expected one argument")),
    Bad("options", "an option given twice", ("--task", "cola", "--task", "rte"),
        ("--task: is given twice, --task cola and --task rte",)),
    Bad("options", "a budget of nothing", ("--time-budget", "0s"), ("--time-budget:", "longer than 0s")),
    Bad("options", "a target in points", ("--target", "95", *PAIR), ("--target:", "between -1 and 1")),
    Bad("options", "one and a half GPUs", ("--gpus-per-worker", "1.5"), ("--gpus-per-worker:", "whole")),
    Bad("options", "no trials", ("--trials", "0"), ("--trials: must be greater than 0", "'0'")),
    Bad("options", "10^11 trials", ("--trials", "99999999999"), ("--trials:", "less than or equal")),
    Bad("options", "half a trial", ("--trials", "1.5"), ("--trials:", "integer", "'1.5'")),
    Bad("options", "a seed of 20 digits", ("--seed", "9" * 20), ("--seed:", "less than")),
    Bad("options", "endless epochs", ("--epochs", "inf"), ("--epochs:", "'inf'")),
    Bad("options", "a budget without a unit", ("--time-budget", "30"), ("--time-budget:", "30m", "'30'")),
    Bad("options", "a target that is no number", ("--target", "nan"), ("--target:", "finite", "'nan'")),
    Bad("options", "an unknown sampler", ("--sampler", "bohb"), ("--sampler:", "'tpe'", "'bohb'")),
    Bad("options", "an unknown task", ("--task", "poems"), ("--task: there is no task 'poems'", "cola")),
    Bad("options", "a path as a task", ("--task", "../../etc/passwd"), ("there is no task", "cola")),
    Bad("options", "data as a task", ("--task", "t.csv"), ("task: 't.csv' is data; --init-task t.csv",)),
    Bad("options", "an unknown method", ("--method", "magic", *PAIR), ("--method:", "'magic'", "dps-dense")),
    Bad("options", "label smoothing of numbers", ("--task", "stsb", "--method", "label-smoothing"),
        ("--method: label-smoothing needs classes", "stsb")),
    Bad("options", "a balanced loss of numbers", ("--task", "stsb", "--loss", "balanced"),
        ("--loss: balanced needs classes", "stsb")),
    Bad("options", "a threshold of numbers", ("--task", "stsb", "--threshold", "tuned"),
        ("threshold: stsb has numbers", "leave it out")),
    Bad("options", "a threshold above 1", ("--threshold", "1.5", *PAIR), ("--threshold: must be tuned, or",)),
    Bad("options", "a threshold tuned on dev", ("--threshold", "tuned", "--select-on", "dev", *PAIR),
        ("threshold, select_on:", "leave one out")),
    Bad("options", "more shots than there are", ("--shots", "40", *PAIR),
        ("--shots: 40 of each class", "has 30")),
    Bad("options", "more shots than there are in one of sizes", ("--shots", "4,40", "--dry-run", *PAIR),
        ("--shots: 40: shots: 40 of each class", "without them: --shots 4")),
    Bad("options", "shots that are no numbers", ("--shots", "8,many", *PAIR),
        ("--shots: must be a whole number from 1", "'8,many'")),
    Bad("options", "sizes of several tasks", ("--task", "cola,rte", "--shots", "8,16"),
        ("--task, --shots: several sizes are of one task",)),
    Bad("options", "shots and a size", ("--shots", "4", "--train-size", "8", *PAIR),
        ("train_size, shots:", "leave one of them out")),
    Bad("options", "a registered name with a slash", ("--register", "a/b", *PAIR), ("--register:", "'a/b'")),
    Bad("options", "registering without MLflow", ("--register", "a", "--tracking-uri", "none", *PAIR),
        ("--register: MLflow is off",)),
    Bad("options", "an unknown objective", ("--objectives", "speed", *PAIR), ("--objectives:", "'speed'")),
    Bad("options", "little and everything", ("--quiet", "--json"), ("--quiet, --json: they exclude",)),
    Bad("options", "a space that is a list", ("--space", "[1]"),
        ("--space: must be {name: value, ...} or name=value",)),
    Bad("options", "an unknown parameter", ("--space", '{"x": [1]}', *PAIR), ("--space:", "'x'")),
    Bad("options", "a range upside down", ("--space", '{"learning_rate": {"low": 1, "high": 0}}', *PAIR),
        ("--space: learning_rate", "low < high")),
    Bad("options", "a share above 1", ("--space", '{"selection_ratio": [0.5, 2]}', *PAIR),
        ("--space:", "selection_ratio must be in (0, 1]", "2")),
    Bad("options", "a grid of ranges", ("--sampler", "grid", *PAIR), ("--sampler: grid needs a list",)),
    Bad("options", "more examples than there are", ("--train-size", "1000", *PAIR),
        ("--train-size: 1000", "there are 60")),
    Bad("options", "longer than the model reads", ("--max-length", "65", *PAIR),
        ("--max-length:", "at most 64 tokens", "65")),
    Bad("options", "fp16 without a GPU", ("--precision", "fp16", *PAIR), ("--precision: fp16 needs a GPU",),
        env={"CUDA_VISIBLE_DEVICES": ""}),
    Bad("options", "a GPU measured and given", ("--share-gpus", "--gpus-per-worker", "0.5", *PAIR),
        ("--share-gpus, --gpus-per-worker:", "leave one out")),
    Bad("options", "a GPU shared by workers of one trial",
        ("--share-gpus", "--workers-per-trial", "2", *PAIR),
        ("--share-gpus, --workers-per-trial:", "leave one out")),
    Bad("options", "a model shared by one worker", ("--shard", *PAIR),
        ("--shard, --workers-per-trial:", "give 2 or more")),
    Bad("options", "a method that needs whole weights",
        ("--shard", "--workers-per-trial", "2", "--method", "dps-mix", *PAIR),
        ("shard: dps-mix needs whole weights", "leave it out")),
    Bad("options", "split weights in fp16",
        ("--shard", "--workers-per-trial", "2", "--precision", "fp16", *PAIR),
        ("--shard, --precision:", "fp32 or bf16")),
    Bad("options", "a probe of split weights",
        ("--shard", "--workers-per-trial", "2", "--probe", "rte", *PAIR),
        ("--shard, --probe:", "leave one out")),
    Bad("options", "patience on the set that reports", ("--patience", "2", "--select-on", "dev", *PAIR),
        ("--patience, --select-on:", "leave one out")),
    Bad("options", "patience that never ends", ("--patience", "3", "--evaluations", "3", *PAIR),
        ("--patience, --evaluations:", "raise the other")),
    Bad("options", "a transfer that cannot be", ("--transfer", "rte", *PAIR), ("transfer: cola", "rte")),
    Bad("options", "an output that holds something", ("--output", "data", *PAIR),
        ("--output: data is not empty", "--resume")),
    Bad("options", "a file as output", ("--output", "data/dev.jsonl", *PAIR),
        ("--output: cannot write to data/dev.jsonl", "choose another")),
    Bad("options", "an output that cannot be made", ("--output", "/proc/here", *PAIR),
        ("--output: cannot write to /proc/here", "choose another")),
    Bad("options", "an output without a name", ("--output", ""), ("--output: must be a path", "''")),
    Bad("options", "an output with a null character", ("--output", "a\0b"), ("--output: must be a path",)),
    Bad("options", "an output of 400 letters", ("--output", "x" * 400, *PAIR),
        ("--output: a name in a path has at most 255 bytes",)),
    Bad("options", "storage with credentials", ("--storage", "s3://key:hush@bucket", *PAIR),
        ("--storage: 's3://***@bucket' holds credentials", "AWS_ACCESS_KEY_ID")),
    Bad("options", "storage of no known kind", ("--storage", "ftp://host/path", *PAIR),
        ("--storage: 'ftp://host/path' is neither a folder nor an object store", "s3://")),
    Bad("options", "a file as storage", ("--storage", "data/dev.jsonl", *PAIR), ("--storage: cannot write",)),
    Bad("options", "no such tracking", ("--tracking-uri", "gopher://x", *PAIR),
        ("--tracking-uri: 'gopher://x' is not an MLflow address", "sqlite:///")),
    Bad("options", "tracking into a folder", ("--tracking-uri", "file:./mlruns", *PAIR),
        ("--tracking-uri: 'file:./mlruns' is a folder, which MLflow takes no more; give sqlite:///FILE",)),
    Bad("options", "tracking into the path of a folder", ("--tracking-uri", "/tmp/mlruns", *PAIR),
        ("--tracking-uri: '/tmp/mlruns' is a folder, which MLflow takes no more",)),
    Bad("options", "tracking into memory", ("--tracking-uri", "sqlite:///:memory:", *PAIR),
        ("--tracking-uri: 'sqlite:///:memory:' is kept nowhere; give sqlite:///FILE",)),
    Bad("options", "tracking into a nameless database", ("--tracking-uri", "sqlite:///", *PAIR),
        ("--tracking-uri: 'sqlite:///' is kept nowhere; give sqlite:///FILE",)),
    Bad("options", "tracking into a database of two slashes", ("--tracking-uri", "sqlite://x.db", *PAIR),
        ("--tracking-uri: 'sqlite://x.db' names no file; give sqlite:///FILE",)),
    Bad("options", "tracking into a folder as a database", ("--tracking-uri", "sqlite:///data", *PAIR),
        ("--tracking-uri: 'data' is a folder; give a file in it",)),
    Bad("options", "tracking into a text", ("--tracking-uri", "sqlite:///data/dev.tsv", *PAIR),
        ("--tracking-uri: data/dev.tsv is no database",), prepare=text("data/dev.tsv", "x" * 5000)),
    Bad("options", "tracking into the database of another program", ("--tracking-uri", "sqlite:///old/study.db",
        *PAIR), ("--tracking-uri: old/study.db is no database of MLflow: it holds other tables",)),
    Bad("options", "an experiment's name of 501 letters", ("--experiment", "x" * 501, *PAIR),
        ("--experiment: must have at most 500 characters, but got 501",)),
    Bad("options", "tracking into no folder", ("--tracking-uri", "sqlite:////none/x.db", *PAIR),
        ("--tracking-uri: there is no folder '/none'",)),
    Bad("options", "a warm start from nowhere", ("--warm-start", "nowhere", *PAIR),
        ("--warm-start: nowhere does not exist", "study.db")),
    Bad("options", "999 cores", ("--cpus-per-worker", "999", *PAIR), ("too little (CPU cores)", "999"), 3),
    Bad("options", "a GPU where there is none", ("--gpus-per-worker", "1", *PAIR),
        ("--gpus-per-worker: 1 wanted",), 3, env={"CUDA_VISIBLE_DEVICES": ""}),
    Bad("options", "GPU-hours without a GPU", ("--gpu-hours", "1", *PAIR), ("--gpu-hours:", "no GPU"), 3,
        env={"CUDA_VISIBLE_DEVICES": ""}),
    Bad("options", "a comparison of one method", ("--methods", "vanilla", *PAIR),
        ("--methods: vanilla is the baseline alone",), command="compare"),
    Bad("options", "a comparison of one arm", ("--arms", "epochs=2", *PAIR),
        ("--arms: epochs-2 is one arm; name another",), command="compare"),
    Bad("options", "an arm with what no run has", ("--arms", "a: epochs=2", "b: epoch=3", *PAIR),
        ("--arms: b: epoch: an arm cannot name it; did you mean epochs?",), command="compare"),
    Bad("options", "a comparison that was none", ("--results", "data"),
        ("--results: data holds no finished comparison",), command="compare"),
    Bad("options", "a report of a search that has not ended", ("old",), ("DIR: old holds no search.json",),
        command="report"),
    Bad("options", "a report of nothing", ("nowhere",), ("EXPERIMENT: nowhere is no folder, and names",),
        command="report"),
    Bad("options", "a report from no MLflow", ("nowhere", "--tracking-uri", "gopher://x"),
        ("EXPERIMENT: nowhere is no folder, and cannot be read from gopher://x",), command="report"),
]  # fmt: skip

CONFIGS = [
    Bad("configs", "no such file", ("--config", "none.yaml"), ("--config: cannot read none.yaml",)),
    Bad("configs", "a folder", ("--config", "data"), ("--config: cannot read data",)),
    Bad("configs", "broken YAML", YAML, ("--config: cannot read",), prepare=text("options.yaml", "task: [")),
    Bad("configs", "a list", YAML, ("--config:", "option: value"), prepare=text("options.yaml", "- task")),
    Bad("configs", "bytes that are no text", YAML, ("--config: cannot read",),
        prepare=text("options.yaml", b"task: \xff")),
    Bad("configs", "a tag that runs a command", YAML, ("--config: cannot read", "python/object"),
        prepare=text("options.yaml", f"task: !!python/object/apply:os.system ['{CARRY_OUT}']")),
    Bad("configs", "a tag that names code", YAML, ("--config: cannot read", "python/name"),
        prepare=text("options.yaml", "task: !!python/name:os.system")),
    Bad("configs", "an unknown option", YAML, ("--trails: unknown option",),
        prepare=text("options.yaml", "trails: 3")),
    Bad("configs", "a key that stands twice", YAML, ("line 2: the key 'seed' stands twice",),
        prepare=text("options.yaml", "seed: 1\nseed: 2\n")),
    Bad("configs", "a key with - and with _", YAML, ("batch_size is given twice",),
        prepare=text("options.yaml", "batch-size: 8\nbatch_size: 32\n")),
    Bad("configs", "aliases of aliases", YAML, ("--config: cannot read", "*a is an alias"),
        prepare=text("options.yaml", LAUGHS)),
    Bad("configs", "a task of aliases", ("--task", "own.yaml"), ("cannot read own.yaml", "*a is an alias"),
        prepare=text("own.yaml", LAUGHS)),
    Bad("configs", "a file that names another", YAML, ("config: one file of options cannot name another",),
        prepare=text("options.yaml", "config: other.yaml\n")),
    Bad("configs", "a number as task", YAML, ("--task:", "string", "5"),
        prepare=text("options.yaml", "task: 5")),
    Bad("configs", "a mapping as trials", YAML, ("--trials:", "integer"),
        prepare=text("options.yaml", "trials: {a: 1}")),
    Bad("configs", "an address that lost its password", YAML, ("--tracking-uri:", "without its password"),
        prepare=text("options.yaml", "tracking_uri: http://***@somewhere:5000")),
]  # fmt: skip

DATA = [
    Bad("data", "no such folder", ("--data", "none"), ("data: there is no folder 'none'", "builtin")),
    Bad("data", "a file", ("--data", "data/dev.jsonl"), ("data: there is no folder 'data/dev.jsonl'",)),
    Bad("data", "a name of 5000 letters", ("--data", "x" * 5000),
        ("--data: a name in a path has at most 255 bytes",)),
    Bad("data", "nothing", ("--data", ""), ("--data: must not be empty; give a value",)),
    Bad("data", "no dev set", PAIR, ("data: no file for dev of task cola",),
        prepare=without("data/dev.jsonl")),
    Bad("data", "no rows", PAIR, ("train.jsonl: no rows",), prepare=text("data/train.jsonl", "")),
    Bad("data", "two train files", PAIR, ("train.tsv, train.jsonl all serve as train",),
        prepare=text("data/train.tsv", "sentence\tlabel\nw1\t1\n")),
    Bad("data", "a label that there is not", PAIR, ("train.jsonl:2: label 7 is not one of task cola",),
        prepare=text("data/train.jsonl", GOOD_ROW + row({"sentence": "w1", "label": 7}))),
    Bad("data", "a missing column", PAIR, ("train.jsonl:1: no column 'sentence'", "'text'"),
        prepare=text("data/train.jsonl", row({"text": "w1", "label": 1}))),
    Bad("data", "an empty text", PAIR, ("train.jsonl:1: column 'sentence' is empty",),
        prepare=text("data/train.jsonl", row({"sentence": " ", "label": 1}))),
    Bad("data", "a mapping as text", PAIR, ("train.jsonl:1: column 'sentence' must be text",),
        prepare=text("data/train.jsonl", row({"sentence": {"a": 1}, "label": 1}))),
    Bad("data", "half a JSON object", PAIR, ("train.jsonl:2: not JSON",),
        prepare=text("data/train.jsonl", GOOD_ROW + '{"sentence"')),
    Bad("data", "JSON 100,000 deep", PAIR, ("train.jsonl:1: not JSON",),
        prepare=text("data/train.jsonl", "[" * 100_000)),
    Bad("data", "bytes that are no text", PAIR, ("train.jsonl:2: byte 0xe9 is not UTF-8",),
        prepare=text("data/train.jsonl", GOOD_ROW.encode() + b"caf\xe9\n")),
    Bad("data", "an open quote", PAIR, ("train.csv:3: broken CSV",),
        prepare=both(without("data/train.jsonl"), text("data/train.csv", 'sentence,label\nw1,1\n"w2,0\n'))),
    Bad("data", "a row of three columns", PAIR, ("train.tsv:2: 3 columns where 2 are expected",),
        prepare=both(without("data/train.jsonl"), text("data/train.tsv", "sentence\tlabel\nw1\t1\tx\n"))),
    Bad("data", "parquet that is none", PAIR, ("train.parquet: not a readable parquet file",),
        prepare=both(without("data/train.jsonl"), text("data/train.parquet", "PAR1"))),
    Bad("data", "a pickle", PAIR, ("no file for train of task cola",),
        prepare=both(without("data/train.jsonl"), text("data/train.pkl", PICKLE))),
    Bad("data", "a pickle named parquet", PAIR, ("train.parquet: not a readable parquet file",),
        prepare=both(without("data/train.jsonl"), text("data/train.parquet", PICKLE))),
    Bad("data", "one class alone", PAIR, ("data: every example of train has the label 'acceptable'",),
        prepare=text("data/train.jsonl", GOOD_ROW * 20)),
    Bad("data", "one label where there are several", ("--task", "own.yaml", "--model", "model"),
        ("own.jsonl:1: label must be a list of labels, or a text with '|' between the labels, got 1",),
        prepare=both(text("own.yaml", "name: own\ncolumns: text\nkind: multi-label\nlabels: [a, b]\n"
                          "files: own.jsonl\n"), text("own.jsonl", row({"text": "w1", "label": 1})))),
    Bad("data", "too few examples for two stages",
        (*PAIR, "--train-size", "5", "--select-on", "dev", "--epochs", "3"),
        ("--max-steps:", "4 steps")),
    Bad("data", "a slice of one class", (*PAIR, "--train-size", "5"),
        ("metric: matthews_correlation is 0 for the best model and the worst", "held out")),
]  # fmt: skip

HUB = ("--data", "data", "--model")
MODELS = [
    Bad("models", "no such folder", (*HUB, "./none"), ("model: there is no folder './none'",)),
    Bad("models", "a name that is not in the cache", (*HUB, "owner/none"), ("model 'owner/none'", "cache")),
    Bad("models", "a path that leads out", (*HUB, "../.."), ("model: '../..' has no config.json",)),
    Bad("models", "a command as a name", (*HUB, f"$({CARRY_OUT})"), ("not a name on the hub",)),
    Bad("models", "an option as a name", ("--data", "data", "--model=--x"), ("not a name on the hub",)),
    Bad("models", "a null character", (*HUB, "a\0b"), ("not a name on the hub",)),
    Bad("models", "a name of 5000 letters", (*HUB, "x" * 5000), ("--model: a name in a path has at most",)),
    Bad("models", "a folder of data", (*HUB, "data"), ("model: 'data' has no config.json",)),
    Bad("models", "pickled weights alone", PAIR, ("no *.safetensors", "pickled weights are not read"),
        prepare=both(without("model/*.safetensors"), text("model/pytorch_model.bin", PICKLE))),
    Bad("models", "a pickle named .pt", PAIR, ("no *.safetensors",),
        prepare=both(without("model/*.safetensors"), text("model/model.pt", PICKLE))),
    Bad("models", "a pickle named safetensors", PAIR, ("is not a complete safetensors file",),
        prepare=text("model/model.safetensors", PICKLE)),
    Bad("models", "half the weights", PAIR, ("model.safetensors is not a complete safetensors file",),
        prepare=cut("model/model.safetensors", 5000)),
    Bad("models", "an empty file of weights", PAIR, ("model.safetensors is not a complete safetensors file",),
        prepare=text("model/model.safetensors", "")),
    Bad("models", "more layers than weights", PAIR, ("model: 'model' lacks 16 weights", "layer.2"),
        prepare=configured(num_hidden_layers=3)),
    Bad("models", "weights of another size", PAIR, ("model: 'model' lacks", "config.json"),
        prepare=configured(hidden_size=32)),
    Bad("models", "config.json that is no JSON", PAIR, ("config.json of 'model' is not JSON",),
        prepare=text("model/config.json", "{")),
    Bad("models", "config.json that is a list", PAIR, ("config.json of 'model' is not a JSON object",),
        prepare=text("model/config.json", "[]")),
    Bad("models", "an unknown kind of model", PAIR, ("cannot be loaded", "`magic`"),
        prepare=configured(model_type="magic")),
    Bad("models", "code of its own", PAIR, ("cannot be loaded", "custom code"),
        prepare=both(configured(model_type="magic", auto_map={"AutoConfig": "evil.Config"}),
                     text("model/evil.py", f"open({PROOF!r}, 'w')"))),
    Bad("models", "words for layers", PAIR, ("cannot be loaded", "num_hidden_layers"),
        prepare=configured(num_hidden_layers="two")),
    Bad("models", "no tokenizer", PAIR, ("'model' has no tokenizer",), prepare=without("model/tokenizer*")),
    Bad("models", "a broken tokenizer", PAIR, ("cannot be loaded", "JSON"),
        prepare=text("model/tokenizer.json", "{")),
    Bad("models", "an index that leads out", PAIR, ("must name *.safetensors files in its own folder",),
        prepare=text("model/model.safetensors.index.json",
                     '{"weight_map": {"a": "../../secret.safetensors"}}')),
    Bad("models", "a fine-tuned model that is a pickle",
        ("--model", "model", "--task", "cola", "--data", "data", "--probe-task", "cola"),
        ("no *.safetensors",), command="probing",
        prepare=both(without("model/*.safetensors"), text("model/pytorch_model.bin", PICKLE))),
]  # fmt: skip

LEDGERS = [
    Bad("ledgers", "no such folder", ("--resume", "none"), ("--resume: none holds no search",)),
    Bad("ledgers", "a folder of data", ("--resume", "data"), ("--resume: data holds no search",)),
    Bad("ledgers", "a link in the place of the lock", OLD, ("--resume: old/.lock is no plain file",),
        prepare=link("old/.lock")),
    Bad("ledgers", "a link in the place of the model", OLD, ("--resume: old/best is no plain file",),
        prepare=link("old/best")),
    Bad("ledgers", "a link in the place of the options", OLD, ("--resume: old/config.yaml is no plain file",),
        prepare=both(without("old/config.yaml"), link("old/config.yaml"))),
    Bad("ledgers", "an empty file", OLD, ("old/study.db", "start again with another --output"),
        prepare=text("old/study.db", "")),
    Bad("ledgers", "bytes that are no database", OLD, ("old/study.db cannot be read", "not a database"),
        prepare=text("old/study.db", "x" * 5000)),
    Bad("ledgers", "half a database", OLD, ("old/study.db cannot be read",),
        prepare=cut("old/study.db", 20_000)),
    Bad("ledgers", "a pickle", OLD, ("old/study.db cannot be read", "not a database"),
        prepare=text("old/study.db", PICKLE)),
    Bad("ledgers", "a newer version", OLD, ("has version 99", "use the version that created it"),
        prepare=sql("UPDATE study_user_attributes SET value_json = '99' WHERE key = 'schema_version'")),
    Bad("ledgers", "no version", OLD, ("holds no study of a search",),
        prepare=sql("DELETE FROM study_user_attributes WHERE key = 'schema_version'")),
    Bad("ledgers", "an unknown outcome", OLD, ("cannot be read as a ledger", "magic"),
        prepare=trial(outcome="'\"magic\"'")),
    Bad("ledgers", "a word as configuration", OLD, ("cannot be read as a ledger", "configuration"),
        prepare=trial(configuration="'\"vanilla\"'")),
    Bad("ledgers", "an attribute that is no JSON", OLD, ("cannot be read as a ledger",),
        prepare=trial(configuration=f"'os.system(\"{CARRY_OUT}\")'")),
    Bad("ledgers", "a state that there is not", OLD, ("cannot be read as a ledger",),
        prepare=both(trial(), sql("UPDATE trials SET state = 'MAGIC'"))),
    Bad("ledgers", "another search", (*OLD, "--max-length", "32"),
        ("--resume: this is another search: max_length was 64, now 32",)),
    Bad("ledgers", "a resume by the other command", OLD,
        ("was made by another command; use python tune/search.py",), command="compare"),
    Bad("ledgers", "config.yaml that runs a command", OLD, ("--config: cannot read", "python/object"),
        prepare=text("old/config.yaml", f"task: !!python/object/apply:os.system ['{CARRY_OUT}']")),
    Bad("ledgers", "a warm start from no database", ("--warm-start", "old", *PAIR),
        ("--warm-start: old cannot be read",), prepare=text("old/study.db", "x" * 5000)),
    Bad("ledgers", "a warm start from a newer version", ("--warm-start", "old", *PAIR),
        ("--warm-start: old has version 99", "use the version that created it"),
        prepare=sql("UPDATE study_user_attributes SET value_json = '99' WHERE key = 'schema_version'")),
]  # fmt: skip

ENVIRONMENT = [
    Bad("environment", "RAY_ADDRESS where nothing listens", PAIR, ("RAY_ADDRESS: no Ray cluster answers",), 3,
        env={"RAY_ADDRESS": NOWHERE}),
    Bad("environment", "RAY_ADDRESS of Ray Client", PAIR, ("RAY_ADDRESS: ray://x is a Ray Client",), 3,
        env={"RAY_ADDRESS": "ray://x"}),
    Bad("environment", "RAY_ADDRESS that is none", PAIR, ("RAY_ADDRESS: 'head' is no HOST:PORT",), 3,
        env={"RAY_ADDRESS": "head"}),
    Bad("environment", "RAY_ADDRESS with port 99999", PAIR, ("RAY_ADDRESS:", "no HOST:PORT"), 3,
        env={"RAY_ADDRESS": "127.0.0.1:99999"}),
    Bad("environment", "RAY_ADDRESS of a job server", PAIR,
        ("RAY_ADDRESS: http://127.0.0.1:1 is the address of a job server", "cluster/submit.py"), 3,
        env={"RAY_ADDRESS": "http://127.0.0.1:1"}),
    Bad("environment", "RAY_ADDRESS of IPv6", PAIR, ("no Ray cluster answers at [::1]:1 (",), 3,
        env={"RAY_ADDRESS": "[::1]:1"}),
    Bad("environment", "warnings that are errors", PAIR, ("PYTHONWARNINGS: Ray ends at the first warning",),
        env={"PYTHONWARNINGS": "error"}),
    Bad("environment", "MLFLOW_TRACKING_URI that is none", PAIR,
        ("MLFLOW_TRACKING_URI: 'gopher://***@x' is not an MLflow address",),
        env={"MLFLOW_TRACKING_URI": "gopher://me:hush@x"}),
    Bad("environment", "MLFLOW_TRACKING_URI into no folder", PAIR,
        ("MLFLOW_TRACKING_URI: there is no folder '/none' for x.db",),
        env={"MLFLOW_TRACKING_URI": "sqlite:////none/x.db"}),
    Bad("environment", "HF_ENDPOINT where nothing listens", (*HUB, "owner/none"), ("'owner/none'", "cache"),
        env={"HF_ENDPOINT": f"http://{NOWHERE}", "HF_HUB_OFFLINE": "0"}),
    Bad("environment", "HF_HUB_OFFLINE and no cache", (*HUB, "bert-base-cased"), ("unset HF_HUB_OFFLINE",)),
]  # fmt: skip

BAD_INPUTS = [*OPTIONS, *CONFIGS, *DATA, *MODELS, *LEDGERS, *ENVIRONMENT]


def answers(good: Path, folders: Callable[[], Path]) -> Iterator[tuple[Bad, Answer]]:
    """Every case with what became of it."""
    for bad in BAD_INPUTS:
        yield bad, tried(bad, good, folders())
