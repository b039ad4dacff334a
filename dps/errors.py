"""The one error a user can cause, and those that a disk and a memory do."""

from __future__ import annotations

import errno


class InputError(ValueError):
    """What the user gave cannot be used. One line: what it was, the rule, what to do."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether this error, or one that it came from, says that there is no room left, in whichever words."""
    while error is not None:
        numbers = (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        if any(words in str(error) for words in ("No space left on device", "database or disk is full")):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this error says that a GPU or the machine has no memory left, in whichever words."""
    words = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)
