"""The end of several tasks: their table and average, written, tracked, told to the watchers and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tune.console.suite import SuiteDisplay
from tune.records.events import Watcher, notify
from tune.reporting.suite.folders import read_suite
from tune.reporting.suite.page import SUITE_PAGE, write_suite
from tune.reporting.suite.tables import make_terminal_table, summarise_suite
from tune.session import Session
from tune.tracking.suite import track_suite


def report_suite(
    sessions: Sequence[Session],
    failed: Mapping[str, str],
    output: Path,
    display: SuiteDisplay,
    watchers: Sequence[Watcher],
) -> None:
    """Write what the tasks say together into `output`, and show it.

    sessions: of the tasks that have a result, one at least. failed: the others, and why.
    """
    first = display.first
    document = read_suite([session.output for session in sessions], failed)
    write_suite(document, output / SUITE_PAGE)
    if (tracker := sessions[0].tracker) is not None:
        ids = [session.folder.search_id for session in sessions]
        if error := track_suite(tracker.uri, tracker.experiment, ids, document, output):
            first.warn(f"MLflow tracking of all tasks failed: {error}; again: {sessions[0].resume_command}")
    notify([first, *watchers], "suite_ended", document, output)
    first.note("")
    for line in summarise_suite(document):
        first.say(line)
    first.show(make_terminal_table(document))
    first.say(f"Results: {output} (suite.html, suite.md, suite.tex; a folder each)")
    if (look := sessions[0].view_command) is not None:
        first.say(f"Look:    {look}")
    notify(watchers, "session_ended", output, False)
