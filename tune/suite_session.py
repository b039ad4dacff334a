"""Several tasks in one go: one plan, one pool of slots, a folder a task, one result.

Each task is an ordinary search or comparison in OUTPUT/TASK, which can be resumed, reported and delivered to
MLflow alone. OUTPUT holds the options of them all, in config.yaml, and what they say together.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tune import execution, startup
from tune.console.suite import SuiteDisplay, format_suite_plan
from tune.core.command import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOTHING_FINISHED,
    UnfinishedError,
    catch_stop_signals,
    choose_output_folder,
)
from tune.core.options import CommonOptions
from tune.planning.members import claim_suite_output, make_member_options, name_experiment, name_member
from tune.planning.plan import Plan
from tune.planning.planner import plan_each_task
from tune.records.events import GuardedWatcher, Watcher, notify
from tune.session import Session, explain_late_interruption
from tune.strategy.arms import Arms
from tune.strategy.budget import SlotCount
from tune.strategy.pool import Pool, PooledTask
from tune.suite_report import report_suite


def start_sessions(
    kind: type[Session], given: CommonOptions, options: CommonOptions, watchers: Sequence[Watcher] = ()
) -> int:
    """Run a search, or a comparison, for each task of these options. Returns the exit status.

    given: the options of the command. options: with those of a folder that is resumed behind them. Raises
    what `run_session_command` says.
    """
    if len(options.members) == 1:
        return kind.start(options, watchers)
    output = choose_output_folder(options, kind.prefix)
    members = make_member_options(given, options, output)
    if options.dry_run:
        plans = plan_each_task(members, lambda each: startup.plan_dry_run(each, each.output or output))
        SuiteDisplay.for_plans(plans).show_plan(format_suite_plan(plans), output)
        return EXIT_DONE
    with ExitStack() as holding:
        if not options.preflight:
            output = claim_suite_output(options, output, holding)
            members = make_member_options(given, options, output)
        plans = startup.plan_on_cluster([(each, each.output or output) for each in members], holding)
        for plan in plans:
            startup.check_obstacles(plan, plan.options.output or output)
        if options.preflight:
            lines = [*format_suite_plan(plans), startup.PREFLIGHT_PASSED]
            SuiteDisplay.for_plans(plans).show_plan(lines, output)
            return EXIT_DONE
        return Suite(kind, name_experiment(plans, options), output, watchers).run()


class Suite:
    """The sessions of several tasks, on a cluster that is connected.

    sessions: by task. errors: why a task has no result. output: the folder of all of them.
    """

    def __init__(
        self, kind: type[Session], plans: Sequence[Plan], output: Path, watchers: Sequence[Watcher]
    ) -> None:
        self.output, self.watchers = output.resolve(), watchers
        slots = SlotCount(plans[0].slots)
        self.sessions = {name_member(plan): kind(plan, watchers, slots) for plan in plans}
        for session in self.sessions.values():
            session.resume_folder = self.output
        self.display = SuiteDisplay({name: each.display for name, each in self.sessions.items()})
        self.errors: dict[str, UnfinishedError] = {}

    @property
    def plans(self) -> list[Plan]:
        """The plans of the tasks."""
        return [session.plan for session in self.sessions.values()]

    def run(self) -> int:
        """Run all tasks, then report. Returns the exit status."""
        self.display.show_plan(
            [*format_suite_plan(self.plans), f"output       {self.output}", ""], self.output
        )
        with catch_stop_signals() as stop:
            arms = {name: session.make_arms(stop) for name, session in self.sessions.items()}
            pool = self._make_pool(arms)
            first = next(iter(self.sessions.values()))
            with self._explain_crashes():
                find_faults = startup.make_node_check(self.plans, self.output)
                again = first.resume_command
                execution.run_trials(
                    pool, first.plan, self.output / "ray", stop, self.display, find_faults, again
                )
            if stop.is_set():
                for name, session in self.sessions.items():
                    session.suspend(arms[name])
                notify(self._guard_watchers(), "session_ended", self.output, True)
                self.display.first.interrupted(first.resume_command)
                return EXIT_INTERRUPTED
        try:
            for (name, session), task in zip(self.sessions.items(), pool.tasks, strict=True):
                self._conclude(name, session, task)
            return self._finish()
        except KeyboardInterrupt:
            for session in self.sessions.values():
                session.tell_end(interrupted=True)
            raise explain_late_interruption(first.resume_command) from None

    def _make_pool(self, arms: dict[str, Arms]) -> Pool:
        tasks = []
        for plan, each in zip(self.plans, arms.values(), strict=True):
            runs = max(0, plan.planned_runs - plan.ended_runs)
            tasks.append(PooledTask(each, plan.estimate.slot_seconds, runs))
        return Pool(tasks)

    @contextmanager
    def _explain_crashes(self) -> Iterator[None]:
        """Tell every task of an error that ends them all, and raise it with what to do."""
        try:
            yield
        except Exception as error:
            told = [session.explain_crash(error) for session in self.sessions.values()]
            raise told[0] from error

    def _conclude(self, name: str, session: Session, task: PooledTask) -> None:
        """Report what was found for a task, or note why nothing was."""
        try:
            if task.error is not None:
                raise session.explain_crash(task.error)
            session.conclude(task.arms)
        except UnfinishedError as error:
            self.errors[name] = error
        except Exception as error:
            self.errors[name] = session.explain_crash(error)

    def _guard_watchers(self) -> list[GuardedWatcher]:
        """Return the watchers that the caller handed in, which hear last of all tasks together."""
        return [GuardedWatcher(watcher, self.display.first.warn) for watcher in self.watchers]

    def _finish(self) -> int:
        """Show what the tasks say together. Returns the exit status."""
        display = self.display.first
        for name, error in self.errors.items():
            display.warn(f"{name}: {error}")
        ended = [each for name, each in self.sessions.items() if name not in self.errors]
        if not ended:
            raise UnfinishedError("no task has a result; see the warnings", EXIT_NOTHING_FINISHED)
        failed = {name: str(error) for name, error in self.errors.items()}
        report_suite(ended, failed, self.output, self.display, self._guard_watchers())
        shutil.rmtree(self.output / "ray", ignore_errors=True)
        return max((error.status for error in self.errors.values()), default=EXIT_DONE)
