"""How large report.html is, and how long making and opening it take, for searches of several sizes.

    python -m benchmarks.report_page [--runs 20 200 2000]

The searches are made up: trials over the default space with three further seeds for one in ten. Opening is
the time of headless Chromium until it has drawn the page and written its picture, less that of an empty page.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.unit.tune.helpers import make_plan, make_space
from tests.unit.tune.reporting.test_document import told
from tune.records.ledger import Ledger
from tune.records.search_document import SearchDocument
from tune.reporting.page import render_search_page

STEPS = (40, 80, 120, 160)


def make_search(runs: int) -> SearchDocument:
    """Return a search of about so many runs."""
    space, rng = make_space(("dps-dense",)), random.Random(0)
    trials, races = [], []
    for number, row in enumerate(space.draw_latin_hypercube(max(4, round(runs / 1.3)), 0)):
        configuration = space.from_study_values({"method": "dps-dense", **row})
        level, ended = rng.gauss(0.4, 0.1), 10.0 * number + 10

        def run(seed: int, length: int, level: float = level, **more: object) -> dict[str, object]:
            scores = [[step, level * step / 160 + rng.gauss(0, 0.03)] for step in STEPS[:length]]
            return {"seed": seed, "scores": scores, "seconds": 10.0, "configuration": configuration, **more}  # noqa: B023

        cut = number % 3 == 2
        outcome = "stopped" if cut else "completed"
        trials.append({"id": number, "ended": ended, "outcome": outcome, **run(0, 2 if cut else 4)})
        if number % 10 == 0:
            races += [{"outcome": "completed", "ended": ended + s, **run(1000 + s, 4)} for s in range(3)]
    races = [{"id": f"race-{place}", **run} for place, run in enumerate(races)]
    nothing = told(make_plan(), Ledger(None, "max")).to_json()
    winner = {"trial": 0, "configuration": trials[0]["configuration"], "published": False}
    return SearchDocument.model_validate(
        {**nothing, "space": space.to_description(), "trials": trials, "race_runs": races, "winner": winner}
    )


def measure_opening(page: Path, folder: Path) -> float:
    """Return the seconds that a browser takes to open and draw a page: the least of three."""
    browser = shutil.which("chromium") or "google-chrome"
    options = f"--headless=new --no-sandbox --disable-dev-shm-usage --user-data-dir={folder / 'profile'}"
    took = []
    for _ in range(3):
        began = time.perf_counter()
        command = [browser, *options.split(), f"--screenshot={folder / 'page.png'}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        took.append(time.perf_counter() - began)
    return min(took)


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[20, 200, 2000])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty.html").write_text("<!doctype html><title>empty</title>")
        empty = measure_opening(folder / "empty.html", folder)
        for runs in parser.parse_args().runs:
            document, began = make_search(runs), time.perf_counter()
            text = render_search_page(document, [])
            made = time.perf_counter() - began
            (folder / "report.html").write_text(text, encoding="utf-8")
            opened = max(0.0, measure_opening(folder / "report.html", folder) - empty)
            figures = {"runs": len(document.trials) + len(document.race_runs), "MB": len(text.encode()) / 1e6}
            figures |= {"seconds to make": made, "seconds to open": opened}
            print(json.dumps({name: round(value, 2) for name, value in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
