"""Execution of a search on Ray: slots, worker groups, the trial loop. No other package of tune knows Ray.

May import tune.planning and below. Imported by the session and the commands.
"""
