"""Whole searches, one after the other: what searching adds on average, and what it takes.

    python benchmarks/whole_searches.py runs/whole > benchmarks/whole-searches_2-cores_DATE.md
    python benchmarks/whole_searches.py runs/whole --searches 4 -- --task rte --data glue

Each is the default search (or what follows `--`) with a seed and a folder of its own; the seeds lie so far
apart that no two searches share one. What ended is not run again, and what was stopped goes on. The report is
made of the searches' search.json alone.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median, stdev

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from scipy import stats

from dps.wording import format_share
from tune.core.wording import format_clock, format_configuration
from tune.records.ledger import TrialRecord
from tune.records.search_document import BaselineSection, SearchDocument, read_search_document
from tune.reporting.summary import describe_told_difference
from tune.reporting.tables import format_markdown_table

SEED_DISTANCE = 100
PUBLISHED = "published values"


def run_searches(folder: Path, count: int, options: Sequence[str]) -> list[Path]:
    """Run so many searches to their end and return their folders. Raises CalledProcessError if one fails."""
    folders = [folder / f"seed-{SEED_DISTANCE * number}" for number in range(count)]
    for number, output in enumerate(folders):
        if (output / "search.json").is_file():
            continue
        begin = [*options, "--seed", str(SEED_DISTANCE * number), "--output", str(output)]
        words = ["--resume", str(output)] if (output / "study.db").is_file() else begin
        command = [sys.executable, "tune/search.py", *words, "--tracking-uri", "none"]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return folders


def format_short_command(command: Sequence[str]) -> str:
    """Format a command without --output, and without the folders that its files lie in."""
    kept = [word for i, word in enumerate(command) if "--output" not in (word, command[i - 1])]
    return " ".join(word if word == "tune/search.py" else Path(word).name for word in kept)


def name_baseline(baseline: BaselineSection) -> str:
    """Name what a winner was compared with."""
    return PUBLISHED if baseline.published else baseline.name


def collect_differences(documents: Sequence[SearchDocument]) -> dict[str, list[float]]:
    """Return by baseline what each search's winner has more, in points: 0 to the published values where they
    won."""
    differences: dict[str, list[float]] = {}
    for document in documents:
        if document.winner is not None and document.winner.published:
            differences.setdefault(PUBLISHED, []).append(0.0)
        for baseline in document.baselines:
            if baseline.difference is not None:
                differences.setdefault(name_baseline(baseline), []).append(baseline.difference.points)
    return differences


def format_mean(values: Sequence[float]) -> str:
    """Format a mean over searches with its 95 % interval (Student)."""
    if len(values) < 2:
        return f"{fmean(values):+.1f}"
    half = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return f"{fmean(values):+.1f} ({fmean(values) - half:+.1f} to {fmean(values) + half:+.1f})"


def report_searches(documents: Sequence[SearchDocument]) -> str:
    """Return the whole report."""
    first, differences = documents[0], collect_differences(documents)
    origin = first.provenance
    commit = f"{(origin.git_commit or 'none')[:10]}{' with changes' if origin.git_dirty else ''}"
    packages = ", ".join(f"{name} {version}" for name, version in origin.packages.items())
    rows = [
        [name, format_mean(values), f"{min(values):+.1f} to {max(values):+.1f}", str(len(values))]
        for name, values in differences.items()
    ]
    return "\n\n".join(
        [
            "# What searching adds",
            f"{origin.cores} cores, {origin.platform}, Python {origin.python}, {packages}; commit {commit}. "
            f"{len(documents)} searches, which differ in their seed; the first:",
            f"    {format_short_command(origin.command)}",
            f"{first.task}, {first.plan.examples['train']:,} training examples, {first.metric}: what the "
            "winner has more than each baseline on the same fresh seeds, in points. The mean has a 95 % "
            "interval over searches (Student); the data and the examples of dev are the same in all.",
            format_markdown_table(
                ["winner less", "mean over searches", "lowest to highest", "searches"], rows
            ),
            format_markdown_table(
                ["seed", "winner", "on dev", *differences, "time"],
                [describe_search(document, list(differences)) for document in documents],
            ),
            "Runs with fresh seeds that *collapsed* (one answer to all examples of dev):",
            format_markdown_table(["side", "collapsed", "in searches"], count_collapsed(documents)),
            describe_time(documents),
        ]
    )


def count_collapsed(documents: Sequence[SearchDocument]) -> list[list[str]]:
    """Return a row for the winners and for each baseline: how many fresh runs collapsed, and in how many
    searches any did."""
    sides: dict[str, list[list[TrialRecord]]] = {}
    for document in documents:
        sides.setdefault("winner", []).append(document.confirmation_runs)
        for baseline in document.baselines:
            sides.setdefault(name_baseline(baseline), []).append(baseline.runs)
    rows = []
    for side, groups in sides.items():
        counts = [sum(bool(run.is_collapsed) for run in runs) for runs in groups]
        searches = f"{sum(map(bool, counts))} of {len(groups)}"
        rows.append([side, f"{sum(counts)} of {sum(map(len, groups))}", searches])
    return rows


def describe_search(document: SearchDocument, names: Sequence[str]) -> list[str]:
    """Return the row of a search: * marks a difference that it tells itself."""
    winner, cells = document.winner, dict.fromkeys(names, "-")
    for baseline in document.baselines:
        if baseline.difference is not None:
            told = describe_told_difference(baseline.difference) != "not distinguishable"
            cells[name_baseline(baseline)] = f"{baseline.difference.points:+.1f}{'*' if told else ''}"
    if winner is not None and winner.published:
        cells[PUBLISHED] = "0 (they won)"
    return [
        str(document.trials[0].seed),
        format_configuration(winner.configuration) if winner else "-",
        f"{document.confirmation.mean:.4f}" if document.confirmation and winner else "-",
        *cells.values(),
        format_clock(document.spent.seconds),
    ]


def describe_time(documents: Sequence[SearchDocument]) -> str:
    """Say how long the searches took, and where the time of a slot went."""
    profiles = [document.profile for document in documents if document.profile is not None]
    seconds = [document.spent.seconds for document in documents]
    said = f"Wall time: median {format_clock(median(seconds))}, at most {format_clock(max(seconds))}."
    if not profiles:
        return said
    starts = median(sum(profile.before_first_step.values()) for profile in profiles)
    gaps = [profile.gap for profile in profiles if profile.gap is not None]
    gap = f"; between two runs of a slot, {median(gaps):.2f} s" if gaps else ""
    shares = [
        f"{part} {format_share(median(profile.shares[part] for profile in profiles), 1)}"
        for part in sorted(profiles[0].shares, key=lambda part: -profiles[0].shares[part])
    ]
    said += f" From the command to the first step, median: {starts:.1f} s{gap}."
    return f"{said} Shares of the slots' time, medians: {', '.join(shares)}."


def main() -> None:
    """Run what is not there, and print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the searches")
    parser.add_argument("--searches", type=int, default=10, help="how many (default: %(default)s)")
    parser.add_argument("options", nargs="*", default=["--task", "cola"], help="of each search, after --")
    args = parser.parse_args()
    folders = run_searches(args.folder, args.searches, args.options)
    print(report_searches([read_search_document(folder) for folder in folders]))


if __name__ == "__main__":
    main()
