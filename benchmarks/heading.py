"""The head of a report: when, where and with what it was made."""

from __future__ import annotations

import time

from tune.core.provenance import collect_provenance


def format_heading(title: str, command: str) -> str:
    """Return the head of a report, as Markdown. command: the program, for where the command line has none."""
    origin = collect_provenance(command)
    versions = ", ".join(f"{name} {version}" for name, version in origin.packages.items())
    commit = f"{(origin.git_commit or 'unknown')[:10]}{', with changes' * bool(origin.git_dirty)}"
    return (
        f"# {title}\n\n"
        f"{time.strftime('%Y-%m-%d')}, {origin.cores} cores, {origin.platform}, "
        f"Python {origin.python}, {versions}; commit {commit}. Made with\n\n    {' '.join(origin.command)}"
    )
