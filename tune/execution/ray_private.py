"""Private names of Ray, which no other file uses: Ray is pinned, and a new version may lack any of them.

Each stands behind a function that names the public way it falls back to. A name that is gone is reported
once, in one line; DPS_RAY_PUBLIC_ONLY=1 takes all fallbacks without a word. PRIVATE_USES lists the names.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pkgutil
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from tune.execution.addresses import make_torch_config

PUBLIC_ONLY_VARIABLE = "DPS_RAY_PUBLIC_ONLY"
AUTOSCALER_ANSWER_TIMEOUT_S = 5.0
MAX_LISTED = 10_000  # the most that `ray.util.state` gives; with fewer, groups in use might look orphaned
ResultT = TypeVar("ResultT")
Bundles = list[dict[str, float]]
GroupsAndActors = tuple[dict[str, set[str]], set[str]]
_reported: set[PrivateUse] = set()


class PrivateUse:
    """What private names are used for. loss: effect of doing without them; names: see `find_private_name`."""

    def __init__(self, loss: str, *names: str) -> None:
        self.loss, self.names = loss, names

    def is_available(self) -> bool:
        """Return whether this Ray has all names and they may be used; report one that is gone."""
        if os.environ.get(PUBLIC_ONLY_VARIABLE) == "1":
            return False
        try:
            for name in self.names:
                find_private_name(name)
        except (ImportError, AttributeError) as error:
            self._report(error)
            return False
        return True

    def choose(self, private: Callable[[], ResultT], public: Callable[[], ResultT]) -> ResultT:
        """Return the result of the private way, or of the public one if a name is gone or has changed."""
        if self.is_available():
            try:
                return private()
            except (ImportError, AttributeError, TypeError) as error:
                self._report(error)
        return public()

    def _report(self, error: Exception) -> None:
        if self in _reported:
            return
        import ray

        _reported.add(self)
        reason = " ".join(str(error).split())
        logging.getLogger(__name__).warning("Ray %s: %s, so %s", ray.__version__, reason, self.loss)


def find_private_name(name: str) -> Any:
    """Return what a name of PRIVATE_USES stands for. Raises ImportError or AttributeError if Ray lacks it.

    name: as `pkgutil.resolve_name` takes it, or `module:Class.attribute` if `Class.__init__` sets it.
    """
    try:
        return pkgutil.resolve_name(name)
    except AttributeError:
        owner, _, attribute = name.rpartition(".")
        initialiser = vars(pkgutil.resolve_name(owner)).get("__init__")
        if attribute not in getattr(getattr(initialiser, "__code__", None), "co_names", ()):
            raise
        return attribute


def _replace(name: str, value: object) -> None:
    """Put a value in the place of a private name of a module."""
    setattr(pkgutil.resolve_name(name.partition(":")[0]), name.partition(":")[2], value)


_CONTROLLER = "ray.tune.execution.tune_controller:TuneController"
_IDLE_ACTORS = "ray.tune.utils.object_cache:_ObjectCache"
_TRAINER = "ray.train.v2.api.data_parallel_trainer:DataParallelTrainer"
_EXECUTION = "ray.train.v2._internal.execution"
_CALLBACKS = "ray.train.v2._internal.callbacks"
_COORDINATOR = "ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator"

NOTICES = PrivateUse(
    "notices about Ray's own processes are printed", "ray._private.worker:print_to_stdstream"
)
GARBAGE = PrivateUse(
    "Ray's processes start slower", "ray._private.ray_constants:WORKER_PROCESS_SETUP_HOOK_ENV_VAR"
)
DRAINING = PrivateUse(
    "trials may start on nodes that are about to leave", "ray._private.state:state.get_draining_nodes"
)
ORPHANS = PrivateUse(
    "the cores of a slot that died are freed by a process of Ray's per slot",
    "ray._private.state:state._connect_and_get_accessor",
    "ray._raylet:GlobalStateAccessor.get_placement_group_table",
    "ray._raylet:GlobalStateAccessor.get_actor_table",
    "ray.core.generated.gcs_pb2:PlacementGroupTableData.CREATED",
    "ray.core.generated.gcs_pb2:ActorTableData.DEAD",
)
AUTOSCALER = PrivateUse(
    "several searches on one cluster overwrite each other's requests to its autoscaler",
    f"{_COORDINATOR}:get_or_create_autoscaling_coordinator",
    f"{_COORDINATOR}:_AutoscalingCoordinatorActor.request_resources",
    f"{_COORDINATOR}:_AutoscalingCoordinatorActor.cancel_request",
)
TRAINER = PrivateUse(
    "slots start slower",
    f"{_EXECUTION}.controller:TrainController.run",
    f"{_EXECUTION}.controller:TrainController.get_result",
    f"{_TRAINER}._initialize_and_run_controller",
)
CALLBACKS = PrivateUse(
    "a slot runs a process more, on a local Ray two",
    f"{_CALLBACKS}:DatasetsCallback",
    f"{_CALLBACKS}.placement_group_callback:PlacementGroupCleanerCallback",
    f"{_TRAINER}._create_default_callbacks",
)
SCALING = PrivateUse(
    "a local Ray runs a process more",
    f"{_EXECUTION}.scaling_policy:FixedScalingPolicy._send_resource_request",
    f"{_EXECUTION}.scaling_policy:FixedScalingPolicy._maybe_send_resource_request",
    f"{_EXECUTION}.scaling_policy:FixedScalingPolicy._cancel_resource_request",
)
SYNCHRONIZATION = PrivateUse(
    "a slot runs a process more",
    f"{_EXECUTION}.worker_group.worker_group:SynchronizationActor",
    f"{_EXECUTION}.worker_group.state:_shutdown_sync_actor",
)
WARM_ACTORS = PrivateUse(
    "a slot that waits for the others may have to start again",
    f"{_CONTROLLER}._actor_cache",
    f"{_IDLE_ACTORS}.increase_max",
)
IDLE_ACTORS = PrivateUse(
    "an idle slot may hold the cores of a lost node's trial for two minutes",
    f"{_CONTROLLER}._actor_cache",
    f"{_CONTROLLER}._cleanup_cached_actors",
    f"{_IDLE_ACTORS}.num_cached_objects",
)
STARTING_ACTORS = PrivateUse("a slot that starts slowly may be given up", f"{_CONTROLLER}._trial_to_actor")
OWN_GROUPS = PrivateUse(
    "a signal to the process group of a search ends its Ray before its checkpoints are written",
    "ray._private.services:ConsolePopen",
)
CLUSTER_ADDRESS = PrivateUse(
    "a job is refused while another Ray runs on this machine", "ray._private.utils:write_ray_address"
)
PRIVATE_USES = (
    *(NOTICES, GARBAGE, DRAINING, ORPHANS, AUTOSCALER, TRAINER, CALLBACKS, SCALING, SYNCHRONIZATION),
    *(WARM_ACTORS, IDLE_ACTORS, STARTING_ACTORS, CLUSTER_ADDRESS, OWN_GROUPS),
)


def report_missing_names() -> None:
    """Log a line for each use whose names this Ray lacks, in the driver: logs of slots are not shown."""
    for use in PRIVATE_USES:
        use.is_available()


def hide_raylet_notices() -> None:
    """Keep notices about Ray's own processes off the terminal, which `log_to_driver=False` leaves on.

    Falls back to nothing: they are printed.
    """

    NOTICES.choose(lambda: _replace(NOTICES.names[0], lambda *args, **kwargs: None), lambda: None)


def start_in_own_groups() -> None:
    """Have Ray's processes start in process groups of their own: a signal to this one's is not for them.

    Falls back to nothing: they get it too.
    """
    popen = partial(subprocess.Popen, process_group=0)
    OWN_GROUPS.choose(lambda: _replace(OWN_GROUPS.names[0], popen), lambda: None)


def disable_gc_in_new_processes() -> None:
    """Have Ray's processes import without garbage collection; `freeze_imported_objects` turns it on.

    The hook of a runtime environment, which is public, would have an environment made for each process. Falls
    back to nothing.
    """

    def set_hook() -> None:
        from ray._private.ray_constants import WORKER_PROCESS_SETUP_HOOK_ENV_VAR

        os.environ[WORKER_PROCESS_SETUP_HOOK_ENV_VAR] = "gc.disable"

    GARBAGE.choose(set_hook, lambda: None)


def list_draining_nodes() -> set[str]:
    """Return the ids of nodes that will be taken away soon, where no trial should start.

    Falls back to none: `ray.nodes()` does not tell them from others.
    """

    return DRAINING.choose(lambda: set(find_private_name(DRAINING.names[0])()), set)


def read_groups_and_actors() -> GroupsAndActors:
    """Return this job's placement groups and those that its live actors are in, starting ones included.

    The groups are ids with the names of the resources that each holds. Falls back to `ray.util.state`, which
    asks the dashboard: a local Ray has none, so that its slots keep a process that frees their groups.
    """
    return ORPHANS.choose(_read_control_store, _read_dashboard)


def _read_control_store() -> GroupsAndActors:
    import ray
    from ray._private.state import state
    from ray.core.generated import gcs_pb2

    group_data, actor_data = vars(gcs_pb2)["PlacementGroupTableData"], vars(gcs_pb2)["ActorTableData"]
    job, store = ray.JobID.from_hex(ray.get_runtime_context().get_job_id()), state._connect_and_get_accessor()
    groups = map(group_data.FromString, store.get_placement_group_table())
    actors = map(actor_data.FromString, store.get_actor_table(job, None))
    held = {
        group.placement_group_id.hex(): {name for bundle in group.bundles for name in bundle.unit_resources}
        for group in groups
        if group.state == group_data.CREATED and group.creator_job_id == job.binary()
    }
    return held, {actor.placement_group_id.hex() for actor in actors if actor.state != actor_data.DEAD}


def _read_dashboard() -> GroupsAndActors:
    import ray
    from ray.util.state import list_actors, list_placement_groups

    job = ray.get_runtime_context().get_job_id()
    query: dict[str, Any] = {"detail": True, "limit": MAX_LISTED}
    created: Any = [("creator_job_id", "=", job), ("state", "=", "CREATED")]
    groups: Any = list_placement_groups(filters=created, **query)
    actors: Any = list_actors(filters=[("job_id", "=", job), ("state", "!=", "DEAD")], **query)
    held = {
        group.placement_group_id: {name for bundle in group.bundles for name in bundle["unit_resources"]}
        for group in groups
    }
    return held, {actor.placement_group_id for actor in actors}


def request_workers(requester: str, missing: Bundles, wanted: Bundles, expire_after_s: float) -> None:
    """Ask the cluster's autoscaler for workers, one bundle each; none at all withdraws the request.

    requester: unique name; missing: workers without room yet; wanted: these and those that run. Ray holds
    one request per cluster. One actor merges those of Ray Train's groups, and this one: several searches
    add up, and a request that is not renewed expires. Falls back to `ray.autoscaler.sdk`, where the last
    request counts, also that actor's, until the next: it must be renewed every few seconds, and withdrawn.
    """

    def ask_coordinator() -> None:
        import ray
        from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator

        coordinator = default_autoscaling_coordinator.get_or_create_autoscaling_coordinator()
        method = coordinator.request_resources if missing else coordinator.cancel_request
        request = {"resources": missing, "expire_after_s": expire_after_s} if missing else {}
        ray.get(method.remote(requester_id=requester, **request), timeout=AUTOSCALER_ANSWER_TIMEOUT_S)

    def ask_autoscaler() -> None:
        from ray.autoscaler.sdk import request_resources

        request_resources(bundles=wanted if missing else [])

    AUTOSCALER.choose(ask_coordinator, ask_autoscaler)


class NoSynchronizationActor:
    """Replaces Ray's synchronization actor, through which workers wait for one another in `ray.train.report`:
    a slot's reports go to its mailbox. Its methods are Ray's."""

    @classmethod
    def options(cls, **options: Any) -> type[NoSynchronizationActor]:
        return cls

    @classmethod
    def remote(cls, **timeouts: float) -> NoSynchronizationActor:
        return cls()


def make_slot_trainer(is_local: bool) -> Any:
    """Return a trainer class with the arguments of `TorchTrainer` that starts no process except its workers.

    is_local: whether Ray is the search's own; what only clusters need is left out then. Each process imports
    pandas and Arrow for a second or two of the cores that the first step waits for: one less per slot, and no
    torch in the trial's actor, brought it from 24.6 to 20.9 s on two cores. The controller runs in the
    trial's actor, which has imported the same and would end it anyway when it dies. Falls back to
    `TorchTrainer`: on two cores a slot then starts in 10 s, not 5.
    """

    def make_public_trainer() -> Any:
        from ray.train.torch import TorchTrainer

        return partial(TorchTrainer, torch_config=make_torch_config())

    return TRAINER.choose(lambda: _make_private_trainer(is_local), make_public_trainer)


def _make_private_trainer(is_local: bool) -> Any:
    from ray.train.v2._internal.execution.controller import TrainController
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    class SlotTrainer(DataParallelTrainer):
        """Overrides two private methods of Ray's; only several workers need torch to find one another."""

        def __init__(self, train_loop: Callable[..., None], *, scaling_config: Any, **arguments: Any) -> None:
            if scaling_config.num_workers > 1:
                arguments["backend_config"] = make_torch_config()
            super().__init__(train_loop, scaling_config=scaling_config, **arguments)

        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()  # type: ignore[misc]
            return CALLBACKS.choose(lambda: _drop_callbacks(callbacks, is_local), lambda: callbacks)

        def _initialize_and_run_controller(self, **arguments: Any) -> Any:
            SYNCHRONIZATION.choose(_replace_synchronization_actor, lambda: None)
            if is_local:
                given = arguments["scaling_policy"]
                arguments["scaling_policy"] = SCALING.choose(lambda: _make_local_policy(given), lambda: given)
            controller = TRAINER.choose(lambda: TrainController(**arguments), lambda: None)
            if controller is None:
                return super()._initialize_and_run_controller(**arguments)  # type: ignore[misc]
            asyncio.run(controller.run())
            return controller.get_result()

    return SlotTrainer


