"""Strategies of a search: which configuration and seed run next, what stops early, when to end. No Ray.

May import tune.records, tune.core, tune.stats and dps. Imported by tune.planning and everything above it.
"""
