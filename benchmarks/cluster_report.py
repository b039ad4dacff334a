"""What came of disturbing a cluster, as Markdown; for `benchmarks/cluster_chaos.py`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import chaos, cluster_listeners
from benchmarks.chaos_checks import Verdict
from tune.core.provenance import collect_provenance

HEAD = """# A cluster whose links and machines fail

{disturbed} disturbances of {lasts:.0f} s, one after another in a search over three machines with two DDP
workers a trial: lost {lost}, doubled {doubled}, checks that failed: {wrong}. {minutes:.1f} minutes on
{cores} cores.

| what happened | to | reports before it | while it lasted | the user is told |
|---|---|---|---|---|
{happened}

| search | sittings | runs | lost | doubled | work redone, at most | of work | seconds |
|---|---|---|---|---|---|---|---|
{searches}

Checked of the search: every configuration has exactly one final outcome in the ledger, ids are complete and
none is doubled; no run went back by more than a checkpoint interval and the time to the next evaluation; the
configurations are those of the undisturbed search, and so are all scores, bit for bit; the confirmation is
complete; MLflow has every run as finished and none as running; each disturbance is told in exactly one line;
and nothing listens where it need not:

{listeners}

Machines are network, mount, process, host-name and IPC namespaces on one bridge (`benchmarks/machines.py`):
what is local to one is not visible on another. What a link loses and how late it is, is made by a relay of
frames in place of the bridge's port. The last machine serves an S3-compatible store and MLflow. Made by
`python benchmarks/cluster_chaos.py --seed {seed}` at {commit}, Python {python}; a tiny model, {steps} steps a
run.
{failed}"""


@dataclass
class Finding:
    """What came of a disturbance. at: a machine; reports: of the search until it began, and until it ended;
    log_at: size of the driver's log when it began; told: the lines that say so."""

    what: str
    at: str
    reports_before: int
    log_at: int
    reports_after: int = 0
    told: Sequence[str] = ()

    @property
    def row(self) -> str:
        """The row of the table."""
        meanwhile = self.reports_after - self.reports_before
        told = "; ".join(f"`{line.strip()}`" for line in self.told) or "nothing"
        return f"| {self.what} | {self.at} | {self.reports_before} | {meanwhile} | {told} |"


def document(
    findings: Sequence[Finding],
    verdicts: Sequence[Verdict],
    listeners: set[tuple[str, str]],
    seed: int,
    lasts_s: float,
) -> str:
    """The figures. verdicts: on the searches; listeners: see `cluster_listeners`."""
    origin = collect_provenance("python benchmarks/cluster_chaos.py")
    wrong = [f"- {verdict.name}: {said}" for verdict in verdicts for said in verdict.wrong]
    return HEAD.format(
        disturbed=len(findings),
        lasts=lasts_s,
        lost=sum(verdict.lost for verdict in verdicts),
        doubled=sum(verdict.doubled for verdict in verdicts),
        wrong=len(wrong),
        minutes=sum(verdict.seconds for verdict in verdicts) / 60,
        cores=len(os.sched_getaffinity(0)),
        happened="\n".join(finding.row for finding in findings),
        searches="\n".join(map(_format_search, verdicts)),
        listeners=cluster_listeners.format_table(listeners),
        seed=seed,
        commit=f"{str(origin.git_commit)[:12]}{' (changed)' if origin.git_dirty else ''}",
        python=origin.python,
        steps=chaos.SEARCH[chaos.SEARCH.index("--max-steps") + 1],
        failed="\n".join(["", *wrong]),
    )


def _format_search(verdict: Verdict) -> str:
    return (
        f"| {verdict.name} | {verdict.sittings} | {verdict.runs} | {verdict.lost} | {verdict.doubled} "
        f"| {verdict.redone:.1f} s | {verdict.worked:.0f} s | {verdict.seconds:.0f} |"
    )
