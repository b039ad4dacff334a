"""Terminal output while a search runs: the plan, the progress display, --quiet and --json.

May import tune.planning and everything below it, but not tune.reporting, tune.execution or tune.tracking. Imported
by the session and the commands.
"""
