"""Searching for the configuration that is truly better. Knows `dps`; nothing of clusters."""
