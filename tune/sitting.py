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

from dps import tasks
from dps.errors import disk_is_full
from dps.redact import redacted
from tune import parsing, storage
from tune.command import BROKE_OFF, DONE, INTERRUPTED, NOTHING_FINISHED, REFUSED, fail, output_folder
from tune.durations import seconds
from tune.options import RunOptions, SearchOptions
from tune.stopping import stopping, throw_when

if TYPE_CHECKING:
    from tune.ledger import Ledger, Record
    from tune.plan import Plan
    from tune.searcher import LedgerSearcher, Turns

CHECKPOINT_EVERY_S = 60.0
MAX_FAILURES = 5  # of one trial: so often one that lost its slot goes on in another


class Sitting(ABC):
    """One sitting, on a cluster that is connected."""

    prefix = ""  # of the default output folder
    noun = "search"

    @classmethod
    def of(cls, options: Any) -> int:
        """Plan; then show the plan, or carry it out."""
        from tune import ledger, nodes, preflight, runtime
        from tune.quiet import screen
        from tune.terminal import plan_lines

        output = output_folder(options, cls.prefix)
        if options.resume is not None:
            ledger.check(options.resume / "study.db")
        if options.dry_run:
            there = runtime.local_resources() if runtime.address() is None else runtime.connect()
            plan = preflight.make_plan(options, there)
            screen(plan).planned(plan_lines(plan), output)
            return DONE
        with ExitStack() as holding:
            plan = cls._connected_plan(options, holding)
            if wrong := nodes.findings(plan, output):
                return max(fail(str(finding), REFUSED) for finding in wrong)
            if options.preflight:
                screen(plan).planned([*plan_lines(plan), nodes.ALL_WELL], output)
                return DONE
            return cls(plan).go()

    @classmethod
    def _connected_plan(cls, options: RunOptions, holding: ExitStack) -> Plan:
        """The plan, on a cluster that is connected; what the user gave is checked first, and the output
        folder is held from then on."""
        from tune import ledger, lock, places, preflight, runtime, shares

        output = output_folder(options, cls.prefix)
        named = runtime.address() is not None
        plan = preflight.make_plan(options, runtime.connect() if named else runtime.local_resources())
        if not options.preflight:
            places.check_output(output, options.resume is not None)
            holding.enter_context(lock.held(output))
        if options.resume is not None:
            file, direction = output / "study.db", plan.task.direction
            ledgers = {arm: ledger.Ledger(file, direction, arm) for arm in plan.arms}
            for arm, held in ledgers.items():
                held.open(plan.identity(arm))
            plan = plan.as_begun(next(iter(ledgers.values())).noted("precision"))
        if not named:
            runtime.connect()
        return shares.shared(plan) if options.share_gpus and plan.gpus_per_worker else plan

    def __init__(self, plan: Plan) -> None:
        from tune.ledger import STUDIES, Ledger
        from tune.provenance import provenance
        from tune.quiet import screen
        from tune.slots import Slots

        self.plan, self.options, self.planned = plan, plan.options, time.time()
        self.slots = Slots(plan.slots)
        self.output = output_folder(self.options, self.prefix).resolve()
        self.provenance = provenance(self.options.command)
        self.ledgers = {arm: Ledger(self.output / "study.db", plan.task.direction, arm) for arm in plan.arms}
        for arm, ledger in self.ledgers.items():
            ledger.open(plan.identity(arm))
        self.work, self.ray_files = storage.join(self._shared(), "work"), self.output / "ray"
        self.provenance["git_dirty"] |= bool(self.notes.noted("git_dirty"))  # in any sitting
        self.notes.note("git_dirty", self.provenance["git_dirty"])
        self.notes.note("precision", plan.settings.precision)
        named = {"data": plan.settings.data, "model": plan.settings.model, "task": self.options.task}
        if tasks.is_file(self.options.task):
            named["task"] = str(Path(self.options.task).absolute())
        parsing.write_yaml(self.options.with_(**named), self.output / "config.yaml")
        earlier = [record for purpose in STUDIES for record in self.records(purpose)]
        self.progress = screen(plan, earlier, self.runs)
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
        return storage.join(storage.absolute(given), name)

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

    def records(self, purpose: Any) -> list[Record]:
        """Every run of this purpose."""
        return [record for ledger in self.ledgers.values() for record in ledger.records(purpose)]

    def _tracker(self) -> Any:
        from tune import tracking

        uri = tracking.tracking_uri(self.options.tracking_uri, self.output.parent)
        if uri is None:
            return None
        return tracking.MlflowTracker(uri, self.plan, self.provenance, self.search_id, self.output.name)

    def go(self) -> int:
        """Returns the exit status."""
        from tune.runtime import imported

        imported()
        self.progress.planned([*self.lines(), f"output       {self.output}", ""], self.output)
        try:
            with stopping() as stop:
                searcher = self._run(stop)
                if stop.is_set():
                    return self._interrupted(searcher)
            return self.finish(searcher)
        except Exception as error:
            return self._broke_off(error)

    def lines(self) -> list[str]:
        """The plan, to be read."""
        from tune.terminal import plan_lines

        return plan_lines(self.plan)

    @abstractmethod
    def finish(self, searcher: Turns) -> int:
        """Everything was run: report, and return the exit status."""

    @property
    def again(self) -> str:
        """The command that goes on."""
        return f"{self.options.command} --resume {shlex.quote(str(self.output))}"

    def _broke_off(self, error: Exception) -> int:
        """Ray, this program or the disk failed, or run after run; the ledger is whole."""
        from tune.failures import TooManyFailures
        from tune.outcomes import Outcome

        with suppress(OSError):
            text = redacted("".join(traceback.format_exception(error)))
            (self.output / "error.log").write_text(text, encoding="utf-8")
        if self.tracker is not None:
            self.tracker.close(self.output, interrupted=True)
        if disk_is_full(error):
            return fail(
                f"the disk is full; make room for {self.output}, then go on with: {self.again}", INTERRUPTED
            )
        if isinstance(error, TooManyFailures):
            usable = (Outcome.COMPLETED, Outcome.STOPPED)
            some = any(record.outcome in usable for record in self.records("search"))
            return fail(f"{error}; then go on with: {self.again}", INTERRUPTED if some else NOTHING_FINISHED)
        message = str(error).splitlines()[-1] if str(error) else ""
        return fail(
            f"the {self.noun} broke off: {type(error).__name__}: {message}; see {self.output}/error.log, "
            f"go on with: {self.again}",
            BROKE_OFF,
        )

    def _run(self, stop: threading.Event) -> Turns:
        import ray
        import ray.tune
        from ray.tune import FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from tune import nodes, strays
        from tune.mailbox import Switch
        from tune.slots import following
        from tune.trial import SLOT_MEMORY, SlotPlan, SlotTrial

        options, plan = self.options, self.plan
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        made = ray.remote(num_cpus=0)(Switch).options(scheduling_strategy=here)  # not on a node that goes
        switch = made.remote()
        threading.Thread(target=throw_when, args=(stop, switch), daemon=True).start()
        searcher = self._searcher(stop)
        scheduler = self._scheduler(searcher)
        slot = SlotPlan(
            workers=options.workers_per_trial,
            cpus_per_worker=options.cpus_per_worker,
            gpus_per_worker=plan.gpus_per_worker,
            checkpoint_every_s=CHECKPOINT_EVERY_S,
            data=plan.data.fingerprint,
            step_timeout_s=seconds(options.step_timeout),
            trial_timeout_s=seconds(options.trial_timeout) if options.trial_timeout else None,
            switch=switch,
            alone=plan.cluster.address is None,
        )
        trainable = ray.tune.with_resources(
            ray.tune.with_parameters(SlotTrial, plan=slot), PlacementGroupFactory([{"memory": SLOT_MEMORY}])
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
                failure_config=FailureConfig(max_failures=MAX_FAILURES),
            ),
        )
        kept_up = following(self.slots, plan, self.progress, partial(nodes.check, plan, self.output))
        try:
            with self.progress, strays.given_back(), kept_up:
                tuner.fit()
        finally:
            searcher.check()  # what it met with, not what Tune makes of it
        return searcher

    def _searcher(self, stop: threading.Event) -> Turns:
        from tune.searcher import LedgerSearcher, Turns

        before = self.notes.noted("seconds") or 0.0
        arms: list[LedgerSearcher] = [
            LedgerSearcher(ledger, self._strategy(arm), self.watchers, stop.is_set, before)
            for arm, ledger in self.ledgers.items()
        ]
        return Turns(arms, self.slots)

    def _scheduler(self, searcher: Turns) -> Any:
        """Early stopping, where the sittings before had left it."""
        from tune import rungs
        from tune.scheduler import SearchScheduler

        policies = {}
        for (arm, ledger), search in zip(self.ledgers.items(), searcher.searches, strict=True):
            policies[arm] = rungs.make(
                self.options.scheduler, self.plan.max_steps, self.options.evaluations, search.noise
            )
            rungs.replay(policies[arm], ledger.records("search"), self.plan.task.direction)
        return SearchScheduler(policies, self.plan.task.direction, self.slots)

    def _strategy(self, arm: str) -> Any:
        from tune.belief import Racing
        from tune.strategy import Strategy

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
            racing=Racing(options.race, worth=worth or Racing.worth),
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

    def _interrupted(self, searcher: Turns) -> int:
        self.notes.note("seconds", searcher.spent().seconds)
        if self.tracker is not None:
            self.tracker.close(self.output, interrupted=True)
        self.progress.interrupted(self.again)
        return INTERRUPTED

    def keep_predictions(self) -> None:
        """The logits of every confirmation, which outlive the other working files."""
        from tune import predictions

        for record in self.records("confirm"):
            written = storage.join(self.work, f"trial-{record.id}", predictions.FILE)
            storage.take(written, predictions.place(self.output, record.id))

    def close(self) -> None:
        """Leave nothing but results; MLflow has heard everything, or the user hears why not."""
        shutil.rmtree(self.ray_files, ignore_errors=True)
        storage.remove(self.work)
        if self.options.storage is not None:
            storage.remove(self._shared())
        if self.tracker is not None:
            self.tracker.close(self.output, interrupted=False)
            if self.tracker.error:
                deliver = f"python -m tune.tracking sync {shlex.quote(str(self.output))}"
                self.progress.warn(f"MLflow tracking failed: {self.tracker.error}; again: {deliver}")

    @property
    def look(self) -> str | None:
        """The command that shows what was tracked."""
        from tune import tracking

        return tracking.look_at(self.tracker.uri) if self.tracker is not None else None