def _drop_callbacks(callbacks: list[Any], is_local: bool) -> list[Any]:
    """Save the process per slot of Ray Data, which no slot reads, and on a local Ray the one that would free
    what a dead slot held. Falls back to all callbacks."""
    from ray.train.v2._internal.callbacks import DatasetsCallback
    from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

    dropped: tuple[type, ...] = (DatasetsCallback,)
    if is_local and ORPHANS.is_available():
        dropped += (PlacementGroupCleanerCallback,)
    return [callback for callback in callbacks if not isinstance(callback, dropped)]


def _replace_synchronization_actor() -> None:
    """Save a process per slot, for all trainers of this process. Falls back to the actor."""
    _replace(SYNCHRONIZATION.names[0], NoSynchronizationActor)
    _replace(SYNCHRONIZATION.names[1], lambda sync_actor: None)


def _make_local_policy(given: Any) -> Any:
    """Save the process that asks the autoscaler for workers. Falls back to the given policy."""
    from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy

    class LocalScalingPolicy(FixedScalingPolicy):
        def _send_resource_request(self) -> None: ...

        def _maybe_send_resource_request(self) -> None: ...

        def _cancel_resource_request(self) -> None: ...

    return LocalScalingPolicy(given.scaling_config)


def keep_actors_warm(tune_controller: Any, group: Any, more: int) -> None:
    """Let Tune keep more idle actors, of a group of resources. Falls back to the one that it keeps."""
    WARM_ACTORS.choose(lambda: tune_controller._actor_cache.increase_max(group, more), lambda: None)


def count_idle_actors(tune_controller: Any) -> int:
    """Return how many actors wait for a trial. Falls back to none, so that none is released."""
    return IDLE_ACTORS.choose(lambda: int(tune_controller._actor_cache.num_cached_objects), lambda: 0)


def release_idle_actors(tune_controller: Any) -> None:
    """End the actors that wait for a trial. Falls back to nothing: their worker groups end by themselves."""
    IDLE_ACTORS.choose(lambda: tune_controller._cleanup_cached_actors(force_all=True), lambda: None)


def has_actor(tune_controller: Any, trial: Any) -> bool:
    """Return whether an actor of the trial runs or starts. Falls back to False: Tune may give it up."""
    return STARTING_ACTORS.choose(lambda: trial in tune_controller._trial_to_actor, lambda: False)


def write_cluster_address(address: str, folder: str) -> None:
    """Write the address where a node's job server looks for it. folder: that Ray has for the node's files.

    Falls back to nothing: it is found among the processes of this machine, if only one Ray runs there.
    """

    (name,) = CLUSTER_ADDRESS.names
    CLUSTER_ADDRESS.choose(lambda: find_private_name(name)(address, folder), lambda: None)
