"""Delivery of a search to MLflow, during it or afterwards (`python -m tune.tracking sync`).

May import tune.planning and below. Imported by the session alone.
"""
