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
from tune.core.command import EXIT_DONE, EXIT_NOTHING_FINISHED, print_error, run_session_command
from tune.core.options import SearchOptions
from tune.core.storage import join_location, location_exists, move_from_location
from tune.session import Session

if TYPE_CHECKING:
    from tune.execution.tuner import TuneSearcher
    from tune.records.ledger import TrialRecord


def main(argv: list[str]) -> int:
    """Run the command; returns its exit status."""
    return run_session_command(argv, SearchOptions, SearchSession)


class SearchSession(Session):
    """Explore configurations, confirm the winner on fresh seeds, hand over its model."""

    @classmethod
    def of(cls, options: Any) -> int:
        if options.init_task is None:
            return super().of(options)
        if options.json:
            raise InputError("--json, --init-task: what is found in a file is no event; leave one out")
        return run_init_task(options.init_task)

    def finish(self, searcher: TuneSearcher) -> int:
        from tune.records.events import notify
        from tune.reporting.document import build_search_document
        from tune.reporting.model_card import write_model_card
        from tune.reporting.page import write_search_results
        from tune.reporting.profile import format_profile
        from tune.reporting.summary import summarise_search

        spent = searcher.spent()
        self.notes.note("seconds", spent.seconds)
        (search,) = searcher.searches
        winner = search.winner()
        kept = self._keep_best(winner)
        self.keep_predictions()
        phases = {"explored": search.stopped_by, "raced": search.raced_until}
        found = build_search_document(
            self.plan, self.notes, winner, spent, self.provenance, self.output, phases
        )
        found["profile"] = self._profile()
        write_search_results(found, self.output)
        if kept is not None:
            write_model_card(found, kept.seed, self.output / "best")
        if found["winner"] is not None:
            notify(self.watchers, "search_ended", found)
        self.close()
        if found["winner"] is None or found["confirmation"] is None:
            runs = [*found["trials"], *found["confirmation_runs"]]
            errors = sorted({run["error"] for run in runs if run["error"]})
            what = "no trial finished" if found["winner"] is None else "no confirmation finished"
            return print_error(f"{what}; {'; '.join(errors) or 'see search.json'}", EXIT_NOTHING_FINISHED)
        self.progress.note("")
        for line in summarise_search(found, self.output, self.look):
            self.progress.say(line)
        if self.tracker is not None and self.tracker.registered:
            self.progress.say(f"registered: {self.tracker.registered}")
        asked = isinstance(self.options, SearchOptions) and self.options.profile
        if asked and found["profile"] is not None:
            for line in ["", *format_profile(found["profile"])]:
                self.progress.say(line)
        return EXIT_DONE

    def _profile(self) -> dict[str, Any] | None:
        from tune.records.ledger import STUDY_NAMES
        from tune.reporting.profile import profile_session

        runs = [record for purpose in STUDY_NAMES for record in self.records(purpose)]
        return profile_session(runs, self.slots, self.provenance["started"], self.planned)

    def _keep_best(self, winner: TrialRecord | None) -> TrialRecord | None:
        """The typical replicate's model becomes best/; returns it, None where nothing was kept."""
        from tune.records.replicates import choose_median_replicate, select_by_configuration

        configuration = None if winner is None else winner.configuration
        confirming = select_by_configuration(configuration, self.records("confirm"))
        chosen = choose_median_replicate(confirming, self.plan.task.metric)
        model = join_location(self.work, f"trial-{chosen.id}", "model") if chosen is not None else None
        if model is None or not location_exists(model):
            return None
        best = self.output / "best"
        shutil.rmtree(best, ignore_errors=True)
        move_from_location(model, best)
        return chosen


def run_init_task(file: Path) -> int:
    """Propose a task for a file of examples, and say what was found in it."""
    from dps.propose import describe_proposal, inspect_data, write_proposal

    found = inspect_data(file)
    written = write_proposal(found)
    print("\n".join(describe_proposal(found, written)))
    return EXIT_DONE
