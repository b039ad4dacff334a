"""Planning before the first trial: data, model, cluster, locations, time, checks of every node.

May import tune.strategy, tune.records, tune.core, tune.stats and dps. Imported by tune.reporting,
tune.execution, tune.console, tune.tracking, the session and the commands.
"""
