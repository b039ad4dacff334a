"""The other command: is a method better than another for this task, and how sure is that?

python tune/compare.py --task rte --methods vanilla,dps-dense,dps-mix,child-tuning-d,r-drop
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: hand over to the package, so that workers can import it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

    from tune import compare as package

    sys.exit(package.main(sys.argv[1:]))

from typing import TYPE_CHECKING, Any

from dps.errors import InputError
from tune.core.command import (
    EXIT_DONE,
    EXIT_NOTHING_FINISHED,
    choose_output_folder,
    print_error,
    run_session_command,
)
from tune.core.options import CompareOptions
from tune.session import Session

if TYPE_CHECKING:
    from tune.execution.tuner import TuneSearcher


def main(argv: list[str]) -> int:
    """Run the command; returns its exit status."""
    return run_session_command(argv, CompareOptions, ComparisonSession)


class ComparisonSession(Session):
    """Tune each method at the same budget, train its best with paired seeds, say what differs."""

    prefix = "compare-"
    noun = "comparison"

    @classmethod
    def of(cls, options: Any) -> int:
        if options.results is not None:
            return report_joined_comparisons(options)
        check_compared_methods(options)
        return super().of(options)

    def finish(self, searcher: TuneSearcher) -> int:
        from tune.records.events import notify
        from tune.reporting.comparison import analyse_comparison, build_comparison
        from tune.reporting.comparison_page import write_comparisons
        from tune.reporting.tables import make_terminal_table, summarise_comparison

        spent = searcher.spent()
        self.notes.note("seconds", spent.seconds)
        self.keep_predictions()
        found = build_comparison(self.plan, self.ledgers, spent, self.provenance)
        runs = [run for method in found["methods"] for run in (*method["runs"], *method["trials"])]
        if not any(run["outcome"] == "completed" for method in found["methods"] for run in method["runs"]):
            self.close()
            errors = sorted({run["error"] for run in runs if run["error"]})
            return print_error(
                f"no method finished; {'; '.join(errors) or 'see MLflow'}", EXIT_NOTHING_FINISHED
            )
        analyse_comparison(found, {method["method"]: self.output for method in found["methods"]})
        write_comparisons([found], self.output)
        notify(self.watchers, "comparison_ended", found)
        self.close()
        self.progress.note("")
        for line in summarise_comparison(found):
            self.progress.say(line)
        self.progress.show(make_terminal_table(found, self.progress.console.width))
        self.progress.say(
            f"Results: {self.output} (compare.html, compare.md, compare.tex; compare.json has everything)"
        )
        if self.look:
            self.progress.say(f"Look:    {self.look}")
        return EXIT_DONE


def check_compared_methods(options: CompareOptions) -> None:
    """Raises InputError for a method that there is none of, and where there is nothing to compare."""
    from dps.methods import METHODS

    for option, names in (("--baseline", (options.baseline,)), ("--methods", options.method_names)):
        if unknown := [name for name in names if name not in METHODS]:
            raise InputError(
                f"{option}: there is no method {unknown[0]!r}; choose among {', '.join(METHODS)}"
            )
    if len(options.method_names) < 2:
        raise InputError(
            f"--methods: {options.methods} is the baseline alone; name a method to compare it with"
        )


def report_joined_comparisons(options: CompareOptions) -> int:
    """One table from finished comparisons."""
    from tune.console.progress import make_console
    from tune.console.quiet import build_comparison_event, print_event
    from tune.planning.locations import check_output
    from tune.reporting.comparison import join_comparisons
    from tune.reporting.comparison_page import write_comparisons
    from tune.reporting.tables import format_heading, make_terminal_table, summarise_comparison

    assert options.results is not None
    folders = [Path(name.strip()) for name in options.results.split(",")]
    found = join_comparisons(folders, options.allow_dirty)
    tasks = "-".join(dict.fromkeys(one["task"] for one in found))
    output = choose_output_folder(options.with_(task=tasks), "compare-joined-")
    check_output(output, resume=False)
    write_comparisons(found, output)
    console = make_console()
    for one in found:
        if options.json:
            print_event("comparison_ended", **build_comparison_event(one, output))
            continue
        for line in [format_heading(one), *summarise_comparison(one)]:
            console.print(line, soft_wrap=True, markup=False)
        console.print(make_terminal_table(one, console.width))
        console.print()
    if not options.json:
        console.print(f"Results: {output}", soft_wrap=True, markup=False)
    return EXIT_DONE
