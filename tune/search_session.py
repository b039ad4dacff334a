"""A search, at its end: report what was found, hand over the winner's model."""

from __future__ import annotations

import shutil

from tune.core.command import EXIT_DONE, EXIT_NOTHING_FINISHED, print_error
from tune.core.run import RunPurpose
from tune.core.storage import join_location, location_exists, move_from_location
from tune.records.events import notify
from tune.records.ledger import TrialRecord
from tune.records.replicates import choose_median_replicate, select_by_configuration
from tune.reporting.document import build_search_document
from tune.reporting.model_card import write_model_card
from tune.reporting.page import write_search_results
from tune.reporting.profile import format_profile, profile_session
from tune.reporting.summary import summarise_search
from tune.session import Session
from tune.strategy.arms import Arms


class SearchSession(Session):
    """Explore configurations, confirm the winner on fresh seeds, hand over its model."""

    def finish(self, arms: Arms) -> int:
        spent = arms.spent()
        self.notes.note("seconds", spent.seconds)
        (search,) = arms.searches
        winner = search.current_winner()
        kept = self._keep_best(winner)
        self.folder.keep_predictions()
        phases = {"explored": search.exploration_end, "raced": search.race_end}
        started = self.provenance.started
        profile = profile_session(self.folder.records(), self.slots, started, self.planned_at)
        document = build_search_document(
            self.plan, self.notes, winner, spent, self.provenance, self.output, phases, profile
        )
        write_search_results(document, self.output)
        if kept is not None:
            write_model_card(document, kept.seed, self.output / "best")
        if winner is not None:
            notify(self.watchers, "search_ended", document)
        self.close()
        if winner is None or document.confirmation is None:
            runs = [*document.trials, *document.confirmation_runs]
            errors = sorted({run.error for run in runs if run.error})
            what = "no trial finished" if winner is None else "no confirmation finished"
            return print_error(f"{what}; {'; '.join(errors) or 'see search.json'}", EXIT_NOTHING_FINISHED)
        self.display.note("")
        for line in summarise_search(document, self.output, self.view_command):
            self.display.say(line)
        if self.tracker is not None and self.tracker.registered_model:
            self.display.say(f"registered: {self.tracker.registered_model}")
        if self.options.profile and profile is not None:
            for line in ["", *format_profile(profile)]:
                self.display.say(line)
        return EXIT_DONE

    def _keep_best(self, winner: TrialRecord | None) -> TrialRecord | None:
        """The typical replicate's model becomes best/; returns it, None where nothing was kept."""

        configuration = None if winner is None else winner.configuration
        confirming = select_by_configuration(configuration, self.folder.records(RunPurpose.CONFIRMATION))
        chosen = choose_median_replicate(confirming, self.plan.task.metric)
        model = join_location(self.folder.work, f"trial-{chosen.id}", "model") if chosen is not None else None
        if model is None or not location_exists(model):
            return None
        best = self.output / "best"
        shutil.rmtree(best, ignore_errors=True)
        move_from_location(model, best)
        return chosen
