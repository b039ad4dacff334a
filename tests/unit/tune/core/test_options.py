"""The options: one set, from the command line and YAML; every refusal is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dps.errors import InputError
from dps.methods import METHODS
from dps.tasks import registry
from tests.tiny import data_folder
from tune import compare, search
from tune.core.durations import parse_duration
from tune.core.option_types import split_names
from tune.core.options import METHOD_PRESETS, CompareOptions, SearchOptions
from tune.core.parsing import parse_options, read_options, write_options
from tune.records.saved_options import load_resumed_options

ROOT = Path(__file__).parents[4]
OPTIONS: dict[str, Any] = {
    "task": "cola",
    "method": "dps-dense",
    "freeze": "gradient",
    "trials": 8,
    "seed": 0,
    "output": None,
    "data": "auto",
    "model": "auto",
    "epochs": None,
    "max_steps": None,
    "batch_size": 16,
    "max_length": None,
    "train_size": None,
    "loss": "plain",
    "shots": None,
    "threshold": None,
    "patience": None,
    "precision": "auto",
    "max_concurrent": None,
    "workers_per_trial": 1,
    "shard": False,
    "gradient_checkpointing": False,
    "gpus_per_worker": None,
    "share_gpus": False,
    "cpus_per_worker": 1,
    "price": None,
    "oom_retry": False,
    "step_timeout": "10m",
    "trial_timeout": None,
    "time_budget": None,
    "gpu_hours": None,
    "scheduler": "asha",
    "sampler": "tpe",
    "space": {},
    "transfer": None,
    "probe": None,
    "select_on": "holdout",
    "evaluations": 6,
    "confirm": 5,
    "race": 3,
    "warm_start": None,
    "objectives": "score",
    "finalists": 1,
    "baseline": "published,vanilla,vanilla-no-dropout",
    "cpu_hours": None,
    "target": None,
    "init_task": None,
    "ensemble": False,
    "register": None,
    "profile": False,
    "tracking_uri": None,
    "experiment": None,
    "config": None,
    "resume": None,
    "dry_run": False,
    "preflight": False,
    "quiet": False,
    "json": False,
    "storage": None,
}

LONG_NAMES = ("--resume", "--config", "--output", "--data", "--model", "--task", "--storage", "--warm-start")


def parse_yaml(folder: Path, text: str, *argv: str) -> SearchOptions:
    file = folder / "options.yaml"
    file.write_text(text, encoding="utf-8")
    return parse_options(["--config", str(file), *argv])


def test_the_options_and_their_defaults_are_these() -> None:
    assert {name: field.default for name, field in SearchOptions.model_fields.items()} == OPTIONS
    assert parse_options([]).model_dump() == OPTIONS


def test_the_options_of_a_comparison_are_these() -> None:
    own = {
        "methods": "vanilla,vanilla-no-dropout,dps-dense,dps-mix",
        "arms": {},
        "tune": "each",
        "baseline": "vanilla",
        "trials": 4,
        "confirm": 5,
        "scheduler": "none",
        "sampler": "latin",
        "results": None,
        "allow_dirty": False,
    }
    of_search = {
        "method",
        "finalists",
        "race",
        "warm_start",
        "objectives",
        "init_task",
        "time_budget",
        "gpu_hours",
        "cpu_hours",
        "target",
        "ensemble",
        "register",
        "profile",
    }
    shared = {k: v for k, v in OPTIONS.items() if k not in of_search}
    assert parse_options([], CompareOptions).model_dump() == shared | own


def test_the_command_line_goes_before_yaml_and_yaml_before_the_default(tmp_path: Path) -> None:
    options = parse_yaml(tmp_path, "trials: 5\nseed: 3\n", "--seed", "9")
    assert (options.trials, options.seed, options.confirm) == (5, 9, 5)


def test_an_option_given_its_default_value_goes_before_yaml_too(tmp_path: Path) -> None:
    assert parse_yaml(tmp_path, "trials: 5\n", "--trials", "12").trials == 12


def test_yaml_keys_are_read_with_dashes_and_underscores(tmp_path: Path) -> None:
    options = parse_yaml(tmp_path, "max-steps: 40\nbatch_size: 8\n")
    assert (options.max_steps, options.batch_size) == (40, 8)


def test_an_empty_yaml_file_changes_nothing(tmp_path: Path) -> None:
    assert parse_yaml(tmp_path, "# nothing\n").model_dump(exclude={"config"}) == parse_options([]).model_dump(
        exclude={"config"}
    )


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--trails", "3"], ["--trails 3; did you mean --trials?"]),
        (["--max_steps", "3"], ["--max_steps 3; did you mean --max-steps?"]),
        (["--qqq"], ["--qqq; see --help"]),
        (["--class-weights", "balanced"], ["weigh the classes with --loss balanced"]),
        (["--lr", "3"], ["--lr 3; search it: --space learning_rate="]),
        (["--metric=f1"], ["set the metric in the task's YAML"]),
        (["--tri", "3"], ["--tri 3"]),
        (["cola"], ["cola"]),
        (["--trials"], ["--trials", "expected one argument"]),
        (["--trials", "0"], ["--trials:", "greater than 0", "'0'"]),
        (["--trials", "-4"], ["--trials:", "greater than 0", "'-4'"]),
        (["--trials", "many"], ["--trials:", "integer", "'many'"]),
        (["--trials", "1.5"], ["--trials:", "integer", "'1.5'"]),
        (["--trials", ""], ["--trials:", "integer", "''"]),
        (["--seed", "-1"], ["--seed:", "greater than or equal to 0", "'-1'"]),
        (["--epochs", "0"], ["--epochs:", "greater than 0", "'0'"]),
        (["--epochs", "nan"], ["--epochs:", "'nan'"]),
        (["--epochs", "inf"], ["--epochs:", "finite", "'inf'"]),
        (["--max-steps", "0"], ["--max-steps:", "greater than 0", "'0'"]),
        (["--batch-size", "0"], ["--batch-size:", "'0'"]),
        (["--max-length", "4"], ["--max-length:", "greater than 4", "'4'"]),
        (["--train-size", "1"], ["--train-size:", "greater than 1", "'1'"]),
        (["--evaluations", "0"], ["--evaluations:", "'0'"]),
        (["--confirm", "0"], ["--confirm:", "'0'"]),
        (["--max-concurrent", "0"], ["--max-concurrent:", "'0'"]),
        (["--workers-per-trial", "0"], ["--workers-per-trial:", "'0'"]),
        (["--cpus-per-worker", "0"], ["--cpus-per-worker:", "'0'"]),
        (["--gpus-per-worker", "-0.5"], ["--gpus-per-worker:", "'-0.5'"]),
        (["--gpus-per-worker", "inf"], ["--gpus-per-worker:", "'inf'"]),
        (["--gpu-hours", "0"], ["--gpu-hours:", "'0'"]),
        (["--gpu-hours", "inf"], ["--gpu-hours:", "'inf'"]),
        (["--price", "0"], ["--price:", "greater than 0", "'0'"]),
        (["--price", "1e300"], ["--price:", "less than or equal to", "'1e300'"]),
        (["--time-budget", "soon"], ["--time-budget:", "30m", "'soon'"]),
        (["--time-budget", "30"], ["--time-budget:", "'30'"]),
        (
            ["--scheduler", "hyperband"],
            ["--scheduler:", "'asha' or 'none'", "'hyperband'"],
        ),
        (["--scheduler", "ahsa"], ["but got 'ahsa'; did you mean asha?"]),
        (["--sampler", "bohb"], ["--sampler:", "'tpe'", "'bohb'"]),
        (["--precision", "fp8"], ["--precision:", "'bf16'", "'fp8'"]),
        (["--freeze", "no"], ["--freeze:", "'gradient'", "'no'"]),
        (["--select-on", "test"], ["--select-on:", "'holdout' or 'dev'", "'test'"]),
        (["--dry-run=maybe"], ["--dry-run", "'maybe'"]),
        (["--config", "nowhere.yaml"], ["--config:", "nowhere.yaml"]),
        (["--trials", "0", "--seed", "x"], ["--trials:", "'0'", "--seed:", "'x'"]),
        (
            ["--task", "cola", "--task", "rte"],
            ["--task: is given twice, --task cola and --task rte; leave one out"],
        ),
        (["--task=cola", "--seed", "1", "--task", "rte"], ["--task: is given twice, --task=cola and"]),
        (["--quiet", "--no-quiet"], ["--quiet: is given twice, --quiet and --no-quiet"]),
        (["--no-baseline"], ["--no-baseline: there are several baselines; give --baseline none"]),
        (["--worth=0.2"], ["--worth: is gone, since the race has a fixed number of runs; give --race"]),
        (["--baseline", "vanilla,vanilla"], ["--baseline: vanilla is named twice"]),
        (["--space", "p=1", "--space", '{"q": 1}'], ["--space: is given twice"]),
        (["--space", "p=1,p=2"], ["--space:", "'p' stands twice"]),
        (["--space", "[1]"], ["--space:", "{name: value, ...} or name=value"]),
        (["--method", "vanilla,dps-mix,vanilla"], ["--method: vanilla is named twice"]),
        (["--method", ",,vanilla,dps-mix,vanilla"], ["--method: vanilla is named twice"]),
        (["--objectives", "score, score"], ["--objectives: score is named twice"]),
        (
            ["--tracking-uri", ""],
            ["--tracking-uri: must not be empty; give a value, or leave the option out"],
        ),
        (["--experiment", ""], ["--experiment: must not be empty; give"]),
        (["--storage", ""], ["--storage: must not be empty; give"]),
        (["--warm-start", ""], ["--warm-start: must be names"]),
        (["--warm-start", "a,,b"], ["--warm-start: must be names"]),
        *(([name, "x" * 256], [f"{name}: a name in a path has at most 255 bytes"]) for name in LONG_NAMES),
        (["--time-budget", "0s"], ["--time-budget:", "longer than 0s"]),
        (["--gpus-per-worker", "1.5"], ["--gpus-per-worker:", "whole above 1", "'1.5'"]),
        (["--gpus-per-worker", "0.33333"], ["--gpus-per-worker:", "four decimals"]),
        (["--output", "~nobody-here/x"], ["--output:", "~nobody-here", "whole path"]),
        (["--data", "~nobody-here/x"], ["--data:", "~nobody-here", "whole path"]),
        (["--trials", "x" * 9999], ["--trials:", "xxx..."]),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_refused_in_one_line(argv: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as refusal:
        parse_options(argv)
    assert "\n" not in str(refusal.value)
    assert [word for word in words if word not in str(refusal.value)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trails: 3", ["--trails:", "unknown option"]),
        ("1: 2", ["--1:", "unknown option"]),
        ("trials: 0", ["--trials:", "greater than 0", "0"]),
        ("trials: many", ["--trials:", "integer", "'many'"]),
        ("trials: 2.5", ["--trials:", "integer", "2.5"]),
        ("trials: [3]", ["--trials:", "integer", "[3]"]),
        ("trials:", ["--trials:", "integer", "None"]),
        ("task: 5", ["--task:", "string", "5"]),
        ("task: {name: cola}", ["--task:", "string", "{'name': 'cola'}"]),
        ("epochs: .inf", ["--epochs:", "finite", "inf"]),
        ("epochs: .nan", ["--epochs:", "nan"]),
        ("dry_run: perhaps", ["--dry-run:", "boolean", "'perhaps'"]),
        ("time_budget: 30", ["--time-budget:", "unit", "30m", "but got 30"]),
        ("time-budget: 3 weeks", ["--time-budget:", "duration", "'3 weeks'"]),
        ("scheduler: hyperband", ["--scheduler:", "'asha' or 'none'", "'hyperband'"]),
        ("- trials", ["--config:", "option: value"]),
        ("just words", ["--config:", "option: value"]),
        ("trials: [", ["--config:", "cannot read"]),
        ("seed: 1\nseed: 2", ["--config:", "line 2: the key 'seed' stands twice"]),
        ("batch-size: 8\nbatch_size: 32", ["--config:", "batch_size is given twice, with - and with _"]),
        ("config: other.yaml", ["--config:", "config: one file of options cannot name another"]),
        ("task: &a x\nmodel: *a", ["--config:", "line 2: *a is an alias"]),
        ("trials: " + "9" * 5000, ["--config:", "digits"]),
        ("[" * 5000, ["--config:", "nested too deep"]),
        ("experiment: yes", ["--experiment:", "string", "put it in quotes"]),
        ("time_budget: 1:30:00", ["--time-budget:", "1h30m", "'1:30:00'"]),
        ("time_budget: 2026-11-29", ["--time-budget:", "'2026-11-29'"]),
        ("time_budget: 5400", ["--time-budget:", "unit", "5400"]),
        ("method: [vanilla, 1]", ["--method:", "string", "['vanilla', 1]"]),
        ("gpus_per_worker: 2.5", ["--gpus-per-worker:", "whole above 1", "2.5"]),
        ('task: !!python/object/apply:os.system ["touch proof"]', ["--config:", "python/object"]),
        ("task: !!python/name:os.system", ["--config:", "python/name"]),
    ],
)
def test_wrong_yaml_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refusal:
        parse_yaml(tmp_path, text + "\n")
    assert "\n" not in str(refusal.value)
    assert [word for word in words if word not in str(refusal.value)] == []
    assert os.listdir(tmp_path) == ["options.yaml"]  # nothing in it was carried out


def test_lists_are_taken_where_the_command_line_has_commas(tmp_path: Path) -> None:
    text = "method: [dps-dense, vanilla]\nobjectives: [score, seconds]\ntransfer: [snli, rte]\n"
    options = parse_yaml(tmp_path, text + "warm_start: [runs/a, runs/b]\n")
    assert options.method_names == ("dps-dense", "vanilla")
    assert options.objective_names == ("score", "seconds")
    assert (options.transfer, options.warm_start) == ("snli,rte", "runs/a,runs/b")


@pytest.mark.parametrize("digits", ["010", "007"])
def test_a_number_means_the_same_in_yaml_and_on_the_command_line(tmp_path: Path, digits: str) -> None:
    assert (
        parse_yaml(tmp_path, f"seed: {digits}\n").seed
        == parse_options(["--seed", digits]).seed
        == int(digits)
    )


def test_text_that_looks_like_another_type_stays_text(tmp_path: Path) -> None:
    assert parse_yaml(tmp_path, "experiment: 2026-11-29\n").experiment == "2026-11-29"
    assert parse_yaml(tmp_path, "experiment: 1_000\n").experiment == "1_000"


def test_the_home_folder_can_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    text = (
        "output: ~/runs\ndata: ~/glue\nstorage: ~/shared\nmodel: ~/m\ntask: ~/t.yaml\nwarm_start: ~/a,~/b\n"
    )
    options = parse_yaml(tmp_path, text, "--tracking-uri", "sqlite:///~/m.db", "--resume=~/r")
    found = [str(options.output), options.data, options.storage, options.model, options.task]
    assert found == ["/home/me/runs", "/home/me/glue", "/home/me/shared", "/home/me/m", "/home/me/t.yaml"]
    assert options.warm_start == "/home/me/a,/home/me/b"
    assert (options.tracking_uri, str(options.resume)) == ("sqlite:////home/me/m.db", "/home/me/r")


def test_a_comma_in_a_path_that_is_there_separates_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a, b"
    folder.mkdir()
    (own := folder / "own,2.yaml").touch()
    options = parse_options(["--task", f"cola,{own},rte", "--warm-start", f"{folder},elsewhere"])
    assert options.tasks == ("cola", str(own), "rte")
    assert split_names(options.warm_start or "") == (str(folder), "elsewhere")
    assert parse_options(["--task", str(own)]).tasks == (str(own),)


def test_a_score_beyond_the_scale_of_the_metric_is_refused() -> None:
    argv = ["--target", "95"]
    with pytest.raises(InputError, match=r"--target: .* between -1 and 1, but got 95"):
        parse_options(argv).check_scale("matthews_correlation")


def test_what_is_wrong_in_a_file_is_said_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("trails: 3\ntrials: 0\nrace: x\n")
    with pytest.raises(InputError) as refusal:
        parse_options(["--config", str(file), "--race", "1"])
    assert str(refusal.value).startswith(f"{file}: --")
    assert str(refusal.value).count(f"{file}: --") == 2  # not of --race
    with pytest.raises(InputError, match=r"^--race"):
        parse_options(["--config", str(file), "--race", "y"])


def test_yaml_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_bytes(b"task: \xff\xfe\n")
    with pytest.raises(InputError, match="--config: cannot read"):
        read_options(tmp_path / "options.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("2d", 172800), ("1h30m", 5400), ("0.5h", 1800)],
)
def test_durations(text: str, expected: float) -> None:
    assert parse_duration(text) == expected
    assert parse_options(["--time-budget", text]).time_budget == text


@pytest.mark.parametrize(
    "text", ["", "30", "m", "1 h", "1h 30m", "-1h", "1w", "1h30", "1,5h", "1e3s", "infs"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_write_yaml_is_read_back_to_the_same_options(tmp_path: Path) -> None:
    given = ["--task", "rte", "--method", "dps-mix,vanilla", "--trials", "4", "--max-steps", "60"]
    given += ["--time-budget", "1h30m", "--gpus-per-worker", "0.5", "--storage", "shared", "--epochs", "2.5"]
    given += ["--data", "it's: # odd", "--experiment", "yes", "--output", "here", "--dry-run", "--profile"]
    options = parse_options(given)
    write_options(options, tmp_path / "config.yaml")
    again = parse_options(["--config", str(tmp_path / "config.yaml")])
    one_run = {"config", "output", "dry_run", "profile", "resume"}
    assert again.model_dump(exclude=one_run) == options.model_dump(exclude=one_run)
    assert (again.output, again.dry_run) == (None, False)


@pytest.mark.parametrize(
    ("said", "names", "methods"),
    [
        ("true", ("published", "vanilla", "vanilla-no-dropout"), ("vanilla", "vanilla-no-dropout")),
        ("false", (), ()),
        ("none", (), ()),
        ("[vanilla, published]", ("vanilla", "published"), ("vanilla",)),
        ("dps-dense,r-drop", ("dps-dense", "r-drop"), ("r-drop",)),
    ],
)
def test_baselines_are_named_and_yes_and_no_of_earlier_files_are_read(
    said: str, names: tuple[str, ...], methods: tuple[str, ...], tmp_path: Path
) -> None:
    """The search's only method is tuned already."""
    (tmp_path / "config.yaml").write_text(f"baseline: {said}\n")
    options = parse_options(["--config", str(tmp_path / "config.yaml")])
    assert (options.baseline_names, options.baseline_methods) == (names, methods)
    assert options.confirms_published == ("published" in names)


