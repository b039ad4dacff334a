"""The error that is not the user's: the cluster."""


class Refused(Exception):
    """It cannot run here. One line: what, where, what to do."""
