"""Private names of Ray: which of them the installed one has, and what is done without them."""

from __future__ import annotations

import ast
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.autoscaler.sdk
import ray.util.state
from ray._private import ray_constants, services, state, utils, worker
from ray.core.generated import gcs_pb2
from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution import controller, scaling_policy
from ray.train.v2._internal.execution.worker_group import state as group_state
from ray.train.v2._internal.execution.worker_group import worker_group
from ray.train.v2.api import data_parallel_trainer

from tune.execution import ray_private
from tune.execution.ray_private import PRIVATE_USES, PUBLIC_ONLY_VARIABLE, PrivateUse, find_private_name

GONE = ("ray._private.worker:gone",)
NAMES = {name: use for use in PRIVATE_USES for name in use.names}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(data_parallel_trainer, "ObjectRefWrapper", lambda loop: loop)  # it starts a Ray
    monkeypatch.delenv(PUBLIC_ONLY_VARIABLE, raising=False)
    monkeypatch.setattr(ray_private, "_reported", set())
    yield
    assert not ray.is_initialized()


@pytest.fixture(params=["gone", "forced"])
def without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[PrivateUse], None]:
    """Take the names of a use away, or force all fallbacks."""

    def take_away(use: PrivateUse) -> None:
        if request.param == "forced":
            monkeypatch.setenv(PUBLIC_ONLY_VARIABLE, "1")
        else:
            monkeypatch.setattr(use, "names", GONE)

    return take_away


@pytest.mark.parametrize("name", NAMES)
def test_ray_has_the_private_name(name: str) -> None:
    find_private_name(name)


def test_every_private_name_that_is_used_stands_in_the_table() -> None:
    tree = ast.parse(Path(ray_private.__file__).read_text(encoding="utf-8"))
    listed = [name.replace(":", ".") for name in NAMES]
    imported = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and re.search(r"\._|\.generated|\.v2\b", f"{node.module}")
        for alias in node.names
    ]
    assert len(imported) > 5
    assert [path for path in imported if not any(f"{name}.".startswith(f"{path}.") for name in listed)] == []
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    private = {name for name in attributes if re.match("_[a-z]", name)} - {"_report"}
    assert private <= {name.rpartition(".")[2] for name in listed}


@pytest.mark.parametrize(
    "name",
    [
        "ray._private.gone:anything",
        "ray._private.worker:gone",
        "ray.tune.execution.tune_controller:TuneController._gone",
        "ray.tune.execution.tune_controller:gone._actor_cache",
    ],
)
def test_a_name_that_ray_lacks_is_told_from_one_that_it_has(name: str) -> None:
    with pytest.raises((ImportError, AttributeError)):
        find_private_name(name)


