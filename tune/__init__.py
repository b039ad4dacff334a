"""Searching for the configuration that is truly better, and comparing methods: commands, session, packages.

May import dps. Imported by cluster alone.
"""
