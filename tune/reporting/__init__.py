"""Results of a search or a comparison: documents, confirmation, analysis, plots, report.html, model card.

May import tune.planning and everything below it, but not tune.execution, tune.console or tune.tracking. Imported
by the session and the commands.
"""
