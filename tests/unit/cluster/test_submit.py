"""Submitting, before anything is sent: what is shipped, what is passed, what is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import jobs, local, shipping, submit, task_tables
from cluster.task_tables import show_tables
from dps.errors import InputError
from tune.execution import connection

TOKEN = "0f1e2d3c4b5a"


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name, encoding="utf-8")


def test_a_job_takes_code_along_and_nothing_large_or_private(tmp_path: Path) -> None:
    project, stage = tmp_path / "project", tmp_path / "stage"
    taken = ["README.md", "configs/a.yaml", "pyproject.toml", "tune/data/x.py", "tune/search.py"]
    make(project, *taken, "runs/cola/study.db", "data/glue/train.tsv", ".git/config", ".venv/bin/python")
    make(
        project,
        "env/pyvenv.cfg",
        "env/lib/x.py",
        "tune/__pycache__/a.pyc",
        ".env",
        "key.pem",
        "tune/mlflow.db",
    )
    (project / "link.py").symlink_to("/etc/hostname")
    said = shipping.copy_shipped_files(project, stage)
    assert sorted(str(p.relative_to(stage)) for p in stage.rglob("*") if p.is_file()) == taken
    assert said.startswith("shipping     5 files, 0.0 MiB")
    assert "(not: .git, .venv, data, env, runs)" in said
    make(tmp_path / "installed", "tune/search.py", "dps/x.py", "cluster/aws.yaml", "torch/x.py", "six.py")
    files = [str(file) for file in shipping.list_shipped_files(tmp_path / "installed")]
    assert files == ["cluster/aws.yaml", "dps/x.py", "tune/search.py"]  # its packages, not its neighbours


def test_this_project_ships_what_a_search_needs_and_is_small() -> None:
    files = list(shipping.list_shipped_files(shipping.PROJECT_ROOT))
    assert {
        Path("tune/search.py"),
        Path("dps/selection.py"),
        Path("tune/reporting/templates/page.html.j2"),
    } <= set(files)
    assert sum((shipping.PROJECT_ROOT / file).stat().st_size for file in files) < 4 * 2**20


def test_more_than_the_limit_is_not_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "project", "a.bin", "pyproject.toml")
    monkeypatch.setattr(shipping, "MAX_SHIPPED_BYTES", 2)
    with pytest.raises(InputError, match=r"MiB to ship, at a\.bin; move"):
        shipping.copy_shipped_files(tmp_path / "project", tmp_path / "stage")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--trails", "3"], ["--trails 3", "--trials?"]),
        (["--trials", "0"], ["--trials:", "greater than 0", "'0'"]),
        (["--output", "results"], ["--output:", "absolute path", "results"]),
        (["--storage", "shared"], ["--storage:", "absolute path"]),
        (["--data", "../glue"], ["--data:", "../glue", "every node sees"]),
        (["--config", "README.md.yaml"], ["--config:"]),
        (["--model", "./m"], ["--model:", "./m", "every node sees"]),
        (["--model", "configs"], ["--model:", "every node sees"]),
        (["--warm-start", "/shared/a,runs/b"], ["--warm-start: runs/b", "every node sees"]),
        (["--init-task", "a.csv"], ["--init-task: a.csv", "every node sees"]),
        (["--tracking-uri", "sqlite:///m.db"], ["--tracking-uri:", "lies in the job's folder"]),
        (["--tracking-uri", "file:./mlruns"], ["--tracking-uri:", "lies in the job's folder"]),
        (["--methods", "vanilla,dps-mix", "--trials", "0"], ["--trials:", "'0'"]),
        (["--methods", "vanilla", "--method", "vanilla"], ["--method vanilla"]),
        (["--task", "cola", "--matrix", "task=rte"], ["--task: is given twice"]),
        (["--task", "nowhere.yaml"], ["--task:", "nowhere.yaml", "every node sees"]),
        (["--tracking-uri", "http://me:secret@mlflow"], ["--tracking-uri:", "MLFLOW_TRACKING_URI"]),
    ],
    ids=" ".join,
)
def test_a_mistake_is_found_before_anything_is_sent(
    argv: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit.main(["--address", "http://127.0.0.1:1", *argv]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert [word for word in words if word not in said.err] == []
    assert "secret" not in said.err


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1: no job server answers (Connection refused)"),
        ("127.0.0.1:6379", "127.0.0.1:6379 is no URL of a job server; give http://HOST:PORT"),
        ("ray://head:10001", "ray://head:10001 is no URL of a job server; give http://HOST:PORT"),
        ("auto", "auto is no URL of a job server"),
        ("http://head:99999", "http://head:99999 is no URL of a job server"),
    ],
)
def test_a_server_that_does_not_answer_is_named(
    address: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit.main(["--address", address, "--task", "cola"]) == 3
    assert capsys.readouterr().err.startswith(f"error: --address: {said}")


def test_a_matrix_is_one_group_of_jobs_apart_on_disk_and_together_in_mlflow() -> None:
    made = submit.plan_jobs(["--trials", "2"], ["task=cola,rte", "method=vanilla,dps-dense"], "1126-101500")
    assert [one.id for one in made] == [
        f"{task}-{method}-1126-101500" for task in ("cola", "rte") for method in ("vanilla", "dps-dense")
    ]
    assert {one.group for one in made} == {"matrix-1126-101500"}
    assert made[0].entrypoint == (
        "python tune/search.py --trials 2 --task cola --method vanilla "
        '--output "$HOME"/runs/matrix-1126-101500/cola-vanilla --experiment matrix-1126-101500'
    )


def test_folder_and_experiment_of_a_matrix_can_be_named() -> None:
    argv = ["--output", "/shared/my runs", "--experiment", "mine"]
    (one,) = submit.plan_jobs(argv, ["task=cola"], "1126-101500")
    assert one.entrypoint.endswith("--task cola --output '/shared/my runs/cola'")
    assert one.entrypoint.count("--experiment") == 1


def test_a_search_that_goes_on_is_named_by_its_folder() -> None:
    (one,) = submit.plan_jobs(["--resume", "/shared/runs/rte-2"], [], "1126-101500")
    assert one.id == "rte-2-1126-101500"


def test_a_task_of_ones_own_gives_its_name(tmp_path: Path) -> None:
    task = tmp_path / "odd place.yaml"
    task.write_text("{name: tickets, columns: text, labels: [a, b]}", encoding="utf-8")
    (one,) = submit.plan_jobs(["--task", str(task), "--data", "/shared/tickets"], [], "1126-101500")
    assert one.id == "tickets-1126-101500"
    (one,) = submit.plan_jobs(["--data", "/shared/tickets"], [f"task={task}"], "1126-101500")
    assert one.id == "tickets-1126-101500"


def test_what_a_job_runs_is_quoted() -> None:
    (one,) = submit.plan_jobs(["--experiment", "a; rm -rf b"], [], "1")
    assert one.entrypoint == "python tune/search.py --experiment 'a; rm -rf b'"


def test_jobs_have_names_that_are_safe_in_a_url_and_differ() -> None:
    made = submit.plan_jobs([], ["model=builtin,org/name,org-name"], "1")
    assert [one.id for one in made] == ["builtin-1", "org-name-1", "org-name-3-1"]
    assert made[1].entrypoint.endswith('--output "$HOME"/runs/matrix-1/org-name --experiment matrix-1')
    assert made[2].entrypoint.endswith('--output "$HOME"/runs/matrix-1/org-name-3 --experiment matrix-1')


def test_methods_make_a_comparison() -> None:
    (one,) = submit.plan_jobs(["--methods", "vanilla,r-drop", "--task", "rte"], [], "1")
    assert one.entrypoint == "python tune/compare.py --methods vanilla,r-drop --task rte"


def test_the_word_compare_submits_a_comparison() -> None:
    (one,) = submit.plan_jobs(["compare", "--task", "cola,rte"], [], "1")
    assert one.entrypoint == "python tune/compare.py --task cola,rte"
    assert one.id == "cola-rte-1"
    with pytest.raises(InputError, match="--method"):
        submit.plan_jobs(["compare", "--method", "vanilla"], [], "1")


def test_a_matrix_over_tasks_ends_with_their_table_or_its_command(tmp_path: Path) -> None:
    made = submit.plan_jobs([], ["task=cola,rte", "trials=2,3"], "1")
    home = '"$HOME"/runs/matrix-1'
    where = "where their folders are: python tune/report.py"
    assert show_tables(made) == [
        f"table of all tasks trials={n}, {where} {home}/cola-{n} {home}/rte-{n}" for n in (2, 3)
    ]
    made = submit.plan_jobs(["compare", "--output", str(tmp_path)], ["task=rte,mrpc"], "1")
    (command,) = show_tables(made)
    assert command.endswith(f": python tune/compare.py --results {tmp_path}/rte,{tmp_path}/mrpc")
    assert show_tables(submit.plan_jobs([], ["seed=1,2"], "1")) == []


def test_the_table_is_made_where_the_folders_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(task_tables.subprocess, "run", lambda command, check: ran.append(command))
    for task in ("rte", "cola"):
        (tmp_path / f"{task}-x").mkdir()
        (tmp_path / f"{task}-x/search.json").touch()
    argv = ["--output", str(tmp_path), "--data", "/d"]
    assert show_tables(submit.plan_jobs(argv, ["task=rte,cola", "experiment=x"], "1")) == []
    ((*_, program, rte, cola, option, page),) = ran
    assert program.endswith("tune/report.py")
    assert (rte, cola) == (f"{tmp_path}/rte-x", f"{tmp_path}/cola-x")
    assert (option, page) == ("--output", f"{tmp_path}/suite-experiment=x.html")


def test_a_shipped_file_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = next((shipping.PROJECT_ROOT / "configs").glob("*.yaml"))
    (one,) = submit.plan_jobs(["--config", str(config), "--trials", "2"], [], "1")
    assert one.entrypoint == f"python tune/search.py --trials 2 --config configs/{config.name}"


class Failing:
    """A job server that takes one job and no more."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def submit_job(self, submission_id: str, **others: Any) -> None:
        if self.taken:
            raise RuntimeError("Request failed.\nno room\n.\n")
        self.taken.append(submission_id)


