"""What must hold after a search in which things were killed; for `benchmarks/chaos.py`."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from dps.tasks import registry
from tune.core.provenance import collect_provenance
from tune.core.run import RunPurpose
from tune.records.ledger import Ledger, TrialRecord

SLACK_S = 1.0  # between two reports: what the run's clock does not count (the report, the checkpoint)


@dataclass(frozen=True)
class Event:
    """What the driver heard of a run. at: seconds since the epoch; what: "started", "reported" or "ended";
    seconds: of the run, by its own clock, which goes on from a checkpoint where it stood."""

    at: float
    what: str
    trial: str
    step: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Kill:
    """at: seconds since the epoch."""

    at: float
    kind: str


@dataclass
class Verdict:
    """What came out. redone, worked: seconds of runs; seconds: of the search; wrong: checks that failed."""

    name: str
    kills: dict[str, int]
    runs: int = 0
    lost: int = 0
    doubled: int = 0
    redone: float = 0.0
    worked: float = 0.0
    sittings: int = 1
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def check(self, holds: bool, otherwise: str) -> None:
        """Note what is wrong."""
        if not holds:
            self.wrong.append(otherwise)


def note(file: Path, what: str, record: Any, report: Any = None) -> None:
    """Append an event, in one write: it is there even if the process dies right after."""
    step, seconds = (report.step, report.seconds) if report is not None else (record.step, record.seconds)
    line = json.dumps(vars(Event(time.time(), what, record.id, step, seconds)))
    with file.open("a", encoding="utf-8") as events:
        events.write(line + "\n")


def read_events(file: Path) -> list[Event]:
    """What was noted so far."""
    if not file.exists():
        return []
    return [Event(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines() if line]


def tiny_search(folder: Path) -> tuple[str, ...]:
    """The options that name a tiny model and data, made in `folder`, and MLflow there."""
    from tests import tiny

    data = tiny.data_folder(folder / "data", registry.get_task("cola"), train=280, dev=100)
    draws = random.Random(0)
    for file in sorted(data.glob("*.jsonl")):  # a fifth of the labels is wrong, so that scores differ
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        rows = [row | {"label": row["label"] ^ (draws.random() < 0.2)} for row in rows]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = tiny.model_folder(folder / "model")
    tracking = f"sqlite:///{folder}/mlflow.db"
    return "--data", str(data), "--model", str(model), "--tracking-uri", tracking, "--experiment", "chaos"


@dataclass(frozen=True)
class Setback:
    """A run that was cut off. redone: seconds of work, at most; back: seconds between the last report before
    the kill and the report that it went on from, by the run's clock."""

    trial: str
    redone: float
    back: float


def setbacks(events: Sequence[Event], kills: Sequence[Kill]) -> list[Setback]:
    """Where runs were cut off: between two signs of a run lie kills, and more time than it worked."""
    found = []
    for trial in dict.fromkeys(event.trial for event in events):
        mine = [event for event in events if event.trial == trial and event.what != "ended"]
        mine = [e for i, e in enumerate(mine) if e.what == "reported" or i == 0]  # started once
        for number, (before, after) in enumerate(pairwise(mine)):
            between = [kill.at for kill in kills if before.at < kill.at < after.at]
            idle = (after.at - before.at) - (after.seconds - before.seconds)
            if not between or (idle < SLACK_S and after.step > before.step):
                continue
            from_ = max(
                (e.seconds for e in mine[: number + 1] if e.what == "reported" and e.step < after.step),
                default=0.0,
            )
            back = max(0.0, before.seconds - from_)
            most = max(event.seconds for event in mine)  # no kill costs more than the run as a whole
            lost = sum(min(most, at - since) for since, at in pairwise([before.at, *between]))
            found.append(Setback(trial, back + lost, back))
    return found


def longest_gap(events: Sequence[Event]) -> float:
    """Seconds between two reports of a run, by its own clock."""
    gaps = [0.0]
    for trial in {event.trial for event in events}:
        mine = [event for event in events if event.trial == trial and event.what == "reported"]
        gaps += [b.seconds - a.seconds for a, b in pairwise(mine) if b.step > a.step]
    return max(gaps)


def judge(
    name: str,
    output: Path,
    undisturbed: Path | None,
    tracking: str,
    events: list[Event],
    kills: list[Kill],
    confirm: int,
    checkpoint_every_s: float,
    same_scores: bool,
) -> Verdict:
    """Everything that must hold of the search in `output`, beside the one that nobody disturbed, if any."""
    verdict = Verdict(name, dict(Counter(kill.kind for kill in kills)))
    records = _records(output)
    _check_ledger(verdict, output, records, events)
    if undisturbed is not None:
        _check_proposals(verdict, records, _records(undisturbed), same_scores)
    cut_off = setbacks(events, kills)
    verdict.redone = sum(setback.redone for setback in cut_off)
    verdict.worked = sum(record.seconds for record in records)
    most = checkpoint_every_s + longest_gap(events) + SLACK_S
    for setback in cut_off:
        verdict.check(
            setback.back <= most,
            f"run {setback.trial} went back {setback.back:.1f} s, not {most:.1f} at most",
        )
    _check_result(verdict, output, confirm)
    _check_mlflow(verdict, output, tracking, {record.id for record in records})
    return verdict


def _records(output: Path) -> list[TrialRecord]:
    return Ledger(output / "study.db", "max").records()


