"""Statistics, arrays in and numbers out: significance, resampling, ensembles.

May import dps only. Imported by every package of tune but tune.core, which stands beside it.
"""
