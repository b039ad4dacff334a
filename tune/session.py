"""One sitting of a search or a comparison: from a plan to the end, an interruption or a break.

What the two commands share: the folders, the ledgers, who watches, the Tuner over the slots, Ctrl-C.
"""

from __future__ import annotations

import shlex
import shutil
import threading
import time
import traceback
import uuid
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dps.errors import is_disk_full
from dps.tasks.registry import is_task_file
from dps.text import redact_secrets
from tune.core.command import (
    EXIT_CRASHED,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOTHING_FINISHED,
    EXIT_REFUSED,
    catch_stop_signals,
    choose_output_folder,
    print_error,
)
from tune.core.durations import parse_duration
from tune.core.options import CommonOptions, SearchOptions
from tune.core.parsing import write_options
from tune.core.storage import join_location, move_from_location, remove_location, resolve_location

if TYPE_CHECKING:
    from tune.execution.tuner import TuneSearcher
    from tune.planning.plan import Plan
    from tune.records.ledger import Ledger, TrialRecord
    from tune.strategy.phases import SearchPhases


class Session(ABC):
    """One sitting, on a cluster that is connected."""

    prefix = ""  # of the default output folder
    noun = "search"

    @classmethod
    def of(cls, options: Any) -> int:
        """Plan; then show the plan, or carry it out."""
        from tune.console.plan import format_plan
        from tune.console.quiet import choose_display
        from tune.execution import connection
        from tune.execution.connection import get_cluster_address
        from tune.planning.planner import make_plan
        from tune.planning.preflight import PREFLIGHT_PASSED, run_preflight_checks
        from tune.records.ledger import check_ledger

        output = choose_output_folder(options, cls.prefix)
        if options.resume is not None:
            check_ledger(options.resume / "study.db")
        if options.dry_run:
            there = (
                connection.read_local_resources()
                if get_cluster_address() is None
                else connection.connect_to_cluster()
            )
            plan = make_plan(options, there)
            choose_display(plan).planned(format_plan(plan), output)
            return EXIT_DONE
        with ExitStack() as holding:
            plan = cls._connected_plan(options, holding)
            if wrong := run_preflight_checks(plan, output):
                return max(print_error(str(finding), EXIT_REFUSED) for finding in wrong)
            if options.preflight:
                choose_display(plan).planned([*format_plan(plan), PREFLIGHT_PASSED], output)
                return EXIT_DONE
            return cls(plan).go()

    @classmethod
    def _connected_plan(cls, options: CommonOptions, holding: ExitStack) -> Plan:
        """The plan, on a cluster that is connected; what the user gave is checked first, and the output
        folder is held from then on."""
        from tune.execution import connection
        from tune.execution.connection import get_cluster_address
        from tune.planning.gpu_sharing import plan_gpu_sharing
        from tune.planning.locations import check_output, hold_folder_lock
        from tune.planning.planner import make_plan
        from tune.records.ledger import Ledger

        output = choose_output_folder(options, cls.prefix)
        named = get_cluster_address() is not None
        plan = make_plan(
            options, connection.connect_to_cluster() if named else connection.read_local_resources()
        )
        if not options.preflight:
            check_output(output, options.resume is not None)
            holding.enter_context(hold_folder_lock(output))
        if options.resume is not None:
            file, direction = output / "study.db", plan.task.direction
            ledgers = {arm: Ledger(file, direction, arm) for arm in plan.arms}
            for arm, held in ledgers.items():
                held.open(plan.identity(arm))
            plan = plan.as_begun(next(iter(ledgers.values())).noted("precision"))
        if not named:
            connection.connect_to_cluster()
        return plan_gpu_sharing(plan) if options.share_gpus and plan.gpus_per_worker else plan

    def __init__(self, plan: Plan) -> None:
        from tune.console.quiet import choose_display
        from tune.core.provenance import collect_provenance
        from tune.records.ledger import STUDY_NAMES, Ledger
        from tune.strategy.budget import SlotCount

        self.plan, self.options, self.planned = plan, plan.options, time.time()
        self.slots = SlotCount(plan.slots)
        self.output = choose_output_folder(self.options, self.prefix).resolve()
        self.provenance = collect_provenance(self.options.command)
        self.ledgers = {arm: Ledger(self.output / "study.db", plan.task.direction, arm) for arm in plan.arms}
        for arm, ledger in self.ledgers.items():
            ledger.open(plan.identity(arm))
        self.work, self.ray_files = join_location(self._shared(), "work"), self.output / "ray"
        self.provenance["git_dirty"] |= bool(self.notes.noted("git_dirty"))  # in any sitting
        self.notes.note("git_dirty", self.provenance["git_dirty"])
        self.notes.note("precision", plan.settings.precision)
        named = {"data": plan.settings.data, "model": plan.settings.model, "task": self.options.task}
        if is_task_file(self.options.task):
            named["task"] = str(Path(self.options.task).absolute())
        write_options(self.options.with_(**named), self.output / "config.yaml")
        earlier = [record for purpose in STUDY_NAMES for record in self.records(purpose)]
        self.progress = choose_display(plan, earlier, self.runs)
        self.tracker = self._tracker()
        if self.tracker is not None:
            self.tracker.catch_up(earlier)
        self.watchers = [watcher for watcher in (self.progress, self.tracker) if watcher is not None]

    def _shared(self) -> str:
        """The place that every node sees: the output folder, or one of this search's own in the storage."""
        given = self.options.storage
        if given is None:
            return str(self.output)
        name = self.notes.noted("shared") or f"{self.output.name}-{self.search_id[:8]}"
        self.notes.note("shared", name)  # the same when the output folder is moved or renamed
        return join_location(resolve_location(given), name)

    @property
    def search_id(self) -> str:
        """What tells this search from all others; the same in every sitting."""
        kept = self.notes.noted("search_id")
        if isinstance(kept, str) and kept.isalnum():
            return kept
        made = uuid.uuid4().hex
        self.notes.note("search_id", made)
        return made

    @property
    def runs(self) -> int:
        """How many runs there will be, about."""
        return self.plan.runs

    @property
    def notes(self) -> Ledger:
        """The ledger that keeps what belongs to the whole run."""
        return next(iter(self.ledgers.values()))

    def records(self, purpose: Any) -> list[TrialRecord]:
        """Every run of this purpose."""
        return [record for ledger in self.ledgers.values() for record in ledger.records(purpose)]

    def _tracker(self) -> Any:
        from tune.records.stores import resolve_tracking_uri
        from tune.tracking.mlflow import MlflowTracker

        uri = resolve_tracking_uri(self.options.tracking_uri, self.output.parent)
        if uri is None:
            return None
        return MlflowTracker(uri, self.plan, self.provenance, self.search_id, self.output.name)

    def go(self) -> int:
        """Returns the exit status."""
        from tune.execution.connection import freeze_imported_objects

        freeze_imported_objects()
        self.progress.planned([*self.lines(), f"output       {self.output}", ""], self.output)
        try:
            with catch_stop_signals() as stop:
                searcher = self._run(stop)
                if stop.is_set():
                    return self._interrupted(searcher)
            return self.finish(searcher)
        except Exception as error:
            return self._broke_off(error)

    def lines(self) -> list[str]:
        """The plan, to be read."""
        from tune.console.plan import format_plan

        return format_plan(self.plan)

    @abstractmethod
    def finish(self, searcher: TuneSearcher) -> int:
        """Everything was run: report, and return the exit status."""

    @property
    def again(self) -> str:
        """The command that goes on."""
        return f"{self.options.command} --resume {shlex.quote(str(self.output))}"

    def _broke_off(self, error: Exception) -> int:
        """Ray, this program or the disk failed, or run after run; the ledger is whole."""
        from tune.core.run import Outcome
        from tune.records.failures import TooManyFailuresError

        with suppress(OSError):
            text = redact_secrets("".join(traceback.format_exception(error)))
            (self.output / "error.log").write_text(text, encoding="utf-8")
        if self.tracker is not None:
            self.tracker.close(self.output, interrupted=True)
        if is_disk_full(error):
            return print_error(
                f"the disk is full; make room for {self.output}, then go on with: {self.again}",
                EXIT_INTERRUPTED,
            )
        if isinstance(error, TooManyFailuresError):
            usable = (Outcome.COMPLETED, Outcome.STOPPED)
            some = any(record.outcome in usable for record in self.records("search"))
            return print_error(
                f"{error}; then go on with: {self.again}", EXIT_INTERRUPTED if some else EXIT_NOTHING_FINISHED
            )
        message = str(error).splitlines()[-1] if str(error) else ""
        return print_error(
            f"the {self.noun} broke off: {type(error).__name__}: {message}; see {self.output}/error.log, "
            f"go on with: {self.again}",
            EXIT_CRASHED,
        )

    def _run(self, stop: threading.Event) -> TuneSearcher:
        import ray
        import ray.tune
        from ray.tune import FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from tune.execution.mailbox import StopSignal
        from tune.execution.ray_private import release_orphaned_groups
        from tune.execution.slots import follow_cluster
        from tune.execution.trainable import SLOT_ACTOR_MEMORY_BYTES, SlotConfig, SlotTrainable
        from tune.execution.tuner import CHECKPOINT_INTERVAL_S, MAX_TRIAL_FAILURES, forward_stop_signal
        from tune.planning import preflight

        options, plan = self.options, self.plan
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        made = ray.remote(num_cpus=0)(StopSignal).options(scheduling_strategy=here)  # not on a node that goes
        switch = made.remote()
        threading.Thread(target=forward_stop_signal, args=(stop, switch), daemon=True).start()
        searcher = self._searcher(stop)
        scheduler = self._scheduler(searcher)
        slot = SlotConfig(
            workers=options.workers_per_trial,
            cpus_per_worker=options.cpus_per_worker,
            gpus_per_worker=plan.gpus_per_worker,
            checkpoint_every_s=CHECKPOINT_INTERVAL_S,
            data=plan.data.fingerprint,
            step_timeout_s=parse_duration(options.step_timeout),
            trial_timeout_s=parse_duration(options.trial_timeout) if options.trial_timeout else None,
            switch=switch,
            alone=plan.cluster.address is None,
        )
        trainable = ray.tune.with_resources(
            ray.tune.with_parameters(SlotTrainable, plan=slot),
            PlacementGroupFactory([{"memory": SLOT_ACTOR_MEMORY_BYTES}]),
        )
        tuner = Tuner(
            trainable,
            tune_config=TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=RunConfig(
                name="tune",
                storage_path=str(self.ray_files),
                verbose=0,
                failure_config=FailureConfig(max_failures=MAX_TRIAL_FAILURES),
            ),
        )
        kept_up = follow_cluster(
            self.slots, plan, self.progress, partial(preflight.check_nodes, plan, self.output)
        )
        try:
            with self.progress, release_orphaned_groups(), kept_up:
                tuner.fit()
        finally:
            searcher.check()  # what it met with, not what Tune makes of it
        return searcher

    def _searcher(self, stop: threading.Event) -> TuneSearcher:
        from tune.execution.tuner import TuneSearcher
        from tune.strategy.phases import SearchPhases

        before = self.notes.noted("seconds") or 0.0
        arms: list[SearchPhases] = [
            SearchPhases(ledger, self._strategy(arm), self.watchers, stop.is_set, before)
            for arm, ledger in self.ledgers.items()
        ]
        return TuneSearcher(arms, self.slots)

    def _scheduler(self, searcher: TuneSearcher) -> Any:
        """Early stopping, where the sittings before had left it."""
        from tune.execution.scheduler import SearchScheduler
        from tune.strategy.early_stopping import make_early_stopping, replay_records

        policies = {}
        for (arm, ledger), search in zip(self.ledgers.items(), searcher.searches, strict=True):
            policies[arm] = make_early_stopping(
                self.options.scheduler, self.plan.max_steps, self.options.evaluations, search.noise
            )
            replay_records(policies[arm], ledger.records("search"), self.plan.task.direction)
        return SearchScheduler(policies, self.plan.task.direction, self.slots)

    def _strategy(self, arm: str) -> Any:
        from tune.strategy.race import RaceSettings
        from tune.strategy.strategy import Strategy

        made = Strategy(
            space=self.plan.arms[arm],
            settings=self.plan.settings,
            direction=self.plan.task.direction,
            sampler=self.options.sampler,
            seed=self.options.seed,
            trials=self.options.trials,
            confirm=self.options.confirm,
            slots=self.slots,
            rules=self.plan.rules(arm),
            folder=self.work,
            max_steps=self.plan.max_steps,
            chance=self.plan.chance,
            keep_models=self.plan.keep_models,
            oom_retry=self.options.oom_retry,
        )
        options = self.options
        if not isinstance(options, SearchOptions):
            return made
        worth = options.worth and options.worth / 100
        first, earlier = self._warm_start()
        return replace(
            made,
            racing=RaceSettings(options.race, worth=worth or RaceSettings.worth),
            race_rules=self.plan.budgets(),
            target=options.target,
            worth=worth,
            first=[*first, *self.plan.published],
            earlier=earlier,
            finalists=options.finalists,
            baseline=options.baseline,
        )

    def _warm_start(self) -> tuple[list[Any], list[Any]]:
        """What the first sitting read; the searches that it is from may be gone by now."""
        kept = self.notes.noted("warm_start")
        if kept is None:
            kept = [list(self.plan.warm.first), list(self.plan.warm.earlier)]
            self.notes.note("warm_start", kept)
        first, earlier = kept
        return first, [(configuration, standing) for configuration, standing in earlier]

    def _interrupted(self, searcher: TuneSearcher) -> int:
        self.notes.note("seconds", searcher.spent().seconds)
        if self.tracker is not None:
            self.tracker.close(self.output, interrupted=True)
        self.progress.interrupted(self.again)
        return EXIT_INTERRUPTED

    def keep_predictions(self) -> None:
        """The logits of every confirmation, which outlive the other working files."""
        from tune.records.predictions import PREDICTIONS_FILE, locate_predictions

        for record in self.records("confirm"):
            written = join_location(self.work, f"trial-{record.id}", PREDICTIONS_FILE)
            move_from_location(written, locate_predictions(self.output, record.id))

    def close(self) -> None:
        """Leave nothing but results; MLflow has heard everything, or the user hears why not."""
        shutil.rmtree(self.ray_files, ignore_errors=True)
        remove_location(self.work)
        if self.options.storage is not None:
            remove_location(self._shared())
        if self.tracker is not None:
            self.tracker.close(self.output, interrupted=False)
            if self.tracker.error:
                deliver = f"python -m tune.tracking sync {shlex.quote(str(self.output))}"
                self.progress.warn(f"MLflow tracking failed: {self.tracker.error}; again: {deliver}")

    @property
    def look(self) -> str | None:
        """The command that shows what was tracked."""
        from tune.records.stores import format_view_command

        return format_view_command(self.tracker.uri) if self.tracker is not None else None