@pytest.mark.parametrize("use", PRIVATE_USES, ids=lambda use: use.names[0])
def test_a_name_that_is_gone_is_reported_in_one_line_once(
    use: PrivateUse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(use, "names", (*use.names, *GONE))
    for _ in range(2):
        assert use.choose(lambda: "private", lambda: "public") == "public"
        ray_private.report_missing_names()
    (record,) = caplog.records
    missing = "module 'ray._private.worker' has no attribute 'gone'"
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"Ray {ray.__version__}: {missing}, so {use.loss}"


def test_nothing_is_reported_of_a_ray_that_has_all(caplog: pytest.LogCaptureFixture) -> None:
    ray_private.report_missing_names()
    assert caplog.records == []


@pytest.mark.parametrize("error", [ImportError, AttributeError, TypeError])
def test_a_name_that_has_changed_is_gone_too(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def use_it() -> str:
        raise error("takes 2 positional\narguments")

    assert ray_private.NOTICES.choose(use_it, lambda: "public") == "public"
    assert "takes 2 positional arguments" in caplog.text


def test_another_error_is_not_taken_for_it() -> None:
    def break_off() -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        ray_private.NOTICES.choose(break_off, lambda: None)


def test_fallbacks_that_are_forced_are_not_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PUBLIC_ONLY_VARIABLE, "1")
    ray_private.report_missing_names()
    assert not any(use.is_available() for use in PRIVATE_USES)
    assert caplog.records == []


Without = Callable[[PrivateUse], None]


def test_notices_are_hidden_or_printed(monkeypatch: pytest.MonkeyPatch, without: Without) -> None:
    monkeypatch.setattr(worker, "print_to_stdstream", print)
    ray_private.hide_raylet_notices()
    assert worker.print_to_stdstream is not print
    monkeypatch.setattr(worker, "print_to_stdstream", print)
    without(ray_private.NOTICES)
    ray_private.hide_raylet_notices()
    assert worker.print_to_stdstream is print


def test_processes_start_in_their_own_groups_or_in_this_one(
    monkeypatch: pytest.MonkeyPatch, without: Without
) -> None:
    popen = services.ConsolePopen
    monkeypatch.setattr(services, "ConsolePopen", popen)
    ray_private.start_in_own_groups()
    with services.ConsolePopen(["sleep", "9"]) as process:
        assert os.getpgid(process.pid) == process.pid
        process.kill()
    monkeypatch.setattr(services, "ConsolePopen", popen)
    without(ray_private.OWN_GROUPS)
    ray_private.start_in_own_groups()
    assert services.ConsolePopen is popen


def test_processes_start_without_garbage_collection_or_as_they_do(
    monkeypatch: pytest.MonkeyPatch, without: Without
) -> None:
    variable = ray_constants.WORKER_PROCESS_SETUP_HOOK_ENV_VAR
    monkeypatch.setenv(variable, "before")
    ray_private.disable_gc_in_new_processes()
    assert os.environ[variable] == "gc.disable"
    monkeypatch.setenv(variable, "before")
    without(ray_private.GARBAGE)
    ray_private.disable_gc_in_new_processes()
    assert os.environ[variable] == "before"


def test_draining_nodes_are_known_or_not(monkeypatch: pytest.MonkeyPatch, without: Without) -> None:
    monkeypatch.setattr(state.state, "get_draining_nodes", lambda: {"a": 0})
    assert ray_private.list_draining_nodes() == {"a"}
    without(ray_private.DRAINING)
    assert ray_private.list_draining_nodes() == set()


JOB = ray.JobID.from_int(7)


def stored_group(
    name: bytes, job: ray.JobID = JOB, group_state: str = "CREATED", **resources: float
) -> bytes:
    group = gcs_pb2.PlacementGroupTableData(
        placement_group_id=name, state=group_state, creator_job_id=job.binary()
    )
    group.bundles.add(unit_resources=resources)
    return group.SerializeToString()


def stored_actor(group: bytes, actor_state: str = "ALIVE") -> bytes:
    return gcs_pb2.ActorTableData(placement_group_id=group, state=actor_state).SerializeToString()


@pytest.fixture
def _in_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_job_id=JOB.hex))


@pytest.mark.usefixtures("_in_a_job")
def test_the_groups_of_this_job_and_its_live_actors_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [
        stored_group(b"\1", CPU=1.0, memory=64.0),
        stored_group(b"\2"),
        stored_group(b"\3", job=ray.JobID.from_int(8), CPU=1.0),
        stored_group(b"\4", group_state="PENDING", CPU=1.0),
        stored_group(b"\5", group_state="REMOVED", CPU=1.0),
    ]
    states = ("ALIVE", "PENDING_CREATION", "RESTARTING", "DEPENDENCIES_UNREADY", "DEAD")
    actors = [stored_actor(bytes([number]), name) for number, name in enumerate(states)]
    store = SimpleNamespace(
        get_placement_group_table=lambda: groups,
        get_actor_table=lambda job, name: actors if job == JOB else [],
    )
    monkeypatch.setattr(state.state, "_connect_and_get_accessor", lambda: store)
    held, used = ray_private.read_groups_and_actors()
    assert held == {"01": {"CPU", "memory"}, "02": set()}
    assert used == {"00", "01", "02", "03"}


