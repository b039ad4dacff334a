"""Records of a search: the ledger, replicates, predictions, failures, events, result documents.

May import tune.core, tune.stats and dps. Imported by tune.strategy and everything above it.
"""
