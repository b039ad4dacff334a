"""Delivery of a search to MLflow, during it or afterwards (`python -m tune.tracking sync`).

May import tune.planning and everything below it, but not tune.reporting, tune.execution or tune.console. Imported
by the session alone.
"""
