"""What a user can get wrong, and what the commands answer: every bad input of the tests, tried.

    python benchmarks/reliability.py --chaos benchmarks/chaos_2-cores_2026-11-29.md > \\
        benchmarks/reliability_2-cores_2026-11-26.md

Prints Markdown. The cases are those of `tests/bad_inputs.py`, which the fast tests run; nothing is started.
With --chaos what `make chaos` printed goes before them.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tests.bad_inputs import Answer, Bad, answers, stock
from tune.core.provenance import collect_provenance

LONGEST = 240  # characters of an answer that are shown
HEAD = """## Bad inputs

{count} bad inputs, each given to the command in a folder with good data, a good model and a search already
begun. All were refused before anything was started, with one line on standard error and exit status 2 (wrong
options or input) or 3 (the cluster cannot run it): {statuses}. What was hostile, pickles and YAML tags that
run a command, did nothing: {harmed} did. `FOLDER` stands for the working folder.

Made by `python benchmarks/reliability.py` at {commit}, Python {python}."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chaos", type=Path, help="what `make chaos` printed")
    chaos = parser.parse_args().chaos
    print("# Reliability\n")
    if chaos is not None:
        print(f"#{chaos.read_text(encoding='utf-8').rstrip()}\n")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        good = stock(root / "good")
        places = (root / f"case-{number}" for number in range(10_000))
        found = list(answers(good, lambda: made(next(places))))
    print(heading(found))
    for kind in dict.fromkeys(bad.kind for bad, _ in found):
        print(f"\n### {kind.capitalize()}\n\n| given | command | status | answer |\n|---|---|---|---|")
        for bad, answer in found:
            if bad.kind == kind:
                print(row(bad, answer, root))


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def heading(found: list[tuple[Bad, Answer]]) -> str:
    """The figures, counted."""
    wrong = [bad.given for bad, answer in found if answer.status != bad.status]
    assert not wrong, wrong
    assert all(answer.said.count("\n") == 1 for _, answer in found)
    statuses = Counter(answer.status for _, answer in found)
    origin = collect_provenance("python benchmarks/reliability.py")
    changed = " (changed)" if origin.git_dirty else ""
    return HEAD.format(
        count=len(found),
        statuses=", ".join(f"{count} with {status}" for status, count in sorted(statuses.items())),
        harmed=sum(answer.harmed for _, answer in found),
        commit=f"{str(origin.git_commit)[:12]}{changed}",
        python=origin.python,
    )


def row(bad: Bad, answer: Answer, root: Path) -> str:
    said = re.sub(rf"{re.escape(str(root))}/case-\d+", "FOLDER", answer.said.strip())
    argv = " ".join(repr(word) if set(word) & set(" \0{[(") or not word else word for word in bad.argv)
    command = " ".join([*(f"{key}={value}" for key, value in bad.env.items()), bad.command, argv])
    return f"| {bad.given} | {code(command, 100)} | {answer.status} | {code(said, LONGEST)} |"


def code(text: str, longest: int) -> str:
    """Format a text as code in a table's cell."""
    cut = text if len(text) <= longest else f"{text[:longest]}..."
    return "`` " + cut.replace("|", "\\|").replace("\0", "\\0") + " ``" if cut else ""


if __name__ == "__main__":
    main()
