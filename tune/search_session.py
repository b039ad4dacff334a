"""A search, at its end: report what was found, hand over the winner's model."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from tune.core.command import EXIT_DONE, EXIT_NOTHING_FINISHED, UnfinishedError
from tune.core.options import SearchOptions
from tune.records.events import Watcher, notify
from tune.records.ledger import TrialRecord
from tune.reporting.best_model import BestModel
from tune.reporting.document import build_search_document
from tune.reporting.ensemble_model import EnsembleModel
from tune.reporting.page import write_search_results
from tune.reporting.profile import format_profile, profile_session
from tune.reporting.summary import summarise_search
from tune.session import Session
from tune.strategy.arms import Arms
from tune.suite_session import start_sessions


def run_searches(given: SearchOptions, options: SearchOptions, watchers: Sequence[Watcher] = ()) -> int:
    """Run a search for each task of these options, see `start_sessions`. Returns the exit status."""
    return start_sessions(SearchSession, given, options, watchers)


CHOSEN_NOTE = "by the mean over seeds, see search.json; Optuna's best trial is the luckiest single seed"


class SearchSession(Session):
    """Explore configurations, confirm the winner on fresh seeds, hand over its model."""

    results = ("search.json", "report.html", "best/README.md", "ensemble/ensemble.json")

    def make_arms(self, stop: threading.Event) -> Arms:
        arms = super().make_arms(stop)
        if self.options.keeps_models:
            search = arms.searches[0]
            search.find_lost_runs = lambda: self._find_lost_runs(search.current_winner())
        return arms

    def _find_lost_runs(self, winner: TrialRecord | None) -> list[TrialRecord]:
        lost = [] if (run := self.best_model.find_lost_run(winner)) is None else [run]
        for run in lost:
            self.display.warn(f"the model in best/ is gone: {run.id} is trained once more")
        if self.options.ensemble:
            missing = [
                run for run in EnsembleModel(self.best_model).find_lost_runs(winner) if run not in lost
            ]
            if missing:
                names = ", ".join(run.id for run in missing)
                self.display.warn(f"models of ensemble/ are not there: trained once more are {names}")
            lost += missing
        return lost

    @property
    def best_model(self) -> BestModel:
        """The model that is handed over."""
        return BestModel(self.folder, self.plan.task.metric)

    def finish(self, arms: Arms) -> int:
        spent = self.measure_spent(arms)
        self.notes.note_seconds(spent.seconds)
        search = arms.searches[0]
        winners = {each.ledger.arm: each.current_winner() for each in arms.searches}
        winner = winners[""]
        self.folder.keep_predictions()
        phases = {"explored": search.exploration_end, "raced": search.race_end}
        started = self.provenance.started
        profile = None  # of slots that serve several tasks there is none for one of them
        if not self.is_member:
            profile = profile_session(self.folder.records(), self.slots, started, self.planned_at)
        document = build_search_document(
            self.plan, self.folder.ledgers, winners, spent, self.provenance, self.output, phases, profile
        )
        write_search_results(document, self.output)
        has_model = self.best_model.hand_over(document, winner)
        has_ensemble = not self.options.ensemble or EnsembleModel(self.best_model).hand_over(winner)
        if winner is not None:
            self.notes.note("chosen", f"trial {winner.number}, {CHOSEN_NOTE}")
            notify(self.watchers, "search_ended", document)
        self.close()
        if winner is None or document.confirmation is None:
            runs = [*document.trials, *document.confirmation_runs]
            errors = sorted({run.error for run in runs if run.error})
            what = "no trial finished" if winner is None else "no confirmation finished"
            raise UnfinishedError(f"{what}; {'; '.join(errors) or 'see search.json'}", EXIT_NOTHING_FINISHED)
        if self.options.keeps_models and not has_model:
            self.display.warn("there is no best/: its run could not be trained once more; try --resume again")
        if not has_ensemble:
            self.display.warn(
                "there is no ensemble/: runs could not be trained once more; try --resume again"
            )
        if self.is_member:
            return EXIT_DONE
        self.display.note("")
        for line in summarise_search(document, self.output, self.view_command):
            self.display.say(line)
        self.show_tracking()
        if self.tracker is not None and self.tracker.registered_model:
            self.display.say(f"registered: {self.tracker.registered_model}")
        if self.options.profile and profile is not None:
            for line in ["", *format_profile(profile)]:
                self.display.say(line)
        return EXIT_DONE
