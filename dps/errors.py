"""Input errors, and tests of whether an error means a full disk or exhausted memory."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator


class InputError(ValueError):
    """Error for input that cannot be used. Its message is one line: option and value, rule, remedy."""


def suggest_name(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Return what to do about a name that there is none of: "did you mean cola?", or which there are.

    otherwise: said in place of all known names where none is close.
    """
    listed = list(known)
    near = difflib.get_close_matches(name.lower(), listed, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"choose one of {', '.join(listed)}" if otherwise is None else otherwise


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether the error, or one that it was raised from, means that the disk is full."""
    numbers, texts = (errno.ENOSPC, errno.EDQUOT), ("No space left on device", "database or disk is full")
    return any(
        (isinstance(each, OSError) and each.errno in numbers) or any(words in str(each) for words in texts)
        for each in _list_causes(error)
    )


def find_root_cause(error: BaseException) -> BaseException:
    """Return the error that all others were raised from: what a database said, not what was made of it."""
    return [*_list_causes(error)][-1]


def _list_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error means that a GPU or the machine is out of memory."""
    words = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)