@pytest.mark.usefixtures("_in_a_job")
def test_groups_and_actors_are_read_from_the_dashboard_instead(
    monkeypatch: pytest.MonkeyPatch, without: Without
) -> None:
    asked = []

    def list_groups(**query: Any) -> list[Any]:
        asked.append(query)
        bundles = [{"unit_resources": {"CPU": 1.0}}, {"unit_resources": {"GPU": 1.0}}]
        return [SimpleNamespace(placement_group_id="01", bundles=bundles)]

    def list_actors(**query: Any) -> list[Any]:
        asked.append(query)
        return [SimpleNamespace(placement_group_id="01"), SimpleNamespace(placement_group_id=None)]

    monkeypatch.setattr(ray.util.state, "list_placement_groups", list_groups)
    monkeypatch.setattr(ray.util.state, "list_actors", list_actors)
    without(ray_private.ORPHANS)
    held, used = ray_private.read_groups_and_actors()
    assert held == {"01": {"CPU", "GPU"}}
    assert "01" in used
    assert all(query["limit"] == 10_000 and query["detail"] for query in asked)
    assert [query["filters"] for query in asked] == [
        [("creator_job_id", "=", JOB.hex()), ("state", "=", "CREATED")],
        [("job_id", "=", JOB.hex()), ("state", "!=", "DEAD")],
    ]


def test_workers_are_requested_by_the_coordinator_or_directly(
    monkeypatch: pytest.MonkeyPatch, without: Without
) -> None:
    asked: list[Any] = []
    coordinator = SimpleNamespace(
        request_resources=SimpleNamespace(remote=lambda **request: asked.append(request)),
        cancel_request=SimpleNamespace(remote=lambda **request: asked.append(request)),
    )
    monkeypatch.setattr(
        default_autoscaling_coordinator, "get_or_create_autoscaling_coordinator", lambda: coordinator
    )
    monkeypatch.setattr(ray, "get", lambda answer, timeout: answer)
    monkeypatch.setattr(ray.autoscaler.sdk, "request_resources", lambda bundles: asked.append(bundles))
    one: dict[str, float] = {"CPU": 1.0}
    ray_private.request_workers("me", [one], [one] * 3, 60.0)
    ray_private.request_workers("me", [], [one] * 3, 60.0)
    assert asked == [
        {"requester_id": "me", "resources": [one], "expire_after_s": 60.0},
        {"requester_id": "me"},
    ]
    asked.clear()
    without(ray_private.AUTOSCALER)
    ray_private.request_workers("me", [one], [one] * 3, 60.0)
    ray_private.request_workers("me", [], [one] * 3, 60.0)
    assert asked == [[one] * 3, []]


class Controller:
    """Takes the place of Ray's: notes what it was made of."""

    arguments: dict[str, Any]

    def __init__(self, **arguments: Any) -> None:
        type(self).arguments = arguments

    async def run(self) -> None: ...

    def get_result(self) -> Any:
        return SimpleNamespace(error=None)


@pytest.fixture
def made_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """The arguments of the controller of a trainer that was run."""
    monkeypatch.setattr(controller, "TrainController", Controller)
    kept = worker_group.SynchronizationActor, group_state._shutdown_sync_actor

    def run(is_local: bool = True, workers: int = 1) -> dict[str, Any]:
        scaling = ray.train.ScalingConfig(num_workers=workers)
        trainer = ray_private.make_slot_trainer(is_local)(print, scaling_config=scaling)
        trainer.fit()
        return {**Controller.arguments, "backend": trainer.backend_config}

    yield run
    worker_group.SynchronizationActor, group_state._shutdown_sync_actor = kept


def kinds(arguments: dict[str, Any]) -> set[type]:
    return {type(callback) for callback in arguments["callbacks"]}


def test_a_slot_is_trained_in_this_process_or_by_the_public_trainer(
    made_of: Callable[..., dict[str, Any]], without: Without
) -> None:
    assert not isinstance(made_of()["backend"], TorchConfig)
    assert isinstance(made_of(workers=2)["backend"], TorchConfig)
    without(ray_private.TRAINER)
    assert ray_private.make_slot_trainer(True).func is TorchTrainer


def test_a_controller_that_has_changed_runs_as_ray_runs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**arguments: Any) -> None:
        raise TypeError("unexpected keyword argument 'callbacks'")

    given = []
    monkeypatch.setattr(ray_private.TRAINER, "names", ())
    monkeypatch.setattr(controller, "TrainController", refuse)
    monkeypatch.setattr(
        data_parallel_trainer.DataParallelTrainer,
        "_initialize_and_run_controller",
        lambda self, **arguments: given.append(arguments) or SimpleNamespace(error=None),
    )
    ray_private.make_slot_trainer(False)(print, scaling_config=ray.train.ScalingConfig()).fit()
    assert set(given[0]) >= {"scaling_policy", "callbacks", "train_fn_ref"}


