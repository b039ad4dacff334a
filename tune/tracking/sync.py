"""Delivers searches and comparisons from their ledgers to MLflow, which was unreachable or lost its data.

python -m tune.tracking sync runs/cola-20261123-120000
"""

from __future__ import annotations

from pathlib import Path

from dps.command import CommandParser
from dps.errors import InputError
from dps.text import sanitise_text
from tune.core.command import EXIT_DONE, EXIT_REFUSED, EXIT_WRONG_INPUT, print_error
from tune.core.run import RefusedError
from tune.records.saved_options import is_suite_folder, list_suite_members
from tune.records.suite_document import SUITE_DOCUMENT_FILE, read_suite_document
from tune.tracking.redelivery import SYNC_USAGE, deliver_search
from tune.tracking.suite import track_suite


def main(argv: list[str]) -> int:
    """Run the command. Returns its exit status: 0, 2 (wrong input) or 3 (MLflow does not take it)."""
    try:
        folder = Path(_make_parser().parse_args(argv).folder)
        view = deliver_suite(folder) if is_suite_folder(folder) else deliver_search(folder).view
        print(sanitise_text(view))
    except InputError as error:
        return print_error(str(error), EXIT_WRONG_INPUT)
    except RefusedError as error:
        return print_error(str(error), EXIT_REFUSED)
    return EXIT_DONE


def _make_parser() -> CommandParser:
    parser = CommandParser(
        "python -m tune.tracking",
        "Send what MLflow lacks of a search, a comparison or several tasks: runs, parameters, scores, files.",
        "\nexample:\n  python -m tune.tracking sync runs/cola-20261123-120000",
    )
    parser.add_argument("command", choices=("sync",), help="the only command")
    parser.add_argument("folder", metavar="DIR", help="the output folder")
    return parser


def deliver_suite(folder: Path) -> str:
    """Deliver each task that has begun, and the run above them if there is a table. Returns the command that
    shows them. Raises what `deliver_search` raises."""
    names = [name for name in list_suite_members(folder) if (folder / name / "study.db").is_file()]
    if not names:
        raise InputError(f"DIR: no task of {folder} has begun; start them with --resume {folder}")
    delivered = {name: deliver_search(folder / name) for name in names}
    first = delivered[names[0]]
    if (folder / SUITE_DOCUMENT_FILE).is_file():
        document = read_suite_document(folder)
        ids = [delivered[row.task].search_id for row in document.tasks if row.task in delivered]
        if error := track_suite(first.uri, first.experiment, ids, document, folder.resolve()):
            raise RefusedError(f"MLflow: {error}; try again: {SYNC_USAGE}")
    return first.view