def test_an_error_names_what_was_submitted_before_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "_check_job_server", lambda address: None)
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", lambda address: Failing())
    monkeypatch.setattr(time, "strftime", lambda form: "1")
    argv = ["--address", "http://head:8265", "--matrix", "task=cola,rte"]
    assert submit.main(argv) == 3
    said = capsys.readouterr()
    assert (
        said.err == "error: --address: http://head:8265: no room; submitted before it, and running: cola-1\n"
    )
    assert "submitted    cola-1: " in said.out


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (["task=cola,cola"], "cola is given twice, in 'task=cola,cola'"),
        (["task=cola", "task=rte"], "task is given twice"),
        (["task=cola", "--task=rte"], "task is given twice"),
    ],
)
def test_what_a_matrix_gives_twice_is_refused(matrix: list[str], said: str) -> None:
    with pytest.raises(InputError, match=f"--matrix: {said}.*; leave one out"):
        submit.expand_matrix(matrix)


def test_the_log_of_a_job_with_json_has_events_alone(capsys: pytest.CaptureFixture[str]) -> None:
    output = submit.JobOutput(is_json=True)
    output.note("submitted")
    for piece in ('Running entrypoint for job a\n{"eve', 'nt": "plan"}\n'):
        output.write(piece)
    assert capsys.readouterr() == ('{"event": "plan"}\n', "submitted\nRunning entrypoint for job a\n")


