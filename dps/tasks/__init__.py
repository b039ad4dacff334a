"""Definitions of tasks: columns, labels, metrics, scorers, splits, GLUE, user-defined tasks, transfer.

May import dps.text, dps.errors and the like. Imported by dps.sources, dps.models and everything above them.
"""
