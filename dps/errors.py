"""The one error a user can cause: wrong options or wrong input."""


class InputError(ValueError):
    """What the user gave cannot be used. One line: what it was, the rule, what to do."""
