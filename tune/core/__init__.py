"""Terms that all of tune uses: options, commands, runs, search spaces, storage, wording.

May import dps only. Imported by every package of tune but tune.stats, which stands beside it.
"""