def test_variables_of_the_environment_are_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TASK", "task", "TRIALS", "SEED"):
        monkeypatch.setenv(name, "7" if name != "TASK" else "rte")
    assert parse_options([]).model_dump() == OPTIONS


def test_a_resumed_folder_with_wrong_options_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.db").touch()
    (tmp_path / "config.yaml").write_text("trials: 0\nmagic: 1\n", encoding="utf-8")
    assert search.main(["--resume", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--trials: must be greater than 0, but got 0" in said
    assert "--magic: unknown option" in said


def test_a_resume_takes_the_searchs_options_under_those_given_now(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    write_options(parse_options(["--task", "rte", "--trials", "4"]), tmp_path / "config.yaml")
    options = load_resumed_options(parse_options(["--resume", str(tmp_path), "--trials", "9"]))
    assert (options.task, options.trials, options.output) == ("rte", 9, tmp_path)


def test_a_search_is_planned_without_transformers_and_ray() -> None:
    command = ["--dry-run", "--data", "builtin", "--model", "builtin", "--tracking-uri", "none"]
    code = f"import sys; from tune import search; sys.exit(search.main({command}) or not " + (
        "{'transformers', 'ray'}.isdisjoint(sys.modules))"  # a second of imports each
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0


@pytest.mark.parametrize("script", ["search", "compare"])
def test_help_answers_without_torch_and_ray(script: str) -> None:
    code = (
        "import runpy, sys, json\n"
        f"sys.argv = ['tune/{script}.py', '--help']\n"
        f"try:\n    runpy.run_path('tune/{script}.py', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    heavy = [name for name in ('torch', 'ray', 'mlflow', 'optuna', 'transformers') "
        "if name in sys.modules]\n"
        "    print(json.dumps([end.code, heavy]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stderr) == [0, []]


def test_a_dry_run_prints_the_plan_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    pair = ["--data", "builtin", "--model", "builtin"]
    assert search.main(["--task", "cola", *pair, "--dry-run", "--max-steps", "60", "--confirm", "2"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    words = ["cola (matthews_correlation, max)", "800 train, 400 dev", "8 trials of at most 60 steps"]
    words += ["learning_rate", "selection_ratio", "update_ratio", "2 runs of 60 steps", "expected"]
    assert [word for word in words if word not in said.out] == []
    assert not ray.is_initialized()
    assert list(tmp_path.iterdir()) == []


PAIR = ["--data", "builtin", "--model", "builtin"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--methods", "vanilla,magic"], ["--methods: there is no method 'magic'", "dps-dense"]),
        (["--methods", "vanilla,dps-mix,"], ["--methods: there is no method ''"]),
        (["--methods", ""], ["--methods: there is no method ''"]),
        (["--baseline", "magic"], ["--baseline: there is no method 'magic'", "dps-dense"]),
        (
            ["--baseline", "none"],
            ["--baseline: none leaves nothing to compare with; name one of the methods"],
        ),
        (["--methods", "vanilla"], ["--methods: vanilla is the baseline alone"]),
        (["--methods", "r-drop", "--baseline", "r-drop"], ["--methods: r-drop is the baseline alone"]),
        (["--confirm", "1"], ["--confirm:", "greater than 1", "'1'"]),
        (["--trials", "0"], ["--trials:", "'0'"]),
        (["--method", "vanilla"], ["--method vanilla; did you mean --methods?"]),
        (["--time-budget", "1h"], ["--time-budget 1h"]),
        (["--task", "poems", *PAIR], ["--task: there is no task 'poems'", "cola"]),
        (["--results", ""], ["--results:", "must be names"]),
        (["--results", "nowhere"], ["--results: nowhere holds no finished comparison"]),
        (["--results", "nowhere,elsewhere", "--task", "poems"], ["--results: nowhere"]),
        (["--resume", "nowhere"], ["--resume: nowhere holds no search"]),
        (["--config", "nowhere.yaml"], ["--config:", "nowhere.yaml"]),
        (["--space", "{"], ["--space:"]),
        (["--sampler", "grid", *PAIR], ["--sampler: grid needs a list for every parameter", "--space"]),
        (["--transfer", "paper", "--task", "cola", *PAIR], ["--transfer:", "cola"]),
        (["--transfer", "snli", "--task", "cola", *PAIR], ["--transfer: cola cannot be tested on snli"]),
        (["--transfer", "magic", "--task", "rte", *PAIR], ["--transfer: there is no evaluation set 'magic'"]),
    ],
    ids=" ".join,
)
def test_a_comparison_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert compare.main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert [word for word in words if word not in said.err] == []
    assert list(tmp_path.iterdir()) == []


def test_yaml_of_a_comparison(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(
        "task: rte\nmethods: r-drop, mixout\nbaseline: mixout\nconfirm: 7\n"
        "space: {learning_rate: [1e-5, 2.0e-5]}\n",
        encoding="utf-8",
    )
    options = parse_options(["--config", str(file), "--confirm", "9"], CompareOptions)
    assert (options.task, options.method_names, options.confirm) == ("rte", ("mixout", "r-drop"), 9)
    assert options.space == {"learning_rate": ["1e-5", 2e-5]}
    file.write_text("confirm: 1\n", encoding="utf-8")
    with pytest.raises(InputError, match="--confirm: must be greater than 1, but got 1"):
        parse_options(["--config", str(file)], CompareOptions)
    file.write_text("method: vanilla\n", encoding="utf-8")
    with pytest.raises(InputError, match="--method: unknown option"):
        parse_options(["--config", str(file)], CompareOptions)


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ('{"learning_rate": [1e-5, 2e-5]}', {"learning_rate": ["1e-5", "2e-5"]}),
        ("{learning_rate: [0.1, 2.0e-5]}", {"learning_rate": [0.1, 2e-5]}),
        ("learning_rate=[1e-5,2e-5]", {"learning_rate": ["1e-5", "2e-5"]}),
        ("learning_rate=1e-5", {"learning_rate": "1e-5"}),
        ("p=[0.1, 0.8],freeze=update", {"p": [0.1, 0.8], "freeze": "update"}),
        ("p={low: 0.1, high: 0.8}", {"p": {"low": 0.1, "high": 0.8}}),
        ("b=8, 16,e=2..6,p=[1, 2]", {"b": [8, 16], "e": "2..6", "p": [1, 2]}),
        ("lr=1e-5..1e-3:log", {"lr": "1e-5..1e-3:log"}),
    ],
)
def test_a_space_on_the_command_line(text: str, space: dict[str, Any]) -> None:
    assert parse_options(["--space", text], CompareOptions).space == space


@pytest.mark.parametrize("preset", METHOD_PRESETS)
def test_a_preset_stands_for_its_methods(preset: str) -> None:
    options = parse_options(["--methods", f"{preset},mixout", "--baseline", "dps-dense"], CompareOptions)
    assert options.method_names[0] == "dps-dense"
    assert {*options.method_names} == {*METHOD_PRESETS[preset], "mixout"} <= METHODS.keys()


def test_the_yaml_of_a_comparison_is_read_back_to_the_same_options(tmp_path: Path) -> None:
    given = ["--task", "rte", "--methods", "mixout,r-drop", "--baseline", "mixout", "--confirm", "4"]
    given += ["--space", '{"p": {"low": 0.1, "high": 0.5}}', "--transfer", "snli", "--sampler", "random"]
    options = parse_options([*given, "--output", "here", "--allow-dirty"], CompareOptions)
    write_options(options, tmp_path / "config.yaml")
    again = parse_options(["--config", str(tmp_path / "config.yaml")], CompareOptions)
    one_run = {"config", "output", "dry_run", "resume", "results", "allow_dirty"}
    assert again.model_dump(exclude=one_run) == options.model_dump(exclude=one_run)
    assert (again.output, again.results, again.allow_dirty) == (None, None, False)


def test_a_comparison_is_resumed_by_its_own_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, other, says in (
        (SearchOptions, compare, "python tune/search.py"),
        (CompareOptions, search, "python tune/compare.py"),
    ):
        folder = tmp_path / kind.__name__
        folder.mkdir()
        (folder / "study.db").touch()
        write_options(parse_options([], kind), folder / "config.yaml")
        assert other.main(["--resume", str(folder)]) == 2
        assert capsys.readouterr().err == (
            f"error: --resume: {folder} was made by another command; use {says}\n"
        )


def test_a_dry_run_of_a_comparison_prints_what_each_method_is_given(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path_factory.mktemp("data")
    for name in ("rte", "mnli"):
        data_folder(folder / name, registry.get_task(name))
    argv = ["--task", "rte", "--methods", "child-tuning-d,r-drop", "--dry-run", "--max-steps", "60"]
    argv += ["--data", str(folder), "--model", "builtin", "--transfer", "mnli"]
    assert compare.main(argv) == 0
    said = capsys.readouterr()
    assert said.err == ""
    words = ["comparing    3 methods, each: 4 configurations of at most 60 steps", "5 paired seeds"]
    words += ["vanilla", "reserve_p 0.1 | 0.2 | 0.3", "alpha 0.05 to 16, log scale"]
    assert [word for word in words if word not in said.out] == []
    assert list(tmp_path.iterdir()) == []
