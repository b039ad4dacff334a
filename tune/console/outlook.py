"""How far a search is: its runs by phase, what leads, and the time that is left."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from rich.text import Text

from dps.methods import METHODS, MethodCost
from dps.training.result import Outcome
from tune.core.run import Progress, RunPurpose
from tune.planning.estimate import MEAN_TRIAL_SHARE, STARTUP_S, estimate_run
from tune.planning.plan import Plan
from tune.records.ledger import TrialRecord
from tune.strategy.race import Standing, find_leader

PHASE_NAMES = {RunPurpose.SEARCH: "explore", RunPurpose.RACE: "race", RunPurpose.CONFIRMATION: "confirm"}
MIN_UTILISATION = 0.5  # of the slots, however long they waited so far


@dataclass(frozen=True)
class Phase:
    """Runs of a purpose: how many were started, have ended, and will be in all, about."""

    purpose: RunPurpose
    started: int
    ended: int
    total: int

    def __str__(self) -> str:
        return f"{PHASE_NAMES[self.purpose]} {self.ended}/{self.total}"


def format_phases(phases: Sequence[Phase]) -> Text:
    """Format phases in a line: what is over green, what has not begun dim."""
    line = Text()
    for phase in phases:
        line.append(" > " if line else "")
        line.append(str(phase), "green" if phase.ended == phase.total else "" if phase.started else "dim")
    return line


def count_phases(plan: Plan, records: Collection[TrialRecord]) -> list[Phase]:
    """Count the runs of each phase."""
    own = [run for run in records if run.purpose == RunPurpose.CONFIRMATION and not run.arm]
    planned = {
        RunPurpose.SEARCH: _count_trials(plan, records, plan.arms),
        RunPurpose.RACE: _count_race_runs(plan, records),
        RunPurpose.CONFIRMATION: _count_confirmations(plan, own),
    }
    phases = []
    for purpose, total in planned.items():
        runs = [run for run in records if run.purpose == purpose]
        total = max(total, len(runs))
        if total:
            ended = sum(run.outcome.is_final for run in runs)
            phases.append(Phase(purpose, len(runs), ended, total))
    return phases


def _count_trials(plan: Plan, records: Collection[TrialRecord], arms: Iterable[str]) -> int:
    """Return how many trials arms will have: those that they have once a confirmation began, or the race, and
    no trial is under way."""
    trials = [run for run in records if run.purpose == RunPurpose.SEARCH]
    had = Counter(run.arm for run in trials)
    exploring = {run.arm for run in trials if not run.outcome.is_final}
    over = {run.arm for run in records if run.purpose == RunPurpose.RACE} - exploring
    over |= {run.arm for run in records if run.purpose == RunPurpose.CONFIRMATION}
    return sum(had[arm] if arm in over else max(plan.count_trials(arm), had[arm]) for arm in arms)


def _count_race_runs(plan: Plan, records: Collection[TrialRecord]) -> int:
    """Return how many runs the race will have: of fewer configurations where few trials of an arm went to
    their end; what an arm had once it confirms."""
    had = Counter(run.arm for run in records if run.purpose == RunPurpose.RACE)
    total = 0
    for arm in plan.arms:
        if any((run.purpose, run.arm) == (RunPurpose.CONFIRMATION, arm) for run in records):
            total += had[arm]
            continue
        trials = [run for run in records if (run.purpose, run.arm) == (RunPurpose.SEARCH, arm)]
        ended = [run for run in trials if run.outcome.is_final]
        left = _count_trials(plan, records, [arm]) - len(ended)
        completed = sum(run.outcome == Outcome.COMPLETED for run in ended)
        total += max(plan.count_race_runs(arm, completed + left), had[arm])
    return total


def _count_confirmations(plan: Plan, own: Sequence[TrialRecord]) -> int:
    """Return how many confirmations there will be: fewer than planned where the published values won."""
    total = sum(map(plan.count_confirmations, plan.arms))
    if len({run.seed for run in own}) > 1:  # each configuration has run with the first seed
        configurations = {run.configuration_key for run in own}
        total += len(configurations) * plan.options.confirm - plan.count_confirmations("")
    return total


def find_leading(plan: Plan, records: Collection[TrialRecord]) -> Standing | None:
    """Return how the configuration stands that leads a search; None before a trial went to its end, and in a
    comparison."""
    if "" not in plan.arms:
        return None
    trials, race_runs = (
        [run for run in records if run.purpose == purpose and not run.arm]
        for purpose in (RunPurpose.SEARCH, RunPurpose.RACE)
    )
    leader = find_leader(trials, race_runs, plan.task.direction, plan.preview.chance_level)
    return leader if leader is not None and math.isfinite(leader.mean) else None


@dataclass(frozen=True)
class Work:
    """Work of a search in slot-seconds by the plan's speeds.

    left: until its end. done: in this session. spent: what that took. trial: of one whole trial.
    """

    left: float
    done: float
    spent: float
    trial: float


def measure_work(
    plan: Plan,
    records: Collection[TrialRecord],
    progress: Mapping[str, Progress],
    earlier: Collection[str],
) -> Work:
    """Measure what a search has done and has left, the race included.

    progress: of the runs under way, by id. earlier: ids of runs that ended before this session.
    """
    share = MEAN_TRIAL_SHARE[plan.options.scheduler]
    left = done = spent = 0.0
    own = plan.get_cost(next(iter(plan.arms)))
    for run in records:
        whole = _predict_run(plan, run.arm, run.purpose, _get_cost(run.configuration["method"]))
        ran = _measure_share(run, progress, plan.options.evaluations)
        if not run.outcome.is_final:
            left += whole * max(0.0, 1.0 - ran)
        if run.id not in earlier:
            done, spent = done + whole * ran, spent + run.seconds
    for phase in count_phases(plan, records):
        mean = _predict_run(plan, "", phase.purpose, own)
        left += (phase.total - phase.started) * mean * (share if phase.purpose == RunPurpose.SEARCH else 1.0)
    return Work(left, done, spent, _predict_run(plan, "", RunPurpose.SEARCH, own))


def estimate_left(works: Sequence[Work], slots: int, passed: float) -> float | None:
    """Estimate the seconds until the end of searches that share the slots: what is left, as much slower or
    faster than planned as what was done, on slots that are as busy as they were. None before a first step.

    passed: seconds of this session.
    """
    left, done, spent = (sum(getattr(work, name) for work in works) for name in ("left", "done", "spent"))
    if not done:
        return None
    prior = works[0].trial / 4
    slowness = (spent + prior) / (done + prior)
    busy = (spent + slowness * prior) / (slots * max(0.0, passed - STARTUP_S) + slowness * prior)
    return float(left * slowness / slots / min(1.0, max(MIN_UTILISATION, busy)))


@cache
def _get_cost(method: str) -> MethodCost:
    return METHODS[method]().cost


def _predict_run(plan: Plan, arm: str, purpose: RunPurpose, cost: MethodCost) -> float:
    """Return the seconds of a whole run by the plan's speeds. arm: of a comparison, else the first one."""
    own = plan.arms.get(arm, plan.first)
    predicted = estimate_run(plan.options, own.preview, own.speed, cost)
    whole = predicted.confirmation if purpose == RunPurpose.CONFIRMATION else predicted.trial
    return max(whole * plan.mean_training_share, 1e-9)


def _measure_share(run: TrialRecord, progress: Mapping[str, Progress], evaluations: int) -> float:
    """Return the share of its steps that a run has done."""
    if run.outcome.is_final:
        return run.measure_share(evaluations) if run.outcome != Outcome.FAILED else 0.0
    return progress[run.id].share if run.id in progress else 0.0
