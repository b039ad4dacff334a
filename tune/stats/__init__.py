"""Statistics: arrays in, numbers out. Significance, resampling, surrogate models, best-arm selection.

Knows nothing of searches, files or Ray: imports NumPy and SciPy, and of this project dps at most. Every package
of tune may import it, except tune.core, which stands beside it.
"""
