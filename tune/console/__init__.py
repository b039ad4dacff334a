"""Terminal output while a search runs: the plan, the progress display, --quiet and --json.

May import tune.planning and below. Imported by the session and the commands.
"""
