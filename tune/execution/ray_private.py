"""Placement groups that nobody uses.

Ray 2.60 gives back those of an actor that died only with the whole job, unless a process for each worker
group (`PlacementGroupCleaner`) does, which knows of a group once it is up. A slot that dies would leave cores
taken for good, and no other could start.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray._private.state import state
from ray.core.generated import gcs_pb2
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import state as group_state
from ray.train.v2._internal.execution.worker_group import worker_group
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.placement_group import PlacementGroup, remove_placement_group

ActorTableData: Any = vars(gcs_pb2)["ActorTableData"]  # made at run time: types know nothing of it
PlacementGroupTableData: Any = vars(gcs_pb2)["PlacementGroupTableData"]
ORPHAN_CHECK_INTERVAL_S = 1.0
MIN_ORPHAN_SIGHTINGS = (
    6  # so often in a row a group was seen without an actor: workers that are starting are actors already
)


@contextmanager
def release_orphaned_groups() -> Iterator[None]:
    """Within, groups of this job that are left over are given back."""
    over = threading.Event()
    threading.Thread(target=_release_until_over, args=(over,), name="strays", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def find_orphaned_groups(groups: Iterable[Any], actors: Iterable[Any]) -> set[bytes]:
    """The ids of the groups that hold cores or GPUs, and in which no actor lives. groups, actors: as Ray's
    control store (GCS) has them."""
    used = {actor.placement_group_id for actor in actors if actor.state != ActorTableData.DEAD}
    return {
        group.placement_group_id
        for group in groups
        if group.state == PlacementGroupTableData.CREATED
        and group.placement_group_id not in used
        and any({"CPU", "GPU"} & bundle.unit_resources.keys() for bundle in group.bundles)
    }


def _release_until_over(over: threading.Event) -> None:
    seen = Counter[bytes]()
    while not over.wait(ORPHAN_CHECK_INTERVAL_S):
        with suppress(Exception):  # whatever Ray says under load: another look will do
            seen = Counter({group: seen[group] + 1 for group in _list_orphaned_groups()})
            for group in [group for group, looks in seen.items() if looks >= MIN_ORPHAN_SIGHTINGS]:
                remove_placement_group(PlacementGroup(ray.PlacementGroupID(group)))


def _list_orphaned_groups() -> set[bytes]:
    """Two requests to the control store: `ray.util.state` has the same, but of a dashboard, which a Ray of
    one's own does without."""
    store, job = state._connect_and_get_accessor(), ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    groups = map(PlacementGroupTableData.FromString, store.get_placement_group_table())
    actors = map(ActorTableData.FromString, store.get_actor_table(job, None))
    return find_orphaned_groups([group for group in groups if group.creator_job_id == job.binary()], actors)


def get_autoscaling_coordinator() -> Any:
    """The actor that merges what is asked of the autoscaler; one a cluster, for all jobs."""
    from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator as of_ray

    return of_ray.get_or_create_autoscaling_coordinator()


class LocalScalingPolicy(FixedScalingPolicy):
    """The policy of a worker group that no autoscaler needs to know of: Ray would start a process for it."""

    def _send_resource_request(self) -> None:
        """Nothing."""

    def _maybe_send_resource_request(self) -> None:
        """Nothing."""

    def _cancel_resource_request(self) -> None:
        """Nothing."""


class NoSynchronizationActor:
    """In the place of the actor, a process a slot, through which workers wait for one another in
    `ray.train.report`: a slot's report to their mailbox."""

    @classmethod
    def options(cls, **where: Any) -> type[NoSynchronizationActor]:
        return cls

    @classmethod
    def remote(cls, **times: float) -> NoSynchronizationActor:
        return cls()


class SlotTrainer(DataParallelTrainer):
    """A worker group that starts few processes but its workers': each imports pandas and Arrow for a second
    or two of the machine that the first step has to wait for.

    Its controller runs in the trial's actor, which has imported the same libraries already, and not in one
    of its own, which would die with the trial's anyway. Ray Data, which a slot does not read, is left out.
    Alone, so is what clusters need: `tune.execution.ray_private` gives back what a slot that died has left.
    All of this is
    by private methods of the pinned Ray.
    """

    alone = False

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]
        without = ["DatasetsCallback"] + ["PlacementGroupCleanerCallback"] * self.alone
        return [callback for callback in callbacks if type(callback).__name__ not in without]

    def _initialize_and_run_controller(self, **made_of: Any) -> ray.train.Result:
        if self.alone:
            made_of["scaling_policy"] = LocalScalingPolicy(made_of["scaling_policy"].scaling_config)
        worker_group.SynchronizationActor = NoSynchronizationActor  # type: ignore[assignment,attr-defined,misc]
        group_state._shutdown_sync_actor = lambda sync_actor: None  # type: ignore[assignment]
        controller = TrainController(**made_of)
        asyncio.run(controller.run())
        return controller.get_result()