@pytest.mark.parametrize(
    ("variable", "address", "warns"),
    [
        ("http://localhost:5000", "http://head:8265", True),
        ("http://mlflow:5000", "http://head:8265", False),
        ("http://localhost:5000", "http://127.0.0.1:8265", False),
    ],
)
def test_an_address_of_mlflow_that_the_cluster_cannot_reach_is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    address: str,
    warns: bool,
) -> None:
    monkeypatch.setattr(jobs, "_check_job_server", lambda address: None)
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", lambda address: Failing())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    assert submit.main(["--address", address, "--task", "cola", "--detach"]) == 0
    said = "warning: MLFLOW_TRACKING_URI names this machine's loopback"
    assert (said in capsys.readouterr().out) == warns


@pytest.mark.parametrize("axis", ["task", "task=", "=cola", "task=cola,,rte"])
def test_a_wrong_matrix_is_refused(axis: str) -> None:
    with pytest.raises(InputError, match=r"--matrix: must be OPTION=VALUE,VALUE \.\.\., but got"):
        submit.expand_matrix([axis])


def test_every_job_of_a_matrix_is_checked() -> None:
    with pytest.raises(InputError, match=r"--trials: .*'0'"):
        submit.plan_jobs([], ["trials=4,0"], "1")


def test_variables_are_passed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("OTHER", "no")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert submit.collect_variables("HF_TOKEN") == {
        "HF_TOKEN": TOKEN,
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
    }
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///here.db")
    assert submit.collect_variables(None) == {}
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match="--env: HF_TOKEN is not set here; export it first"):
        submit.collect_variables("HF_TOKEN")


