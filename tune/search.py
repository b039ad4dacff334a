"""The main command: find the configuration that is truly better for a task, and prove it.

python tune/search.py --task cola
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: hand over to the package, so that workers can import it
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from tune import search as package

    sys.exit(package.main(sys.argv[1:]))

import shutil
from typing import TYPE_CHECKING, Any

from dps.errors import InputError
from tune import storage
from tune.command import DONE, NOTHING_FINISHED, fail, run
from tune.options import SearchOptions
from tune.sitting import Sitting

if TYPE_CHECKING:
    from tune.ledger import Record
    from tune.searcher import Turns


def main(argv: list[str]) -> int:
    """Run the command; returns its exit status."""
    return run(argv, SearchOptions, Search)


class Search(Sitting):
    """Explore configurations, confirm the winner on fresh seeds, hand over its model."""

    @classmethod
    def of(cls, options: Any) -> int:
        if options.init_task is None:
            return super().of(options)
        if options.json:
            raise InputError("--json, --init-task: what is found in a file is no event; leave one out")
        return initialised(options.init_task)

    def finish(self, searcher: Turns) -> int:
        from tune import card, report, timings
        from tune.events import tell

        spent = searcher.spent()
        self.notes.note("seconds", spent.seconds)
        (search,) = searcher.searches
        winner = search.winner()
        kept = self._keep_best(winner)
        self.keep_predictions()
        phases = {"explored": search.stopped_by, "raced": search.raced_until}
        found = report.document(self.plan, self.notes, winner, spent, self.provenance, self.output, phases)
        found["profile"] = self._profile()
        report.write(found, self.output)
        if kept is not None:
            card.write(found, kept.seed, self.output / "best")
        if found["winner"] is not None:
            tell(self.watchers, "search_ended", found)
        self.close()
        if found["winner"] is None or found["confirmation"] is None:
            runs = [*found["trials"], *found["confirmation_runs"]]
            errors = sorted({run["error"] for run in runs if run["error"]})
            what = "no trial finished" if found["winner"] is None else "no confirmation finished"
            return fail(f"{what}; {'; '.join(errors) or 'see search.json'}", NOTHING_FINISHED)
        self.progress.note("")
        for line in report.summary_lines(found, self.output, self.look):
            self.progress.say(line)
        if self.tracker is not None and self.tracker.registered:
            self.progress.say(f"registered: {self.tracker.registered}")
        asked = isinstance(self.options, SearchOptions) and self.options.profile
        if asked and found["profile"] is not None:
            for line in ["", *timings.lines(found["profile"])]:
                self.progress.say(line)
        return DONE

    def _profile(self) -> dict[str, Any] | None:
        from tune import timings
        from tune.ledger import STUDIES

        runs = [record for purpose in STUDIES for record in self.records(purpose)]
        return timings.profile(runs, self.slots, self.provenance["started"], self.planned)

    def _keep_best(self, winner: Record | None) -> Record | None:
        """The typical replicate's model becomes best/; returns it, None where nothing was kept."""
        from tune import replicates

        confirming = replicates.of(winner, self.records("confirm"))
        chosen = replicates.typical(confirming, self.plan.task.metric)
        model = storage.join(self.work, f"trial-{chosen.id}", "model") if chosen is not None else None
        if model is None or not storage.exists(model):
            return None
        best = self.output / "best"
        shutil.rmtree(best, ignore_errors=True)
        storage.take(model, best)
        return chosen


def initialised(file: Path) -> int:
    """Propose a task for a file of examples, and say what was found in it."""
    from dps import propose

    found = propose.look(file)
    written = propose.propose(found)
    print("\n".join(propose.report(found, written)))
    return DONE
