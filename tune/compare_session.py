"""A comparison: check what is compared, and report what was found."""

from __future__ import annotations

from collections.abc import Sequence

from dps.errors import InputError, suggest_name
from dps.methods import METHODS
from dps.training.result import Outcome
from tune.core.command import EXIT_DONE, EXIT_NOTHING_FINISHED, UnfinishedError
from tune.core.options import CompareOptions
from tune.records.events import Watcher, notify
from tune.reporting.comparison import build_comparison
from tune.reporting.comparison_analysis import analyse_comparison
from tune.reporting.comparison_page import write_comparisons
from tune.reporting.tables import make_terminal_table, summarise_comparison
from tune.session import Session
from tune.strategy.arms import Arms
from tune.suite_session import start_sessions


def run_comparisons(given: CompareOptions, options: CompareOptions, watchers: Sequence[Watcher] = ()) -> int:
    """Run a comparison for each task of these options, see `start_sessions`. Returns the exit status."""
    check_compared_methods(options)
    return start_sessions(ComparisonSession, given, options, watchers)


class ComparisonSession(Session):
    """Tune each arm at the same budget, train its best with paired seeds, say what differs."""

    prefix = "compare-"
    noun = "comparison"
    results = ("compare.json", "compare.html", "compare.md", "compare.tex")

    def finish(self, arms: Arms) -> int:
        spent = self.measure_spent(arms)
        self.notes.note_seconds(spent.seconds)
        self.folder.keep_predictions()
        former = self.folder.open_former_ledgers()
        document = build_comparison(self.plan, self.folder.ledgers, spent, self.provenance, former)
        confirmations = [run for method in document.methods for run in method.runs]
        if not any(run.outcome == Outcome.COMPLETED for run in confirmations):
            self.close()
            trials = [run for method in document.methods for run in method.trials]
            errors = sorted({run.error for run in (*confirmations, *trials) if run.error})
            raise UnfinishedError(
                f"no method finished; {'; '.join(errors) or 'see MLflow'}", EXIT_NOTHING_FINISHED
            )
        analyse_comparison(document, {method.method: self.output for method in document.methods})
        write_comparisons([document], self.output)
        notify(self.watchers, "comparison_ended", document)
        self.close()
        if self.is_member:
            return EXIT_DONE
        self.display.note("")
        for line in summarise_comparison(document):
            self.display.say(line)
        self.display.show(make_terminal_table(document, self.display.console.width))
        self.display.say(
            f"Results: {self.output} (compare.html, compare.md, compare.tex; compare.json has everything)"
        )
        if self.view_command:
            self.display.say(f"Look:    {self.view_command}")
        self.show_tracking()
        return EXIT_DONE


def check_compared_methods(options: CompareOptions) -> None:
    """Raises InputError for a method that there is none of, and where there is nothing to compare."""
    if options.arms:
        _check_arms(options)
        return
    if options.baseline == "none":
        raise InputError("--baseline: none leaves nothing to compare with; name one of the methods")
    for option, names in (("--baseline", (options.baseline,)), ("--methods", options.method_names)):
        if unknown := [name for name in names if name not in METHODS]:
            advice = suggest_name(unknown[0], METHODS)
            raise InputError(f"{option}: there is no method {unknown[0]!r}; {advice}")
    if len(options.method_names) < 2:
        raise InputError(
            f"--methods: {options.methods} is the baseline alone; name a method to compare it with"
        )


def _check_arms(options: CompareOptions) -> None:
    names, fields = ", ".join(options.arms), CompareOptions.model_fields
    if len(options.arms) < 2:
        raise InputError(f"--arms: {names} is one arm; name another to compare it with")
    if options.baseline not in (*options.arms, fields["baseline"].default):
        raise InputError(f"--baseline: there is no arm {options.baseline!r}; choose among {names}")
    if options.methods not in (*METHODS, fields["methods"].default):
        raise InputError(
            f"--methods: beside --arms it names the one method of arms that name none, but got "
            f"{options.methods!r}"
        )
