"""MLflow's stores: what is said to MLflow before it is imported, and what is read of a file first."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import closing, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from dps.errors import InputError
from tune.records import stores


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow's with an experiment "gone", deleted, and one "here"."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    client = stores.create_mlflow_client(f"sqlite:///{file}")
    client.create_experiment("here")
    client.delete_experiment(client.create_experiment("gone"))
    return file


def test_a_store_is_made_whole_or_not_at_all(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [file.name for file in store.parent.iterdir()] == ["mlflow.db"]

    def die(self: MlflowClient, **given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "search_experiments", die)
    with pytest.raises(KeyboardInterrupt):
        stores.create_mlflow_client(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_another_made_meanwhile_is_kept(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = MlflowClient.search_experiments

    def be_slower(self: MlflowClient, **given: object) -> object:
        shutil.copy(store, tmp_path / "mlflow.db")
        return search(self, **given)

    monkeypatch.setattr(MlflowClient, "search_experiments", be_slower)
    stores.create_mlflow_client(f"sqlite:///{tmp_path}/mlflow.db")
    assert (tmp_path / "mlflow.db").read_bytes() == store.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_file_system_without_links_will_do(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def copy(self: MlflowClient, max_results: int) -> None:
        (part,) = tmp_path.glob(".*.part")
        shutil.copy(store, part)

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(MlflowClient, "__init__", lambda self, tracking_uri: Path(tracking_uri[10:]).touch())
    monkeypatch.setattr(MlflowClient, "search_experiments", copy)
    stores.create_mlflow_client(f"sqlite:///{tmp_path}/mlflow.db")
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]
    assert stores.find_store_fault(tmp_path / "mlflow.db", "here") is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, None),
        ("", None),
        ("create table _alembic_tmp_metrics (key)", "half-made database"),
        ("delete from experiments", "half-made database"),
        (
            "create table _alembic_tmp_x (key); insert into runs (run_uuid, experiment_id) values ('a', 0)",
            "half upgraded; restore a copy of it",
        ),
        ("drop table experiments", "no database of MLflow"),
        ("update experiments set lifecycle_stage = 'deleted'", "the experiment 'here' was deleted in MLflow"),
    ],
)
def test_a_file_is_looked_into_before_mlflow_writes_to_it(
    script: str | None, said: str | None, store: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mlflow.db"
    if script is not None:
        shutil.copy(store, file)
        with closing(sqlite3.connect(file)) as database:
            database.executescript(script)
    before = file.read_bytes() if file.exists() else b""
    fault = stores.find_store_fault(file, "here")
    assert (fault is None) if said is None else said in str(fault)
    assert (file.read_bytes() if file.exists() else b"") == before


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").symlink_to(tmp_path / "outside")
    assert "is a link to nowhere; remove it" in str(stores.find_store_fault(tmp_path / "mlflow.db"))


def test_a_file_of_another_program_is_no_store(store: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x" * 5000)
    assert "is no database" in str(stores.find_store_fault(tmp_path / "text"))
    assert "'gone' was deleted in MLflow; restore it" in str(stores.find_store_fault(store, "gone"))
    assert stores.find_store_fault(store, "none") is None


@pytest.mark.parametrize(
    ("place", "is_own"),
    [
        ("/store/1/abc/artifacts", True),
        ("file:///store/1/abc/artifacts", True),
        ("mlflow-artifacts:/1/abc/artifacts", True),
        ("s3://bucket/home", True),
        ("file:///home/me", False),
        ("/home/me/.config/artifacts", False),
        ("file:///store/abc/artifacts/../../../home/me", False),
    ],
)
def test_a_server_names_no_folder_of_this_machine_but_the_runs_own(place: str, is_own: bool) -> None:
    run = SimpleNamespace(info=SimpleNamespace(run_id="abc", artifact_uri=place))
    with nullcontext() if is_own else pytest.raises(InputError, match="is no folder of it"):
        stores.check_artifact_place(run)  # type: ignore[arg-type]
