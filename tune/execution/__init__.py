"""Execution of a search on Ray, the only package of tune that knows Ray: slots, worker groups, the trial loop.

May import tune.planning and everything below it, but not tune.reporting, tune.console or tune.tracking. Imported
by the session alone.
"""
