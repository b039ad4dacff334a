"""Commands that start a Ray cluster on this machine and submit jobs to any cluster.

May import tune and dps. Nothing imports it.
"""
