"""What methods are made of: the base classes, what acts around a step, draws, guards.

May import dps.sources, dps.models, dps.tasks and what lies below them. Imported by dps.methods and above.
"""