def _check_ledger(
    verdict: Verdict, output: Path, records: list[TrialRecord], events: Iterable[Event]
) -> None:
    verdict.runs = len(records)
    lost = [r.id for r in records if r.outcome != "completed"]
    verdict.check(
        not lost, f"not completed: {[(r.id, str(r.outcome), r.error) for r in records if r.id in lost]}"
    )
    for purpose in RunPurpose:
        numbers = [record.number for record in records if record.purpose == purpose]
        verdict.check(numbers == list(range(len(numbers))), f"{purpose}: the ids are {numbers}")
    runs = Counter((json.dumps(r.configuration, sort_keys=True), r.seed) for r in records)
    ends = Counter(event.trial for event in events if event.what == "ended")
    twice = [run for run, count in runs.items() if count > 1]
    twice += [(trial, 0) for trial, count in ends.items() if count > 1]
    verdict.lost, verdict.doubled = len(lost), len(twice)
    verdict.check(not twice, f"done twice: {twice}")
    with closing(sqlite3.connect(output / "study.db")) as held:
        (open_,) = held.execute(
            "SELECT count(*) FROM trials WHERE state IN ('RUNNING', 'WAITING')"
        ).fetchone()
    verdict.check(open_ == 0, f"{open_} trials of the study are open")


def _check_proposals(
    verdict: Verdict, records: list[TrialRecord], expected: list[TrialRecord], same_scores: bool
) -> None:
    mine = [record for record in records if record.purpose == RunPurpose.SEARCH]
    theirs = [record for record in expected if record.purpose == RunPurpose.SEARCH][: len(mine)]
    same = [record.configuration for record in mine] == [record.configuration for record in theirs]
    verdict.check(same, "the configurations are not those of the undisturbed search")
    if same_scores:
        pairs = zip(mine, theirs, strict=True)
        others = [one.id for one, other in pairs if one.scores != other.scores]
        verdict.check(not others, f"runs with other scores than undisturbed: {others}")


def _check_result(verdict: Verdict, output: Path, confirm: int) -> None:
    found = json.loads((output / "search.json").read_text(encoding="utf-8"))
    scores = (found["confirmation"] or {"scores": {}})["scores"]
    verdict.check(len(scores) == confirm, f"{len(scores)} of {confirm} confirmations have a score")
    verdict.check((output / "best" / "model.safetensors").is_file(), "there is no model")


def _check_mlflow(verdict: Verdict, output: Path, tracking: str, ids: set[str]) -> None:
    from mlflow import MlflowClient

    search_id = Ledger(output / "study.db", "max").noted("search_id")
    client = MlflowClient(tracking_uri=tracking)
    (experiment,) = [each for each in client.search_experiments() if each.name == "chaos"]
    wanted = f"tags.`dps.search` = '{search_id}'"
    runs = client.search_runs([experiment.experiment_id], wanted, max_results=5000)
    trials = [run.data.tags["dps.trial"] for run in runs]
    verdict.check(sorted(trials) == sorted({*ids, "search"}), f"MLflow has the runs {sorted(trials)}")
    other = {run.data.tags["dps.trial"]: run.info.status for run in runs}
    other = {trial: status for trial, status in other.items() if status not in ("FINISHED", "FAILED")}
    verdict.check(not other, f"MLflow has {other}")


HEAD = """# Kills at random moments

{kills} times SIGKILL over {searches} searches, in {minutes:.1f} minutes on {cores} cores: lost {lost},
doubled {doubled}; at most {redone:.0f} s of work redone, {each:.1f} s a kill. Checks that failed: {wrong}.

| search | sittings | kills | runs | lost | doubled | work redone (at most) | of work |
|---|---|---|---|---|---|---|---|
{rows}

Checked after each search: every configuration has exactly one final outcome in the ledger, ids are
complete and none is doubled; no progress of a run went back by more than a checkpoint interval ({every:g} s
and the time to the next evaluation); the configurations are those of an undisturbed search of the same
seed, and so are the scores of runs of one worker, bit for bit; the winner's confirmation is complete;
MLflow has every run as FINISHED or FAILED and none as RUNNING; no process is left. Work redone is what a
run had done since the checkpoint that it went on from; where it cannot be told how much of the time before a
kill went into starting processes, that time counts, up to the length of the run as a whole.

Made by `python benchmarks/chaos.py --seed {seed}` at {commit}, Python {python}; a tiny model, {steps} steps
a run.
{failed}"""


def document(verdicts: list[Verdict], seed: int, seconds: float, steps: int, every_s: float) -> str:
    """The figures, as Markdown."""
    kills = sum((Counter(verdict.kills) for verdict in verdicts), Counter[str]())
    redone, count = sum(verdict.redone for verdict in verdicts), sum(kills.values())
    origin = collect_provenance("python benchmarks/chaos.py")
    changed = " (changed)" if origin.git_dirty else ""
    wrong = [f"- {verdict.name}: {said}" for verdict in verdicts for said in verdict.wrong]
    return HEAD.format(
        kills=count,
        searches=len(verdicts),
        minutes=seconds / 60,
        cores=len(os.sched_getaffinity(0)),
        lost=sum(verdict.lost for verdict in verdicts),
        doubled=sum(verdict.doubled for verdict in verdicts),
        redone=redone,
        each=redone / max(1, count),
        wrong=len(wrong),
        rows="\n".join(map(row, verdicts)),
        every=every_s,
        seed=seed,
        commit=f"{str(origin.git_commit)[:12]}{changed}",
        python=origin.python,
        steps=steps,
        failed="\n".join(["", *wrong]),
    )


def row(verdict: Verdict) -> str:
    kills = ", ".join(f"{count} {kind}" for kind, count in verdict.kills.items())
    return (
        f"| {verdict.name} | {verdict.sittings} | {kills} | {verdict.runs} | {verdict.lost} "
        f"| {verdict.doubled} | {verdict.redone:.1f} s | {verdict.worked:.0f} s |"
    )
