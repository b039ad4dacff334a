"""One session of a search or a comparison: from the options to the end, an interruption or a crash.

What the two commands share. A search may take several sessions: each goes on from the ledger.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import ClassVar

from dps.errors import find_root_cause, is_disk_full
from tune import execution, startup
from tune.console.plan import format_plan
from tune.console.quiet import choose_display
from tune.core.command import (
    EXIT_CRASHED,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOTHING_FINISHED,
    UnfinishedError,
    catch_stop_signals,
    choose_output_folder,
    format_command,
)
from tune.core.options import CommonOptions
from tune.core.provenance import collect_provenance
from tune.planning.plan import Plan, describe_plan
from tune.records.events import GuardedWatcher, Watcher, notify
from tune.records.failures import TooManyFailuresError, suggest_more_runs
from tune.records.search_folder import SearchFolder
from tune.strategy.arms import Arms, make_arms
from tune.strategy.budget import SlotCount, SpentResources
from tune.tracking.mlflow import MlflowTracker, open_tracker


def explain_late_interruption(resume_command: str) -> UnfinishedError:
    """Return what to say where Ctrl-C came after the last run, while the results were written."""
    message = f"interrupted while the results were written; every run is kept: {resume_command}"
    return UnfinishedError(message, EXIT_INTERRUPTED)


class Session(ABC):
    """One session, on a cluster that is connected.

    folder: what the search keeps. watchers: who hears of every event: the display, MLflow, and those that
    the caller handed in. slots: how many runs there may be at once. is_member: whether it is one of several
    tasks that share the slots, so that the result of all of them is what is shown in the end. resume_folder:
    what --resume goes on with: the output folder, or that of all tasks.
    """

    prefix: ClassVar[str] = ""  # of the default output folder
    noun: ClassVar[str] = "search"
    results: ClassVar[tuple[str, ...]] = ()  # files that a session which came to its end leaves

    @classmethod
    def start(cls, options: CommonOptions, watchers: Sequence[Watcher] = ()) -> int:
        """Plan; then show the plan, or carry it out. Returns the exit status."""
        output = choose_output_folder(options, cls.prefix)
        if options.dry_run:
            plan = startup.plan_dry_run(options, output)
            choose_display(plan).planned(format_plan(plan), output)
            return EXIT_DONE
        with ExitStack() as holding:
            (plan,) = startup.plan_on_cluster([(options, output)], holding)
            output = plan.options.output or output
            startup.check_obstacles(plan, output)
            if options.preflight:
                choose_display(plan).planned([*format_plan(plan), startup.PREFLIGHT_PASSED], output)
                return EXIT_DONE
            return cls(plan, watchers).run()

    def __init__(
        self, plan: Plan, watchers: Sequence[Watcher] = (), shared_slots: SlotCount | None = None
    ) -> None:
        """Open, or make, what the search keeps in its output folder. shared_slots: those of several tasks."""
        self.plan, self.options, self.planned_at = plan, plan.options, time.time()
        self._is_over = False
        self.slots, self.is_member = shared_slots or SlotCount(plan.slots), shared_slots is not None
        identities = {arm: plan.get_identity(arm) for arm in plan.arms}
        output = choose_output_folder(self.options, self.prefix)
        self.folder = SearchFolder(output, plan.task.direction, identities, self.options.storage)
        self.output, self.notes = self.folder.output, self.folder.notes
        self.resume_folder = self.output
        self.provenance = collect_provenance(self.options.command)
        self.provenance.git_dirty |= bool(self.notes.noted("git_dirty"))  # in any session
        self.notes.note("git_dirty", self.provenance.git_dirty)
        self._note_commit()
        self.notes.note("precision", plan.get_shared("precision"))
        for ledger in self.folder.ledgers.values():
            ledger.name_metric(plan.task.metric)
        model = self.options.model if plan.models else plan.get_shared("model")
        self.folder.write_config(self.options, plan.get_shared("data"), model)
        earlier = self.folder.records()
        self.notes.note_earlier_look()
        self.display = choose_display(plan, earlier, self.expected_runs)
        if self.folder.copied_from is not None:
            self.display.warn(
                f"{self.output} is a copy of {self.folder.copied_from}: from now on a search of its own, "
                f"with its own runs in MLflow and its own folder in the storage"
            )
        described = self.folder.note_once("described", describe_plan(plan))
        self.tracker: MlflowTracker | None = open_tracker(
            self.options, described, self.provenance, self.folder.search_id, self.output, self.display.warn
        )
        guarded = [GuardedWatcher(watcher, self.display.warn) for watcher in watchers]
        own = [self.display, self.tracker] if self.tracker is not None else [self.display]
        self.watchers: list[Watcher] = [*own, *guarded]
        notify(self.watchers, "session_started", earlier)
        if others := self.provenance.earlier_commits:
            now = (self.provenance.git_commit or "none")[:12]
            self.display.warn(f"commit {others[0][:12]} ran this before, now it is {now}: runs may differ")

    def _note_commit(self) -> None:
        """Note the commit of this session; the results name those of earlier ones beside it."""
        now = self.provenance.git_commit
        commits: list[str] = [commit for commit in self.notes.noted("commits") or [] if commit != now]
        self.provenance.earlier_commits = commits
        self.notes.note("commits", [now, *commits] if now else commits)

    @property
    def expected_runs(self) -> int:
        """How many runs there will be, about."""
        return self.plan.planned_runs

    def run(self) -> int:
        """Run everything, then report. Returns the exit status."""
        self.display.planned([*self.plan_lines(), f"output       {self.output}", ""], self.output)
        try:
            with catch_stop_signals() as stop:
                arms = self.make_arms(stop)
                find_faults = startup.make_node_check([self.plan], self.output)
                again = self.resume_command
                execution.run_trials(
                    arms, self.plan, self.folder.ray_files, stop, self.display, find_faults, again
                )
                if stop.is_set():
                    self.suspend(arms)
                    self.display.interrupted(self.resume_command)
                    return EXIT_INTERRUPTED
            return self.conclude(arms)
        except UnfinishedError:
            raise
        except KeyboardInterrupt:  # of the signals that end a process the only one that is caught here
            self.tell_end(interrupted=True)
            raise explain_late_interruption(self.resume_command) from None
        except Exception as error:
            raise self.explain_crash(error) from error

    def conclude(self, arms: Arms) -> int:
        """Report what was found, and say what an earlier session had left out. Returns the exit status."""
        was_ended, lost = bool(self.notes.noted("ended")), self._list_missing_results()
        status = self.finish(arms)
        if was_ended and (made := [name for name in lost if name not in self._list_missing_results()]):
            self.display.note(f"made again: {', '.join(made)}")
        return status

    def suspend(self, arms: Arms) -> None:
        """Note that the session was interrupted."""
        self.notes.note_seconds(arms.spent().seconds)
        self.tell_end(interrupted=True)

    def measure_spent(self, arms: Arms) -> SpentResources:
        """Return what all sessions have spent together, on arms too that this one has no longer."""
        former = [run for ledger in self.folder.open_former_ledgers() for run in ledger.records()]
        spent = arms.spent()
        return replace(spent, slot_seconds=spent.slot_seconds + sum(run.seconds for run in former))

    def _list_missing_results(self) -> list[str]:
        return [name for name in self.results if not (self.output / name).is_file()]

    def plan_lines(self) -> list[str]:
        """Return the plan, to be read."""
        return format_plan(self.plan)

    def make_arms(self, stop: threading.Event) -> Arms:
        """Return the searches of this session, each where the sessions before left it."""
        warm = self.folder.note_once(
            "warm_start",
            [list(self.plan.warm_start.initial_configurations), list(self.plan.warm_start.observations)],
        )
        return make_arms(
            self.folder.ledgers,
            {arm: self.plan.make_strategy(arm, self.slots, self.folder.work, warm) for arm in self.plan.arms},
            self.watchers,
            stop.is_set,
            max(ledger.seconds for ledger in self.folder.ledgers.values()),
        )

    @abstractmethod
    def finish(self, arms: Arms) -> int:
        """Report what was found, once everything was run. Returns the exit status."""

    @property
    def resume_command(self) -> str:
        """The command that goes on."""
        return format_command(self.options.command, "--resume", self.resume_folder)

    def explain_crash(self, error: Exception) -> UnfinishedError:
        """Return what to say where Ray, this program or the disk failed, or run after run; the ledger is
        whole."""
        self.folder.write_error_log(error)
        self.tell_end(interrupted=True)
        if is_disk_full(error):
            places = startup.name_written_places(self.output)
            return UnfinishedError(
                f"the disk is full; make room for {places}, then go on with: {self.resume_command}",
                EXIT_INTERRUPTED,
            )
        if isinstance(error, TooManyFailuresError):
            status = EXIT_INTERRUPTED if self.folder.has_usable_trial else EXIT_NOTHING_FINISHED
            options = self.options
            failed = [run for run in error.records if run.arm not in self.plan.baseline_arms]
            own = [run for run in self.folder.records() if failed and run.arm == failed[-1].arm]
            more = suggest_more_runs(failed, own, options.trials, options.confirm)
            folder = self.output if more else self.resume_folder
            again = format_command(options.command, "--resume", folder, *more)
            advice = f"then go on with: {again}; other data, models or --batch-size need a new --output"
            return UnfinishedError(f"{error}; {advice}", status)
        if not (self.output / "study.db").exists():
            return UnfinishedError(
                f"{self.output}/study.db was removed or moved while the {self.noun} ran; put it back, then "
                f"go on with: {self.resume_command}",
                EXIT_CRASHED,
            )
        if isinstance(cause := find_root_cause(error), sqlite3.Error):
            error = cause
        message = str(error).splitlines()[-1] if str(error) else ""
        return UnfinishedError(
            f"the {self.noun} broke off: {type(error).__name__}: {message}; see {self.output}/error.log, "
            f"go on with: {self.resume_command}",
            EXIT_CRASHED,
        )

    def close(self) -> None:
        """Leave nothing but results; MLflow has heard everything, or the user hears why not."""
        self.folder.remove_working_files()
        self.notes.note("ended", True)
        self.tell_end(interrupted=False)
        if self.tracker is not None and self.tracker.error:
            deliver = format_command("python -m tune.tracking", "sync", self.output)
            self.display.warn(f"MLflow tracking failed: {self.tracker.error}; again: {deliver}")

    def tell_end(self, interrupted: bool) -> None:
        """Tell the watchers that the session is over, once; again where Ctrl-C came while they were told."""
        if not self._is_over:
            notify(self.watchers, "session_ended", self.output, interrupted)
            self._is_over = True

    def show_tracking(self) -> None:
        """Print the addresses of what was tracked."""
        for line in self.tracker.pages if self.tracker is not None else ():
            self.display.say(line)

    @property
    def view_command(self) -> str | None:
        """The command that shows what was tracked; None without MLflow."""
        return self.tracker.view_command if self.tracker is not None else None
