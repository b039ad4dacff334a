"""What finished searches took and found, as a Markdown table read off their search.json.

    python benchmarks/main_job.py runs/cola-20261123-120000 runs/rte-20261123-121500

From the command to the first step: until the first optimizer step of the first trial. Gap on a warm
slot: from the end of a run to the first step of the next on the same slot, noted by its workers.
Slot time in runs: share of slots x (first step to last end) that lies inside training and evaluation.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any


def rows(found: dict[str, Any]) -> dict[str, str]:
    """The figures of one search, by name."""
    runs = [*found["trials"], *found["confirmation_runs"]]
    first, last = min(run["began"] for run in runs if run["began"]), max(run["ended"] for run in runs)
    confirmation, plan, between = (
        found["confirmation"],
        found["plan"],
        [r["waited"] for r in runs if r.get("waited") is not None],
    )
    low, high = (found["evidence"] or {}).get("interval") or (float("nan"), float("nan"))
    return {
        "data": f"{found['data']['source']} {found['data']['fingerprint'][:8]}",
        "training examples, steps of a full trial": f"{plan['examples']['train']:,}, {plan['max_steps']}",
        "trials": ", ".join(f"{count} {name}" for name, count in found["outcomes"].items()),
        "wall time": f"{found['spent']['seconds']:.0f} s",
        "from the command to the first step": f"{first - found['provenance']['started']:.1f} s"
        if "started" in found["provenance"]
        else "not recorded",
        "gap on a warm slot, median (highest)": f"{statistics.median(between):.2f} s ({max(between):.2f} s)"
        if between
        else "not recorded",
        "slot time in runs": f"{sum(r['seconds'] for r in runs) / (plan['slots'] * (last - first)):.0%}",
        "winner": ", ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else str(value)
            for name, value in found["winner"]["configuration"].items()
        ),
        "share of weights selected in Stage II": ", ".join(
            f"{run['selected_share']:.3f}" for run in found["confirmation_runs"] if run["selected_share"]
        ),
        f"{found['metric']} on dev, fresh seeds": ", ".join(
            f"{score:.4f}" for score in confirmation["scores"].values()
        ),
        "mean, standard deviation": f"{confirmation['mean']:.4f}, {confirmation['std'] or float('nan'):.4f}",
        "95 % interval of the mean, over seeds and examples": f"{low:.4f} to {high:.4f}",
        "commit": f"{(found['provenance']['git_commit'] or 'none')[:10]}",
    }


def shown(command: list[str]) -> str:
    """The command without --output, and without the folders that its files lie in."""
    kept = [word for i, word in enumerate(command) if "--output" not in (word, command[i - 1])]
    return " ".join(word if word == "tune/search.py" else Path(word).name for word in kept)


def table(documents: list[dict[str, Any]]) -> str:
    """One column a search."""
    columns = [rows(found) for found in documents]
    names = list(dict.fromkeys(name for column in columns for name in column))
    lines = [
        "| | " + " | ".join(found["task"] for found in documents) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    lines += [
        "| " + " | ".join([name, *(column.get(name, "") for column in columns)]) + " |" for name in names
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    searches = [
        json.loads((Path(folder) / "search.json").read_text(encoding="utf-8")) for folder in sys.argv[1:]
    ]
    origin = searches[-1]["provenance"]
    print(f"{origin['cores']} cores, {origin['platform']}, Python {origin['python']}, ", end="")
    print(", ".join(f"{name} {version}" for name, version in origin["packages"].items()))
    for found in searches:
        print(f"\n    {shown(found['provenance']['command'])}")
    print("\n" + table(searches))
