"""Terms that all of tune uses: options, commands, runs, search spaces, storage, wording.

May import dps only. Every package of tune may import it, except tune.stats, which stands beside it.
"""
