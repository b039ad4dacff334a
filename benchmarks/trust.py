"""Run every listed input on two checkouts, and print what each came to.

    python benchmarks/trust.py --before ../521c27d > benchmarks/trust_2026-11-29.md

--before: folder of an older checkout; its own .venv is used where it has one. The inputs, and what is right,
are those of tests/trust. Each runs as a user would run it, by the command line or the public API, in a fork
of one process a checkout. Standard error tells how far it is. The exit status is 1 if one is not right now.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tests.trust.case import Case, Outcome, collect_cases
from tests.trust.checkout import Checkout

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 160  # characters of an output that are shown


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="folder of an older checkout")
    parser.add_argument("--kind", help="only inputs of this kind")
    arguments = parser.parse_args()
    cases = [case for case in collect_cases() if arguments.kind in (None, case.kind)]
    commits = [describe_commit(folder) for folder in (arguments.before, ROOT)]
    with tempfile.TemporaryDirectory() as scratch:
        before, now = (
            run_all(root, cases, Path(scratch) / name)
            for root, name in ((arguments.before, "before"), (ROOT, "now"))
        )
        report = format_report(commits, cases, before, now)
        all_right = all(case.right(outcome) for case, outcome in zip(cases, now, strict=True))
    print(report)
    return int(not all_right)


def run_all(root: Path, cases: Sequence[Case], scratch: Path) -> list[Outcome]:
    """Run the cases on a checkout, each in a folder of its own below `scratch`."""
    outcomes = []
    with Checkout(root) as checkout:
        for number, case in enumerate(cases, 1):
            outcomes.append(checkout.run(case, scratch / str(number)))
            print(f"\r{root.name}: {number}/{len(cases)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return outcomes


def describe_commit(root: Path) -> str:
    """Return the commit of a checkout, with -dirty if files of it were changed."""
    return subprocess.check_output(["git", "-C", root, "describe", "--always", "--dirty"], text=True).strip()


def format_report(
    commits: Sequence[str], cases: Sequence[Case], before: list[Outcome], now: list[Outcome]
) -> str:
    """Format the report as Markdown: counts by kind, then a row an input."""
    rows = sorted(zip(cases, before, now, strict=True), key=lambda row: row[0].kind)
    kinds = Counter(case.kind for case in cases)
    right = {
        name: Counter(row[0].kind for row in rows if row[0].right(row[place]))  # type: ignore[arg-type]
        for name, place in (("before", 1), ("now", 2))
    }
    lines = [
        f"# Inputs that go wrong: {commits[0]} and {commits[1]}",
        "",
        f"`python benchmarks/trust.py --before CHECKOUT` on {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}. Each input ran on both commits, by the command line or the "
        "public API; one check of status, output and files decides for both what is right (tests/trust). "
        "An older message that names the trouble in other words counts as wrong: read the column.",
        "",
        f"| kind | inputs | right at {commits[0]} | right at {commits[1]} |",
        "|---|---|---|---|",
        *(f"| {kind} | {n} | {right['before'][kind]} | {right['now'][kind]} |" for kind, n in kinds.items()),
        f"| all | {len(cases)} | {right['before'].total()} | {right['now'].total()} |",
        "",
        f"| kind | input | {commits[0]} | {commits[1]} | test |",
        "|---|---|---|---|---|",
        *(
            f"| {case.kind} | {_escape(case.name)} | {_describe(case, old)} | {_describe(case, new)} | "
            f"`{case.test or f'tests/trust/test_cases.py::test_it_is_right[{case.name}]'}` |"
            for case, old, new in rows
        ),
    ]
    return "\n".join(lines)


def _describe(case: Case, outcome: Outcome) -> str:
    """Describe an outcome: whether it is right, the exit status, and the line that tells most."""
    verdict = "right" if case.right(outcome) else "**wrong**"
    if outcome.code is None:
        return f"{verdict}: no end within {case.seconds:g} s"
    lines = [line.strip() for line in outcome.output.splitlines() if line.strip()]
    errors = [
        line for line in lines if re.match(r"(?:\w+\.)*(?:error|\w*Error|warning|KeyboardInterrupt)\b", line)
    ]
    line = (errors or lines or [""])[-1]
    for place in (str(outcome.folder.resolve()), str(outcome.folder)):
        line = line.replace(place, ".")
    short = line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
    return f"{verdict}, status {outcome.code}" + (f": {_escape(short)}" if short else "")


def _escape(text: str) -> str:
    printable = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return re.sub(r"([|`*<\[\]])", r"\\\1", printable)


if __name__ == "__main__":
    sys.exit(main())
