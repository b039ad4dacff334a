"""Planning before the first trial: data, model, cluster, locations, time, checks of every node.

May import tune.strategy and below. Imported by the session, the commands and the four packages above it.
"""
