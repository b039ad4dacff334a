"""One table from finished comparisons: `python tune/compare.py --results DIR,DIR`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from dps.text import sanitise_text
from tune.console.progress import make_console
from tune.console.quiet import build_comparison_event, build_suite_event, print_event
from tune.core.command import EXIT_DONE, choose_output_folder
from tune.core.option_types import split_names
from tune.core.options import CompareOptions
from tune.planning.locations import check_output
from tune.records.schema import refuse_impossible_values
from tune.reporting.comparison import join_comparisons
from tune.reporting.comparison_page import write_comparisons
from tune.reporting.finished_runs import compare_finished_runs, holds_search
from tune.reporting.suite.folders import average_comparisons, list_parts
from tune.reporting.suite.page import SUITE_PAGE, write_suite
from tune.reporting.suite.tables import make_terminal_table as make_suite_table
from tune.reporting.suite.tables import summarise_suite
from tune.reporting.tables import format_heading, make_terminal_table, summarise_comparison

MAX_NAME_LENGTH = 80  # letters of the tasks in the name of the default folder


def report_joined_comparisons(options: CompareOptions) -> int:
    """Write and show one table from finished comparisons. Returns the exit status."""
    assert options.results is not None
    named = [Path(name) for name in split_names(options.results)]
    folders = [part for folder in named for part in list_parts(folder)]
    with refuse_impossible_values(f"--results: {options.results}", "resume the comparison to make it again"):
        return _report(options, folders)


def _report(options: CompareOptions, folders: Sequence[Path]) -> int:
    if any(map(holds_search, folders)):
        comparisons = [compare_finished_runs(folders, options.allow_dirty)]
    else:
        comparisons = join_comparisons(folders, options.allow_dirty)
    tasks = "-".join(dict.fromkeys(document.task for document in comparisons))
    tasks = re.sub(r"[^\w-]+", "-", tasks)[:MAX_NAME_LENGTH]  # they may come from somebody else
    output = choose_output_folder(options.copy_with(task=tasks), "compare-joined-")
    check_output(output, resume=False)
    write_comparisons(comparisons, output)
    suite, no_suite = average_comparisons(comparisons)
    if suite is not None:
        write_suite(suite, output / SUITE_PAGE)
    console = make_console()
    for document in comparisons:
        if options.json:
            print_event("comparison_ended", **build_comparison_event(document, output))
            continue
        for line in [format_heading(document), *summarise_comparison(document)]:
            console.print(Text(sanitise_text(line)), soft_wrap=True)
        console.print(make_terminal_table(document, console.width))
        console.print()
    if suite is not None:
        if options.json:
            print_event("suite_ended", **build_suite_event(suite, output))
            return EXIT_DONE
        for line in summarise_suite(suite):
            console.print(Text(sanitise_text(line)), soft_wrap=True)
        console.print(make_suite_table(suite))
    elif no_suite and not options.json:
        console.print(Text(sanitise_text(no_suite)), soft_wrap=True)
    if not options.json:
        console.print(Text(sanitise_text(f"Results: {output}")), soft_wrap=True)
    return EXIT_DONE
