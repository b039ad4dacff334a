"""Results of a search or a comparison: documents, confirmation, analysis, plots, report.html, model card.

May import tune.planning and below. Imported by the session and the commands.
"""