@pytest.mark.parametrize("is_local", [True, False])
def test_processes_that_no_slot_needs_are_left_out_or_kept(
    made_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, is_local: bool
) -> None:
    callbacks = kinds(made_of(is_local))
    assert DatasetsCallback not in callbacks
    assert (PlacementGroupCleanerCallback in callbacks) != is_local
    monkeypatch.setattr(ray_private.CALLBACKS, "names", GONE)
    assert kinds(made_of(is_local)) >= {DatasetsCallback, PlacementGroupCleanerCallback}


def test_the_process_that_frees_groups_is_kept_where_nothing_else_would_free_them(
    made_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_private.ORPHANS, "names", GONE)
    assert PlacementGroupCleanerCallback in kinds(made_of(is_local=True))


def test_a_local_slot_does_not_contact_the_autoscaler_and_others_do(
    made_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = made_of(is_local=True)["scaling_policy"]
    assert isinstance(policy, scaling_policy.FixedScalingPolicy)
    for ask in (policy._send_resource_request, policy._maybe_send_resource_request):
        ask()  # would fail: there is no coordinator
    policy._cancel_resource_request()
    assert type(made_of(is_local=False)["scaling_policy"]) is scaling_policy.FixedScalingPolicy
    monkeypatch.setattr(ray_private.SCALING, "names", GONE)
    assert type(made_of(is_local=True)["scaling_policy"]) is scaling_policy.FixedScalingPolicy


def test_the_actor_through_which_workers_wait_stays_if_it_cannot_be_replaced(
    made_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = worker_group.SynchronizationActor
    monkeypatch.setattr(ray_private.SYNCHRONIZATION, "names", GONE)
    made_of()
    assert worker_group.SynchronizationActor is before


def test_no_actor_is_started_through_which_workers_wait(made_of: Callable[..., dict[str, Any]]) -> None:
    made_of()
    actor: Any = worker_group.SynchronizationActor
    assert actor is ray_private.NoSynchronizationActor
    group_state._shutdown_sync_actor(actor.options(num_cpus=0).remote(timeout_s=1.0))


class TuneController:
    """What is used of Tune's."""

    def __init__(self) -> None:
        self._actor_cache = SimpleNamespace(increase_max=self.note, num_cached_objects=2)
        self._trial_to_actor = {"trial": "actor"}
        self._cleanup_cached_actors = self.note
        self.noted: list[Any] = []

    def note(self, *values: Any, **options: Any) -> None:
        self.noted.append((*values, *options.items()))


def test_idle_slots_are_kept_and_released_or_left_to_tune(without: Without) -> None:
    tune: Any = TuneController()
    ray_private.keep_actors_warm(tune, "group", 3)
    ray_private.release_idle_actors(tune)
    assert tune.noted == [("group", 3), (("force_all", True),)]
    assert ray_private.count_idle_actors(tune) == 2
    assert [ray_private.has_actor(tune, trial) for trial in ("trial", "other")] == [True, False]
    tune.noted.clear()
    for use in (ray_private.WARM_ACTORS, ray_private.IDLE_ACTORS, ray_private.STARTING_ACTORS):
        without(use)
    ray_private.keep_actors_warm(tune, "group", 3)
    ray_private.release_idle_actors(tune)
    assert tune.noted == []
    assert ray_private.count_idle_actors(tune) == 0
    assert not ray_private.has_actor(tune, "trial")


def test_the_address_of_a_cluster_is_written_or_searched_for(
    monkeypatch: pytest.MonkeyPatch, without: Without
) -> None:
    written = []
    monkeypatch.setattr(utils, "write_ray_address", lambda *given: written.append(given))
    ray_private.write_cluster_address("127.0.0.1:1", "/tmp/node")
    without(ray_private.CLUSTER_ADDRESS)
    ray_private.write_cluster_address("127.0.0.1:2", "/tmp/node")
    assert written == [("127.0.0.1:1", "/tmp/node")]