def test_a_job_passes_workers_no_variable_that_it_was_submitted_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/shared/hf")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = {"runtime_env": {"working_dir": "gcs://x.zip", "env_vars": {"HF_HOME": "/shared/hf"}}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(config))
    passed = connection._build_runtime_env()
    assert "HF_HOME" not in passed["env_vars"]
    assert passed["env_vars"]["HF_HUB_OFFLINE"] == "1"
    assert set(passed) == {"env_vars"}


def info(status: str, code: int | None = None, message: str = "") -> Any:
    from ray.job_submission import JobStatus

    return SimpleNamespace(status=JobStatus(status), driver_exit_code=code, message=message)


@pytest.mark.parametrize(
    ("ended", "status", "said"),
    [
        (("SUCCEEDED", 0), 0, "succeeded"),
        (("FAILED", 3), 3, "failed: exit status 3"),
        (("FAILED", None, "no node\nhas 64 cores"), 1, "failed: has 64 cores"),
        (("STOPPED", -15), 130, "stopped"),
    ],
)
def test_the_exit_status_is_the_jobs_own(ended: Any, status: int, said: str) -> None:
    assert jobs.get_exit_status(info(*ended)) == status
    assert jobs.describe_job_outcome(info(*ended)) == said


class Breaking:
    """A job server whose connection breaks after some text of a log."""

    def __init__(self) -> None:
        self.client, self.tails = self, iter(["one\ntw", "one\ntwo\nthr"])
        self.statuses = iter(["RUNNING", "RUNNING", "SUCCEEDED"])

    def get_info(self, job: str) -> Any:
        return info(next(self.statuses))

    async def tail_job_logs(self, job: str) -> Any:
        for piece in next(self.tails):
            yield piece
        raise RuntimeError("the connection broke")

    def get_job_logs(self, job: str) -> str:
        return "one\ntwo\nthree\n"


def test_a_log_is_said_once_however_often_the_connection_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_INTERVAL_S", 0.0)
    said: list[str] = []
    jobs.JobLog(Breaking(), "job", said.append).follow()  # type: ignore[arg-type]
    assert "".join(said) == "one\ntwo\nthree\n"


@pytest.mark.parametrize("argv", [["--nodes", "0"], ["--nodes", "two"], ["--cpus", "1"], ["--port", "-1"]])
def test_a_wrong_option_of_a_local_cluster_is_refused(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert local.main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert argv[0] in said.err
