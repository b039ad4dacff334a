"""Input errors, and tests of whether an error means a full disk or exhausted memory."""

from __future__ import annotations

import errno


class InputError(ValueError):
    """Error for input that cannot be used. Its message is one line: option and value, rule, remedy."""


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether the error, or one that it was raised from, means that the disk is full."""
    while error is not None:
        numbers = (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        if any(words in str(error) for words in ("No space left on device", "database or disk is full")):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error means that a GPU or the machine is out of memory."""
    words = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)
