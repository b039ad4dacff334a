"""Parts of a search made by hand: no data is read, no cluster is asked."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from sqlalchemy import Engine, event

from dps.models.manifest import write_manifest
from dps.tasks import registry
from dps.training.preview import RunPreview
from dps.training.result import Evaluation, Outcome, RunResult
from tune.core import command, space
from tune.core.options import CompareOptions, SearchOptions
from tune.core.provenance import Provenance
from tune.core.run import Job, RunReport, RunSettings
from tune.planning import space_options
from tune.planning.arm import Arm
from tune.planning.cluster import Cluster, Node
from tune.planning.estimate import TrainingSpeed
from tune.planning.inputs import ResolvedInput
from tune.planning.plan import Plan, describe_plan
from tune.records.ledger import Ledger, TrialRecord
from tune.strategy.arms import Arms
from tune.strategy.budget import SlotCount, StopRule, TrialLimit
from tune.strategy.phases import NoJob, SearchPhases
from tune.strategy.strategy import Strategy
from tune.tracking.content import TrackedSearch

OLD_SEARCHES = Path(__file__).parents[2] / "data" / "521c27d"
STEPS = (20, 40, 60)  # of the evaluations of a made-up trial
PROVENANCE = Provenance(
    started=1.0,
    git_commit="0123abc",
    git_dirty=True,
    python="3.11",
    packages={"torch": "2.13.0", "ray": "2.60.0"},
    platform="Linux",
    command=["python", "tune/search.py"],
)
SETTINGS = RunSettings(
    task="cola",
    data="builtin",
    model="builtin",
    epochs=3,
    max_steps=None,
    batch_size=16,
    max_length=128,
    train_size=None,
    precision="auto",
    evaluations=3,
    select_on="holdout",
)


@event.listens_for(Engine, "connect")
def _never_wait_for_the_disk(connection: object, record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=MEMORY")


def restore_old_search(name: str, folder: Path) -> Path:
    """Make a search of commit 521c27d (`tests/data`) again in `folder`."""
    shutil.copytree(OLD_SEARCHES / name, folder, dirs_exist_ok=True)
    with closing(sqlite3.connect(folder / "study.db")) as database:
        database.executescript((folder / "study.sql").read_text(encoding="utf-8"))
    return folder


def make_space(methods: tuple[str, ...] = ("dps-dense", "vanilla")) -> space.SearchSpace:
    """The default space of a small model and 60 steps."""
    return space_options.build_search_space(methods, "gradient", 22_000_000, STEPS[-1])


def make_plan(data_name: str = "built-in cola", task: str = "cola", **options: Any) -> Plan:
    """The plan of a small search."""
    arm = Arm(
        task=registry.get_task(task),
        data=ResolvedInput("builtin", data_name, "d" * 16, "built-in generator (named)"),
        model=ResolvedInput("builtin", "MiniLM", "m" * 16, "built-in MiniLM encoder (named)"),
        preview=RunPreview({"train": 800, "dev": 400}, 160, STEPS[-1], 75, 8.0, 0.0),
        settings=SETTINGS,
        speed=TrainingSpeed(0.1, 0.0066),
        space=make_space(),
        precision_note="fp32 (auto: this CPU has no bf16 in hardware)",
    )
    return Plan(
        options=SearchOptions(**options),
        arms={"": arm},
        slots=2,
        gpus_per_worker=0.0,
        cluster=Cluster(None, (Node(2.0, 0.0, 8 * 2.0**30),)),
    )


def change_spaces(plan: Plan, spaces: Mapping[str, space.SearchSpace]) -> Plan:
    """The plan with an arm for each of these spaces."""
    return replace(plan, arms={name: replace(plan.first, space=each) for name, each in spaces.items()})


def track_plan(plan: Plan) -> TrackedSearch:
    """What MLflow is told of a search with this plan."""
    return TrackedSearch.from_description(plan.options, describe_plan(plan))


def make_comparison(methods: Sequence[str], task: str = "rte", **options: Any) -> Plan:
    """The plan of a small comparison of these methods, the baseline first."""
    sets = tuple(options["transfer"].split(",")) if options.get("transfer") else ()
    made = CompareOptions(task=task, baseline=methods[0], methods=",".join(methods), **options)
    settings = replace(SETTINGS, task=task, transfer=sets, select_on=made.select_on)
    plan = replace(make_plan(task=task), options=made).change_arms(settings=settings)
    return change_spaces(plan, {method: make_space((method,)) for method in methods})


def make_record(number: int = 0, outcome: Outcome = Outcome.COMPLETED, **changes: Any) -> TrialRecord:
    """A trial of the search."""
    record = TrialRecord(
        id=str(number),
        purpose="search",
        number=number,
        configuration={"method": "vanilla", "learning_rate": 1e-4},
        seed=0,
        outcome=outcome,
    )
    return replace(record, **changes)


def make_replicate(seed: int, score: float, metric: str = "matthews_correlation") -> TrialRecord:
    """A completed replicate of a winner, with its score on dev."""
    return make_record(
        seed, id=f"confirm-{seed}", purpose="confirmation", seed=seed, final={"dev": {metric: score}}
    )


def strategy(
    folder: Path,
    trials: int = 12,
    rules: list[StopRule] | None = None,
    slots: SlotCount | int = 2,
    **changes: Any,
) -> Strategy:
    """A strategy of two slots, three replicates and `trials` trials."""
    made = Strategy(
        space=make_space(),
        settings=SETTINGS,
        direction="max",
        sampler="tpe",
        seed=5,
        design_size=trials,
        confirmation_seeds=3,
        slots=SlotCount(slots) if isinstance(slots, int) else slots,
        stop_rules=[TrialLimit(trials)] if rules is None else rules,
        folder=str(folder),
    )
    return replace(made, **changes)


def objective(job: Job, step: int) -> float:
    """A made-up score: better near a learning rate of 1e-4, and with steps."""
    distance = abs(job.configuration["learning_rate"] - 1e-4) * 1e3
    return step / STEPS[-1] - distance + 0.001 * job.seed


def make_evaluation(step: int, score: float = 0.5, max_steps: int = STEPS[-1]) -> Evaluation:
    """An evaluation that is the first of its run."""
    curve = [(at, score) for at in range(STEPS[0], step + 1, STEPS[0])] or [(step, score)]
    return Evaluation(step, max_steps, {"matthews_correlation": score}, None, 0.0, curve)


def progress_report(
    job: str, step: int, max_steps: int = STEPS[-1], score: float = 0.5, **so_far: Any
) -> RunReport:
    """The report of an evaluation."""
    evaluation = make_evaluation(step, score, max_steps)
    return RunReport(job, RunResult(scores=evaluation.curve, **so_far), evaluation)


def last_report(job: str, outcome: Outcome, **result: Any) -> RunReport:
    """The report that a run ended."""
    return RunReport(job, RunResult(outcome=outcome, **result))


def end_session(start: Callable[[], int]) -> int:
    """Run a session as its command does: the exit status, with what broke it off on standard error."""
    try:
        return start()
    except command.UnfinishedError as error:
        return command.print_error(str(error), error.status)


def leave_model(folder: Path, weight: float = 0.0) -> None:
    """A model of one weight, as a run leaves it."""
    with write_manifest(folder):
        (folder / "config.json").write_text("{}")
        save_file({"weight": np.full(8, weight, np.float32)}, folder / "model.safetensors")


def end_well(job: Job) -> RunReport:
    """The last report of a run that completes; in a search with a folder it leaves its model there."""
    if job.keep_model and Path(job.location).is_absolute():
        leave_model(Path(job.location) / "model", job.seed)
    score = objective(job, STEPS[-1])
    final = {"dev": {"matthews_correlation": score}} if job.purpose == "confirmation" else {}
    return last_report(job.id, Outcome.COMPLETED, scores=[(STEPS[-1], score)], seconds=3.0, final=final)


@dataclass
class FakeTune:
    """What Ray Tune does with the arms, without Ray: slots, evaluations, ends in a random order."""

    arms: SearchPhases | Arms
    order: int = 0
    end: Callable[[Job], RunReport | None] = end_well  # None: the slot is lost, as Tune tells it
    stop: Callable[[Job, int], bool] = lambda job, step: False
    score: Callable[[Job, int], float] = objective
    jobs: dict[str, Job] = field(default_factory=dict)  # live, by the key that they are known by
    steps: dict[str, int] = field(default_factory=dict)  # evaluations done by each
    seen: list[Job] = field(default_factory=list)
    most_live: int = 0
    finished: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.order)

    def run(self, events: int = 10_000) -> None:
        """Go on until there is nothing left to run, or for so many events."""
        for _ in range(events):
            self.fill()
            if not self.jobs:
                return
            self.advance(self.random.choice(sorted(self.jobs)))
        assert events < 10_000, "the search does not end"

    def fill(self) -> None:
        """Ask for jobs until there is none for now, as Tune does."""
        while not self.finished:
            name = f"tune-{self.order}-{len(self.seen)}"
            job = self.arms.next_job(name)
            if not isinstance(job, Job):
                self.finished = job == NoJob.EVER
                return
            self.jobs[name], self.steps[name] = job, 0
            self.seen.append(job)
            self.most_live = max(self.most_live, len(self.jobs))

    def advance(self, name: str) -> None:
        """One evaluation, or the end, of a live trial."""
        job, done = self.jobs[name], self.steps[name]
        if done == len(STEPS):
            self.complete(name, self.end(job))
            return
        step = STEPS[done]
        report = progress_report(job.id, step, STEPS[-1], self.score(job, step), seconds=1.0 + done)
        if self.stop(job, step):
            self.complete(name, report)
            return
        self.steps[name] += 1
        self.arms.take_report(name, report)

    def complete(self, name: str, report: RunReport | None) -> None:
        """The run leaves its slot; without a report the slot was lost."""
        del self.jobs[name]
        self.arms.end_run(name, report, lost=report is None)


@cache
def _empty_ledger(arms: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        for arm in arms:
            Ledger(Path(folder) / "study.db", "max", arm)
        return (Path(folder) / "study.db").read_bytes()


def open_ledger(folder: Path) -> Ledger:
    """The ledger in this folder; a new one is a copy, which is quicker than making its tables."""
    return open_ledgers(folder, ("",))[""]


def open_ledgers(folder: Path | None, arms: Sequence[str]) -> dict[str, Ledger]:
    """The ledgers of the arms, in one file; without a folder in memory."""
    if folder is None:
        return {arm: Ledger(None, "max", arm) for arm in arms}
    file = folder / "study.db"
    if not file.exists():
        file.write_bytes(_empty_ledger(tuple(arms)))
    return {arm: Ledger(file, "max", arm) for arm in arms}


def make_arms(ledgers: dict[str, Ledger], slots: SlotCount | int = 2, **changes: Any) -> Arms:
    """The arms of a comparison over the slots: two configurations and two seeds each."""
    slots = SlotCount(slots) if isinstance(slots, int) else slots
    shared = {"trials": 2, "confirmation_seeds": 2, "sampler": "latin", "keep_models": False} | changes
    plans = {arm: strategy(Path("work"), space=make_space((arm,)), slots=slots, **shared) for arm in ledgers}
    return Arms([SearchPhases(ledger, plans[arm], [], lambda: False) for arm, ledger in ledgers.items()])
