"""Several tasks in one table with their average: suite.json, .md, .tex and .html.

May import tune.reporting and below. Imported by the sessions, tune.report and tune.result.
"""
